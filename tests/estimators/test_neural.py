"""Quick laws of the estimators with networks. The laws of all estimators, which train several times, are slow."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import estimators, measures, scores, training
from tests.catalogue import make_trained


def circle(size):
    angles = 2 * np.pi * np.random.default_rng(0).random(size)
    return jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], -1), jnp.float32)


def test_training_brings_samples_to_the_manifold(key):
    """Mean distance to the unit circle; samples of the prior alone are at about 28."""
    sample = np.asarray(measures.draw(make_trained()(key, circle(200)), jax.random.key(2), 256))
    assert np.abs(np.linalg.norm(sample, axis=1) - 1).mean() < 0.15
    shares = np.histogram(np.arctan2(*sample.T), bins=6, range=(-np.pi, np.pi))[0] / 256
    assert np.all((shares > 1 / 18) & (shares < 1 / 2))


def test_the_exact_denoiser_of_data_gives_back_the_data(key):
    """`neural_diffusion` of a denoiser from outside: with the kernel score's, each sample is a datum."""
    angles = 2 * jnp.pi * jnp.arange(20) / 20
    data = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    sampler = estimators.neural_diffusion(scores.KernelScore(data).denoise, steps=32)(key, data)
    sample = measures.draw(sampler, key, 64)
    nearest = jnp.min(jnp.linalg.norm(sample[:, None] - data[None], axis=-1), axis=1)
    # At the last level, s / 100, the kernel gives other data than the nearest weights below exp(-50).
    assert jnp.max(nearest) < 1e-5


def test_it_ends_where_it_is_told(key):
    """The last step is the denoiser at sigma_min, and 0.01 deviations is the default."""
    asked = []

    def model(x, sigma):
        jax.debug.callback(lambda s: asked.append(float(s)), sigma)
        return x / (1 + sigma**2)

    data = circle(50)
    for sigma_min, expected in ((0.25, 0.25), (None, float(training.deviation(data)) / 100)):
        asked.clear()
        eqx.filter_jit(estimators.neural_diffusion(model, sigma_min=sigma_min, steps=4)(key, data))(key)
        jax.effects_barrier()
        assert min(asked) == pytest.approx(expected, rel=1e-4)
        assert len(asked) == 4
