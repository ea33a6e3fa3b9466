"""Scores of measures on curves and surfaces, exactly and at any noise level: adaptive quadrature with an error bound.

Notation: mu = rho dvol on a manifold M of dimension 1 or 2 that one chart f: box -> R^d covers, p_sigma = mu * N(0,
sigma^2 I), y = f(u). With a point y* = f(u*) of M near x, r = (x - y*) / sigma and z = (y - y*) / sigma,

    |x - y|^2 - |x - y*|^2 = sigma^2 z.(z - 2 r),    m(x) = E[y | x] = y* + sigma E z,    score = (E z - r) / sigma,

and the moments of z are integrals over the box, which `panels` adapts.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from manifold_diffusion._kernel_sums import front
from manifold_diffusion._numerics import dot, safe_norm
from manifold_diffusion._types import Coordinates, Point, Scalar
from manifold_diffusion.geometry.manifold import AbstractChart, AbstractManifold, as_module
from manifold_diffusion.measures.measure import AbstractMeasure
from manifold_diffusion.scores.global_chart import global_chart
from manifold_diffusion.scores.panels import Integral, Node, first_panels, integrate, products
from manifold_diffusion.scores.taylor import Foot, difference, foot_at, length, position_rounding, stiffness

# So many points are computed at a time that their nodes stay in cache, and for each of them so many panels.
_BLOCK = 32
_BATCH = {1: 8, 2: 4}
_CAPACITY = {1: 256, 2: 512}
_WIDEST = {1: 1 / 8, 2: 1 / 4}


class Bounded(NamedTuple):
    """A score, a bound for the length of its error, and whether the quadrature met its tolerance."""

    score: Point
    error: Scalar
    converged: Bool[Array, ""]


class AdaptiveScore(eqx.Module):
    """The score of a measure on a curve or a surface, at any noise level; make it with `adaptive_score`.

    It takes one point. Under `jax.vmap` points are computed in blocks, each until the last of its points is done. It
    differentiates once in x and sigma, in forward and reverse mode, with dm/dx = Cov(y | x) / sigma^2 by the same
    quadrature; the measure is a constant. Memory is O(panels d) a point.
    """

    manifold: AbstractManifold
    chart: AbstractChart
    lower: Coordinates
    upper: Coordinates
    log_weight: Callable[[Point], Scalar]
    log_normaliser: Scalar | None
    wraps: tuple[bool, ...] = eqx.field(static=True)
    tolerance: float = eqx.field(static=True)
    panels: int = eqx.field(static=True)
    widest: float = eqx.field(static=True)

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        """grad_x log p_sigma(x)."""
        return self.bounded(x, sigma).score

    def denoise(self, x: Point, sigma: Scalar | float) -> Point:
        """E[X_0 | X_0 + sigma Z = x]."""
        return x + _posterior(self, x, jnp.asarray(sigma, x.dtype)).gap

    def log_density(self, x: Point, sigma: Scalar | float) -> Scalar:
        """log p_sigma(x)."""
        log_density = _posterior(self, x, jnp.asarray(sigma, x.dtype)).log_density
        known = _log_mass(self) if self.log_normaliser is None else self.log_normaliser
        return log_density - known.astype(x.dtype)

    def bounded(self, x: Point, sigma: Scalar | float) -> Bounded:
        """The score with a bound for its error, which covers the quadrature and the rounding of x, of M and of sums.

        Far inside M, where all of M is about as near to x, the score at a small sigma depends on digits of x that are
        not there; the bound says so.
        """
        sigma = jnp.asarray(sigma, x.dtype)
        posterior = _posterior(self, x, sigma)
        return Bounded(posterior.gap / sigma**2, posterior.error / sigma**2, posterior.converged)


def adaptive_score(
    of: AbstractManifold | AbstractMeasure,
    log_density: Callable[[Point], Scalar] | None = None,
    tolerance: float = 1e-6,
    panels: int | None = None,
    widest: float | None = None,
    log_normaliser: float | Scalar | None = None,
) -> AdaptiveScore:
    """The score of a measure, or of the density exp(log_density) on a manifold, for k <= 2.

    The manifold is one of this package that one chart covers, or comes from `geometry.from_embedding`. A density alone
    need not be normalised: `log_density` of the score computes its integral, unless `log_normaliser`, the logarithm, is
    given.

    The quadrature ends when its error bound, in sigma times the score, is below `tolerance` (in float32 not below 2e-6;
    relative to the distance of the feet where x has several), or when the box is in `panels` parts, by default 256 on
    curves and 512 on surfaces. Jumps and kinks of the density are found by adaptivity: on curves they cost nothing, on
    surfaces the error falls like one over `panels` where the posterior is as wide as the jump is long. Features of the
    density that are narrower than some hundredth of the box may go unnoticed at large noise levels: `widest`, the
    largest part of the box that a panel may span (1/8 on curves, 1/4 on surfaces), is for them.
    """
    if isinstance(of, AbstractMeasure) == (log_density is not None):
        raise ValueError("adaptive_score takes a measure alone, or a manifold and the log of a density on it")
    manifold, weight = (of.manifold, of.log_density) if isinstance(of, AbstractMeasure) else (of, log_density)
    whole, k = global_chart(manifold), manifold.dim
    known = 0.0 if isinstance(of, AbstractMeasure) else log_normaliser
    return AdaptiveScore(
        manifold=manifold,
        chart=whole.chart,
        lower=whole.lower,
        upper=whole.upper,
        log_weight=as_module(cast(Callable, weight)),
        log_normaliser=None if known is None else jnp.asarray(known, dtype=float),
        wraps=whole.wraps,
        tolerance=tolerance,
        panels=_CAPACITY[k] if panels is None else panels,
        widest=_WIDEST[k] if widest is None else widest,
    )


class _Posterior(NamedTuple):
    gap: Point
    log_density: Scalar
    error: Scalar
    converged: Bool[Array, ""]


@eqx.filter_custom_jvp
def _differentiable(score: AdaptiveScore, x: Point, sigma: Scalar) -> _Posterior:
    """m - x, log p_sigma + log_normaliser, a bound for the error of m, and whether the quadrature converged."""
    return _batched(score, x, sigma, False)[0]


@_differentiable.def_jvp
def _first_derivative(primals, tangents):
    """With q = |x - y|^2 (derived):

    dm = Cov(y, y) dx / sigma^2 + Cov(y, q) dsigma / sigma^3,
    dlog p = (m - x).dx / sigma^2 + (E q / sigma^2 - d) dsigma / sigma.
    """
    score, x, sigma = primals
    of_score, dx, dsigma = tangents
    if jax.tree.leaves(of_score):
        raise NotImplementedError("an AdaptiveScore differentiates in x and sigma; its measure is a constant")
    posterior, (covariance, along, square) = _with_second_moments(score, x, sigma)
    dx = jnp.zeros_like(x) if dx is None else dx
    dsigma = jnp.zeros_like(sigma) if dsigma is None else dsigma
    dlog = jnp.sum(posterior.gap / sigma * dx) + (square - len(x)) * dsigma
    # The bound and the flag are taken as constants.
    constant = posterior._replace(error=None, converged=None)  # pyright: ignore[reportArgumentType]
    return posterior, constant._replace(gap=dot(covariance, dx) + along * dsigma - dx, log_density=dlog / sigma)


@eqx.filter_custom_jvp
def _with_second_moments(score: AdaptiveScore, x: Point, sigma: Scalar):
    return _batched(score, x, sigma, True)


@_with_second_moments.def_jvp
def _second_derivative(primals, tangents):
    raise NotImplementedError("an AdaptiveScore differentiates once; a second derivative needs third moments")


# Compiled once, so that a call outside of jit does not compile its loops anew.
_posterior = eqx.filter_jit(_differentiable)


def _batched(score: AdaptiveScore, x: Point, sigma: Scalar, second: bool):
    """`_moments` at one point; under `jax.vmap`, in blocks of points."""
    arrays, rest = eqx.partition(score, eqx.is_array)

    @jax.custom_batching.custom_vmap
    def many(arrays, x, sigma):
        return _blocked(functools.partial(_moments, eqx.combine(arrays, rest), second), x, sigma)

    @many.def_vmap
    def _rule(size, in_batched, arrays, x, sigma):
        of_score, *of_queries = in_batched
        x, sigma = (front(size, b, a) for b, a in zip(of_queries, (x, sigma), strict=True))
        if any(jax.tree.leaves(of_score)):
            arrays = jax.tree.map(functools.partial(front, size), of_score, arrays)
            out = jax.lax.map(lambda each: many(*each), (arrays, x, sigma))
        else:
            out = many(arrays, x.reshape(-1, x.shape[-1]), sigma.reshape(-1))
            out = jax.tree.map(lambda a: a.reshape(size, -1, *a.shape[1:]), out)
        return out, jax.tree.map(lambda _: True, out)

    return jax.tree.map(lambda a: a[0], many(arrays, x[None], sigma[None]))


def _blocked(f, *batches: Array):
    """vmap(f) in blocks of equal size."""
    count = len(batches[0])
    size = -(-count // -(-count // _BLOCK))
    padded = [jnp.pad(a, ((0, -count % size), *[(0, 0)] * (a.ndim - 1)), mode="edge") for a in batches]
    out = jax.lax.map(lambda each: jax.vmap(f)(*each), tuple(a.reshape(-1, size, *a.shape[1:]) for a in padded))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:count], out)


def _moments(score: AdaptiveScore, second: bool, x: Point, sigma: Scalar):
    """The posterior and, if asked for, its second moments."""
    foot, integrand, integral = _integral(score, x, sigma)
    r = (x - foot.point) / sigma
    return _summary(foot, x, sigma, integral), _second(integrand, integral, r) if second else ()


def _integral(score: AdaptiveScore, x: Point, sigma: Scalar):
    whole = (score.manifold, score.chart, score.lower, score.upper)
    manifold, chart, lower, upper = jax.tree.map(lambda a: a.astype(x.dtype) if eqx.is_inexact_array(a) else a, whole)
    foot = foot_at(chart, chart.coordinates(manifold.project(x)))
    wraps, half = np.asarray(score.wraps), (upper - lower) / 2
    low, high = jnp.where(wraps, -half, lower - foot.u), jnp.where(wraps, half, upper - foot.u)
    first = first_panels(stiffness(foot, x - foot.point, sigma), low, high)
    integrand = functools.partial(_node, score.log_weight, chart, foot, (x - foot.point) / sigma, sigma)
    widest, batch = score.widest * half, _BATCH[len(lower)]
    return foot, integrand, integrate(integrand, first, widest, score.tolerance, score.panels, batch)


def _node(log_weight, chart: AbstractChart, foot: Foot, r: Point, sigma: Scalar, v: Coordinates) -> Node:
    """The integrand at u* + v."""
    offset, rounding, volume = difference(chart, foot, v)
    weight, z, eps = log_weight(foot.point + offset), offset / sigma, jnp.finfo(v.dtype).eps
    size, shaken, far, origin = length(z), rounding / sigma, length(r), length(foot.point) / sigma
    doubt = shaken * (size + far) + eps * size * (size + 2 * far + origin)
    doubt = doubt + eps * jnp.where(jnp.isfinite(weight), jnp.abs(weight), 0.0)
    return Node(weight - _rise(z, r) / 2, volume, z, doubt, shaken)


def _rise(z: Point, r: Point) -> Scalar:
    """(|x - y|^2 - |x - y*|^2) / sigma^2."""
    return jnp.sum(z * (z - 2 * r))


def _summary(foot: Foot, x: Point, sigma: Scalar, integral: Integral) -> _Posterior:
    """The error of E z = N / Z is (dN + |E z| dZ) / (Z - dZ)."""
    total, mean = integral.values[0], integral.values[1:-1] / integral.values[0]
    errors, r, d = integral.errors + integral.roundings, x - foot.point, len(x)
    left = total - errors[0]
    error = jnp.where(left > 0, (errors[1] + safe_norm(mean) * errors[0]) / jnp.where(left > 0, left, 1.0), jnp.inf)
    rounding = 4 * (position_rounding(foot) + jnp.finfo(x.dtype).eps * safe_norm(x))
    scale = d * (jnp.log(sigma) + 0.5 * math.log(2 * math.pi))
    return _Posterior(
        gap=sigma * mean - r,
        log_density=integral.log_scale + jnp.log(total) - jnp.sum((r / sigma) ** 2) / 2 - scale,
        error=sigma * error + rounding,
        converged=integral.converged,
    )


def _second(integrand, integral: Integral, r: Point) -> tuple[Float[Array, "d d"], Point, Scalar]:
    """Cov(y, y) / sigma^2, Cov(y, q) / sigma^3 and E q / sigma^2, q = |x - y|^2."""
    mean, d = integral.values[1:-1] / integral.values[0], len(r)

    def statistics(node: Node) -> Float[Array, " s"]:
        rise = _rise(node.offset, r)
        return jnp.concatenate([node.offset - mean, jnp.stack([rise, jnp.ones_like(rise)])])

    matrix = products(integrand, integral, statistics, _BATCH[integral.panels.centre.shape[1]])
    matrix = matrix / matrix[-1, -1]
    return matrix[:d, :d], matrix[:d, d], matrix[d, d + 1] + jnp.sum(r * r)


@eqx.filter_jit
def _log_mass(score: AdaptiveScore) -> Scalar:
    """The log of the integral of exp(log_weight) dvol: the posterior at infinite noise has that density."""
    x = score.chart.embed((score.lower + score.upper) / 2)
    integral = _integral(score, x, jnp.asarray(jnp.inf, x.dtype))[2]
    return integral.log_scale + jnp.log(integral.values[0])
