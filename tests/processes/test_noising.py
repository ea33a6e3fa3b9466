"""Laws of noising, its reverse and time grids. Oracles: Gaussian data, and schedules differentiated by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion.processes import (
    SDE,
    AbstractNoising,
    AbstractSDE,
    VarianceExploding,
    forward,
    geometric_grid,
    karras_grid,
    noise_level,
    reverse,
    time_of,
)
from manifold_diffusion.scores import KernelScore


class Cosine(AbstractNoising):
    """A noising with a signal that shrinks, alpha = cos, sigma = sin of c t: f = -c tan, g^2 = 2 c tan, by hand."""

    def alpha(self, t):
        return jnp.cos(jnp.pi / 2 * 0.99 * t)

    def sigma(self, t):
        return jnp.sin(jnp.pi / 2 * 0.99 * t)


class GaussianScore(eqx.Module):
    """The score of N(0, variance I) noised."""

    variance: float

    def __call__(self, x, sigma):
        return -x / (self.variance + sigma**2)


NOISINGS = [VarianceExploding(3.0), Cosine()]


@pytest.mark.parametrize("noising", NOISINGS)
def test_noising_starts_at_the_data(noising):
    t = jnp.zeros(())
    assert noising.alpha(t) == 1
    assert noising.sigma(t) == 0


def test_coefficients_are_those_derived_by_hand(x64):
    t = jnp.linspace(0.05, 0.95, 7)
    x = jnp.array([0.3, -2.0])
    exploding, cosine = forward(VarianceExploding(3.0)), forward(Cosine())
    rate = np.pi / 2 * 0.99
    np.testing.assert_allclose(jax.vmap(exploding.diffusion)(t), np.sqrt(2 * 9 * t), rtol=1e-12)
    np.testing.assert_allclose(jax.vmap(cosine.diffusion)(t), np.sqrt(2 * rate * np.tan(rate * t)), rtol=1e-12)
    for i in range(len(t)):
        np.testing.assert_array_equal(exploding.drift(x, t[i]), 0 * x)
        np.testing.assert_allclose(cosine.drift(x, t[i]), -rate * np.tan(rate * t[i]) * x, rtol=1e-12)


@pytest.mark.parametrize("noising", NOISINGS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_reverse_keeps_the_variance_of_gaussian_data(x64, noising, eta):
    """For data N(0, v), V = alpha^2 v + sigma^2 at t; backwards with drift b x, V' = 2 b V - (eta g)^2."""
    v, t = 0.7, jnp.array(0.4)
    variance = lambda t: noising.alpha(t) ** 2 * v + noising.sigma(t) ** 2  # noqa: E731
    sde = reverse(noising, GaussianScore(v), eta)
    slope = sde.drift(jnp.ones(1), t)[0]
    np.testing.assert_allclose(jax.grad(variance)(t), 2 * slope * variance(t) - sde.diffusion(t) ** 2, rtol=1e-12)


@pytest.mark.parametrize("noising", NOISINGS)
def test_score_and_denoiser_at_a_time_are_those_of_the_scaled_law(x64, noising):
    """x_t has the law sum_i N(alpha y_i, sigma^2) / n, which is itself a kernel score, of scaled data."""
    data = jnp.asarray(np.random.default_rng(0).standard_normal((30, 2)))
    t, x = jnp.array(0.3), jnp.array([0.4, -0.2])
    sde = reverse(noising, KernelScore(data))
    scaled = KernelScore(noising.alpha(t) * data)
    np.testing.assert_allclose(sde.score_at(x, t), scaled(x, noising.sigma(t)), rtol=1e-10)
    np.testing.assert_allclose(sde.denoise(x, t), scaled.denoise(x, noising.sigma(t)) / noising.alpha(t), rtol=1e-10)


def test_both_kinds_of_equation_are_what_a_step_takes():
    assert isinstance(reverse(NOISINGS[0], GaussianScore(1.0)), AbstractSDE)
    assert isinstance(SDE(lambda x, t: x, lambda t: t), AbstractSDE)


def test_negative_share_of_noise_is_refused():
    with pytest.raises(ValueError, match="eta must be at least 0"):
        reverse(NOISINGS[0], GaussianScore(1.0), -1.0)


@pytest.mark.parametrize("noising", NOISINGS)
def test_time_of_inverts_the_noise_level(noising):
    levels = jnp.geomspace(1e-5, 2.9, 20)
    ts = jax.vmap(lambda s: time_of(noising, s))(levels)
    np.testing.assert_allclose(jax.vmap(lambda t: noise_level(noising, t))(ts), levels, rtol=3e-6)


@pytest.mark.parametrize("noising", NOISINGS)
@pytest.mark.parametrize("grid", [geometric_grid, karras_grid])
@pytest.mark.parametrize("final_zero", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_grids_fall_from_one_to_their_end(noising, grid, final_zero, steps):
    ts = grid(noising, 1e-3, steps, final_zero)
    assert ts.shape == (steps + 1,)
    assert ts[0] == 1
    assert jnp.all(jnp.diff(ts) < 0)
    last = ts[-2] if final_zero else ts[-1]
    assert not final_zero or ts[-1] == 0
    if steps > 1 or not final_zero:
        assert noise_level(noising, last) == pytest.approx(1e-3, rel=1e-5)


def test_grids_space_the_noise_levels_as_they_say():
    noising = VarianceExploding(10.0)
    levels = 10 * geometric_grid(noising, 1e-2, 9)[:-1]
    np.testing.assert_allclose(levels[1:] / levels[:-1], (1e-3) ** (1 / 8), rtol=1e-4)
    roots = (10 * karras_grid(noising, 1e-2, 9)[:-1]) ** (1 / 7)
    np.testing.assert_allclose(np.diff(roots), (1e-2 ** (1 / 7) - 10 ** (1 / 7)) / 8, rtol=1e-3)


def test_a_grid_without_steps_is_refused():
    with pytest.raises(ValueError, match="at least one step"):
        geometric_grid(NOISINGS[0], 1e-3, 0)
