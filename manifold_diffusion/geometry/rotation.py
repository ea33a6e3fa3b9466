"""Rotations and rigid motions of the plane and of space, and unit quaternions.

A rotation matrix is a point of R^{n n}, its rows one after the other. hat(w) is the skew matrix with hat(w) p = w x p
(n = 3) or w (-p_2, p_1) (n = 2), so that |R hat(w)|_F = sqrt(2) |w|. A quaternion is (w, x, y, z), the real part first.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot, safe_norm
from manifold_diffusion._small_matrices import arctangent_quotient, sine_quotient, spectral_projector
from manifold_diffusion._types import Coordinates, Key, Point, Points, Scalar
from manifold_diffusion.geometry.euclidean import Euclidean
from manifold_diffusion.geometry.manifold import AbstractChart, AbstractManifold
from manifold_diffusion.geometry.product import Product, ProductChart


class RotationChart(AbstractChart):
    """u -> R exp(hat(u)), |u| < pi: the angle of the rotation against R is |u|."""

    centre: Float[Array, "n n"]

    def embed(self, u: Coordinates) -> Point:
        return (self.centre + dot(self.centre, _turn(u))).ravel()

    def coordinates(self, x: Point) -> Coordinates:
        return _rotation_vector(self.centre, x.reshape(self.centre.shape))


class SpecialOrthogonal(AbstractManifold):
    """SO(n), the rotation matrices of R^n, n = 2 or 3, in R^{n n} with the Frobenius metric, which is bi-invariant.

    SO(2) is a circle of radius sqrt(2). SO(3) is half of a sphere of radius 2 sqrt(2): sectional curvatures 1/8, volume
    16 sqrt(2) pi^2. The reach is sqrt(2): along R hat(a) with |a| = 1 the distance |x - y|^2 / (2 |normal part|) is
    sqrt(2) for all x, y (derived from Federer 1959, theorem 4.18).
    """

    n: int = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(self, n: int):
        if n not in (2, 3):
            raise ValueError(f"SpecialOrthogonal covers n = 2 and 3, got {n}; Stiefel(n, n - 1) is SO(n) up to metric")
        self.n, self.dim, self.ambient_dim = n, n * (n - 1) // 2, n * n

    def matrix(self, x: Point) -> Float[Array, "n n"]:
        """The matrix of a point, or of a tangent."""
        return x.reshape(self.n, self.n)

    def project(self, x: Point) -> Point:
        """The nearest rotation of any matrix, of either determinant: the R with the largest tr(R^T M).

        For n = 3, tr(R^T M) = q^T K q in the unit quaternion q of R, and R is linear in q q^T, the projector onto the
        top eigenvector of K (Davenport 1968; Horn, J. Opt. Soc. Am. A 4, 1987).
        """
        M = self.matrix(x)
        if self.n == 3:
            return _rotation_of_square(spectral_projector(_davenport(M), 1))
        c, s = M[0, 0] + M[1, 1], M[1, 0] - M[0, 1]
        size = safe_norm(jnp.stack([c, s]))
        c, s = jnp.where(size > 0, c, 1.0), jnp.where(size > 0, s, 0.0)
        return jnp.stack([c, -s, s, c]) / jnp.where(size > 0, size, 1.0)

    def tangent(self, x: Point, v: Point) -> Point:
        """R (R^T V - V^T R) / 2."""
        R, V = self.matrix(x), self.matrix(v)
        return ((V - dot(R, dot(V.T, R))) / 2).ravel()

    def chart(self, x: Point) -> RotationChart:
        return RotationChart(self.matrix(x))

    def exp(self, x: Point, v: Point) -> Point:
        """R exp(R^T V), by Rodrigues' formula."""
        R = self.matrix(x)
        return (R + dot(R, _turn(_vee(dot(R.T, self.matrix(v)))))).ravel()

    def log(self, x: Point, y: Point) -> Point:
        """R log(R^T S): the velocity at R of the shortest geodesic to S, one of two where S is a half turn away."""
        R = self.matrix(x)
        return dot(R, _hat(_rotation_vector(R, self.matrix(y)))).ravel()

    def distance(self, x: Point, y: Point) -> Scalar:
        """sqrt(2) times the angle between the rotations, exact for near ones and for half turns; its gradient at x = y
        is 0.
        """
        return np.sqrt(2).item() * safe_norm(_rotation_vector(self.matrix(x), self.matrix(y)))

    def log_exp_volume(self, x: Point, v: Point) -> Scalar:
        """The log of Riemannian volume at exp_x(v) per unit volume of the tangent space: 2 log(sin(t/2) / (t/2)) for
        n = 3, with the angle t = |v| / sqrt(2), and 0 for n = 2.
        """
        if self.n == 2:
            return jnp.zeros((), x.dtype)
        return 2 * jnp.log(jnp.abs(sine_quotient(jnp.sum(v * v) / 8)))

    def compose(self, x: Point, y: Point) -> Point:
        """The product of two rotations: y first, then x."""
        return dot(self.matrix(x), self.matrix(y)).ravel()

    def inverse(self, x: Point) -> Point:
        """The rotation back."""
        return self.matrix(x).T.ravel()

    def act(self, x: Point, p: Float[Array, " n"]) -> Float[Array, " n"]:
        """R p."""
        return dot(self.matrix(x), p)

    def volume(self) -> Scalar:
        return jnp.asarray(2 * np.sqrt(2) * (np.pi if self.n == 2 else 8 * np.pi**2))

    def reach(self) -> Scalar:
        return jnp.asarray(np.sqrt(2).item())

    def uniform(self, key: Key) -> Point:
        """Haar measure: the rotation of a normalised Gaussian quaternion, or a uniform angle."""
        if self.n == 3:
            return rotation_from_quaternion(jax.random.normal(key, (4,)))
        return _plane_rotation(jax.random.uniform(key, maxval=2 * jnp.pi))

    def quadrature(self, order: int) -> tuple[Points, Float[Array, " n"]]:
        """`order` equal angles, for n = 2."""
        if self.n == 3:
            raise ValueError("quadrature on rotations covers n = 2, got n = 3; use Monte Carlo with `uniform`")
        angles = jnp.arange(order, dtype=float) * (2 * jnp.pi / order)
        return jax.vmap(_plane_rotation)(angles), jnp.broadcast_to(self.volume() / order, (order,))


