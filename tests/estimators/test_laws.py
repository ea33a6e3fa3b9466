"""Laws of estimators, on every estimator of the catalogue: data near the unit circle in, samplers out."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree

from manifold_diffusion import estimators, measures
from tests.catalogue import ESTIMATORS

every_estimator = pytest.mark.parametrize(
    "entry",
    [pytest.param(entry, marks=pytest.mark.slow if entry.slow else (), id=name) for name, entry in ESTIMATORS.items()],
)
SIZE = 256


def data(dtype=jnp.float32, size=200):
    """Points on the unit circle."""
    angles = 2 * np.pi * np.random.default_rng(0).random(size)
    return jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], -1), dtype)


@functools.cache
def sampler(entry):
    return entry.make()(jax.random.key(1), data())


@functools.cache
def sample(entry):
    return measures.draw(sampler(entry), jax.random.key(2), SIZE)


def distance_to_circle(points):
    return np.abs(np.linalg.norm(np.asarray(points, np.float64), axis=1) - 1)


@every_estimator
def test_a_sample_depends_on_neither_size_nor_chunk(entry):
    whole = sample(entry)
    np.testing.assert_array_equal(measures.draw(sampler(entry), jax.random.key(2), 9), whole[:9])
    np.testing.assert_allclose(measures.draw(sampler(entry), jax.random.key(2), 40, chunk=16), whole[:40], atol=2e-5)


@every_estimator
def test_samples_have_the_shape_and_dtype_of_a_datum(entry):
    one = sampler(entry)(jax.random.key(3))
    assert one.shape == (2,)
    assert one.dtype == jnp.float32
    assert np.all(np.isfinite(np.asarray(sample(entry))))


@every_estimator
def test_float64_data_give_float64_samples(entry, x64):
    one = eqx.filter_jit(entry.make()(jax.random.key(1), data(jnp.float64)))(jax.random.key(3))
    assert one.dtype == jnp.float64


@every_estimator
def test_samples_lie_as_near_to_the_manifold_as_the_estimator_promises(entry):
    assert distance_to_circle(sample(entry)).mean() < entry.distance


@every_estimator
def test_samples_reach_all_of_the_manifold(entry):
    """No arc of a sixth of the circle is left out, and none has more than three times its share."""
    angles = np.arctan2(*np.asarray(sample(entry)).T)
    shares = np.histogram(angles, bins=6, range=(-np.pi, np.pi))[0] / SIZE
    assert np.all((shares > 1 / 18) & (shares < 1 / 2))


@every_estimator
def test_samples_move_with_the_data(entry, x64):
    """Scaling and shifting the data scales and shifts each sample: no length is built in."""
    points, key = data(jnp.float64, 60), jax.random.key(4)
    shift = jnp.array([[5.0, -7.0]])
    here = measures.draw(entry.make()(key, points), key, 8)
    there = measures.draw(entry.make()(key, 3 * points + shift), key, 8)
    np.testing.assert_allclose(there, 3 * here + shift, atol=1e-6)


@every_estimator
def test_different_keys_give_different_noise(entry):
    """Not necessarily different points: a memoriser may return a datum twice."""
    draws = np.asarray(sample(entry))
    assert len(np.unique(np.round(draws, 3), axis=0)) > SIZE / 5


def test_memorising_returns_the_data_and_nothing_else():
    nearest, which = cKDTree(np.asarray(data())).query(np.asarray(sample(ESTIMATORS["memorising"])))
    assert np.max(nearest) < 1e-5
    assert len(np.unique(which)) > 0.5 * len(data())


def test_coarse_samples_are_new():
    """The share with d1/d2 < 1/3 is 1/3 for fresh points of a curve and 1 for copies."""
    tree = cKDTree(np.asarray(data()))
    fresh, copied = (tree.query(np.asarray(sample(ESTIMATORS[name])), k=2)[0] for name in ("coarse", "memorising"))
    assert np.mean(fresh[:, 0] < fresh[:, 1] / 3) < 0.45
    assert np.mean(copied[:, 0] < copied[:, 1] / 3) > 0.98


def test_coarse_is_nearer_to_the_manifold_than_inertial_and_early_stopping():
    coarse, inertial, stopped = (
        distance_to_circle(sample(ESTIMATORS[name])).mean() for name in ("coarse", "inertial", "early-stopped")
    )
    assert coarse < inertial / 10
    assert coarse < stopped / 10


def test_the_switching_level_is_half_the_widest_neighbourhood():
    """On equally spaced points the ceil(log n)-th neighbour is known: n = 100, ceil(log n) = 5, three steps away."""
    angles = 2 * np.pi * np.arange(100) / 100
    ring = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], -1), jnp.float32)
    np.testing.assert_allclose(estimators.switching_noise_level(ring), np.sin(3 * np.pi / 100), rtol=1e-5)


def test_the_switching_level_closes_the_gaps():
    """Every point of the circle has a datum within 2 sigma_0: that is what the level is chosen for."""
    circle = np.stack([np.cos(t := np.linspace(0, 2 * np.pi, 2000)), np.sin(t)], -1)
    gaps = cKDTree(np.asarray(data())).query(circle)[0]
    assert np.max(gaps) < 2 * estimators.switching_noise_level(data())


def test_duplicates_that_leave_no_noise_level_are_refused():
    copies = jnp.repeat(data()[:4], 50, axis=0)
    with pytest.raises(ValueError, match="duplicates"):
        estimators.coarse_diffusion(1, 1)(jax.random.key(0), copies)
