"""Scores of measures on manifolds of any dimension, by Monte Carlo with a confidence interval.

Notation: mu = rho dvol on M of dimension k in R^d, p_sigma = mu * N(0, sigma^2 I). With y* a point of M near x, r = (x
- y*) / sigma and z = (y - y*) / sigma,

    score = (E z - r) / sigma,    E z = sum_i p_i z_i,    p_i ~ rho(y_i) exp(-z_i.(z_i - 2 r) / 2) / q(y_i),

where q = sum_c n_c q_c is that of all proposals together: the balance heuristic (Veach and Guibas, "Optimally combining
sampling techniques for Monte Carlo rendering", 1995).
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.special import ndtri

from manifold_diffusion._numerics import dot
from manifold_diffusion._small_matrices import cholesky_rows, cholesky_solve
from manifold_diffusion._types import Coordinates, Key, Point, Points, Scalar
from manifold_diffusion.geometry.manifold import (
    AbstractChart,
    AbstractManifold,
    jacobian,
    log_volume,
    nearest_coordinates,
)
from manifold_diffusion.measures.measure import AbstractMeasure, draw

_FREEDOM = 3  # of the t law of the local proposals: tails that are heavier than those of any posterior
_DEFENSIVE = 1 / 9  # of the metric in the precision: local proposals are at most 3 times as wide as the noise
# Local proposals, and from where the second one is searched for: so many draws, and beyond x by these shares of the
# distance to the first.
_FEET, _STARTS, _BEYOND = 2, 5, (0.01, 0.1, 0.5)


class Estimated(NamedTuple):
    """A score, the half width of a confidence interval for each component, and how many equal weights are as good."""

    score: Point
    half_width: Point
    effective_size: Scalar


class MonteCarloScore(eqx.Module):
    """The score of a measure, from draws of it and from local proposals; normalised importance sampling.

    Half of the points are draws of the measure, the other half surround the nearest point y* of x and another point
    that is locally the nearest, if a search finds one: with a chart u -> f(u) at such a foot, u - u* = sigma P^{-1/2}
    t, where P = J^T J - (x - y*).f'' + J^T J / 9 is nearly the Hessian of half the squared distance and t has a
    multivariate t law. Points further than `radius` from the foot, in the metric there, are left out, and so are those
    whose coordinates the chart does not give back: inside, the chart must be one to one. By default it is the reach.

    The random numbers are fixed, so this is a function of x; its derivative takes the points for constants, and is the
    covariance of y under their weights. `measure.log_density` must be normalised. The cost is that of `size` charts a
    point, and under `jax.vmap` the memory is O(points size d).

    Where M has more than two parts that are as near to x as the noise allows, and few draws meet them, what is missed
    is not in the confidence interval.
    """

    measure: AbstractMeasure
    draws: Points
    log_densities: Float[Array, " n"]
    steps: Float[Array, "feet m k"]
    radius: Scalar

    def __init__(self, measure: AbstractMeasure, size: int, key: Key, radius: float | Scalar | None = None):
        if size < 8:
            raise ValueError(f"a Monte Carlo score takes at least 8 points, got {size}; thousands are usual")
        self.radius = jnp.asarray(_default_radius(measure.manifold) if radius is None else radius, dtype=float)
        of_draws, of_steps = jax.random.split(key)
        each = size // (2 * _FEET)
        self.measure = measure
        self.draws = draw(measure.sample, of_draws, size - _FEET * each)
        self.log_densities = jax.vmap(measure.log_density)(self.draws)
        self.steps = _student(of_steps, (_FEET, each, measure.manifold.dim), self.draws.dtype)

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        """grad_x log p_sigma(x), estimated."""
        return self.estimate(x, sigma).score

    def denoise(self, x: Point, sigma: Scalar | float) -> Point:
        """E[X_0 | X_0 + sigma Z = x], estimated."""
        return x + jnp.asarray(sigma, x.dtype) ** 2 * self(x, sigma)

    def estimate(self, x: Point, sigma: Scalar | float, confidence: float = 0.95) -> Estimated:
        """The score with a confidence interval by the delta method: its variance is that of sum_i p_i (z_i - E z) /
        sigma, whose terms are independent and, for each proposal, identically distributed.
        """
        score, p, terms = _weighted(self, x, jnp.asarray(sigma, x.dtype))
        ends = np.cumsum([len(self.draws), *[self.steps.shape[1]] * _FEET])
        variance = sum(_sum_variance(part) for part in jnp.split(terms, ends[:-1]))
        return Estimated(score, float(ndtri((1 + confidence) / 2)) * jnp.sqrt(variance), 1 / jnp.sum(p * p))


# Compiled once, for calls outside of jit.
@eqx.filter_jit
def _weighted(score: MonteCarloScore, x: Point, sigma: Scalar) -> tuple[Point, Float[Array, " n"], Points]:
    """The score, the weights p_i, and the terms p_i (z_i - E z) / sigma of its error."""
    fixed = jax.tree.map(lambda a: jax.lax.stop_gradient(a) if eqx.is_array(a) else a, (score, x, sigma))
    foot, offsets, log_weights = _points(*fixed)
    r, z = (x - foot) / sigma, offsets / sigma
    p = jax.nn.softmax(log_weights - jnp.sum(z * (z - 2 * r[None, :]), axis=1) / 2)
    mean = dot(p, z)
    return (mean - r) / sigma, p, p[:, None] * (z - mean[None, :]) / sigma


class _Local(NamedTuple):
    """The local proposal at the point y = f(u) near x: f, and the rows of the Cholesky factor of P / sigma^2."""

    chart: AbstractChart
    u: Coordinates
    point: Point
    metric: Float[Array, "k k"]
    root: Float[Array, "k k"]


def _student(key: Key, shape: tuple[int, ...], dtype) -> Array:
    """Draws of the multivariate t law, along the last axis: normal vectors over the root of a mean of squares."""
    normals = jax.random.normal(key, (*shape[:-1], shape[-1] + _FREEDOM), dtype)
    return normals[..., : shape[-1]] / jnp.sqrt(jnp.mean(normals[..., shape[-1] :] ** 2, axis=-1, keepdims=True))


def _log_student(square: Scalar, k: int) -> Scalar:
    """The log density of that law at a point of the given squared length."""
    half = (_FREEDOM + k) / 2
    constant = math.lgamma(half) - math.lgamma(_FREEDOM / 2) - k / 2 * math.log(_FREEDOM * math.pi)
    return constant - half * jnp.log1p(square / _FREEDOM)


def _default_radius(manifold: AbstractManifold) -> Scalar:
    try:
        return manifold.reach()
    except (AttributeError, ValueError) as unknown:
        raise ValueError(
            f"{type(manifold).__name__} does not know its reach; pass radius, within which its charts are one to one"
        ) from unknown


def _sum_variance(terms: Float[Array, "n d"]) -> Float[Array, " d"]:
    """The variance of the sum of n independent terms of one law."""
    n = len(terms)
    return n / (n - 1) * jnp.sum((terms - jnp.mean(terms, axis=0, keepdims=True)) ** 2, axis=0)


def _points(score: MonteCarloScore, x: Point, sigma: Scalar) -> tuple[Point, Points, Float[Array, " n"]]:
    """y*, all points less y*, and log rho / q at them."""
    manifold, draws = score.measure.manifold, score.draws.astype(x.dtype)
    densities, steps, radius = (a.astype(x.dtype) for a in (score.log_densities, score.steps, score.radius))
    feet = _feet(manifold, draws, x)
    near = jax.vmap(lambda y: _local(manifold, y, x, sigma))(feet)
    moves, offsets = jax.vmap(lambda local, ts: jax.vmap(lambda t: _propose(local, t))(ts))(near, steps)
    made, each = (feet[:, None, :] + offsets).reshape(-1, len(x)), steps.shape[1]
    points = jnp.concatenate([draws, made])
    log_rho = jnp.concatenate([densities, jax.vmap(score.measure.log_density)(made)])
    # Each proposal knows its own points better than by their coordinates.
    maker = np.repeat(np.arange(-1, _FEET), [len(draws), *[each] * _FEET])
    own = jnp.asarray(maker[None, :] == np.arange(_FEET)[:, None])
    known = jnp.concatenate([jnp.zeros((len(draws), moves.shape[2]), x.dtype), moves.reshape(-1, moves.shape[2])])
    log_q, there = jax.vmap(
        lambda local, own: jax.vmap(lambda y, v, o: _log_proposal(local, radius, y, v, o))(points, known, own)
    )(near, own)
    used = (maker < 0) | jnp.any(there & own, axis=0)
    parts = jnp.concatenate([log_rho[None, :] + math.log(len(draws)), log_q + math.log(each)])
    log_weights = jnp.where(used & (log_rho > -jnp.inf), log_rho - jax.nn.logsumexp(parts, axis=0), -jnp.inf)
    gaps = jnp.concatenate([draws - feet[:1], (offsets + (feet - feet[:1])[:, None, :]).reshape(-1, len(x))])
    return feet[0], gaps, log_weights


def _feet(manifold: AbstractManifold, draws: Points, x: Point) -> Float[Array, "feet d"]:
    """The nearest point y* of x, and the best other end of Newton searches; y* again where all of them end there.

    They start at the nearest points of x + c (x - y*), which for a c that is large enough lie on the other side of the
    medial axis, and at draws near x but further from y* than half its distance.
    """
    first = manifold.project(x)
    square = jnp.sum((x - first) ** 2)

    def distances(ys):
        return jnp.sum((ys - x[None, :]) ** 2, axis=1), jnp.sum((ys - first[None, :]) ** 2, axis=1)

    def end(start):
        chart = manifold.chart(start)
        return chart.embed(nearest_coordinates(chart, x, chart.coordinates(start)))

    far, apart = distances(draws)
    near = jax.lax.top_k(-jnp.where(apart > square / 4, far, jnp.inf), min(_STARTS, len(draws)))[1]
    beyond = jax.vmap(lambda c: manifold.project(x + c * (x - first)))(jnp.asarray(_BEYOND, x.dtype))
    ends = jax.vmap(end)(jnp.concatenate([beyond, draws[near]]))
    far, apart = distances(ends)
    other = jnp.where((apart > square / 100) & jnp.isfinite(far), far, jnp.inf)
    best = jnp.argmin(other)
    return jnp.stack([first, jnp.where(other[best] < jnp.inf, ends[best], first)])


def _local(manifold: AbstractManifold, y: Point, x: Point, sigma: Scalar) -> _Local:
    chart = manifold.chart(y)
    u = chart.coordinates(y)
    J, second = jacobian(chart, u), jax.jacfwd(jax.jacfwd(chart.embed))(u)
    metric = dot(J.T, J)
    hessian = metric - jnp.einsum("d,dij->ij", x - y, second, precision="highest")
    root = _lower(hessian + _DEFENSIVE * metric)
    return _Local(chart, u, y, metric, jnp.where(jnp.all(jnp.isfinite(root)), root, _lower(metric)) / sigma)


def _lower(matrix: Float[Array, "k k"]) -> Float[Array, "k k"]:
    rows = cholesky_rows(matrix)
    return jnp.stack([jnp.stack([*row, *[jnp.zeros_like(row[0])] * (len(rows) - len(row))]) for row in rows])


def _propose(local: _Local, t: Coordinates) -> tuple[Coordinates, Point]:
    """v = P^{-1/2} t and f(u + v) - f(u)."""
    rows = [[local.root[i, j] for j in range(i + 1)] for i in range(len(t))]
    v = cholesky_solve(rows, dot(local.root, t))
    return v, _difference(local.chart, local.u, v)


def _log_proposal(
    local: _Local, radius: Scalar, y: Point, known: Coordinates, own: Bool[Array, ""]
) -> tuple[Scalar, Bool[Array, ""]]:
    """The log density of a local proposal at a point of the manifold, with respect to volume, and whether it is not 0.

    The chart has to give the point's coordinates back: the known ones where the point is the proposal's own.
    """
    found = local.chart.coordinates(y) - local.u
    eps = 100 * jnp.finfo(y.dtype).eps
    v = jnp.where(own, known, found)
    back = _norm(local.chart.embed(local.u + v) - y) <= 0.01 * _norm(y - local.point) + eps * _norm(y)
    forth = _norm(found - v) <= 0.01 * _norm(v) + eps * (1 + _norm(local.u))
    there = back & forth & (dot(v, dot(local.metric, v)) <= radius**2)
    t = dot(local.root.T, v)
    log_root = jnp.sum(jnp.log(jnp.diagonal(local.root)))
    log_density = _log_student(jnp.sum(t * t), len(v)) + log_root - log_volume(local.chart, local.u + v)
    return jnp.where(there, log_density, -jnp.inf), there


def _difference(chart: AbstractChart, u: Coordinates, v: Coordinates) -> Point:
    """f(u + v) - f(u): the integral of Df(u + s v) v over s in [0, 1] by Gauss, which has no cancellation, where it
    agrees with the plain difference to the rounding of the latter.
    """
    nodes, weights = (jnp.asarray(a, v.dtype) / 2 for a in np.polynomial.legendre.leggauss(4))
    slopes = jax.vmap(lambda s: jax.jvp(chart.embed, (u + (s + 0.5) * v,), (v,))[1])(nodes)
    integral, start, end = dot(weights, slopes), chart.embed(u), chart.embed(u + v)
    steep = _norm(slopes[0]) / jnp.maximum(_norm(v), jnp.finfo(v.dtype).tiny)
    rounding = 2 * jnp.finfo(v.dtype).eps * (_norm(start) + _norm(end) + steep * (_norm(u) + _norm(v)))
    return jnp.where(_norm(integral - (end - start)) <= rounding, integral, end - start)


def _norm(v: Float[Array, " d"]) -> Scalar:
    return jnp.sqrt(jnp.sum(v * v))  # nothing here is differentiated
