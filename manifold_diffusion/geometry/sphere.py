"""Round spheres, in closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot, safe_norm
from manifold_diffusion._small_matrices import arctangent_quotient, sine_quotient
from manifold_diffusion._types import Coordinates, Key, Point, Points, Scalar
from manifold_diffusion.geometry.manifold import AbstractChart, AbstractManifold
from manifold_diffusion.geometry.unit_sphere import complement, log_sphere_area, sphere_quadrature


class SphereChart(AbstractChart):
    """u -> R (c + F u) / |c + F u|: the central (gnomonic) projection of the tangent plane at the unit vector c."""

    centre: Point
    frame: Float[Array, "d k"]
    radius: Scalar = eqx.field(converter=jnp.asarray)

    def embed(self, u: Coordinates) -> Point:
        ray = self.centre + dot(self.frame, u)
        return self.radius * ray / jnp.sqrt(jnp.sum(ray * ray))

    def coordinates(self, x: Point) -> Coordinates:
        return dot(self.frame.T, x) / dot(self.centre, x)


class Sphere(AbstractManifold):
    """S^k of radius R in R^{k+1}: all principal curvatures 1/R, volume (k+1) omega_{k+1} R^k, reach R."""

    radius: Scalar = eqx.field(converter=jnp.asarray)
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(self, dim: int, radius: float | Scalar = 1.0):
        if dim < 1:
            raise ValueError(f"a sphere has dimension at least 1, got {dim}; pass dim=1 for the circle")
        self.dim, self.ambient_dim = dim, dim + 1
        self.radius = jnp.asarray(radius, dtype=float)

    def project(self, x: Point) -> Point:
        """R x / |x|; the centre, which has no nearest point, goes to the last pole."""
        size = safe_norm(x)
        pole = jnp.zeros_like(x).at[-1].set(1.0)
        return self.radius.astype(x.dtype) * jnp.where(size > 0, x / jnp.where(size > 0, size, 1.0), pole)

    def tangent(self, x: Point, v: Point) -> Point:
        normal = self.project(x) / self.radius.astype(x.dtype)
        return v - dot(normal, v) * normal

    def chart(self, x: Point) -> SphereChart:
        centre = self.project(x) / self.radius.astype(x.dtype)
        return SphereChart(centre, complement(centre), self.radius.astype(x.dtype))

    def distance(self, x: Point, y: Point) -> Scalar:
        """Geodesic distance 2 R atan2(|x - y|, |x + y|): exact for near and for antipodal points, unlike arccos."""
        return 2 * self.radius.astype(x.dtype) * jnp.arctan2(safe_norm(x - y), safe_norm(x + y))

    def exp(self, x: Point, v: Point) -> Point:
        """The end of the geodesic from x with velocity v: cos(|v|/R) x + sin(|v|/R) R v/|v|."""
        angle = safe_norm(v) / self.radius.astype(x.dtype)
        return jnp.cos(angle) * x + jnp.sinc(angle / jnp.pi) * v

    def log(self, x: Point, y: Point) -> Point:
        """The velocity at x of the shortest geodesic to y (y not antipodal)."""
        across = self.tangent(x, y - x)
        below, above = jnp.sum((x - y) ** 2), jnp.sum((x + y) ** 2)
        near = below < above
        # tan^2(t/2), in which t / sin t has no special point at 0.
        squared = jnp.where(near, below / jnp.where(near, above, 1.0), 0.0)
        size = jnp.where(near, 1.0, safe_norm(across))
        far = jnp.where(size > 0, self.distance(x, y) / jnp.where(size > 0, size, 1.0), 1.0)
        return across * jnp.where(near, (1 + squared) * arctangent_quotient(squared), far)

    def log_exp_volume(self, x: Point, v: Point) -> Scalar:
        """The log of Riemannian volume at exp_x(v) per unit volume of the tangent space: (k - 1) log(sin t / t), t =
        |v| / R.
        """
        squared = jnp.sum(v * v) / self.radius.astype(x.dtype) ** 2
        return (self.dim - 1) * jnp.log(jnp.abs(sine_quotient(squared)))

    def volume(self) -> Scalar:
        return jnp.exp(log_sphere_area(self.dim)) * self.radius**self.dim

    def reach(self) -> Scalar:
        return self.radius

    def uniform(self, key: Key) -> Point:
        """A normalised Gaussian vector."""
        return self.project(jax.random.normal(key, (self.ambient_dim,), self.radius.dtype))

    def quadrature(self, order: int) -> tuple[Points, Float[Array, " n"]]:
        """Nodes and weights, `sphere_quadrature`, for k <= 2."""
        points, weights = sphere_quadrature(self.dim, order)
        return self.radius * jnp.asarray(points, self.radius.dtype), self.radius**self.dim * jnp.asarray(
            weights, self.radius.dtype
        )
