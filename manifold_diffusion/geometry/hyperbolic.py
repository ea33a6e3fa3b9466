"""Hyperbolic space of any dimension and curvature: the hyperboloid in Minkowski space and Poincare's ball.

Both are written for curvature -1, where lengths are in units of R = 1/sqrt(-K); their methods scale points and tangents
by R on the way in and out. Formulas: Ratcliffe, Foundations of Hyperbolic Manifolds, ch. 3-4; Ungar, Analytic
Hyperbolic Geometry, for the ball's addition. Those that keep their digits where points are close were derived.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import binom, factorial, zeta

from manifold_diffusion._numerics import dot, known_false, rejection, safe_norm
from manifold_diffusion._types import Coordinates, Key, Point, Scalar
from manifold_diffusion.geometry.manifold import AbstractChart
from manifold_diffusion.geometry.riemannian import AbstractRiemannian, even, log_sinhc
from manifold_diffusion.geometry.unit_sphere import log_sphere_area

_N = np.arange(20)


class HyperboloidChart(AbstractChart):
    """u -> the point whose part in the tangent space at c is F u, F = frame(c): all of R^k, one to one."""

    centre: Point
    frame: Float[Array, "d k"]
    radius: Scalar

    def embed(self, u: Coordinates) -> Point:
        return _lift(
            jnp.sqrt(1 + jnp.sum((u / self.radius) ** 2)) * self.centre[1:] + dot(self.frame[1:], u), self.radius
        )

    def coordinates(self, x: Point) -> Coordinates:
        # <F, x> = <F, x - c> in Minkowski's product, as c is orthogonal to F.
        step = _lift(x[1:], self.radius) - self.centre
        return dot(self.frame.T, step.at[0].multiply(-1))


class Hyperboloid(AbstractRiemannian):
    """H^k of curvature K < 0 in R^{k+1}: -x_0^2 + |x'|^2 = -R^2, x_0 > 0, R = 1/sqrt(-K), x = (x_0, x').

    The metric is Minkowski's product <x, y> = <x', y'> - x_0 y_0 on tangents, where it is positive. Of points
    and tangents only x' and v' are read: x_0 and v_0 follow from them. Distances keep their relative accuracy for
    points however close; rounding of the coordinates themselves moves a point at the distance r from the origin by
    about eps sinh(r / R) R.
    """

    curvature: Scalar
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(self, dim: int, curvature: float | int | Scalar = -1.0):
        self.curvature = _checked(dim, curvature)
        self.dim, self.ambient_dim = dim, dim + 1

    def radius(self, dtype=None) -> Scalar:
        """R = 1/sqrt(-K)."""
        return _radius(self.curvature, dtype)

    def project(self, x: Point) -> Point:
        """The point (sqrt(R^2 + |x'|^2), x') with the same x'."""
        return _lift(x[1:], self.radius(x.dtype))

    def tangent(self, x: Point, v: Point) -> Point:
        """v + <x, v> x / R^2, orthogonal in Minkowski's product."""
        p = x[1:] / self.radius(x.dtype)
        along = dot(p, v[1:]) - _height(p) * v[0]
        return _lean(p, v[1:] + along * p)

    def frame(self, x: Point) -> Float[Array, "d k"]:
        """The boost that takes the origin (R, 0) to x, applied to the axes there: (p^T; I + p p^T / (1 + sqrt(1 +
        |p|^2))), p = x'/R.
        """
        p = x[1:] / self.radius(x.dtype)
        return jnp.concatenate(
            [p[None, :], jnp.eye(len(p), dtype=x.dtype) + p[:, None] * p[None, :] / (1 + _height(p))]
        )

    def chart(self, x: Point) -> HyperboloidChart:
        centre = self.project(x)
        return HyperboloidChart(centre, self.frame(x), self.radius(x.dtype))

    def inner(self, x: Point, v: Point, w: Point) -> Scalar:
        """<v, w>, as the product of their coordinates in `frame`, where nothing large cancels."""
        p = x[1:] / self.radius(x.dtype)
        return dot(_in_frame(p, v[1:]), _in_frame(p, w[1:]))

    def distance(self, x: Point, y: Point) -> Scalar:
        """2 R asinh(|x - y| / (2 R)), |.| Minkowski's norm of a difference, see `_chord`."""
        R = self.radius(x.dtype)
        return 2 * R * jnp.arcsinh(_root(_chord(x[1:] / R, y[1:] / R, (y - x)[1:] / R)) / 2)

    def exp(self, x: Point, v: Point) -> Point:
        """cosh(r) x + sinh(r) v / r, r = |v| / R."""
        R = self.radius(x.dtype)
        a = _in_frame(x[1:] / R, v[1:]) / R
        s = jnp.sum(a * a)
        return _lift(_cosh(s) * x[1:] + _sinhc(s) * v[1:], R)

    def log(self, x: Point, y: Point) -> Point:
        """(r / sinh r) (y - cosh(r) x), r = distance / R."""
        R = self.radius(x.dtype)
        p, d = x[1:] / R, (y - x)[1:] / R
        h = _chord(p, y[1:] / R, d)
        # cosh r = 1 + h/2 and sinh r = sqrt(h (1 + h/4)).
        return _lean(p, R * _asinhc(h / 4) / jnp.sqrt(1 + h / 4) * (d - h / 2 * p))

    def transport(self, x: Point, y: Point, v: Point) -> Point:
        """v + <y, v> (x + y) / (1 - <x, y>), for R = 1."""
        R = self.radius(x.dtype)
        p, q, d = x[1:] / R, y[1:] / R, (y - x)[1:] / R
        h = _chord(p, q, d)
        # <y, v> = <y - cosh(r) x, v>: a product of tangents at x.
        along = dot(_in_frame(p, d - h / 2 * p), _in_frame(p, v[1:]))
        return _lean(q, v[1:] + along / (2 + h / 2) * (p + q))

    def log_exp_volume(self, x: Point, v: Point) -> Scalar:
        """(k - 1) log(sinh r / r), r = |v| / R."""
        return (self.dim - 1) * log_sinhc(self.inner(x, v, v) / self.radius(x.dtype) ** 2)

    def ball_volume(self, radius: float | int | Scalar) -> Scalar:
        """The volume of a geodesic ball of that radius, for (k - 1) radius / R < 300."""
        return _ball_volume(self.dim, self.curvature, radius)

    def uniform_in_ball(self, key: Key, centre: Point, radius: float | int | Scalar) -> Point:
        """A uniform point of the geodesic ball around the centre, exact."""
        step = _uniform_step(key, self.dim, self.curvature, jnp.asarray(radius, centre.dtype))
        return self.exp(centre, dot(self.frame(centre), step))

    def to_ball(self, x: Point) -> Coordinates:
        """The same point in `PoincareBall`, seen from (-R, 0): R x' / (R + x_0)."""
        p = x[1:] / self.radius(x.dtype)
        return x[1:] / (1 + _height(p))


class BallChart(AbstractChart):
    """u -> x + u, on an open set."""

    centre: Point

    def embed(self, u: Coordinates) -> Point:
        return self.centre + u

    def coordinates(self, x: Point) -> Coordinates:
        return x - self.centre


class PoincareBall(AbstractRiemannian):
    """H^k of curvature K < 0 as the ball |x| < R = 1/sqrt(-K) of R^k with the metric (2 / (1 - |x|^2/R^2))^2 |dx|^2.

    Angles are those of R^k. Towards the rim 1 - |x|/R carries the position, and one rounding of x is a step of about
    eps R / (1 - |x|/R), at the distance r from the centre eps e^(r/R) R / 2. Points beyond |x|/R = 1 - 4 eps, which is
    15 R from the centre in float32 and 35 R in float64, are brought back there; `Hyperboloid` has no rim.
    """

    curvature: Scalar
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(self, dim: int, curvature: float | int | Scalar = -1.0):
        self.curvature = _checked(dim, curvature)
        self.dim, self.ambient_dim = dim, dim

    def radius(self, dtype=None) -> Scalar:
        """R = 1/sqrt(-K)."""
        return _radius(self.curvature, dtype)

    def project(self, x: Point) -> Point:
        """x itself inside, else the point of that direction with |x|/R = 1 - 4 eps."""
        size, limit = safe_norm(x), (1 - 4 * jnp.finfo(x.dtype).eps) * self.radius(x.dtype)
        return jnp.where(size > limit, x * (limit / jnp.where(size > limit, size, 1.0)), x)

    def tangent(self, x: Point, v: Point) -> Point:
        """v itself: the ball is open."""
        return v

    def frame(self, x: Point) -> Float[Array, "d k"]:
        """The axes over the conformal factor."""
        return self._room(x) / 2 * jnp.eye(len(x), dtype=x.dtype)

    def chart(self, x: Point) -> BallChart:
        return BallChart(x)

    def inner(self, x: Point, v: Point, w: Point) -> Scalar:
        """4 <v, w> / (1 - |x|^2/R^2)^2."""
        return dot(2 / self._room(x) * v, 2 / self._room(x) * w)

    def add(self, x: Point, y: Point) -> Point:
        """Moebius addition, the translation along the geodesic from 0 to x: for R = 1,
        ((1 + 2 <x, y> + |y|^2) x + (1 - |x|^2) y) / (1 + 2 <x, y> + |x|^2 |y|^2).
        """
        R = self.radius(x.dtype)
        p, q = x / R, y / R
        qq = dot(q, q)
        # As p and a step from it, which is exact for small q.
        step = _room(p) * (q + qq * p) / (1 + 2 * dot(p, q) + dot(p, p) * qq)
        return self.project(R * (p + step))

    def gyration(self, x: Point, y: Point, v: Point) -> Point:
        """The rotation v -> -(x + y) + (x + (y + v)) in the plane of x and y, by which Moebius addition fails to be
        associative: Ungar's closed form, written in d = x + y (a sum of vectors), in which nothing large cancels.
        """
        R = self.radius(x.dtype)
        q, d = y / R, (x + y) / R
        room, dd, qv, dv = self._room(x), dot(d, d), dot(q, v), dot(d, v)
        along = (qv * (room + dd) - dv * dot(q, q)) * d - (dv * self._room(y) + qv * dd) * q
        return v + 2 * along / (room * self._room(y) + dd)

    def distance(self, x: Point, y: Point) -> Scalar:
        """2 R asinh(|x - y| / sqrt((1 - |x|^2) (1 - |y|^2))), for R = 1."""
        R = self.radius(x.dtype)
        return 2 * R * jnp.arcsinh(safe_norm(y - x) / R / jnp.sqrt(self._room(x) * self._room(y)))

    def exp(self, x: Point, v: Point) -> Point:
        """x + tanh(r / 2) v / |v| in Moebius addition, r = |v|_x / R."""
        w = v / self._room(x)
        return self.add(x, _tanhc(jnp.sum((w / self.radius(x.dtype)) ** 2)) * w)

    def log(self, x: Point, y: Point) -> Point:
        """(1 - |x|^2) atanh(|w|) w / |w| with w = -x + y in Moebius addition, for R = 1, by the asinh of `distance`."""
        R = self.radius(x.dtype)
        d, room = (y - x) / R, self._room(y)
        dd = dot(d, d)
        q = dd / (self._room(x) * room)
        # w is along (1 - |x|^2) d - |d|^2 x, which vanishes with d and not before.
        return (self._room(x) * d - dd / R * x) * (R * _asinhc(q) / (room * jnp.sqrt(1 + q)))

    def transport(self, x: Point, y: Point, v: Point) -> Point:
        """The gyration by (y, -x), scaled by the ratio of the conformal factors."""
        return self._room(y) / self._room(x) * self.gyration(y, -x, v)

    def log_exp_volume(self, x: Point, v: Point) -> Scalar:
        """(k - 1) log(sinh r / r), r = |v|_x / R."""
        return (self.dim - 1) * log_sinhc(self.inner(x, v, v) / self.radius(x.dtype) ** 2)

    def ball_volume(self, radius: float | int | Scalar) -> Scalar:
        """The volume of a geodesic ball of that radius, for (k - 1) radius / R < 300."""
        return _ball_volume(self.dim, self.curvature, radius)

    def uniform_in_ball(self, key: Key, centre: Point, radius: float | int | Scalar) -> Point:
        """A uniform point of the geodesic ball around the centre, exact."""
        step = _uniform_step(key, self.dim, self.curvature, jnp.asarray(radius, centre.dtype))
        return self.exp(centre, dot(self.frame(centre), step))

    def to_hyperboloid(self, x: Coordinates) -> Point:
        """The same point of `Hyperboloid`: x' = 2 x / (1 - |x|^2/R^2)."""
        return _lift(2 * x / self._room(x), self.radius(x.dtype))

    def _room(self, x: Point) -> Scalar:
        return _room(x / self.radius(x.dtype))


def _ball_volume(dim: int, curvature: float | int | Scalar, radius: float | int | Scalar) -> Scalar:
    """|S^{k-1}| R^k int_0^{r/R} sinh(t)^{k-1} dt, the volume of a geodesic ball of radius r.

    By Gauss-Legendre quadrature with 128 nodes: the integrand is entire, the rule exact to rounding for
    (k - 1) r / R < 300.
    """
    R = _radius(jnp.asarray(curvature, dtype=float))
    node, weight = np.polynomial.legendre.leggauss(128)
    reach = jnp.asarray(radius, dtype=float) / R
    t = reach * jnp.asarray((node + 1) / 2, R.dtype)
    integral = reach * jnp.sum(jnp.asarray(weight / 2, R.dtype) * jnp.sinh(t) ** (dim - 1))
    return jnp.exp(jnp.asarray(log_sphere_area(dim - 1), R.dtype)) * R**dim * integral


def _uniform_step(key: Key, dim: int, curvature: Scalar, radius: Scalar) -> Coordinates:
    """The velocity, in an orthonormal frame, of the geodesic to a uniform point of the ball.

    With t = sinh(r / 2) the density sinh(r)^{k-1} of r is that of t, t^{k-1} (1 + t^2)^{k/2 - 1}: t = T u^{1/k} is
    accepted with probability ((1 + t^2) / (1 + T^2))^{k/2 - 1}, always for k = 2 and at least every other time, as the
    mean of that is at least that of (t / T)^{k-2}, k / (2k - 2) (derived).
    """
    turn, loop = jax.random.split(key)
    direction = jax.random.normal(turn, (dim,), radius.dtype)
    direction = direction / safe_norm(direction)
    R = _radius(curvature, radius.dtype)
    if dim == 1:
        return radius * jax.random.uniform(loop, dtype=radius.dtype) * direction
    most = jnp.sinh(radius / (2 * R))

    def propose(place):
        t = most * jax.random.uniform(place, dtype=radius.dtype) ** (1 / dim)
        return t, (dim / 2 - 1) * (jnp.log1p(t * t) - jnp.log1p(most * most))

    return 2 * R * jnp.arcsinh(rejection(loop, propose)[0]) * direction


def _checked(dim: int, curvature: float | int | Scalar) -> Scalar:
    if dim < 1:
        raise ValueError(f"hyperbolic space has dimension at least 1, got {dim}; pass dim=2 for the plane")
    curvature = jnp.asarray(curvature, dtype=float)
    if known_false(curvature < 0):
        raise ValueError(f"hyperbolic space has negative curvature, got {curvature}; Sphere has positive curvature")
    return curvature


def _radius(curvature: Scalar, dtype=None) -> Scalar:
    return 1 / jnp.sqrt(-curvature.astype(dtype or curvature.dtype))


# Points and tangents of the unit hyperboloid by their parts p, v' in space.


def _height(p: Coordinates) -> Scalar:
    return jnp.sqrt(1 + dot(p, p))


def _lift(x: Coordinates, radius: Scalar) -> Point:
    return jnp.concatenate([jnp.sqrt(radius**2 + dot(x, x))[None], x])


def _lean(p: Coordinates, v: Coordinates) -> Point:
    return jnp.concatenate([(dot(p, v) / _height(p))[None], v])


def _in_frame(p: Coordinates, v: Coordinates) -> Coordinates:
    height = _height(p)
    return v - dot(p, v) / (height * (1 + height)) * p


def _chord(p: Coordinates, q: Coordinates, d: Coordinates) -> Scalar:
    """h = |x - y|^2 = 2 cosh(r) - 2 in Minkowski's norm, without cancellation; d = q - p, taken before any rounding.

    With m = p + q and S = x_0 + y_0: h = |d|^2 - <d, m>^2 / S^2, and S^2 - |m|^2 = 4 + h as x + y has
    Minkowski's square -4 - h. By Lagrange's identity |m|^2 |d|^2 - <d, m>^2 = |m ^ d|^2, so that h (S^2 - |d|^2) =
    4 |d|^2 + |m ^ d|^2, where S^2 - |d|^2 = 2 (1 + x_0 y_0 + <p, q>) and all terms are positive if <p, q> is. On
    opposite sides of the origin h = 2 (x_0 y_0 - <p, q> - 1) has nothing that cancels (derived).
    """
    flat, heights = dot(p, q), _height(p) * _height(q)
    wedge = (p + q)[:, None] * d[None, :]
    near = flat > -1
    top = 4 * dot(d, d) + jnp.sum((wedge - wedge.T) ** 2) / 2
    same_side = top / (2 * jnp.where(near, 1 + heights + flat, 1.0))
    return jnp.where(near, same_side, 2 * (heights - flat - 1))


def _room(p: Coordinates) -> Scalar:
    return 1 - dot(p, p)


def _root(h: Scalar) -> Scalar:
    positive = h > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, h, 1.0)), 0.0)


# cosh r, sinh(r)/r, tanh(r)/r and asinh(r)/r as functions of s = r^2.

_COSH = (1 / factorial(2 * _N)).tolist()
_SINHC = (1 / factorial(2 * _N + 1)).tolist()
_TANHC = ((-1.0) ** _N * 2 * (4.0 ** (_N + 1) - 1) * zeta(2 * _N + 2) / np.pi ** (2 * _N + 2)).tolist()
_ASINHC = ((-0.25) ** _N * binom(2 * _N, _N) / (2 * _N + 1)).tolist()


def _cosh(s: Scalar) -> Scalar:
    return even(_COSH, 1.0, s, jnp.cosh)


def _sinhc(s: Scalar) -> Scalar:
    return even(_SINHC, 1.0, s, lambda r: jnp.sinh(r) / r)


def _tanhc(s: Scalar) -> Scalar:
    return even(_TANHC, 0.2, s, lambda r: jnp.tanh(r) / r)


def _asinhc(s: Scalar) -> Scalar:
    return even(_ASINHC, 0.1, s, lambda r: jnp.arcsinh(r) / r)
