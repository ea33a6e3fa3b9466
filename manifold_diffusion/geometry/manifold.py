"""The interface of this folder: what a chart and a manifold are, and the differential geometry of a chart by autodiff.

Notation: u in R^k are coordinates, x in R^d an ambient point, J = d embed / du the (d, k) Jacobian. All functions take
one point; batch them with `jax.vmap`. All formulas are classical (e.g. do Carmo, Riemannian Geometry, ch. 6).
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot, vary_like
from manifold_diffusion._small_matrices import (
    cholesky_rows,
    cholesky_solve,
    complement_columns,
    inverse_positive,
    log_determinant,
    orthonormal_columns,
    solve_positive,
)
from manifold_diffusion._types import Coordinates, Key, Point, Points, Scalar


class AbstractChart(eqx.Module):
    """A smooth parametrisation u -> x of a piece of a manifold; everything else follows by autodiff."""

    @abstractmethod
    def embed(self, u: Coordinates) -> Point:
        """The point with coordinates u."""

    @abstractmethod
    def coordinates(self, x: Point) -> Coordinates:
        """The coordinates of the point x of the piece (a left inverse of `embed`)."""


class AbstractManifold(eqx.Module):
    """A k-dimensional manifold in R^d: known in closed form, given by charts, or estimated from data.

    Besides the methods below a manifold has, where it is known, `volume() -> Scalar`, `reach() -> Scalar` (a lower
    bound), `uniform(key) -> Point` (exact, with respect to Riemannian volume) and, for k <= 2,
    `quadrature(order) -> (points, weights)` with sum(weights * f(points)) -> integral of f over the manifold. Where
    geodesics are known in closed form it has `exp`, `log`, `distance` and `log_exp_volume`, see `AbstractRiemannian`.
    """

    dim: eqx.AbstractVar[int]
    ambient_dim: eqx.AbstractVar[int]

    @abstractmethod
    def project(self, x: Point) -> Point:
        """The nearest point of the manifold."""

    @abstractmethod
    def tangent(self, x: Point, v: Point) -> Point:
        """The orthogonal projection of v onto the tangent space at the point x of the manifold."""

    @abstractmethod
    def chart(self, x: Point) -> AbstractChart:
        """A chart around the point x of the manifold; `jax.vmap(manifold.chart)(xs)` is an atlas, a stacked pytree."""

    if TYPE_CHECKING:  # what only some manifolds have: known to type checkers, absent where it is not known

        def volume(self) -> Scalar: ...
        def reach(self) -> Scalar: ...
        def uniform(self, key: Key) -> Point: ...
        def quadrature(self, order: int) -> tuple[Points, Float[Array, " n"]]: ...
        def exp(self, x: Point, v: Point) -> Point: ...
        def log(self, x: Point, y: Point) -> Point: ...
        def distance(self, x: Point, y: Point) -> Scalar: ...
        def log_exp_volume(self, x: Point, v: Point) -> Scalar: ...


class _Function(eqx.Module):
    # A plain function is not a leaf that programs can take as an argument.
    function: Callable = eqx.field(static=True)

    def __call__(self, x):
        return self.function(x)


def as_module(f: Callable) -> Callable:
    """f as a pytree: itself if it is an `eqx.Module`, which may hold arrays, else with no leaves."""
    return _Function(f) if not isinstance(f, eqx.Module) else f  # pyright: ignore[reportReturnType]


def jacobian(chart: AbstractChart, u: Coordinates) -> Float[Array, "d k"]:
    """J = d embed(u) / du."""
    return jax.jacfwd(chart.embed)(u)


def metric_tensor(chart: AbstractChart, u: Coordinates) -> Float[Array, "k k"]:
    """g = J^T J, the first fundamental form."""
    J = jacobian(chart, u)
    return dot(J.T, J)


def log_volume(chart: AbstractChart, u: Coordinates) -> Scalar:
    """log sqrt(det g), the log of Riemannian volume per unit of coordinate volume."""
    return log_determinant(metric_tensor(chart, u)) / 2


def christoffel(chart: AbstractChart, u: Coordinates) -> Float[Array, "k k k"]:
    """Gamma[m, i, j] = (1/2) g^{ml} (d_i g_lj + d_j g_li - d_l g_ij), for which g^{ml} <d_l x, d_ij x> is the short
    form.
    """
    J = jacobian(chart, u)
    second = jax.jacfwd(jax.jacfwd(chart.embed))(u)
    along = jnp.einsum("dl,dij->lij", J, second, precision="highest").reshape(len(u), -1)
    return solve_positive(dot(J.T, J), along).reshape((len(u),) * 3)


def second_fundamental_form(chart: AbstractChart, u: Coordinates) -> Float[Array, "k k d"]:
    """II[i, j] = the normal part of d_ij embed(u): a symmetric form in coordinates with values in the normal space."""
    J = jacobian(chart, u)
    second = jnp.moveaxis(jax.jacfwd(jax.jacfwd(chart.embed))(u), 0, -1)
    frame = orthonormal_columns(J)
    return second - dot(dot(second, frame), frame.T)


def mean_curvature_vector(chart: AbstractChart, u: Coordinates) -> Point:
    """H = g^{ij} II_ij, the trace of the second fundamental form (not divided by k)."""
    inverse = inverse_positive(metric_tensor(chart, u))
    return jnp.einsum("ij,ijd->d", inverse, second_fundamental_form(chart, u), precision="highest")


def tangent_frame(chart: AbstractChart, u: Coordinates) -> Float[Array, "d k"]:
    """Orthonormal columns that span the tangent space at embed(u)."""
    return orthonormal_columns(jacobian(chart, u))


def normal_frame(chart: AbstractChart, u: Coordinates) -> Float[Array, "d c"]:
    """Orthonormal columns that span the normal space at embed(u), c = d - k."""
    return complement_columns(jacobian(chart, u))


def shape_operator(chart: AbstractChart, u: Coordinates, normal: Point) -> Float[Array, "k k"]:
    """S_v = g^{-1} <II, v> in coordinates; its eigenvalues are the principal curvatures in the normal direction v."""
    II = jnp.einsum("ijd,d->ij", second_fundamental_form(chart, u), normal, precision="highest")
    return solve_positive(metric_tensor(chart, u), II)


def nearest_coordinates(
    chart: AbstractChart,
    x: Point,
    start: Coordinates,
    radius: float | Scalar = jnp.inf,
    steps: int = 8,
    box: tuple[Coordinates, Coordinates] | None = None,
) -> Coordinates:
    """argmin_u |x - embed(u)|^2 over |u - start| <= radius, or over the box (lower, upper), by
    `safeguarded_newton` from `start`.

    The Hessian is J^T J - <x - embed(u), embed''(u)>; where it is not positive definite (x beyond the focal distance)
    J^T J alone stands in, which makes the step a Gauss-Newton step. At a side of the box that holds the minimum back
    the coordinate is left out of the step (Bertsekas, SIAM J. Control Optim. 20, 1982).
    """

    def half_square(u):
        residual = x - chart.embed(u)
        return 0.5 * jnp.sum(residual * residual)

    def expansion(u):
        residual, J = x - chart.embed(u), jacobian(chart, u)
        second = jax.jacfwd(jax.jacfwd(chart.embed))(u)
        gradient, metric = -dot(J.T, residual), dot(J.T, J)
        hessian = metric - jnp.einsum("d,dij->ij", residual, second, precision="highest")
        if box is None:
            return gradient, hessian, metric
        held = ((u <= box[0]) & (gradient > 0)) | ((u >= box[1]) & (gradient < 0))
        free = jnp.where(held, 0.0, 1.0).astype(u.dtype)
        both, one = free[:, None] * free[None, :], jnp.diag(1 - free)
        return gradient * free, hessian * both + one, metric * both + one

    def confine(u):
        return into_ball(u, start, radius) if box is None else jnp.clip(u, *box)

    return safeguarded_newton(half_square, expansion, start, confine, jnp.sum(x * x), steps)


def safeguarded_newton(
    objective: Callable[[Coordinates], Scalar],
    expansion: Callable[[Coordinates], tuple[Coordinates, Float[Array, "k k"], Float[Array, "k k"]]],
    start: Coordinates,
    confine: Callable[[Coordinates], Coordinates],
    magnitude: Scalar,
    steps: int,
) -> Coordinates:
    """A local minimum of the objective over the set onto which `confine` projects, by `steps` Newton steps from
    `start`.

    `expansion(u)` is (gradient, Hessian, a positive matrix that stands in for the Hessian where that is not positive
    definite). Of the full step, its fractions 1/2, 1/4, 1/16 and 0 the one that ends lowest is taken, so the objective
    never grows beyond rounding. `magnitude` is that of the terms of the objective: ends that differ by less than its
    rounding are taken as equal.
    """
    rounding = 8 * jnp.finfo(start.dtype).eps * magnitude
    fractions = jnp.asarray([1.0, 0.5, 0.25, 0.0625, 0.0], start.dtype)

    def step(u, _):
        gradient, hessian, positive = expansion(u)
        newton = cholesky_solve(cholesky_rows(hessian), gradient)
        convex = jnp.all(jnp.isfinite(newton))
        move = -jnp.where(convex, newton, cholesky_solve(cholesky_rows(positive), gradient))
        candidates = jax.vmap(lambda fraction: confine(u + fraction * move))(fractions)
        ends = jax.vmap(objective)(candidates)
        # Close to the minimum the ends differ by rounding alone, and the longest step is the most exact one.
        return candidates[jnp.argmax(ends <= jnp.min(ends) + rounding)], None

    return jax.lax.scan(step, vary_like(start, magnitude), None, length=steps)[0]


def into_ball(u: Coordinates, centre: Coordinates, radius: float | Scalar) -> Coordinates:
    """The nearest point to u of the ball around the centre."""
    offset = u - centre
    size = jnp.sqrt(jnp.sum(offset * offset) + jnp.finfo(u.dtype).tiny)
    return centre + offset * jnp.minimum(1.0, radius / size)
