"""Networks that are scores on a known manifold."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import geometry
from manifold_diffusion.scores import neural


def awake(model, key):
    """The model with an end that is not 0."""
    end = jax.random.normal(key, model.network.last.weight.shape)
    return eqx.tree_at(lambda model: model.network.last.weight, model, end)


def test_it_is_tangent_and_falls_like_the_slowest_mode(key):
    torus = geometry.flat_torus(1.0, 0.5)
    model = awake(neural.intrinsic_score(key, torus, width=8, depth=1, waves=4), key)
    x = torus.project(jnp.array([0.3, -0.4, 1.0, 0.2]))
    levels = jnp.array([0.01, 4.0, 4.0001])
    s = jax.jit(jax.vmap(lambda sigma: model(x, sigma)))(levels)
    np.testing.assert_allclose(s, jax.vmap(lambda s: torus.tangent(x, s))(s), atol=1e-4)
    sizes = jnp.linalg.norm(s, axis=1) * levels
    assert sizes[0] > 0.1
    np.testing.assert_allclose(sizes[2] / sizes[1], np.exp(-(4.0001**2 - 16) / 2), rtol=1e-4)


def test_waves_shorter_than_the_noise_are_not_seen(key):
    features = neural.intrinsic_score(key, geometry.Sphere(2), width=8, depth=1, waves=32, finest=0.01).features
    x = jnp.array([0.6, 0.0, 0.8])
    w = np.linalg.norm(features.frequencies.value, axis=1)
    assert 1 <= w.min() < 3 < 30 < w.max() <= 100
    seen = np.asarray(features(x, jnp.float32(0.1)))[3:].reshape(2, -1)
    np.testing.assert_allclose(np.hypot(*seen), np.exp(-(w**2) * 0.01 / 2), atol=1e-5)


def test_it_is_nothing_before_training_and_the_manifold_is_not_trained(key):
    model = neural.intrinsic_score(key, geometry.Sphere(2, 3.0), width=8, depth=1, waves=4)
    assert not jnp.any(model(jnp.array([0.0, 0.0, 3.0]), 0.1))
    weights = eqx.filter(model, neural.trainable(model))
    assert not jax.tree.leaves((weights.manifold, weights.features, weights.gap))
    np.testing.assert_allclose(model.gap.value, 2 / 9, rtol=1e-6)


def test_waves_without_end_are_refused(key):
    with pytest.raises(ValueError, match="0 < finest < 1; got 128 and 2"):
        neural.intrinsic_score(key, geometry.Sphere(2), finest=2.0)
