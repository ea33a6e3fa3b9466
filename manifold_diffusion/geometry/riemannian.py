"""Riemannian manifolds whose metric is not that of the space around them, and the geometry of any metric by autodiff.

The second half starts from `metric`, a function u -> g(u) with values in the symmetric positive k x k matrices, and
nothing else: no embedding. What a chart in R^d gives by its second fundamental form (`manifold.py`, `curvature.py`)
is called `intrinsic_...` here. Indices are those of coordinates, not of an orthonormal frame. All formulas are
classical (do Carmo, Riemannian Geometry, ch. 2-4).
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import zeta

from manifold_diffusion._numerics import dot
from manifold_diffusion._small_matrices import inverse_positive, solve_positive
from manifold_diffusion._types import Coordinates, Point, Scalar

Metric: TypeAlias = Callable[[Coordinates], Float[Array, "k k"]]


@runtime_checkable
class Coordinated(Protocol):
    """What has coordinates: any `AbstractChart`."""

    def embed(self, u: Coordinates) -> Point:
        """The point with coordinates u."""
        ...

    def coordinates(self, x: Point) -> Coordinates:
        """The coordinates of the point x."""
        ...


class AbstractRiemannian(eqx.Module):
    """A k-dimensional manifold with a metric of its own, as a set of points in R^d.

    An `AbstractManifold` is a set of points in R^d too (matrices are flattened) and has the metric that R^d induces on
    it: lengths are those of curves in R^d, `project` is the nearest point, `tangent` the orthogonal projection. Here
    R^d only holds the points. Lengths and angles are those of `inner`, and `project` is just some retraction onto the
    set. Where an `AbstractManifold` knows its geodesics in closed form, its methods `exp`, `log`, `distance` and
    `log_exp_volume` mean what they mean here.

    Tangents at x are vectors of R^d. The manifolds of this folder have no cut points: `exp` at x is a diffeomorphism
    of the whole tangent space onto the manifold, and `log` is its inverse.
    """

    dim: eqx.AbstractVar[int]
    ambient_dim: eqx.AbstractVar[int]

    @abstractmethod
    def inner(self, x: Point, v: Point, w: Point) -> Scalar:
        """The inner product of the tangents v and w at x."""

    @abstractmethod
    def exp(self, x: Point, v: Point) -> Point:
        """The end, at time 1, of the geodesic from x with velocity v."""

    @abstractmethod
    def log(self, x: Point, y: Point) -> Point:
        """The velocity at x of the geodesic that is at y at time 1."""

    @abstractmethod
    def distance(self, x: Point, y: Point) -> Scalar:
        """The length of the shortest geodesic; its gradient at x = y is taken as 0.

        The square |log_x y|^2, by `inner`, is smooth there, and its derivatives are right to any order.
        """

    @abstractmethod
    def transport(self, x: Point, y: Point, v: Point) -> Point:
        """The tangent v at x carried in parallel to y along the shortest geodesic."""

    @abstractmethod
    def tangent(self, x: Point, v: Point) -> Point:
        """A projection of R^d onto the tangent space at x, orthogonal in the metric where that reaches beyond it."""

    @abstractmethod
    def project(self, x: Point) -> Point:
        """A point of the set near x: x itself where it is one."""

    @abstractmethod
    def chart(self, x: Point) -> Coordinated:
        """A chart whose origin is the point x."""

    @abstractmethod
    def frame(self, x: Point) -> Float[Array, "d k"]:
        """Columns that are orthonormal in the metric at x and depend smoothly on it.

        `frame(x) @ z` with z standard normal is the normal law of the tangent space; with F = frame(x), F F^T df is
        the Riemannian gradient of a function with the derivative df in R^d.
        """

    @abstractmethod
    def log_exp_volume(self, x: Point, v: Point) -> Scalar:
        """log |det d exp_x| at v: Riemannian volume at exp_x(v) per unit of volume in the tangent space at x."""


# Even functions


def even(
    coefficients: Sequence[float], cut: float, s: Float[Array, "*shape"], closed: Callable
) -> Float[Array, "*shape"]:
    """An even analytic function of r, as a smooth function of s = r^2: its Taylor series in s (lowest term first) below
    the cut, closed(sqrt s) above. Every derivative at s = 0 is right.
    """
    near = s < cut
    within, series = jnp.where(near, s, 0.0), jnp.full_like(s, coefficients[-1])
    for c in coefficients[-2::-1]:
        series = series * within + c
    return jnp.where(near, series, closed(jnp.sqrt(jnp.where(near, 1.0, s))))


# log(sinh r / r) = sum_j log(1 + s / (j pi)^2) = -sum_n zeta(2n) (-s / pi^2)^n / n, from Euler's product, for s < pi^2.
_N = np.arange(1, 18)
_LOG_SINHC = (0.0, *(-zeta(2 * _N) * (-1 / np.pi**2) ** _N / _N).tolist())


def log_sinhc(s: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(sinh r / r), r = sqrt s, without overflow."""
    return even(_LOG_SINHC, 1.0, s, lambda r: r + jnp.log1p(-jnp.exp(-2 * r)) - jnp.log(2 * r))


# The geometry of a metric


class _PulledBack(eqx.Module):
    manifold: AbstractRiemannian
    embed: Callable[[Coordinates], Point]

    def __call__(self, u: Coordinates) -> Float[Array, "k k"]:
        x, J = self.embed(u), jax.jacfwd(self.embed)(u)
        along = jax.vmap(self.manifold.inner, in_axes=(None, None, 1))
        return jax.vmap(along, in_axes=(None, 1, None))(x, J, J)


