"""Ellipsoids with any semi-axes: nearest points by Newton's method on the secular equation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot, known_false, rejection
from manifold_diffusion._types import Coordinates, Key, Point, Points, Scalar
from manifold_diffusion.geometry.manifold import AbstractChart, AbstractManifold
from manifold_diffusion.geometry.unit_sphere import complement, log_sphere_area, sphere_quadrature


class EllipsoidChart(AbstractChart):
    """u -> a * (c + F u) / |c + F u|: the gnomonic chart of the unit sphere at c, stretched by the semi-axes a."""

    centre: Point
    frame: Float[Array, "d k"]
    axes: Point

    def embed(self, u: Coordinates) -> Point:
        ray = self.centre + dot(self.frame, u)
        return self.axes * ray / jnp.sqrt(jnp.sum(ray * ray))

    def coordinates(self, x: Point) -> Coordinates:
        return dot(self.frame.T, x / self.axes) / dot(self.centre, x / self.axes)


class Ellipsoid(AbstractManifold):
    """{x in R^{k+1}: sum (x_i / a_i)^2 = 1}. The k + 1 semi-axes may be any positive numbers; reach = min(a)^2 /
    max(a).
    """

    axes: Point
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(self, axes):
        self.axes = jnp.asarray(axes, dtype=float)
        if self.axes.ndim != 1 or len(self.axes) < 2 or known_false(jnp.all(self.axes > 0)):
            raise ValueError(
                f"an ellipsoid needs at least two positive semi-axes, got {axes}; pass for example (1.0, 1.5, 2.0)"
            )
        self.dim, self.ambient_dim = len(self.axes) - 1, len(self.axes)

    def project(self, x: Point) -> Point:
        """y_i = a_i^2 x_i / (a_i^2 + t) with t the largest root of |s(t)| = 1, s_i(t) = a_i x_i / (a_i^2 + t).

        Newton's method on 1/|s(t)|, which is concave, increasing and nearly linear, from a point left of the root:
        monotone, and quadratic. Points whose nearest point is not unique (on the focal set) go to one of the nearest.
        """
        axes = self.axes.astype(x.dtype)
        start = jnp.max(axes * (jnp.abs(x) - axes))

        def step(t, _):
            s = axes * x / _away_from_zero(axes**2 + t)
            square = jnp.sum(s * s)
            slope = jnp.sum(s * s / _away_from_zero(axes**2 + t)) / jnp.maximum(square, tiny)
            # Newton on h(t) = 1/|s| - 1: h' = slope / |s|, so the step is (|s| - 1) / slope.
            return t + (jnp.sqrt(square) - 1) / jnp.maximum(slope, tiny), None

        tiny = jnp.finfo(x.dtype).tiny
        steps = 12 if x.dtype == jnp.float32 else 16
        t = jax.lax.scan(step, start, None, length=steps)[0]
        y = axes * x / _away_from_zero(axes**2 + t)
        pole = jnp.where(jnp.arange(len(axes)) == jnp.argmin(axes), 1.0, 0.0).astype(x.dtype)
        size = jnp.sqrt(jnp.sum(y * y))
        return axes * jnp.where(size > 0, y / jnp.where(size > 0, size, 1.0), pole)

    def normal(self, x: Point) -> Point:
        """The outward unit normal at the point x of the ellipsoid, x / a^2 normalised."""
        gradient = x / self.axes.astype(x.dtype) ** 2
        return gradient / jnp.sqrt(jnp.sum(gradient * gradient))

    def tangent(self, x: Point, v: Point) -> Point:
        normal = self.normal(x)
        return v - dot(normal, v) * normal

    def chart(self, x: Point) -> EllipsoidChart:
        axes = self.axes.astype(x.dtype)
        centre = x / axes
        centre = centre / jnp.sqrt(jnp.sum(centre * centre))
        return EllipsoidChart(centre, complement(centre), axes)

    def volume(self) -> Scalar:
        """prod(a) |S^k| E sqrt(sum theta_i^2 / a_i^2), theta uniform on S^k.

        The mean of a square root by E sqrt(W) = (4 pi)^{-1/2} int_0^inf (1 - E e^{-sW}) s^{-3/2} ds for W = sum z_i^2 /
        a_i^2 with Gaussian z, whose Laplace transform is prod (1 + 2 s / a_i^2)^{-1/2}; then E|z| is divided out
        (derived). Exact for any k up to the quadrature, 1e-12 relative.
        """
        return jnp.asarray(_area(np.asarray(self.axes, np.float64)), self.axes.dtype)

    def reach(self) -> Scalar:
        return jnp.min(self.axes) ** 2 / jnp.max(self.axes)

    def uniform(self, key: Key) -> Point:
        """Rejection from a * theta, theta uniform on the sphere: accepted with probability min(a) |theta / a| <= 1."""

        def propose(place):
            z = jax.random.normal(place, (self.ambient_dim,), self.axes.dtype)
            theta = z / jnp.sqrt(jnp.sum(z * z))
            return theta, jnp.log(jnp.min(self.axes) * jnp.sqrt(jnp.sum((theta / self.axes) ** 2)))

        return self.axes * rejection(key, propose)[0]

    def quadrature(self, order: int) -> tuple[Points, Float[Array, " n"]]:
        """The quadrature of the sphere, stretched, with the change of volume prod(a) |theta / a|; k <= 2."""
        theta, weights = sphere_quadrature(self.dim, order)
        theta = jnp.asarray(theta, self.axes.dtype)
        stretch = jnp.prod(self.axes) * jnp.linalg.norm(theta / self.axes[None, :], axis=1)
        return self.axes[None, :] * theta, stretch * jnp.asarray(weights, self.axes.dtype)


def _away_from_zero(x: Array) -> Array:
    return jnp.where(jnp.abs(x) < jnp.finfo(x.dtype).tiny, jnp.finfo(x.dtype).tiny, x)


def _area(axes: np.ndarray) -> float:
    from scipy.integrate import quad
    from scipy.special import gammaln

    scale = axes.min()
    b = (scale / axes) ** 2
    k = len(axes) - 1

    def integrand(v):
        s = np.exp(v)
        return -np.expm1(-0.5 * np.sum(np.log1p(2 * s * b))) * np.exp(-0.5 * v)

    mean_root = quad(integrand, -75, 75, points=[0.0], limit=500, epsabs=0, epsrel=1e-13)[0] / np.sqrt(4 * np.pi)
    mean_norm = np.sqrt(2) * np.exp(gammaln((k + 2) / 2) - gammaln((k + 1) / 2))
    return float(np.exp(log_sphere_area(k)) * np.prod(axes) * mean_root / mean_norm / scale)
