"""Networks that are scores on a known manifold."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import geometry
from manifold_diffusion.scores import neural

TORUS = geometry.flat_torus(1.0, 2.0)


@pytest.fixture(scope="module")
def model():
    """A small one, not trained."""
    make = lambda key: neural.intrinsic_score(key, TORUS, width=8, depth=1, waves=32, finest=0.01)  # noqa: E731
    return eqx.filter_jit(make)(jax.random.key(0))


def test_it_is_tangent_and_falls_like_the_slowest_mode(model):
    """With an end of the network that is not 0; the slowest mode is that of the circle of radius 2."""
    end = jnp.asarray(np.random.default_rng(0).standard_normal((4, 8)), jnp.float32)
    model = eqx.tree_at(lambda model: model.network.last.weight, model, end)
    x, levels = jnp.array([0.6, -0.8, 1.6, 1.2]), jnp.array([0.01, 4.0, 4.0001])

    @jax.jit
    @jax.vmap
    def at(sigma):
        s = model(x, sigma)
        return s, TORUS.tangent(x, s)

    s, along = at(levels)
    np.testing.assert_allclose(s, along, atol=1e-4)
    sizes = np.linalg.norm(s, axis=1) * levels
    assert sizes[0] > 0.1
    np.testing.assert_allclose(sizes[2] / sizes[1], np.exp(-(4.0001**2 - 16) / 8), rtol=1e-4)


def test_waves_shorter_than_the_noise_are_not_seen(model):
    x, w = jnp.array([0.6, -0.8, 1.6, 1.2]), np.linalg.norm(model.features.frequencies.value, axis=1)
    assert 1 <= w.min() < 3 < 30 < w.max() <= 100
    seen = np.asarray(eqx.filter_jit(model.features)(x, jnp.float32(0.1)))[4:].reshape(2, -1)
    np.testing.assert_allclose(np.hypot(*seen), np.exp(-(w**2) * 0.01 / 2), atol=1e-5)


def test_it_is_nothing_before_training_and_the_manifold_is_not_trained(model):
    assert not np.any(eqx.filter_jit(model)(jnp.array([0.6, -0.8, 1.6, 1.2]), jnp.float32(0.1)))
    weights = eqx.filter(model, neural.trainable(model))
    assert jax.tree.leaves(weights.network)
    assert not jax.tree.leaves((weights.manifold, weights.features, weights.gap))
    np.testing.assert_allclose(model.gap.value, 1 / 4, rtol=1e-6)


def test_waves_without_end_are_refused(key):
    with pytest.raises(ValueError, match="0 < finest < 1; got 128 and 2"):
        neural.intrinsic_score(key, geometry.Sphere(2), finest=2.0)
