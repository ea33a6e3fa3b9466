"""Novelty, memorisation and authenticity against their nulls, measured and derived."""

import numpy as np
import pytest

from manifold_diffusion import evaluation
from tests.evaluation.clouds import sphere


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_fresh_points_are_as_new_as_the_nulls_say(dim):
    found = evaluation.novelty(sphere(4000, dim, 0), sphere(4000, dim, 1), dim=dim)
    assert found.memorised_expected == pytest.approx(3.0**-dim)
    assert found.memorised.low <= 3.0**-dim <= found.memorised.high
    assert found.memorised_null.low <= 3.0**-dim <= found.memorised_null.high
    assert found.ratio.low <= 1 <= found.ratio.high
    assert found.copies == found.repeats == found.non_finite == 0


def test_a_memoriser_is_seen():
    data = sphere(500, 2, 0)
    found = evaluation.novelty(data, data[np.random.default_rng(1).integers(500, size=800)], dim=2)
    assert found.memorised.value == 1
    assert found.copies == 800
    assert found.ratio.value == 0
    assert found.repeats == 800 - len(np.unique(np.random.default_rng(1).integers(500, size=800)))


def test_held_out_points_and_leaving_one_out_give_the_same_null():
    data, new = sphere(3000, 2, 0), sphere(1000, 2, 1)
    alone, held_out = evaluation.novelty(data, new), evaluation.novelty(data, new, sphere(3000, 2, 2))
    assert (alone.null, held_out.null) == ("leave-one-out", "held-out")
    assert alone.memorised_null.value == pytest.approx(held_out.memorised_null.value, abs=0.025)
    assert alone.null_distance.value == pytest.approx(held_out.null_distance.value, rel=0.06)


def test_a_file_that_was_doubled_does_not_hide_a_memoriser():
    data = np.repeat(sphere(500, 2, 0), 2, axis=0)
    found = evaluation.novelty(data, data)
    assert found.duplicates == 500
    assert found.memorised.value == 1
    assert found.memorised_null.value == pytest.approx(1 / 9, abs=0.05)


def test_rounded_data_and_rounded_fresh_points_agree():
    data, new = (np.round(sphere(3000, 2, seed) * 30) / 30 for seed in (0, 1))
    found, authentic = evaluation.novelty(data, new), evaluation.authenticity(data, new)
    assert found.copies > 200
    assert found.memorised.value == pytest.approx(found.memorised_null.value, abs=0.03)
    assert authentic.share.value == pytest.approx(authentic.null.value, abs=0.03)


def test_points_that_are_not_finite_are_counted_and_left_out():
    new = sphere(300, 2, 1)
    broken = np.concatenate([new, np.full((2, 3), np.nan), np.full((1, 3), np.inf)])
    found = evaluation.novelty(sphere(300, 2, 0), broken)
    assert found.non_finite == 3
    assert found.memorised == evaluation.novelty(sphere(300, 2, 0), new).memorised


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_authentic_share_of_fresh_points_is_the_derived_one(dim):
    found = evaluation.authenticity(sphere(4000, dim, 0), sphere(8000, dim, 1), dim=dim)
    assert found.share.value == pytest.approx(found.expected, abs=0.02)
    assert found.null.value == pytest.approx(found.expected, abs=0.025)


def test_the_authentic_share_is_a_third_on_curves_and_a_half_in_the_limit():
    assert evaluation.expected_authentic_share(1) == pytest.approx(1 / 3)
    assert evaluation.expected_authentic_share(200) == pytest.approx(1 / 2, abs=1e-6)


def test_authenticity_sees_copies_on_curves_and_not_a_change_of_density():
    data = sphere(4000, 1, 0)
    near = data[:2000] + 1e-7
    assert evaluation.authentic_pct(data, near) < 1
    right = sphere(8000, 1, 1)
    crowded = right[np.random.default_rng(2).uniform(size=8000) < (1.05 + right[:, 0]) / 2.05]
    assert evaluation.authentic_pct(data, crowded) == pytest.approx(100 / 3, abs=3)


def test_intervals_cover_a_share_as_often_as_they_say():
    counts = np.random.default_rng(3).binomial(200, 1 / 9, size=2000)
    cover = [p.low <= 1 / 9 <= p.high for p in (evaluation.proportion(int(c), 200) for c in counts)]
    assert 0.94 <= np.mean(cover) <= 0.99


def test_intervals_cover_a_median_as_often_as_they_say():
    samples = np.random.default_rng(4).exponential(size=(2000, 60))
    cover = [m.low <= np.log(2) <= m.high for m in map(evaluation.median, samples)]
    assert 0.94 <= np.mean(cover) <= 0.985
