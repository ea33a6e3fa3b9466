"""Manifolds given by equations: {x: F(x) = 0}, with projections that say whether they converged."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from manifold_diffusion._numerics import dot, vary_like
from manifold_diffusion._small_matrices import complement_columns, orthonormal_columns, solve_positive
from manifold_diffusion._types import Coordinates, Key, Point, Points, Scalar
from manifold_diffusion.geometry.crossing import Crossings
from manifold_diffusion.geometry.extent import reach_estimate
from manifold_diffusion.geometry.manifold import AbstractChart, AbstractManifold, as_module

_STEPS = 16
_CHART_STEPS = 8


class Certified(NamedTuple):
    """A projection y of x on {F = 0} and what vouches for it.

    gap         first-order distance from y to the level set, |DF^+ F(y)|
    slope       |P_T (x - y)|, the part of x - y along the manifold; 0 at a nearest point
    converged   both are within rounding: y is a critical point of the distance. Within the reach it is the nearest one.
    """

    point: Point
    gap: Scalar
    slope: Scalar
    converged: Bool[Array, ""]


class LevelSetChart(AbstractChart):
    """u -> y + T u + N h(u), with h such that F vanishes: a graph over the tangent plane at y, by Newton's method."""

    manifold: "LevelSet"
    centre: Point
    tangent: Float[Array, "d k"]
    normal: Float[Array, "d c"]

    def embed(self, u: Coordinates) -> Point:
        plane = self.centre + dot(self.tangent, u)

        def step(h, _):
            x = plane + dot(self.normal, h)
            value, slope = self.manifold.expand(x)
            across = dot(slope, self.normal)
            return h - solve_positive(dot(across.T, across), dot(across.T, value[:, None]))[:, 0], None

        start = jnp.zeros(self.normal.shape[1], u.dtype)
        return plane + dot(
            self.normal, jax.lax.scan(step, vary_like(start, plane, self.normal), None, length=_CHART_STEPS)[0]
        )

    def coordinates(self, x: Point) -> Coordinates:
        return dot(self.tangent.T, x - self.centre)


class LevelSet(AbstractManifold):
    """{x in R^d: F(x) = 0}, F: R^d -> R^{d - k} with independent derivatives on it; make it with `from_equations`."""

    equations: Callable[[Point], Float[Array, " c"]]
    crossings: Crossings | None
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def expand(self, x: Point) -> tuple[Float[Array, " c"], Float[Array, "c d"]]:
        """F(x) and its derivative."""
        return self.equations(x), jax.jacrev(self.equations)(x)

    def certified(self, x: Point) -> Certified:
        """The projection of x with its certificate.

        Each step solves the equations linearised at y for the point nearest to x,
        y <- x - A^T (A A^T)^{-1} (F(y) + A (x - y)), A = DF(y): sequential quadratic programming with the identity for
        the Hessian of the Lagrangian, which contracts by about |x - y| / reach a step; then steps with the full
        Lagrangian Hessian I + sum_i lambda_i D^2 F_i, which converge quadratically, wherever that is positive on the
        tangent space (derived; Nocedal and Wright, Numerical Optimization, ch. 18).
        """
        tolerance = 64 * jnp.finfo(x.dtype).eps

        def linear(y, _):
            return x - self._multiplier(y, x)[1], None

        def newton(y, _):
            multiplier, step = self._multiplier(y, x)
            rough = x - step
            _, A = self.expand(y)
            T = complement_columns(A.T)
            bend = jax.hessian(lambda z: dot(multiplier, self.equations(z)))(y)
            hessian = jnp.eye(T.shape[1], dtype=x.dtype) + dot(T.T, dot(bend, T))
            gap = rough - y
            across = gap - dot(T, dot(T.T, gap))
            along = dot(T.T, x - y) - dot(T.T, dot(bend, across))
            better = y + across + dot(T, solve_positive(hessian, along[:, None])[:, 0])
            better = jnp.where(jnp.all(jnp.isfinite(better)), better, rough)
            return jnp.where(self._merit(better, x) <= self._merit(rough, x), better, rough), None

        y = jax.lax.scan(linear, x, None, length=_STEPS)[0]
        y = jax.lax.scan(newton, y, None, length=_STEPS)[0]
        gap, slope = self._residuals(y, x)
        size = jnp.sqrt(jnp.sum(y * y)) + jnp.sqrt(jnp.sum((x - y) ** 2))
        # A slope s leaves the foot wrong by s and the distance by s^2, so rounding of x - y is all that is asked.
        converged = (gap <= tolerance * size) & (slope <= tolerance * size)
        return Certified(y, gap, slope, converged)

    def project(self, x: Point) -> Point:
        return self.certified(x).point

    def tangent(self, x: Point, v: Point) -> Point:
        frame = orthonormal_columns(self.expand(x)[1].T)
        return v - dot(frame, dot(frame.T, v))

    def chart(self, x: Point) -> LevelSetChart:
        A = self.expand(x)[1].T
        return LevelSetChart(self, x, complement_columns(A), orthonormal_columns(A))

    def volume(self) -> Scalar:
        """By `quadrature` of order 4096, 192, 32 for k = 1, 2, 3; `volume_estimate` adds an error."""
        return jnp.sum(self.quadrature({1: 4096, 2: 192, 3: 32}.get(self.dim, 12))[1])

    def quadrature(self, order: int) -> tuple[Points, Float[Array, " n"]]:
        """`order` axis-parallel lines a direction, see `Crossings`; the error falls like order^{-2.5}. For compact
        hypersurfaces whose box is known.
        """
        return self._crossed().quadrature(order)

    def reach(self) -> Scalar:
        """`reach_estimate` without its error: from above, by the square of the nodes' spacing."""
        return reach_estimate(self).value

    def uniform(self, key: Key) -> Point:
        """By rejection from the crossings with random axis-parallel lines; for compact hypersurfaces whose box is
        known.
        """
        return self._crossed().uniform(key)

    def _crossed(self) -> Crossings:
        if self.crossings is None:
            raise ValueError(
                "volume and uniform points are found for hypersurfaces in a box: one equation, and "
                "from_equations(..., box=[(low, high), ...])"
            )
        return self.crossings

    def _multiplier(self, y: Point, x: Point) -> tuple[Float[Array, " c"], Point]:
        """lambda = (A A^T)^{-1} (F(y) + A (x - y)) and A^T lambda."""
        value, A = self.expand(y)
        multiplier = solve_positive(dot(A, A.T), (value + dot(A, x - y))[:, None])[:, 0]
        return multiplier, dot(multiplier, A)

    def _residuals(self, y: Point, x: Point) -> tuple[Scalar, Scalar]:
        value, A = self.expand(y)
        gap = dot(value, solve_positive(dot(A, A.T), value[:, None])[:, 0])
        along = self.tangent(y, x - y)
        return jnp.sqrt(jnp.maximum(gap, 0.0)), jnp.sqrt(jnp.sum(along * along))

    def _merit(self, y: Point, x: Point) -> Scalar:
        gap, slope = self._residuals(y, x)
        return jnp.where(jnp.isfinite(gap + slope), gap + slope, jnp.inf)


