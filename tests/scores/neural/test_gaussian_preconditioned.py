"""Laws of the model that starts at the best denoiser of Gaussian data. Oracle: linear algebra in numpy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion.scores import MLP, KernelScore, gaussian_preconditioned

RNG = np.random.default_rng(1)
SKEWED = (RNG.exponential(size=(300, 3)) @ np.diag([2.0, 1.0, 0.0])) @ RNG.normal(size=(3, 3)) + 5.0


def denoised(model, x, sigma):
    x = jnp.asarray(x)
    return eqx.filter_jit(model)(x, jnp.asarray(sigma, x.dtype))


def test_it_starts_at_the_posterior_mean_of_a_gaussian(x64, key):
    """c + C (C + sigma^2)^-1 (x - c), also where C has no inverse."""
    model = gaussian_preconditioned(MLP(key, 3, 8, 2), jnp.asarray(SKEWED))
    centre, covariance = SKEWED.mean(0), np.cov(SKEWED.T, bias=True)
    for sigma in (1e-3, 0.5, 20.0):
        x = SKEWED[0] + sigma * RNG.normal(size=3)
        gain = np.linalg.solve(covariance + sigma**2 * np.eye(3), covariance).T
        np.testing.assert_allclose(denoised(model, x, sigma), centre + gain @ (x - centre), rtol=1e-9)


def test_what_it_leaves_to_the_network_is_of_third_order(x64, key):
    """D - G -> E[y ((y . v)^2 - |y|^2) / 2] / sigma^2 with y = X - c, at the points c + sigma v, with D the denoiser of
    the data; what comes next is smaller by some s / sigma, here 2e-4.
    """
    sigma, v = 16_000.0, np.array([0.3, -0.8, 0.5])
    data, y = jnp.asarray(SKEWED), SKEWED - SKEWED.mean(0)
    x = jnp.asarray(SKEWED.mean(0) + sigma * v)
    model = gaussian_preconditioned(MLP(key, 3, 8, 2), data)
    left = denoised(KernelScore(data).denoise, x, sigma) - denoised(model, x, sigma)
    third = np.mean(y * ((y @ v) ** 2 - np.sum(y * y, 1))[:, None], 0) / 2
    np.testing.assert_allclose(left * sigma**2, third, rtol=0.01)


def test_a_model_of_moved_data_is_the_moved_model(x64, key):
    """Scaled and shifted together, with the network's weights at no special values."""
    network = jax.tree.map(lambda a: a + 0.3, MLP(key, 3, 8, 2))
    here, there = (gaussian_preconditioned(network, jnp.asarray(rows)) for rows in (SKEWED, 7 * SKEWED - 2))
    x = jnp.asarray(SKEWED[1] + 0.3)
    np.testing.assert_allclose(denoised(there, 7 * x - 2, 2.8), 7 * denoised(here, x, 0.4) - 2, rtol=1e-9)