def metric_of(manifold: AbstractRiemannian, chart: Coordinated | Callable[[Coordinates], Point]) -> Metric:
    """g_ij(u) = <d_i x, d_j x>, the metric of the manifold in the coordinates of a chart, or pulled back by any map
    x(u) into the manifold that is an immersion (a decoder, say).
    """
    return _PulledBack(manifold, chart.embed if isinstance(chart, Coordinated) else chart)


def intrinsic_christoffel(metric: Metric, u: Coordinates) -> Float[Array, "k k k"]:
    """Gamma[m, i, j] = (1/2) g^{ml} (d_i g_lj + d_j g_li - d_l g_ij)."""
    slope, g = _slope_and_value(metric, u)
    return _raised(g, _lowered(slope))


def intrinsic_riemann(metric: Metric, u: Coordinates) -> Float[Array, "k k k k"]:
    """R[a, b, c, d] = <R(d_a, d_b) d_c, d_d> in coordinates, so that R(v, w, w, v) > 0 on spheres, as in
    `riemann_tensor`.

    It is A[a, b, c, d] - A[b, a, c, d] with A[a, b, c, d] = (d_a d_c g_bd - d_a d_d g_bc) / 2 + g(Gamma_ac, Gamma_bd),
    so that nothing but the metric is differentiated.
    """

    def first(p):
        slope, g = _slope_and_value(metric, p)
        return slope, (slope, g)

    second, (slope, g) = jax.jacfwd(first, has_aux=True)(u)
    lowered = _lowered(slope)
    half = 0.5 * (jnp.einsum("bdca->abcd", second) - jnp.einsum("bcda->abcd", second))
    half = half + jnp.einsum("mac,mbd->abcd", lowered, _raised(g, lowered), precision="highest")
    return half - jnp.swapaxes(half, 0, 1)


def intrinsic_ricci(metric: Metric, u: Coordinates) -> Float[Array, "k k"]:
    """Ric[b, c] = g^{ad} R[a, b, c, d] in coordinates."""
    return jnp.einsum("ad,abcd->bc", inverse_positive(metric(u)), intrinsic_riemann(metric, u), precision="highest")


def intrinsic_scalar(metric: Metric, u: Coordinates) -> Scalar:
    """g^{bc} Ric[b, c]; twice the Gauss curvature of a surface."""
    return jnp.sum(inverse_positive(metric(u)) * intrinsic_ricci(metric, u))


def sectional_curvature(metric: Metric, u: Coordinates, v: Coordinates, w: Coordinates) -> Scalar:
    """R(v, w, w, v) / (|v|^2 |w|^2 - <v, w>^2), the Gauss curvature of the geodesic surface along v and w."""
    top = jnp.einsum("abcd,a,b,c,d->", intrinsic_riemann(metric, u), v, w, w, v, precision="highest")
    sides = jnp.stack([v, w])
    gram = dot(dot(sides, metric(u)), sides.T)
    return top / (gram[0, 0] * gram[1, 1] - gram[0, 1] ** 2)


def intrinsic_geodesic(
    metric: Metric, u: Coordinates, v: Coordinates, steps: int = 64
) -> tuple[Coordinates, Coordinates]:
    """(place, velocity) at time 1 of the geodesic from u with velocity v: x''^m = -Gamma^m_ij x'^i x'^j, by `steps`
    Runge-Kutta steps of order 4. It has to stay where the coordinates are good.
    """
    return intrinsic_transport(metric, u, v, v, steps)


def intrinsic_transport(
    metric: Metric, u: Coordinates, v: Coordinates, w: Coordinates, steps: int = 64
) -> tuple[Coordinates, Coordinates]:
    """(exp_u(v), w carried there in parallel along the geodesic): w'^m = -Gamma^m_ij x'^i w^j."""
    h = 1 / steps

    def slope(state):
        place, velocity, carried = state
        both = jnp.stack([velocity, carried], axis=1)
        turned = -jnp.einsum("mij,i,jn->mn", intrinsic_christoffel(metric, place), velocity, both, precision="highest")
        return jnp.stack([velocity, turned[:, 0], turned[:, 1]])

    def step(state, _):
        # The stages are a loop, so that the metric, which may be a large program, is compiled once.
        def stage(carry, rule):
            total, last = carry
            ahead, weight = rule
            new = slope(state + ahead * h * last)
            return (total + weight * new, new), None

        rules = (jnp.asarray([0, 0.5, 0.5, 1], u.dtype), jnp.asarray([1, 2, 2, 1], u.dtype) / 6)
        total = jax.lax.scan(stage, (jnp.zeros_like(state), jnp.zeros_like(state)), rules)[0][0]
        return state + h * total, None

    end, _, carried = jax.lax.scan(step, jnp.stack([u, v, w]), None, length=steps)[0]
    return end, carried


def _slope_and_value(f: Callable[[Coordinates], Array], u: Coordinates) -> tuple[Array, Array]:
    def twice(p):
        value = f(p)
        return value, value

    return jax.jacfwd(twice, has_aux=True)(u)


def _lowered(slope: Float[Array, "k k k"]) -> Float[Array, "k k k"]:
    return 0.5 * (jnp.swapaxes(slope, 1, 2) + slope - jnp.moveaxis(slope, 2, 0))


def _raised(g: Float[Array, "k k"], lowered: Float[Array, "k k k"]) -> Float[Array, "k k k"]:
    return solve_positive(g, lowered.reshape(len(g), -1)).reshape(lowered.shape)
