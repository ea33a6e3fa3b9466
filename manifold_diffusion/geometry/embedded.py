"""Isometric copies of a manifold in a space of higher dimension."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot, known_false
from manifold_diffusion._types import Coordinates, Key, Point, Points, Scalar
from manifold_diffusion.geometry.manifold import AbstractChart, AbstractManifold


class EmbeddedChart(AbstractChart):
    """u -> offset + E chart(u)."""

    inner: AbstractChart
    frame: Float[Array, "d e"]
    offset: Point

    def embed(self, u: Coordinates) -> Point:
        return self.offset + dot(self.frame, self.inner.embed(u))

    def coordinates(self, x: Point) -> Coordinates:
        return self.inner.coordinates(dot(self.frame.T, x - self.offset))


class Embedded(AbstractManifold):
    """offset + E M for a manifold M in R^e and E (d, e) with orthonormal columns: the same intrinsic and extrinsic
    geometry in R^d.

    Projection splits: the part of x orthogonal to the columns of E does not matter for the nearest point.
    """

    inner: AbstractManifold
    frame: Float[Array, "d e"]
    offset: Point
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(self, inner: AbstractManifold, frame, offset=None):
        self.inner, self.frame = inner, jnp.asarray(frame, dtype=float)
        self.dim, self.ambient_dim = inner.dim, self.frame.shape[0]
        if self.frame.shape[1] != inner.ambient_dim:
            raise ValueError(
                f"the frame must have {inner.ambient_dim} columns, one per inner coordinate, "
                f"got shape {self.frame.shape}"
            )
        gram = dot(self.frame.T, self.frame) - jnp.eye(inner.ambient_dim)
        if known_false(jnp.max(jnp.abs(gram)) <= 100 * jnp.finfo(self.frame.dtype).eps * self.ambient_dim):
            raise ValueError("the columns of the frame must be orthonormal; pass jnp.linalg.qr(frame)[0]")
        self.offset = jnp.zeros(self.ambient_dim) if offset is None else jnp.asarray(offset, dtype=float)

    def inside(self, x: Point) -> Float[Array, " e"]:
        """The inner coordinates E^T (x - offset)."""
        return dot(self.frame.astype(x.dtype).T, x - self.offset.astype(x.dtype))

    def outside(self, y: Float[Array, " e"]) -> Point:
        """The point offset + E y."""
        return self.offset.astype(y.dtype) + dot(self.frame.astype(y.dtype), y)

    def project(self, x: Point) -> Point:
        return self.outside(self.inner.project(self.inside(x)))

    def tangent(self, x: Point, v: Point) -> Point:
        frame = self.frame.astype(x.dtype)
        return dot(frame, self.inner.tangent(self.inside(x), dot(frame.T, v)))

    def chart(self, x: Point) -> EmbeddedChart:
        return EmbeddedChart(self.inner.chart(self.inside(x)), self.frame.astype(x.dtype), self.offset.astype(x.dtype))

    def volume(self) -> Scalar:
        return self.inner.volume()

    def reach(self) -> Scalar:
        return self.inner.reach()

    def uniform(self, key: Key) -> Point:
        return self.outside(self.inner.uniform(key))

    def quadrature(self, order: int) -> tuple[Points, Float[Array, " n"]]:
        points, weights = self.inner.quadrature(order)
        return jax.vmap(self.outside)(points), weights


def random_frame(key: Key, ambient_dim: int, inner_dim: int) -> Float[Array, "d e"]:
    """Orthonormal columns, uniform on the Stiefel manifold: the Q factor of a Gaussian matrix with the signs of R's
    diagonal.
    """
    q, r = jnp.linalg.qr(jax.random.normal(key, (ambient_dim, inner_dim)))
    return q * jnp.sign(jnp.diagonal(r))[None, :]
