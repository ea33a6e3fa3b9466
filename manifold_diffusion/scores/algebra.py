"""Scores made of scores: with an error, tempered, blended, guided, and their tangential and normal parts.

Every result is again a score, (x, sigma) -> s(x, sigma), and has the `denoise` that belongs to it by Tweedie's formula,
D(x, sigma) = x + sigma^2 s(x, sigma). It is made from the denoisers of the parts, so that nothing of the order of
sigma^-2 cancels. All formulas are derived. x keeps its precision, whatever that of the numbers given here.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._types import Point, Scalar, Score
from manifold_diffusion.geometry.manifold import AbstractManifold, as_module
from manifold_diffusion.scores.score import denoiser

Weight = float | int | Scalar | Callable[[Scalar], Scalar]
"""A number, or a function of the noise level."""


class _Perturbed(eqx.Module):
    score: Score
    error: Callable[[Point], Point]
    exponent: Float[Array, ""]

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        return self.score(x, _level(sigma, x)) + self._shift(x, sigma, 0)

    def denoise(self, x: Point, sigma: Scalar | float) -> Point:
        return denoiser(self.score)(x, _level(sigma, x)) + self._shift(x, sigma, 2)

    def _shift(self, x, sigma, power):
        return _level(sigma, x) ** (power - self.exponent.astype(x.dtype)) * self.error(x)


class _Gradient(eqx.Module):
    potential: Callable[[Point], Scalar]

    def __call__(self, x: Point) -> Point:
        return jax.grad(self.potential)(x)


class _Tempered(eqx.Module):
    score: Score
    exponent: Float[Array, ""]

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        return self._factor(x, sigma) * self.score(x, _level(sigma, x))

    def denoise(self, x: Point, sigma: Scalar | float) -> Point:
        return x + self._factor(x, sigma) * (denoiser(self.score)(x, _level(sigma, x)) - x)

    def _factor(self, x, sigma):
        return _level(sigma, x) ** self.exponent.astype(x.dtype)


class _Blend(eqx.Module):
    first: Score
    second: Score
    weight: Any

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        return self._mean(self.first, self.second, x, sigma)

    def denoise(self, x: Point, sigma: Scalar | float) -> Point:
        return self._mean(denoiser(self.first), denoiser(self.second), x, sigma)

    def _mean(self, first, second, x, sigma):
        sigma = _level(sigma, x)
        w = _at(self.weight, sigma)
        return (1 - w) * first(x, sigma) + w * second(x, sigma)


class _Part(eqx.Module):
    score: Score
    manifold: AbstractManifold
    normal: bool = eqx.field(static=True)

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        return self._part(x, self.score(x, _level(sigma, x)))

    def denoise(self, x: Point, sigma: Scalar | float) -> Point:
        return x + self._part(x, denoiser(self.score)(x, _level(sigma, x)) - x)

    def _part(self, x, v):
        along = self.manifold.tangent(self.manifold.project(x), v)
        return v - along if self.normal else along


class _Guided(eqx.Module):
    score: Score
    log_likelihood: Callable[[Point], Scalar]
    weight: Any
    denoised: bool = eqx.field(static=True)

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        sigma = _level(sigma, x)
        return self.score(x, sigma) + self._pull(x, sigma)

    def denoise(self, x: Point, sigma: Scalar | float) -> Point:
        sigma = _level(sigma, x)
        return denoiser(self.score)(x, sigma) + sigma**2 * self._pull(x, sigma)

    def _pull(self, x, sigma):
        def log_likelihood(x):
            return self.log_likelihood(denoiser(self.score)(x, sigma) if self.denoised else x)

        return _at(self.weight, sigma) * jax.grad(log_likelihood)(x)


def perturb(score: Score, error: Callable[[Point], Point], exponent: float | int | Scalar) -> Score:
    """s(x, sigma) + sigma^-a e(x): a score with an error that grows with the exponent a.

    Errors of an order below sigma^-2 leave the support alone and those of order one change the density ("When Scores
    Learn Geometry", arXiv 2509.24912).
    """
    return _Perturbed(score, as_module(error), jnp.asarray(exponent, dtype=float))


def perturb_potential(score: Score, potential: Callable[[Point], Scalar], exponent: float | int | Scalar) -> Score:
    """s(x, sigma) + sigma^-a grad phi(x): the score of p_sigma exp(sigma^-a phi), up to its normaliser."""
    return perturb(score, _Gradient(as_module(potential)), exponent)


def temper(score: Score, exponent: float | int | Scalar) -> Score:
    """sigma^alpha s(x, sigma): the score of p_sigma to the power sigma^alpha, up to its normaliser (arXiv 2509.24912,
    where its Langevin dynamics tend to the uniform law for 0 < alpha < 2).
    """
    return _Tempered(score, jnp.asarray(exponent, dtype=float))


def blend(first: Score, second: Score, weight: Weight) -> Score:
    """(1 - w) first + w second, with w a number or a function of sigma: the score of the geometric mean of the laws."""
    return _Blend(first, second, _weight(weight))


def tangential(score: Score, manifold: AbstractManifold) -> Score:
    """P_T s(x, sigma), P_T the projection onto the tangent space of the manifold, true or estimated, at Pi(x)."""
    return _Part(score, manifold, normal=False)


def normal(score: Score, manifold: AbstractManifold) -> Score:
    """(I - P_T) s(x, sigma), what is left of the score without its part along the manifold."""
    return _Part(score, manifold, normal=True)


def guide(score: Score, log_likelihood: Callable[[Point], Scalar], weight: Weight = 1.0) -> Score:
    """s(x, sigma) + w grad log L(x): the score of p_sigma L^w, a likelihood of the noised point."""
    return _Guided(score, as_module(log_likelihood), _weight(weight), denoised=False)


def guide_denoised(score: Score, log_likelihood: Callable[[Point], Scalar], weight: Weight = 1.0) -> Score:
    """s(x, sigma) + w grad_x log L(D(x, sigma)): a likelihood of the data, taken at their mean (diffusion posterior
    sampling, arXiv 2209.14687, eq. 11). It takes one derivative of the denoiser, in reverse mode.
    """
    return _Guided(score, as_module(log_likelihood), _weight(weight), denoised=True)


def _level(sigma, x):
    return jnp.asarray(sigma, x.dtype)


def _weight(weight: Weight):
    return as_module(weight) if callable(weight) else jnp.asarray(weight, dtype=float)


def _at(weight, sigma):
    return jnp.asarray(weight(sigma) if callable(weight) else weight, sigma.dtype)
