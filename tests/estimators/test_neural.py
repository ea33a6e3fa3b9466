"""Quick laws of the estimators with networks. The laws of all estimators, which train several times, are slow."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import estimators, measures, training
from tests.catalogue import make_trained


def circle(size):
    angles = 2 * np.pi * np.random.default_rng(0).random(size)
    return jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], -1), jnp.float32)


@pytest.mark.slow
def test_training_brings_samples_to_the_manifold(key):
    """Mean distance to the unit circle; samples of the prior alone are at about 28."""
    sample = np.asarray(measures.draw(make_trained()(key, circle(200)), jax.random.key(2), 256))
    assert np.abs(np.linalg.norm(sample, axis=1) - 1).mean() < 0.15
    shares = np.histogram(np.arctan2(*sample.T), bins=6, range=(-np.pi, np.pi))[0] / 256
    assert np.all((shares > 1 / 18) & (shares < 1 / 2))


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
