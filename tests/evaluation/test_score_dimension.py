"""Laws of the dimension that a score knows. Oracles: spheres in larger spaces, collapse scales, moments of normals."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from manifold_diffusion import evaluation, scores
from manifold_diffusion.evaluation.score_dimension import mean_interval, plateau
from manifold_diffusion.geometry import Embedded, Sphere, random_frame

KEY = jax.random.key(1)


class InFrame(eqx.Module):
    """The score of a law on a subspace: across it the noise is alone."""

    inner: eqx.Module
    frame: jax.Array

    def denoise(self, x, sigma):
        return self.frame @ self.inner.denoise(self.frame.T @ x, sigma)

    def __call__(self, x, sigma):
        return (self.denoise(x, sigma) - x) / sigma**2


@functools.cache
def read(dim, ambient, method, probes=None):
    frame = random_frame(jax.random.key(2), ambient, dim + 1)
    score = InFrame(scores.VonMisesFisherScore(jnp.eye(dim + 1)[0], 1.0), frame)
    sphere = Embedded(Sphere(dim), frame)
    points = jax.jit(jax.vmap(sphere.uniform))(jax.random.split(KEY, 24))
    return evaluation.score_dimension(score, points, np.geomspace(0.004, 2.0, 10), KEY, method, probes)


SPHERES = [(dim, ambient, method, None) for dim, ambient in ((2, 10), (5, 20)) for method in ("flipd", "gap")]
SPHERES += [(5, 20, "denoising", None), (5, 20, "flipd", 8)]


@pytest.mark.parametrize(("dim", "ambient", "method", "probes"), SPHERES)
def test_the_dimension_of_a_sphere_in_a_larger_space(dim, ambient, method, probes):
    """Claim G11: exact below a fourth of the reach, whatever the space around; above, the sphere is a point."""
    found = read(dim, ambient, method, probes)
    resolved = found.sigmas < 0.1
    exact = method == "gap" or (method == "flipd" and not probes)
    assert np.all(np.abs(found.values[resolved] - dim) < (0.05 if exact else 0.8))
    assert round(found.value.value) == dim
    assert found.value.low <= dim <= found.value.high
    assert found.plateau[0] == pytest.approx(0.004)
    assert 0.05 < found.plateau[1] < 0.6
    assert found.values[-1] < 0.5
    assert np.all(found.non_finite == 0)
    if exact:
        assert np.mean(np.round(found.local) == dim) > 0.8


def test_the_denoising_loss_has_the_variance_of_a_chi_square():
    """|P_T z|^2 has the variance 2 k, of which 16 draws leave a sixteenth."""
    found = read(5, 20, "denoising")
    half = (found.ci_high - found.ci_low)[:3].mean() / 2
    assert half == pytest.approx(stats.t.ppf(0.975, 23) * np.sqrt(2 * 5 / 16 / 24), rel=0.3)


def test_signs_give_the_trace_on_average():
    exact, signs = read(5, 20, "flipd"), read(5, 20, "flipd", 8)
    inside = (exact.values >= signs.ci_low) & (exact.values <= signs.ci_high)
    assert inside.mean() >= 0.7


def test_a_score_of_data_breaks_below_its_collapse_scale():
    """Claim G11 on 400 points of a circle: 1 above three collapse scales; below, 0 at data and large between them.

    The mean over fresh points has a heavy tail in gaps between data, and comes later.
    """
    angles = 2 * np.pi * np.random.default_rng(0).random(400)
    data = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], 1), jnp.float32)
    collapse = 2 * np.pi / 400 / np.sqrt(2 * np.pi * np.e)
    fresh = 2 * np.pi * np.random.default_rng(1).random(100)
    fresh = jnp.asarray(np.stack([np.cos(fresh), np.sin(fresh)], 1), jnp.float32)
    levels, score = collapse * np.array([1 / 20, 1 / 8, 1 / 3, 1, 3, 8, 20, 33]), scores.KernelScore(data)
    for points, below in ((data[:100], (0, 0.2)), (fresh, (20, np.inf))):
        found = evaluation.score_dimension(score, points, levels, centre="median")
        assert below[0] <= found.values[0] <= below[1]
        assert not 0.5 < found.values[2] < 1.5
        assert np.all(np.round(found.values[4:]) == 1)
        assert round(found.value.value) == 1
        assert 1.5 * collapse < found.plateau[0] < 10 * collapse
    means = evaluation.score_dimension(score, fresh, levels)
    assert np.round(means.values[4]) > 1
    assert np.all(np.round(means.values[5:]) == 1)
    assert round(means.value.value) == 1


def test_no_directions_and_all_directions_are_answers():
    """At the point 0, of a law that fills space, and of a score that is not a number."""

    def read(variance):
        score = lambda x, s: -x / (variance + s**2)  # noqa: E731
        return evaluation.gap_dimension(score, jnp.zeros(4), 0.1, KEY)

    np.testing.assert_array_equal(jax.jit(jax.vmap(read))(jnp.array([0.0, 100.0, jnp.nan])), [0, 4, np.nan])


def test_scores_that_fail_are_counted_and_leave_no_plateau():
    def score(x, sigma):
        return jnp.where((sigma > 0.5) & (x[0] > 0), jnp.nan, 1.0) * -x / sigma**2

    points = jnp.asarray([[1.0, 0.0], [-1.0, 0.0], [-0.5, 0.5]])
    found = evaluation.score_dimension(score, points, np.array([0.1, 0.2, 0.4, 0.8]))
    np.testing.assert_array_equal(found.non_finite, [0, 0, 0, 1])
    assert np.isnan(found.plateau).all() or found.plateau[1] < 0.5
    broken = evaluation.score_dimension(lambda x, s: x * jnp.nan, points, np.array([0.1, 0.2, 0.4]))
    assert np.all(broken.non_finite == 3)
    assert np.isnan(broken.value.value)


# The plateau


def stretch(values, half=0.0, tolerance=0.1, bad=()):
    values, levels = np.asarray(values, float), np.geomspace(0.01, 1, len(values))
    non_finite = np.isin(np.arange(len(values)), bad).astype(int)
    found = plateau(levels, values - half, values + half, values, non_finite, tolerance)
    return None if found is None else (found.start, found.stop)


def test_the_plateau_is_the_longest_stretch_within_the_tolerance():
    assert stretch([9, 4, 2.02, 2.0, 2.0, 1.95, 1.5, 0.9, 0.3, 0]) == (2, 6)
    assert stretch([0, 0, 0, 0, 0, 0.4, 1.0, 1.02, 1.0, 0.5]) == (6, 9)
    assert stretch([5, 4, 3, 2, 1]) is None
    assert stretch([0.1, 0.1, 0.1, 0.1]) is None


def test_the_plateau_allows_for_noise_and_not_for_what_is_not_finite():
    noisy = [3.3, 2.8, 3.2, 2.9, 3.1, 1.0]
    assert stretch(noisy, tolerance=0.05) is None
    assert stretch(noisy, half=0.25, tolerance=0.05) == (0, 5)
    assert stretch([2.0] * 7, bad=(2,)) == (3, 7)


def test_of_stretches_of_one_length_the_flatter_is_taken():
    assert stretch([2.0, 2.08, 2.1, 1.2, 1.0, 1.0, 1.0]) == (4, 7)


def test_the_mean_has_student_s_interval():
    values = np.random.default_rng(0).normal(size=12)
    low, high = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    found = mean_interval(np.append(values, np.nan))
    np.testing.assert_allclose(found, (values.mean(), low, high))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"sigmas": np.array([0.1, 0.2])}, "at least 3 positive noise levels"),
        ({"sigmas": np.array([0.0, 0.1, 0.2])}, "at least 3 positive noise levels"),
        ({"method": "denoising"}, "needs a key"),
        ({"probes": 4}, "needs a key"),
        ({"method": "pca", "key": KEY}, "method must be"),
        ({"centre": "mode"}, "centre must be"),
    ],
)
def test_misuse_is_refused(arguments, complaint):
    given = {"sigmas": np.array([0.1, 0.2, 0.3])} | arguments
    with pytest.raises(ValueError, match=complaint):
        evaluation.score_dimension(lambda x, s: -x, jnp.ones((2, 2)), **given)
