"""Laws of Monte Carlo scores. Oracles: the closed form of von Mises-Fisher laws, two points at small noise."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import geometry, measures
from manifold_diffusion.scores import MonteCarloScore, VonMisesFisherScore

CONCENTRATION = 2.0


class Tilt(eqx.Module):
    """The log weight concentration x_0."""

    def __call__(self, x):
        return CONCENTRATION * x[0]


def points(d):
    """On the sphere, inside, outside, near the centre, far away."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((6, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return jnp.asarray(directions * np.array([1.0, 0.7, 1.3, 0.05, 5.0, 1.001])[:, None])


@eqx.filter_jit
def estimates(axes, log_normaliser, keys, size, x, sigma):
    """Estimates at points x with a tilted density on an ellipsoid, and their derivatives along (1, .., 1), for each of
    the keys.
    """

    def one(key):
        measure = measures.Density(geometry.Ellipsoid(axes), Tilt(), CONCENTRATION * axes[0], log_normaliser)
        score = MonteCarloScore(measure, size, key)
        return jax.vmap(lambda x: jax.jvp(lambda x: score.estimate(x, sigma), (x,), (jnp.ones_like(x),)))(x)

    return jax.lax.map(one, keys)


@functools.cache
def on_the_sphere(dim, size, keys, sigma):
    """Estimates on the unit sphere with their derivatives, and the truth, at `points`."""
    exact = VonMisesFisherScore(jnp.eye(dim + 1)[0], CONCENTRATION)
    normaliser = measures.VonMisesFisher(np.eye(dim + 1)[0], CONCENTRATION).log_normaliser
    x, sigma = points(dim + 1), jnp.asarray(sigma, dtype=float)
    found = estimates(jnp.ones(dim + 1), normaliser, jax.random.split(jax.random.key(1), keys), size, x, sigma)
    truth = jax.vmap(lambda x: jax.jvp(lambda x: exact(x, sigma), (x,), (jnp.ones_like(x),)))(x)
    return jax.tree.map(np.asarray, (found, truth))


def covered(found, truth):
    """The share of components inside of their intervals, for each point."""
    return (np.abs(found.score - truth[None]) <= found.half_width).mean(axis=(0, 2))


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [1e-5, 0.01, 0.3, 10.0])
def test_intervals_of_95_percent_cover_the_truth_as_often(sigma, x64):
    (found, _), (truth, _) = on_the_sphere(3, 512, 200, sigma)
    assert (covered(found, truth) > 0.9).all()
    assert (covered(found, truth) < 0.99).all()
    assert (found.effective_size > 40).all()


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [1e-5, 0.01, 0.3, 10.0])
def test_estimates_scatter_as_their_intervals_say(sigma, x64):
    """The standard deviation over keys is the half width over 1.96, and the bias is small beside it."""
    (found, _), (truth, _) = on_the_sphere(3, 512, 200, sigma)
    spread = found.score.std(axis=0)
    np.testing.assert_allclose(found.half_width.mean(axis=0) / 1.96, spread, rtol=0.25)
    assert (np.abs(found.score.mean(axis=0) - truth) < 0.3 * spread).all()


@pytest.mark.slow
def test_both_of_two_nearest_points_are_found(x64):
    """In the middle of an ellipsoid whose first axis is the shortest, a: m = a tanh(concentration a) + O(sigma^2)."""
    axes, sigma = jnp.asarray([0.8, 1.5, 1.3, 1.2]), jnp.asarray(1e-5, dtype=float)
    keys = jax.random.split(jax.random.key(3), 200)
    # The normaliser of another law: at this noise no draw counts.
    found, _ = estimates(axes, jnp.asarray(3.0, dtype=float), keys, 512, jnp.zeros((6, 4)), sigma)
    mean = 0.8 * np.tanh(0.8 * CONCENTRATION)
    np.testing.assert_allclose(sigma**2 * found.score[:, 0, 0], mean, atol=0.15)
    inside = np.abs(sigma**2 * found.score[:, 0, 0] - mean) < sigma**2 * found.half_width[:, 0, 0]
    assert 0.9 < inside.mean() < 0.99


@pytest.mark.parametrize("sigma", [0.01, 0.3, 10.0])
@pytest.mark.slow
def test_derivatives_are_those_of_the_truth_on_average(sigma, x64):
    """ds = (Cov(y) / sigma^2 - I) dx / sigma^2, within five standard errors and the bias of a quotient."""
    (_, slope), (_, truth) = on_the_sphere(3, 512, 200, sigma)
    spread = slope.score.std(axis=0)
    assert (np.abs(slope.score.mean(axis=0) - truth) < (5 / np.sqrt(200) + 0.2) * spread).all()


def test_misuse_is_refused():
    class Unreached(measures.AbstractMeasure):
        manifold: geometry.AbstractManifold

        def sample(self, key):
            return jax.random.normal(key, (3,))

        def log_density(self, x):
            return jnp.zeros_like(x[0])

    with pytest.raises(ValueError, match="at least 8"):
        MonteCarloScore(measures.Uniform(geometry.Sphere(2)), 3, jax.random.key(0))
    with pytest.raises(ValueError, match="pass radius"):
        MonteCarloScore(Unreached(geometry.from_equations(lambda x: jnp.sum(x * x) - 1, 3)), 8, jax.random.key(0))


@pytest.mark.slow
@pytest.mark.parametrize("dim", [5, 7])
@pytest.mark.parametrize("sigma", [1e-4, 0.1, 1.0])
def test_intervals_cover_in_higher_dimension(dim, sigma, x64):
    (found, _), (truth, _) = on_the_sphere(dim, 4096, 200, sigma)
    assert (covered(found, truth) > 0.9).all()
    assert (covered(found, truth) < 0.99).all()
