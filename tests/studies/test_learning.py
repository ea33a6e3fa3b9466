"""The claims about trained networks: their instruments, and, on demand, the smallest scale of all of them."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion.scores import VonMisesFisherScore
from manifold_diffusion.studies import verify
from manifold_diffusion.studies.learning import CLAIMS
from manifold_diffusion.studies.learning.capacity import _gap
from manifold_diffusion.studies.learning.error_curves import errors
from manifold_diffusion.studies.learning.networks import points, surface
from manifold_diffusion.studies.learning.training_times import crossing, looks, times
from manifold_diffusion.training import Seen


def history(values, quantity="share"):
    return [Seen(step, 0.0, {quantity: value}) for step, value in values]


def test_looks_grow_geometrically_and_end_where_they_should():
    found = looks(1000, first=100, ratio=1.5)
    assert found[0] == 100
    assert found[-1] == 1000
    assert all(1.0 < b / a <= 1.51 for a, b in itertools.pairwise(found))


def test_a_crossing_is_interpolated_in_the_logarithm_of_the_steps():
    """A share that is linear in log(steps) crosses where it says, whatever the looks."""
    share = lambda step: 0.1 * math.log10(step)  # noqa: E731
    found = crossing(history([(step, share(step)) for step in (10, 60, 400, 9000)]), "share", share(1234.0))
    assert found == pytest.approx(1234.0, rel=1e-9)
    falling = crossing(history([(10, 1.0), (1000, 0.0)]), "share", 0.5, falling=True)
    assert falling == pytest.approx(100.0)
    assert math.isnan(crossing(history([(10, 0.1), (20, 0.2)]), "share", 0.5))
    assert crossing(history([(10, 0.9)]), "share", 0.5) == 10


def test_times_are_those_of_a_history_that_is_made_up():
    """On the manifold at 1000 steps; the share at its null, 1/9, to 2000, and then linear in log to 1 at 200 000."""
    steps = [round(200 * 1.12**i) for i in range(62)]
    share = lambda t: 1 / 9 + 8 / 9 * max(0.0, math.log(t / 2000) / math.log(100))  # noqa: E731
    made = [Seen(t, 0.0, {"distance": 30.0 / t, "share": share(t), "novelty": 1.0}) for t in steps]
    found = times(made)
    assert found["t_geom"] == pytest.approx(1000, rel=0.01)
    assert found["t_on"] == pytest.approx(2000 * 100**0.1, rel=0.02)
    assert found["t_mem"] == pytest.approx(2000 * 100**0.5, rel=0.02)
    assert found["t_on / t_geom"] == pytest.approx(found["t_on"] / found["t_geom"])
    assert math.isnan(found["t_novelty"])


def test_the_exact_denoiser_has_no_error_and_a_shift_is_put_in_its_part(key):
    """The uniform law on the sphere in R^6; then the same denoiser moved across by .03."""
    manifold = surface("sphere")
    fresh = points(manifold, key, 200)
    levels = jnp.asarray([0.05, 0.2], jnp.float32)
    score = VonMisesFisherScore(jnp.asarray([0.0, 0.0, 1.0]), 0.0)
    exact = lambda x, sigma: manifold.outside(score.denoise(manifold.inside(x), sigma))  # noqa: E731
    along, across = errors(exact, manifold, fresh, levels, jax.random.key(1))
    np.testing.assert_allclose(np.stack([along, across]), 0.0, atol=2e-6)
    moved = lambda x, sigma: exact(x, sigma) + 0.03 * manifold.project(x)  # noqa: E731
    along, across = errors(moved, manifold, fresh, levels, jax.random.key(1))
    np.testing.assert_allclose(along, 0.0, atol=2e-6)
    np.testing.assert_allclose(across, 0.03, rtol=1e-4)


def test_the_loss_gap_far_below_the_spacing_is_the_dimension_over_the_noise(x64, key):
    gap, fisher = _gap(key, jnp.asarray(0.001), 5)
    assert float(gap) * 0.001**2 == pytest.approx(5.0, abs=4 * math.sqrt(10 / 4096))
    assert float(fisher) == pytest.approx(float(gap), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_each_claim_is_measured_at_the_smallest_scale(claim):
    study = verify([claim], scale="smoke")
    assert [cell.error for cell in study.cells if cell.error] == []
    verdicts = [result.verdict.verdict for result in study.results]
    assert verdicts.count("refuted") <= 1
    assert "confirmed" in verdicts
