"""Losses: what their means are, in closed form on Gaussian data, and what they ask for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import training
from manifold_diffusion.geometry import Sphere

S, SIGMA, DRAWS = 0.8, 0.5, 40_000


class Linear:
    """D(y) = a y."""

    def __init__(self, a):
        self.a = a

    def __call__(self, y, sigma):
        return self.a * y


def constant_noise(key):
    return jnp.asarray(SIGMA)


def constant_weight(sigma):
    return jnp.asarray(2.0)


def exact_mean(y, sigma):
    return S**2 / (S**2 + sigma**2) * y


LOSSES = {
    "denoising": training.Denoising(constant_noise, constant_weight),
    "rao-blackwellised": training.RaoBlackwellised(constant_noise, constant_weight, exact_mean),
    "implicit": training.Implicit(constant_noise, constant_weight),
    "sliced": training.Sliced(constant_noise, constant_weight),
}


def mean_loss(loss, a, key):
    """(mean, its standard error) over x ~ N(0, S^2 I) in the plane."""

    def one(i):
        place, rest = jax.random.split(jax.random.fold_in(key, i))
        return loss(Linear(a), rest, S * jax.random.normal(place, (2,)))

    values = np.asarray(jax.jit(jax.vmap(one))(jnp.arange(DRAWS)), np.float64)
    return values.mean(), values.std() / np.sqrt(DRAWS)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_differ_between_models_as_their_errors_do(name, key):
    """E w |D - x|^2 = 2 w ((a - 1)^2 S^2 + a^2 sigma^2) in the plane; the others have the same but for a constant."""
    exact = lambda a: 2 * 2.0 * ((a - 1) ** 2 * S**2 + a**2 * SIGMA**2)  # noqa: E731
    (low, low_error), (high, high_error) = (mean_loss(LOSSES[name], a, key) for a in (0.3, 0.9))
    assert abs((high - low) - (exact(0.9) - exact(0.3))) < 4 * (low_error + high_error)
    assert abs(exact(0.9) - exact(0.3)) > 8 * (low_error + high_error)


def test_constants_between_the_losses(key):
    """Denoising itself; without the variance of x given y where it is Rao-Blackwellised; without E w |x - y|^2 where it
    is implicit or sliced."""
    a = 0.9
    denoising = 2 * 2.0 * ((a - 1) ** 2 * S**2 + a**2 * SIGMA**2)
    posterior = 2 * 2.0 * S**2 * SIGMA**2 / (S**2 + SIGMA**2)
    noise = 2 * 2.0 * SIGMA**2
    expected = {"denoising": denoising, "rao-blackwellised": denoising - posterior}
    expected |= {name: denoising - noise for name in ("implicit", "sliced")}
    for name, value in expected.items():
        found, error = mean_loss(LOSSES[name], a, key)
        assert abs(found - value) < 4 * error, name


def test_below_its_level_only_the_error_along_counts(key):
    circle = Sphere(1)
    x = jnp.asarray([0.6, 0.8])

    def loss(level, error):
        model = lambda y, sigma: x + error  # noqa: E731
        return float(training.TangentialBelow(constant_noise, constant_weight, circle, level)(model, key, x))

    _, y, _ = training.noised(constant_noise, key, x)
    foot = y / jnp.linalg.norm(y)
    along = jnp.asarray([-foot[1], foot[0]])
    mixed = 0.3 * along + 0.4 * foot
    assert loss(0.6, mixed) == pytest.approx(2.0 * 0.09, rel=1e-5)
    assert loss(0.4, mixed) == pytest.approx(2.0 * 0.25, rel=1e-5)


def test_noise_levels_have_the_laws_they_are_named_for(key):
    keys = jax.random.split(key, 20_000)
    normal = np.log(np.asarray(jax.vmap(training.LogNormal(0.3, 1.2))(keys)))
    assert normal.mean() == pytest.approx(np.log(0.3), abs=0.04)
    assert normal.std() == pytest.approx(1.2, abs=0.03)
    uniform = np.log(np.asarray(jax.vmap(training.LogUniform(0.01, 10.0))(keys)) / 0.01) / np.log(1000.0)
    assert uniform.min() > 0
    assert uniform.max() < 1
    np.testing.assert_allclose(np.quantile(uniform, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.015)


def test_the_default_loss_is_the_one_that_is_said(x64):
    loss = training.karras_denoising(0.7)
    assert float(loss.noise.median) == pytest.approx(0.42)
    assert float(loss.noise.spread) == pytest.approx(1.2)
    assert float(loss.weight(jnp.asarray(0.2))) == pytest.approx(1 / 0.7**2 + 1 / 0.2**2)


def test_the_balanced_weight_is_that_of_the_networks_own_error():
    """lambda = 1 / c_out^2."""
    s, sigma = 0.7, 0.2
    c_out = sigma * s / np.sqrt(sigma**2 + s**2)
    assert float(training.BalancedWeight(s)(jnp.asarray(sigma))) == pytest.approx(1 / c_out**2, rel=1e-5)
