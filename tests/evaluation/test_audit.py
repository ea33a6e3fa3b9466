"""The audit's verdicts on samples that deserve them, and what it writes."""

import json

import jax
import numpy as np
import pytest

from manifold_diffusion import evaluation
from tests.evaluation.clouds import noise, sphere

DATA = sphere(700, 2, 0)


def audited(generated, data=DATA, held_out=None):
    return evaluation.audit(data, generated, held_out, key=jax.random.key(0)).generated


def cap(n):
    points = sphere(4 * n, 2, 7)
    return points[points[:, 0] > -0.2][:n]


@pytest.mark.parametrize(
    ("generated", "verdict"),
    [
        (sphere(1000, 2, 1), "generalises"),
        (DATA[np.random.default_rng(1).integers(700, size=1000)], "memorised"),
        (noise(DATA, 1e-3, 1), "memorised"),
        (np.concatenate([DATA[:500], sphere(500, 2, 1)]), "memorised"),
        (noise(sphere(1000, 2, 1), 0.1, 2), "off-manifold"),
        (np.full((100, 3), np.nan), "off-manifold"),
        (cap(1000), "collapsed"),
        (np.repeat(sphere(1, 2, 1), 1000, axis=0), "collapsed"),
        (sphere(5, 2, 1), "inconclusive"),
    ],
)
def test_verdicts(generated, verdict):
    found = audited(generated)
    assert (found.verdict, bool(found.reason)) == (verdict, True)


def test_copies_on_a_curve_are_seen():
    data = sphere(2000, 1, 0)
    assert audited(noise(data, 1e-6, 1), data).verdict == "memorised"
    assert audited(sphere(2000, 1, 1), data).verdict == "generalises"


@pytest.mark.slow
def test_fresh_points_are_not_slandered():
    """A false alarm in at most one of eight samples, and most are found to generalise."""
    verdicts = [audited(sphere(700, 2, 100 + i), sphere(700, 2, i)).verdict for i in range(8)]
    assert sum(v not in ("generalises", "inconclusive") for v in verdicts) <= 1
    assert verdicts.count("generalises") >= 5


def test_noisy_fresh_points_are_measured_against_noisy_data():
    data, fresh, held_out = (noise(sphere(700, 2, s), 0.03, 50 + s) for s in (0, 1, 2))
    assert audited(fresh, data).verdict == "generalises"
    assert audited(fresh, data, held_out).verdict == "generalises"


def test_the_audit_is_one_json_document_with_the_promised_keys():
    found = evaluation.audit(DATA, sphere(300, 2, 1), key=jax.random.key(0)).as_dict()
    json.dumps(found, allow_nan=False)
    assert {"n", "ambient_dim", "dim", "spacing", "noise", "reach", "collapse_scale", "generated"} <= set(found)
    assert {"value", "ci_low", "ci_high", "estimator"} <= set(found["dim"])
    generated = found["generated"]
    assert {"support_distance", "novelty_ratio", "memorised_fraction", "memorised_null"} <= set(generated)
    assert {"coverage", "authentic_pct", "verdict"} <= set(generated)
    assert {"median", "q99"} <= set(generated["support_distance"])
    assert {"radius", "covered", "null"} <= set(generated["coverage"])
    assert found["ambient_dim"] == 3
    assert found["dim"]["used"] == 2


def test_the_same_key_gives_the_same_audit():
    first, second = (evaluation.audit(DATA, sphere(300, 2, 1), key=jax.random.key(5)) for _ in range(2))
    assert first.as_dict() == second.as_dict()


def test_figures_are_in_the_units_of_the_data():
    key = jax.random.key(0)
    small = evaluation.audit(DATA, key=key)
    large = evaluation.audit(1000 * DATA + 300, key=key)
    for name in ("spacing", "reach", "collapse_scale"):
        assert getattr(large, name) == pytest.approx(1000 * getattr(small, name), rel=1e-4)
    assert large.dim == small.dim


@pytest.mark.parametrize(
    ("data", "generated", "message"),
    [
        (np.zeros((9, 1)), None, "one coordinate"),
        (DATA, np.zeros((5, 2)), "generated points have 2 columns and the data 3"),
        (DATA[:5], None, "too few|bring more"),
    ],
)
def test_what_cannot_be_audited_is_refused_in_one_line(data, generated, message):
    with pytest.raises(ValueError, match=message) as caught:
        evaluation.audit(data, generated, key=jax.random.key(0))
    assert "\n" not in str(caught.value)


def test_the_degree_follows_the_noise():
    key = jax.random.key(0)
    clean, rough = sphere(2000, 2, 0), noise(sphere(2000, 2, 0), 0.05, 1)
    assert evaluation.choose_degree(clean, 2, key=key).degree == 2
    assert evaluation.choose_degree(rough, 2, key=key).degree <= 2
    assert evaluation.choose_degree(sphere(40, 2, 0), 2, key=key).degree == 1
