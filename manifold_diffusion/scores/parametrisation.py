"""What networks predict, and at which noise: scores from predicted noise, and of variance-preserving processes."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from manifold_diffusion._types import Point, Scalar, Score
from manifold_diffusion.processes import AbstractNoising, Reverse, noise_level, reverse, time_of


class _FromEpsilon(eqx.Module):
    epsilon: Callable[[Point, Scalar], Point]

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        sigma = jnp.asarray(sigma, x.dtype)
        return -self.epsilon(x, sigma) / sigma

    def denoise(self, x: Point, sigma: Scalar | float) -> Point:
        sigma = jnp.asarray(sigma, x.dtype)
        return x - sigma * self.epsilon(x, sigma)


class _Epsilon(eqx.Module):
    score: Score

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        sigma = jnp.asarray(sigma, x.dtype)
        return -sigma * self.score(x, sigma)


class _ToPreserving(eqx.Module):
    equation: Reverse

    def __call__(self, x: Point, t: Scalar | float) -> Point:
        return self.equation.score_at(x, jnp.asarray(t, x.dtype))

    def denoise(self, x: Point, t: Scalar | float) -> Point:
        return self.equation.denoise(x, jnp.asarray(t, x.dtype))


class _FromPreserving(eqx.Module):
    function: Callable[[Point, Scalar], Point]
    noising: AbstractNoising

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        t = _time(self.noising, jnp.asarray(sigma, x.dtype))
        alpha = self.noising.alpha(t)
        return alpha * self.function(alpha * x, t)

    def denoise(self, x: Point, sigma: Scalar | float) -> Point:
        return x + jnp.asarray(sigma, x.dtype) ** 2 * self(x, sigma)


def from_epsilon(epsilon: Callable[[Point, Scalar], Point]) -> Score:
    """s(x, sigma) = -eps(x, sigma) / sigma from the predicted noise E[Z | X_0 + sigma Z = x]; D = x - sigma eps."""
    return _FromEpsilon(epsilon)


def epsilon(score: Score) -> Callable[[Point, Scalar], Point]:
    """eps(x, sigma) = -sigma s(x, sigma), the noise that a score predicts."""
    return _Epsilon(score)


def to_variance_preserving(score: Score, noising: AbstractNoising) -> Callable[[Point, Scalar], Point]:
    """s_t(x) = s(x / alpha, sigma / alpha) / alpha, a function of (x, t): the score of x_t = alpha(t) x_0 + sigma(t) z.

    Its `denoise(x, t)` is E[x_0 | x_t = x].
    """
    return _ToPreserving(reverse(noising, score))


def from_variance_preserving(function: Callable[[Point, Scalar], Point], noising: AbstractNoising) -> Score:
    """s(x, sigma) = alpha(t) s_t(alpha(t) x) with sigma(t) / alpha(t) = sigma, from the score s_t(x) of the law of
    x_t = alpha(t) x_0 + sigma(t) z, given as a function of (x, t).

    It differentiates in sigma too. At noise levels above that of t = 1, of which the function knows nothing, it is NaN.
    """
    return _FromPreserving(function, noising)


def _time(noising: AbstractNoising, level: Scalar) -> Scalar:
    """`time_of` with its derivative: one step of Newton's method, which at the solution changes nothing else."""
    t = jax.lax.stop_gradient(time_of(noising, level))
    slope = jax.lax.stop_gradient(jax.grad(lambda t: noise_level(noising, t))(t))
    known = level <= jax.lax.stop_gradient(noise_level(noising, jnp.ones_like(t))) * (1 + 8 * jnp.finfo(t.dtype).eps)
    residual = level - noise_level(noising, t)
    steep = jnp.isfinite(slope) & (slope > 0)
    change = jnp.where(steep, residual / jnp.where(steep, slope, 1.0), 0.0)
    # The value of the step is that of rounding; the derivative is dt / dlevel = 1 / slope.
    return jnp.where(known, t + change - jax.lax.stop_gradient(change), jnp.nan)
