"""A manifold around a point of it, with differences from that point that keep their digits however small they are."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot, safe_norm
from manifold_diffusion._types import Coordinates, Point, Scalar
from manifold_diffusion.geometry.manifold import AbstractChart

# Of the Taylor series. Where the terms beyond it matter, plain differences have digits enough.
_ORDER = 4


class Foot(NamedTuple):
    """A point f(u) and the Taylor series of f there: the coefficients of its monomials, those of order 1 first."""

    u: Coordinates
    point: Point
    series: Float[Array, "s d"]


def foot_at(chart: AbstractChart, u: Coordinates) -> Foot:
    """The foot with coordinates u, one or two."""
    f, series = chart.embed, []
    for n in range(1, _ORDER + 1):
        f = jax.jacfwd(f)
        tensor = f(u) / math.factorial(n)
        # d^n f / du_0^(n - j) du_1^j is one of n over j equal entries of the tensor.
        entries = [(0,) * (n - j) + (1,) * j for j in range(n + 1)][: 1 if len(u) == 1 else None]
        series += [math.comb(n, sum(e)) * tensor[(slice(None), *e)] for e in entries]
    return Foot(u, chart.embed(u), jnp.stack(series))


def position_rounding(foot: Foot) -> Scalar:
    """A bound for the rounding of the point: that of f, and of u where f is steep."""
    slope = jnp.sqrt(jnp.sum(foot.series[: len(foot.u)] ** 2))
    return jnp.finfo(foot.u.dtype).eps * (safe_norm(foot.point) + slope * jnp.max(jnp.abs(foot.u)))


def stiffness(foot: Foot, r: Point, sigma: Scalar) -> Coordinates:
    """1 / s^2 for the scale s of exp(-|y* + r - f(u)|^2 / (2 sigma^2)) along each coordinate of u, y* the foot:

    max(g, h) / sigma^2 + (J.r / sigma^2)^2, with the metric g = J.J and the Hessian h = g - r.f'' of half the squared
    distance. At an edge, where its gradient J.r is not zero, the decay is exponential (derived).
    """
    J = foot.series[: len(foot.u)]
    second = 2 * (foot.series[1:2] if len(J) == 1 else foot.series[2:5:2])
    metric = jnp.sum(J * J, axis=1)
    return jnp.maximum(metric, metric - dot(second, r)) / sigma**2 + (dot(J, r) / sigma**2) ** 2


def difference(chart: AbstractChart, foot: Foot, v: Coordinates) -> tuple[Point, Scalar, Scalar]:
    """f(u + v) - f(u), a bound for its rounding, and the volume element at u + v.

    Near the foot by Taylor's series, which has no cancellation. With t_n its terms and c such that |t_n| <= c^{n-1}
    |t_1|, what it leaves out is about c^4 |t_1|. It is used where it agrees with the plain difference to the rounding
    of the latter.
    """
    u = foot.u + v
    # The barrier stops XLA from computing f anew for each of its uses.
    J, y = jax.lax.optimization_barrier(jax.jacfwd(lambda u: (chart.embed(u),) * 2, has_aux=True)(u))
    plain, terms = y - foot.point, _terms(foot, v)
    series = terms[0] + (terms[1] + (terms[2] + terms[3]))
    first, second, third, fourth = (length(t) for t in terms)
    first = jnp.maximum(first, jnp.finfo(v.dtype).tiny)
    second, third, fourth = second / first, third / first, fourth / first
    # The powers 4 and 4 / 2 of c, and rather 5 / 4 than 4 / 3 of c^3, which is no less and costs less.
    rest = first * jnp.maximum(jnp.maximum(second**4, third**2), fourth * jnp.sqrt(jnp.sqrt(fourth)))
    eps, largest = jnp.finfo(v.dtype).eps, functools.reduce(jnp.maximum, jnp.abs(u))
    rounding = 2 * eps * (length(y) + length(foot.point) + length(J.ravel()) * largest)
    agree = length(series - plain) <= rounding
    of_series = jnp.minimum(4 * eps * first + rest, rounding)
    return jnp.where(agree, series, plain), jnp.where(agree, of_series, rounding), _volume(J)


def length(v: Float[Array, " d"]) -> Scalar:
    """|v|, without a derivative at 0; a sum that is written out stays in the loop over the nodes that it is in."""
    return jnp.sqrt(sum(a * a for a in v) if len(v) <= 8 else jnp.sum(v * v))


def _terms(foot: Foot, v: Coordinates) -> list[Point]:
    """The terms of the Taylor series at v, by order.

    Written out: as matrix products over the nodes they would take most of the time.
    """
    terms, used = [], 0
    for n in range(1, _ORDER + 1):
        monomials = [v[0] ** n] if len(v) == 1 else [v[0] ** (n - j) * v[1] ** j for j in range(n + 1)]
        terms.append(sum(m * foot.series[used + j] for j, m in enumerate(monomials)))
        used += len(monomials)
    return terms


def _volume(J: Float[Array, "d k"]) -> Scalar:
    """sqrt(det J^T J), for one column or two; 0 where the first one vanishes."""
    a = J[:, 0]
    if J.shape[1] == 1:
        return length(a)
    b = J[:, 1]
    across = b - a * (jnp.sum(a * b) / jnp.maximum(jnp.sum(a * a), jnp.finfo(J.dtype).tiny))
    return length(a) * length(across)