class SpecialEuclidean(AbstractManifold):
    """SE(n), the rigid motions p -> R p + t of R^n, n = 2 or 3, as (R, t) in R^{n n + n}: rotations times translations.

    `exp`, `log` and `distance` are those of the product metric: rotation and translation move on their own, each at
    constant speed. The exponential of the group, whose orbits are screw motions, is another map. No volume.
    """

    product: Product
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(self, n: int):
        if n not in (2, 3):
            raise ValueError(f"SpecialEuclidean covers n = 2 and 3, got {n}")
        self.product = Product(SpecialOrthogonal(n), Euclidean(n))
        self.dim, self.ambient_dim = self.product.dim, self.product.ambient_dim

    def motion(self, x: Point) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
        """(R, t)."""
        rotation, translation = self.product.split(x)
        return rotation.reshape(len(translation), len(translation)), translation

    def compose(self, x: Point, y: Point) -> Point:
        """The motion y, then the motion x: (R S, R s + t)."""
        (R, t), (S, s) = self.motion(x), self.motion(y)
        return jnp.concatenate([dot(R, S).ravel(), dot(R, s) + t])

    def inverse(self, x: Point) -> Point:
        """The motion back: (R^T, -R^T t)."""
        R, t = self.motion(x)
        return jnp.concatenate([R.T.ravel(), -dot(R.T, t)])

    def act(self, x: Point, p: Float[Array, " n"]) -> Float[Array, " n"]:
        """R p + t."""
        R, t = self.motion(x)
        return dot(R, p) + t

    def project(self, x: Point) -> Point:
        return self.product.project(x)

    def tangent(self, x: Point, v: Point) -> Point:
        return self.product.tangent(x, v)

    def chart(self, x: Point) -> ProductChart:
        return self.product.chart(x)

    def exp(self, x: Point, v: Point) -> Point:
        """The end of the geodesic of the product metric from x with velocity v; not the exponential of the group."""
        return self.product.exp(x, v)

    def log(self, x: Point, y: Point) -> Point:
        """The velocity at x of the shortest geodesic to y."""
        return self.product.log(x, y)

    def distance(self, x: Point, y: Point) -> Scalar:
        """sqrt(2 angle^2 + |s - t|^2)."""
        return self.product.distance(x, y)

    def log_exp_volume(self, x: Point, v: Point) -> Scalar:
        """That of the rotation: translations keep volume."""
        return self.product.log_exp_volume(x, v)

    def reach(self) -> Scalar:
        return self.product.reach()