def from_equations(
    F: Callable[[Point], Scalar | Float[Array, " c"]],
    ambient_dim: int,
    inside: Point | None = None,
    box: Sequence[tuple[float | int, float | int]] | None = None,
    crossings: int = 8,
) -> LevelSet:
    """The manifold {x in R^d: F(x) = 0}; F returns a scalar, or d - k numbers with independent derivatives.

    `project` is a constrained Newton method; `certified(x)` also says whether it converged, and how far off it ended.
    `inside`, a point near the manifold, has the equations checked there: ValueError where their derivatives depend on
    one another. `box`, (low, high) for each coordinate of R^d, says where a compact hypersurface lies, and gives it a
    volume, a quadrature and uniform points; no line parallel to an axis meets it more than `crossings` times. `F` may
    be an `eqx.Module` that holds arrays.
    """
    shape = jax.eval_shape(F, jnp.zeros(ambient_dim)).shape
    if len(shape) > 1 or not 1 <= (count := shape[0] if shape else 1) < ambient_dim:
        raise ValueError(
            f"F must map ({ambient_dim},) to a number or to between 1 and {ambient_dim - 1} numbers, got shape {shape}"
        )
    function = as_module(F)
    equations = function if shape else _Stacked(function)
    manifold = LevelSet(
        equations=equations,
        crossings=None if box is None else _crossings(equations, count, ambient_dim, box, crossings),
        dim=ambient_dim - count,
        ambient_dim=ambient_dim,
    )
    if inside is not None:
        _require_regular(manifold, jnp.asarray(inside, dtype=float))
    return manifold


def _crossings(equations, count: int, ambient_dim: int, box, most: int) -> Crossings:
    sides = np.asarray(box, float)
    if count != 1 or sides.shape != (ambient_dim, 2) or not (sides[:, 0] < sides[:, 1]).all():
        raise ValueError(
            f"a box is for one equation, and has (low, high) with low < high for each of {ambient_dim} coordinates; "
            f"got {count} equations and box={box}"
        )
    return Crossings(_First(equations), jnp.asarray(sides[:, 0], float), jnp.asarray(sides[:, 1], float), most)


class _First(eqx.Module):
    equations: Callable[[Point], Float[Array, " 1"]]

    def __call__(self, x: Point) -> Scalar:
        return self.equations(x)[0]


class _Stacked(eqx.Module):
    function: Callable[[Point], Scalar]

    def __call__(self, x: Point) -> Float[Array, " 1"]:
        return self.function(x)[None]


def _require_regular(manifold: LevelSet, x: Point) -> None:
    found = manifold.certified(x)
    where = [round(float(each), 6) for each in found.point]
    slopes = (manifold.expand(y)[1] for y in (x, found.point))
    usual, there = (jnp.linalg.svd(slope, compute_uv=False) for slope in slopes)
    if not bool(jnp.all(jnp.isfinite(found.point))) or float(there[-1]) <= 1e-5 * float(usual[0]):
        raise ValueError(f"the equations are not regular at {where}: their derivatives depend on one another there")
    if not bool(found.converged):
        raise ValueError(
            f"the projection of the given point ended at {where}, {float(found.gap):.2g} off the level set; "
            "give a point closer to the manifold"
        )
