"""Kernel mixtures against von Mises-Fisher laws, and their choice of kernels on laws that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion.geometry import Sphere
from manifold_diffusion.measures import KernelMixture, VonMisesFisher, adaptive_kernel_mixture, draw, log_densities

POLE = np.array([[0.0, 0.0, 1.0]])


@pytest.mark.parametrize("concentration", [100.0, 1e4, 1e8])
def test_a_narrow_round_kernel_is_a_von_mises_fisher_law(x64, concentration):
    """They differ by O(1 / kappa): in log density by less than a few times that, out to four deviations."""
    sigma = concentration**-0.5
    kernel = KernelMixture(POLE, sigma**2 * np.eye(2)[None])
    for angle in sigma * np.array([0.0, 1.0, 2.0, 4.0]):
        x = jnp.asarray([np.sin(angle), 0.0, np.cos(angle)])
        expected = VonMisesFisher(POLE[0], concentration).log_density(x)
        np.testing.assert_allclose(kernel.log_density(x), expected, atol=20 / concentration + 1e-7)


def test_kernels_are_right_close_to_their_centres_in_single_precision():
    """At a deviation of 1e-3 a point two deviations away: exact differences, where 1 - <x, c> would be rounding."""
    centre = np.array([[0.6, 0.48, 0.64]])
    with jax.enable_x64(True):
        exact = KernelMixture(centre, 1e-6 * np.eye(2)[None])
        x = np.asarray(Sphere(2).exp(exact.centres[0], exact.frames[0] @ jnp.asarray([2e-3, 0.0])))
        expected = float(exact.log_density(jnp.asarray(np.float32(x), jnp.float64)))
    found = KernelMixture(np.float32(centre), 1e-6 * np.eye(2)[None]).log_density(jnp.asarray(np.float32(x)))
    # Rounding of x itself moves it by 6e-8, a relative 6e-5 of a deviation.
    assert float(found) == pytest.approx(expected, abs=2e-3)


@pytest.mark.slow
def test_stretched_kernels_are_chosen_where_points_follow_a_line_and_round_ones_where_not(key):
    """A great circle with a thin law across it, and a von Mises-Fisher cloud."""
    t = 2 * jnp.pi * jax.random.uniform(key, (600,))
    circle = jnp.stack([jnp.cos(t), jnp.sin(t), 0.01 * jax.random.normal(jax.random.key(1), (600,))], axis=1)
    circle = jax.vmap(Sphere(2).project)(circle)
    cloud = draw(VonMisesFisher([0.0, 0.6, 0.8], 20.0).sample, key, 600)
    grid = {
        "neighbours": (5, 10, 20),
        "factors": (0.3, 1.0, 3.0),
        "roundness": (1.0, 0.1),
        "uniform_shares": (0.0, 0.01),
    }
    assert adaptive_kernel_mixture(circle[:500], circle[500:], **grid)[1].roundness == 0.1
    mixture, choice = adaptive_kernel_mixture(cloud[:500], cloud[500:], **grid)
    # No fitted density beats the true one by more than chance; a good one comes close.
    fresh = draw(VonMisesFisher([0.0, 0.6, 0.8], 20.0).sample, jax.random.key(2), 2000)
    truth = float(jnp.mean(jax.vmap(VonMisesFisher([0.0, 0.6, 0.8], 20.0).log_density)(fresh)))
    fitted = float(jnp.mean(log_densities(mixture, fresh)))
    assert truth - 0.3 < fitted < truth + 0.02
    assert choice.log_likelihood == pytest.approx(float(jnp.mean(log_densities(mixture, cloud[500:]))), abs=1e-4)


@pytest.mark.slow
def test_duplicated_points_leave_the_fit_finite(key):
    cloud = draw(VonMisesFisher([0.0, 0.6, 0.8], 20.0).sample, key, 100)
    copies = jnp.concatenate([cloud, cloud, cloud, cloud])
    _, choice = adaptive_kernel_mixture(copies, cloud[:20], neighbours=(3,), factors=(1.0,), roundness=(1.0, 0.5))
    assert np.isfinite(choice.log_likelihood)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="unit vectors"):
        adaptive_kernel_mixture(2 * jnp.eye(3), jnp.eye(3), neighbours=(1,))
    with pytest.raises(ValueError, match="neighbours were asked of 3 points"):
        adaptive_kernel_mixture(jnp.eye(3), jnp.eye(3))
    with pytest.raises(ValueError, match="variances"):
        KernelMixture(POLE, np.eye(2)[None])
    with pytest.raises(ValueError, match="one per centre"):
        KernelMixture(POLE, np.eye(3))
