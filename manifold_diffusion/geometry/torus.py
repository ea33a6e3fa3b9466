"""The torus of revolution, in closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot, known_false, rejection
from manifold_diffusion._types import Coordinates, Key, Point, Points, Scalar
from manifold_diffusion.geometry.manifold import AbstractChart, AbstractManifold


class TorusChart(AbstractChart):
    """u = (longitude, latitude) from the angles `origin`: ((R + r cos b) cos a, (R + r cos b) sin a, r sin b), a + i b
    = origin + u.
    """

    origin: Coordinates
    major: Scalar
    minor: Scalar

    def embed(self, u: Coordinates) -> Point:
        return torus_point(self.origin + u, self.major, self.minor)

    def coordinates(self, x: Point) -> Coordinates:
        offset = torus_angles(x, self.major) - self.origin
        return jnp.mod(offset + jnp.pi, 2 * jnp.pi) - jnp.pi


class Torus(AbstractManifold):
    """The torus of revolution in R^3 with radii R > r: volume 4 pi^2 R r, reach min(r, R - r), curvatures 1/r and cos
    b/(R + r cos b).
    """

    major: Scalar
    minor: Scalar
    dim: int = eqx.field(static=True, default=2)
    ambient_dim: int = eqx.field(static=True, default=3)

    def __init__(self, major: float | Scalar = 1.0, minor: float | Scalar = 0.5):
        self.major, self.minor = jnp.asarray(major, dtype=float), jnp.asarray(minor, dtype=float)
        if known_false((self.minor > 0) & (self.minor < self.major)):
            raise ValueError(f"a torus needs 0 < minor < major, got major={major}, minor={minor}")
        self.dim, self.ambient_dim = 2, 3

    def project(self, x: Point) -> Point:
        return torus_point(
            torus_angles(x, self.major.astype(x.dtype)), self.major.astype(x.dtype), self.minor.astype(x.dtype)
        )

    def normal(self, x: Point) -> Point:
        """The outward unit normal at the point x."""
        a, b = torus_angles(x, self.major.astype(x.dtype))
        return jnp.stack([jnp.cos(b) * jnp.cos(a), jnp.cos(b) * jnp.sin(a), jnp.sin(b)])

    def tangent(self, x: Point, v: Point) -> Point:
        normal = self.normal(x)
        return v - dot(normal, v) * normal

    def chart(self, x: Point) -> TorusChart:
        return TorusChart(
            torus_angles(x, self.major.astype(x.dtype)), self.major.astype(x.dtype), self.minor.astype(x.dtype)
        )

    def volume(self) -> Scalar:
        return 4 * jnp.pi**2 * self.major * self.minor

    def reach(self) -> Scalar:
        return jnp.minimum(self.minor, self.major - self.minor)

    def uniform(self, key: Key) -> Point:
        """Longitude uniform; latitude b by rejection with probability (R + r cos b) / (R + r)."""
        longitude, loop = jax.random.split(key)
        a = jax.random.uniform(longitude, dtype=self.major.dtype, maxval=2 * jnp.pi)

        def propose(place):
            angle = jax.random.uniform(place, dtype=self.major.dtype, maxval=2 * jnp.pi)
            return angle, jnp.log((self.major + self.minor * jnp.cos(angle)) / (self.major + self.minor))

        b, _ = rejection(loop, propose)
        return torus_point(jnp.stack([a, b]), self.major, self.minor)

    def quadrature(self, order: int) -> tuple[Points, Float[Array, " n"]]:
        """2 `order` longitudes by `order` latitudes at equal angles: spectrally accurate for smooth integrands."""
        a = jnp.arange(2 * order, dtype=self.major.dtype) * (jnp.pi / order)
        b = jnp.arange(order, dtype=self.major.dtype) * (2 * jnp.pi / order)
        angles = jnp.stack(jnp.meshgrid(a, b, indexing="ij"), -1).reshape(-1, 2)
        points = jax.vmap(lambda u: torus_point(u, self.major, self.minor))(angles)
        weights = self.minor * (self.major + self.minor * jnp.cos(angles[:, 1])) * (2 * jnp.pi**2 / order**2)
        return points, weights


def torus_point(angles: Coordinates, major: Scalar, minor: Scalar) -> Point:
    """The point at (longitude, latitude)."""
    a, b = angles
    ring = major + minor * jnp.cos(b)
    return jnp.stack([ring * jnp.cos(a), ring * jnp.sin(a), minor * jnp.sin(b)])


def torus_angles(x: Point, major: Scalar) -> Coordinates:
    """(longitude, latitude) of the nearest point of the torus; on the axis and on the core circle an angle is 0."""
    off_axis = (x[0] != 0) | (x[1] != 0)
    a = jnp.arctan2(jnp.where(off_axis, x[1], 0.0), jnp.where(off_axis, x[0], 1.0))
    ring = jnp.where(off_axis, jnp.sqrt(jnp.where(off_axis, x[0] ** 2 + x[1] ** 2, 1.0)), 0.0)
    off_core = (ring != major) | (x[2] != 0)
    b = jnp.arctan2(jnp.where(off_core, x[2], 0.0), jnp.where(off_core, ring - major, 1.0))
    return jnp.stack([a, b])