def rotation_from_quaternion(q: Float[Array, "4"]) -> Float[Array, "9"]:
    """The point of SpecialOrthogonal(3) for the quaternion q / |q|, q not 0: p -> q p q^{-1}.

    A local isometry from `Sphere(3)`, the unit quaternions, up to the factor 2 sqrt(2) in lengths, and two to one: q
    and -q are the same rotation.
    """
    return _rotation_of_square(q[:, None] * q[None, :] / jnp.sum(q * q))


def quaternion_from_rotation(x: Float[Array, "9"]) -> Float[Array, "4"]:
    """The unit quaternion with real part >= 0 of a point of SpecialOrthogonal(3), exact to rounding for all of them.

    4 q q^T is linear in the matrix, and q is its column with the largest diagonal entry, normalised (Shepperd, J.
    Guidance and Control 1, 1978). It is smooth but for a change of sign across half turns.
    """
    square = _davenport(x.reshape(3, 3)) + jnp.eye(4, dtype=x.dtype)
    # The diagonal adds up to 4, so that this column is never small.
    column = square[:, jnp.argmax(jnp.diagonal(square))]
    return column * jnp.where(column[0] < 0, -1.0, 1.0).astype(x.dtype) / jnp.sqrt(jnp.sum(column * column))


def _davenport(M: Float[Array, "3 3"]) -> Float[Array, "4 4"]:
    """K with tr(R(q)^T M) = q^T K q for unit q; for a rotation M it is 4 q q^T - I."""
    trace = M[0, 0] + M[1, 1] + M[2, 2]
    z = 2 * _vee(M)
    lower = M + M.T - trace * jnp.eye(3, dtype=M.dtype)
    return jnp.concatenate([jnp.append(trace, z)[None, :], jnp.concatenate([z[:, None], lower], axis=1)])


def _rotation_of_square(P: Float[Array, "4 4"]) -> Float[Array, "9"]:
    """The rotation of the unit quaternion q, from P = q q^T."""
    vector = P[1:, 1:]
    diagonal = (P[0, 0] - jnp.trace(vector)) * jnp.eye(3, dtype=P.dtype)
    return (diagonal + 2 * vector + 2 * _hat(P[0, 1:])).ravel()


def _plane_rotation(angle: Scalar) -> Float[Array, "4"]:
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([c, -s, s, c])


def _hat(w: Coordinates) -> Float[Array, "n n"]:
    zero = jnp.zeros((), w.dtype)
    if len(w) == 1:
        return jnp.stack([zero, -w[0], w[0], zero]).reshape(2, 2)
    x, y, z = w
    return jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)


def _vee(A: Float[Array, "n n"]) -> Coordinates:
    """The w with hat(w) = (A - A^T) / 2."""
    if len(A) == 2:
        return (A[1, 0] - A[0, 1])[None] / 2
    return jnp.stack([A[2, 1] - A[1, 2], A[0, 2] - A[2, 0], A[1, 0] - A[0, 1]]) / 2


def _turn(w: Coordinates) -> Float[Array, "n n"]:
    """exp(hat(w)) - I = sin(t)/t hat(w) + (1 - cos t)/t^2 hat(w)^2, t = |w|, also for n = 2."""
    squared, A = jnp.sum(w * w), _hat(w)
    return sine_quotient(squared) * A + sine_quotient(squared / 4) ** 2 / 2 * dot(A, A)


def _rotation_vector(R: Float[Array, "n n"], S: Float[Array, "n n"]) -> Coordinates:
    """The w with R exp(hat(w)) = S and |w| <= pi."""
    # The difference first: near rotations keep their relative accuracy.
    offset = dot(R.T, S - R)
    if len(R) == 2:
        return jnp.arctan2(_vee(offset), 1 + (offset[0, 0] + offset[1, 1])[None] / 2)
    w, *vector = quaternion_from_rotation((jnp.eye(3, dtype=R.dtype) + offset).ravel())
    vector = jnp.stack(vector)
    # Half of the half angle: its tangent is at most 1, and no angle is special.
    half = w + jnp.sqrt(w * w + jnp.sum(vector * vector))
    return 4 / half * arctangent_quotient(jnp.sum(vector * vector) / (half * half)) * vector
