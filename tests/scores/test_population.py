"""Laws of exact scores of measures on manifolds. Oracles: scipy's Bessel functions, quadrature of the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special

from manifold_diffusion._bessel import log_scaled_bessel, mean_resultant_quotient
from manifold_diffusion.geometry import Sphere
from manifold_diffusion.scores import KernelScore, ProjectionScore, VonMisesFisherScore, population_score

RADII = np.array(
    [1e-6, 1e-3, 0.1, 1.0, 5.0, 10.0, 30.0, 60.0, 100.0, 200.0, 400.0, 700.0, 1e3, 2e3, 5e3, 1e4, 1e6, 1e8]
)


@pytest.mark.parametrize("d", [2, 3, 4, 5, 8, 11, 30])
def test_bessel_quotients_are_scipys(x64, d):
    nu = d / 2 - 1
    expected = scipy.special.ive(nu + 1, RADII) / scipy.special.ive(nu, RADII) / RADII
    quotient = jax.vmap(lambda s: mean_resultant_quotient(d, s))(jnp.asarray(RADII) ** 2)
    kept = np.isfinite(expected) & (expected > 0)
    np.testing.assert_allclose(np.asarray(quotient)[kept], expected[kept], rtol=2e-13)
    log_bessel = jax.vmap(lambda s: log_scaled_bessel(d, s))(jnp.asarray(RADII) ** 2)
    direct = np.log(scipy.special.ive(nu, RADII[3:])) - nu * np.log(RADII[3:])
    np.testing.assert_allclose(log_bessel[3:], direct, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("d", [2, 3, 4, 11])
def test_bessel_quotients_hold_in_single_precision(d):
    single = jax.vmap(lambda s: mean_resultant_quotient(d, s))(jnp.asarray(RADII, jnp.float32) ** 2)
    with jax.enable_x64(True):
        double = jax.vmap(lambda s: mean_resultant_quotient(d, s))(
            jnp.asarray(np.asarray(RADII, np.float32), jnp.float64) ** 2
        )
    np.testing.assert_allclose(single, double, rtol=2e-6)


def test_mean_resultant_on_the_sphere_is_the_langevin_function(x64):
    r = jnp.linspace(0.5, 300.0, 50)
    quotient = jax.vmap(lambda s: mean_resultant_quotient(3, s))(r**2)
    np.testing.assert_allclose(quotient * r, 1 / jnp.tanh(r) - 1 / r, rtol=1e-13)
    assert mean_resultant_quotient(3, jnp.zeros(())) == pytest.approx(1 / 3, rel=1e-14)


@pytest.mark.parametrize("d", [2, 3, 4, 7])
@pytest.mark.parametrize("concentration", [0.0, 2.5])
def test_density_of_a_noised_von_mises_fisher_law_is_the_integral(x64, d, concentration):
    """p_sigma at c m: the integrand depends on the latitude t = m.y alone, so it is a one-dimensional integral."""
    sigma, area = 0.4, 2 * np.pi ** ((d - 1) / 2) / scipy.special.gamma((d - 1) / 2)
    score = VonMisesFisherScore(jnp.eye(d)[0], concentration)

    def latitudes(f):
        integrand = lambda a: f(np.cos(a)) * np.exp(concentration * np.cos(a)) * np.sin(a) ** (d - 2)  # noqa: E731
        return area * scipy.integrate.quad(integrand, 0, np.pi, epsabs=1e-14, epsrel=1e-13)[0]

    def gaussian(c):
        return lambda t: np.exp(-(c * c - 2 * c * t + 1) / (2 * sigma**2)) / (2 * np.pi * sigma**2) ** (d / 2)

    total = latitudes(lambda t: 1.0)
    for c in (-0.7, 0.2, 1.3):
        at = gaussian(c)
        p, first = latitudes(at), latitudes(lambda t, at=at: t * at(t))
        x = c * jnp.eye(d)[0]
        assert score.log_density(x, sigma) == pytest.approx(np.log(p / total), rel=1e-10, abs=1e-10)
        np.testing.assert_allclose(score.denoise(x, sigma), first / p * np.eye(d)[0], atol=1e-10)


@pytest.mark.parametrize("d", [2, 3, 6])
def test_score_is_the_gradient_of_the_log_density(x64, d):
    score = VonMisesFisherScore(jnp.arange(1.0, d + 1), 3.0)
    x = jax.random.normal(jax.random.key(1), (10, d))
    gradient, direct = jax.jit(jax.vmap(lambda p: (jax.grad(score.log_density)(p, 0.3), score(p, 0.3))))(x)
    np.testing.assert_allclose(direct, gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("d", [2, 3, 4])
def test_tiny_noise_gives_the_projection_without_overflow(d):
    """At sigma -> 0 the denoiser is x / |x| up to sigma^2, in float32."""
    score = VonMisesFisherScore(jnp.eye(d)[0], 2.0)
    x = 1.001 * jax.random.normal(jax.random.key(1), (10, d))
    of = jax.jit(jax.vmap(lambda p, s: (score.denoise(p, s), score.log_density(p, s)), (0, None)))
    for sigma in (1e-3, 1e-5):
        denoised, density = of(x, sigma)
        projected = jax.vmap(Sphere(d - 1).project)(x)
        np.testing.assert_allclose(denoised, projected, atol=20 * sigma**2 + 1e-6)
        assert jnp.all(jnp.isfinite(density))


@pytest.mark.parametrize("k", [1, 2])
def test_quadrature_on_charts_agrees_with_the_closed_form(x64, k):
    direction = jnp.ones(k + 1) / jnp.sqrt(k + 1.0)
    exact = VonMisesFisherScore(direction, 3.0)
    score = population_score(Sphere(k), lambda y: 3 * jnp.sum(direction * y), 160 if k == 1 else 40, sigma_min=0.1)
    x = jax.random.normal(jax.random.key(0), (20, k + 1))
    x = x / jnp.linalg.norm(x, axis=1, keepdims=True) * jnp.linspace(0.8, 1.2, 20)[:, None]
    of = jax.jit(lambda s, sigma: jax.vmap(lambda p: (s(p, sigma), s.denoise(p, sigma), s.log_density(p, sigma)))(x))
    for sigma in (0.1, 0.5):
        for ours, theirs in zip(of(score, sigma), of(exact, sigma), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-7)


def test_too_coarse_a_quadrature_is_refused_with_the_order_that_is_enough():
    with pytest.raises(ValueError, match="use order=") as refused:
        population_score(Sphere(1), lambda y: 0.0 * y[0], 64, sigma_min=0.01)
    enough = int(str(refused.value).split("order=")[-1].split()[0])
    score = population_score(Sphere(1), lambda y: 0.0 * y[0], enough, sigma_min=0.01)
    assert score.resolves(0.01)
    assert not score.resolves(0.001)


def test_kernel_score_of_many_draws_tends_to_the_population_score():
    uniform = VonMisesFisherScore(jnp.array([0.0, 0.0, 1.0]), 0.0)
    draws = jax.random.normal(jax.random.key(0), (20_000, 3))
    draws = draws / jnp.linalg.norm(draws, axis=1, keepdims=True)
    x, kernel = jax.random.normal(jax.random.key(1), (30, 3)), KernelScore(draws)
    of = jax.jit(lambda s: jax.vmap(lambda p: (s.denoise(p, 0.5), s.log_density(p, 0.5)))(x))
    (denoised, density), (expected, log_p) = of(kernel), of(uniform)
    # The posterior standard deviation is below 1, and the effective sample size in the thousands.
    assert jnp.max(jnp.abs(denoised - expected)) < 0.05
    np.testing.assert_allclose(density, log_p, atol=0.3)


def test_projection_score_is_the_leading_term():
    """sigma^2 |s - s_coarse| = O(sigma^2) near the manifold."""
    exact, coarse = VonMisesFisherScore(jnp.array([0.0, 0.0, 1.0]), 1.0), ProjectionScore(Sphere(2))
    x = jnp.array([0.6, 0.7, -0.5])
    gaps = [jnp.linalg.norm(exact.denoise(x, s) - coarse.denoise(x, jnp.float32(s))) for s in (0.2, 0.1, 0.05)]
    assert 3.3 < gaps[0] / gaps[1] < 4.7
    assert 3.3 < gaps[1] / gaps[2] < 4.7
    s = jnp.float32(0.1)
    np.testing.assert_allclose(coarse(x, s), (coarse.denoise(x, s) - x) / s**2, rtol=1e-5)
