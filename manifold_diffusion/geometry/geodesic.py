"""Geodesics of any manifold: exponential and logarithm maps, parallel transport, distance.

Along a geodesic x(t) of a submanifold of R^d the acceleration is normal, x'' = II(x', x'), and a parallel field obeys
w' = II(x', w) (do Carmo, Riemannian Geometry, ch. 6). Both are integrated in R^d, around charts at the points they
pass, so no chart has to reach all the way.
"""

import jax
import jax.numpy as jnp

from manifold_diffusion._numerics import dot, safe_norm
from manifold_diffusion._small_matrices import solve_positive
from manifold_diffusion._types import Point, Scalar
from manifold_diffusion.geometry.manifold import (
    AbstractManifold,
    into_ball,
    jacobian,
    safeguarded_newton,
    tangent_frame,
)


def second_form(manifold: AbstractManifold, x: Point, v: Point, w: Point) -> Point:
    """II(v, w), the normal part of the derivative of w along v, at the point x for tangents v, w."""
    chart = manifold.chart(x)
    u = chart.coordinates(x)
    J = jacobian(chart, u)
    a, b = solve_positive(dot(J.T, J), dot(J.T, jnp.stack([v, w], axis=1))).T
    along = jax.jvp(lambda p: jax.jvp(chart.embed, (p,), (a,))[1], (u,), (b,))[1]
    frame = tangent_frame(chart, u)
    return along - dot(frame, dot(frame.T, along))


def exponential(manifold: AbstractManifold, x: Point, v: Point, steps: int = 32) -> Point:
    """The end of the geodesic from x with velocity v, at time 1: `steps` Runge-Kutta steps of order 4, each
    brought back to the manifold and to its speed.
    """
    return _solve(manifold, x, (v,), steps)[0]


def transport(manifold: AbstractManifold, x: Point, v: Point, w: Point, steps: int = 32) -> tuple[Point, Point]:
    """(exp_x(v), the tangent w at x carried there in parallel along the geodesic); its length stays."""
    end, (_, carried) = _solve(manifold, x, (v, w), steps)
    return end, carried


def _solve(
    manifold: AbstractManifold, x: Point, tangents: tuple[Point, ...], steps: int
) -> tuple[Point, tuple[Point, ...]]:
    """The end of the geodesic along the first tangent, and all of them carried there."""
    lengths = tuple(safe_norm(v) for v in tangents)

    def slope(state):
        y, tangents = state
        foot = manifold.project(y)
        velocity, *others = (manifold.tangent(foot, v) for v in tangents)
        return velocity, tuple(second_form(manifold, foot, velocity, v) for v in (velocity, *others))

    def moved(state, by, slopes):
        return jax.tree.map(lambda s, d: s + by * d, state, slopes)

    def step(state, _):
        # The stages are a loop, so that the chart, which may be a large program, is compiled once.
        def stage(carry, rule):
            mean, last = carry
            ahead, weight = rule
            new = slope(moved(state, ahead, last))
            return (moved(mean, weight, new), new), None

        rules = jnp.asarray([0, 0.5, 0.5, 1], x.dtype) / steps, jnp.asarray([1, 2, 2, 1], x.dtype) / 6
        nothing = jax.tree.map(jnp.zeros_like, state)
        mean = jax.lax.scan(stage, (nothing, nothing), rules)[0][0]
        y, tangents = moved(state, 1 / steps, mean)
        y = manifold.project(y)
        kept = zip(tangents, lengths, strict=True)
        return (y, tuple(_of_length(manifold.tangent(y, v), length) for v, length in kept)), None

    return jax.lax.scan(step, (x, tangents), None, length=steps)[0]


def _of_length(v: Point, length: Scalar) -> Point:
    size = safe_norm(v)
    return v * jnp.where(size > 0, length / jnp.where(size > 0, size, 1.0), 1.0)


def logarithm(manifold: AbstractManifold, x: Point, y: Point, steps: int = 32, iterations: int = 12) -> Point:
    """The tangent v at x with exp_x(v) = y, by shooting: Gauss-Newton on |exp_x(v) - y|^2 from the direction of y.

    It is the shortest one where y lies within the injectivity radius; further off, a geodesic that starts towards y.
    """
    chart = manifold.chart(x)
    frame = tangent_frame(chart, chart.coordinates(x))

    def miss(a):
        return exponential(manifold, x, dot(frame, a), steps) - y

    def expansion(a):
        gap, J = miss(a), jax.jacfwd(miss)(a)
        # Where the geodesics focus, J loses rank; the step is then held back.
        metric = dot(J.T, J) + 1e-6 * jnp.eye(len(a), dtype=a.dtype)
        return dot(J.T, gap), metric, metric

    start = _of_length(dot(frame.T, y - x), safe_norm(y - x))
    reach = 4 * safe_norm(y - x)
    found = safeguarded_newton(
        lambda a: 0.5 * jnp.sum(miss(a) ** 2),
        expansion,
        start,
        lambda a: into_ball(a, jnp.zeros_like(a), reach),
        jnp.sum(x * x) + jnp.sum(y * y),
        iterations,
    )
    return dot(frame, found)


def geodesic_distance(manifold: AbstractManifold, x: Point, y: Point, steps: int = 32) -> Scalar:
    """|log_x(y)|, the length of the geodesic that `logarithm` finds."""
    return safe_norm(logarithm(manifold, x, y, steps))
