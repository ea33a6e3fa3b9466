"""Manifolds from a parametrisation: any smooth map of a box, whose sides may be edges or be joined."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._numerics import chunked_map, dot, rejection
from manifold_diffusion._types import Coordinates, Key, Point, Points, Scalar
from manifold_diffusion.geometry.extent import reach_estimate
from manifold_diffusion.geometry.manifold import (
    AbstractChart,
    AbstractManifold,
    log_volume,
    nearest_coordinates,
    tangent_frame,
)

Ends: TypeAlias = Literal["edge", "wrap", "glue", "open"]


class ParametrisedChart(AbstractChart):
    """u -> f(origin + u)."""

    manifold: "Parametrised"
    origin: Coordinates

    def embed(self, u: Coordinates) -> Point:
        return self.manifold.embedding(self.origin.astype(u.dtype) + u)

    def coordinates(self, x: Point) -> Coordinates:
        return self.manifold.shortest(self.manifold.parameter(x) - self.origin.astype(x.dtype))


class Parametrised(AbstractManifold):
    """The image f(box) of a box in R^k; make it with `from_embedding`, which says what the ends of the box may be."""

    embedding: Callable[[Coordinates], Point]
    lower: Coordinates
    upper: Coordinates
    starts: Float[Array, "s k"]
    start_points: Float[Array, "s d"]
    log_bound: Scalar
    ends: tuple[Ends, ...] = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def whole(self) -> ParametrisedChart:
        """The chart whose coordinates are the parameters themselves."""
        return ParametrisedChart(self, jnp.zeros_like(self.lower))

    def parameter(self, x: Point) -> Coordinates:
        """The parameter in the box of the nearest point: Newton's method from the nearest of a grid of points."""
        gaps = self.start_points.astype(x.dtype) - x[None, :]
        start = self.starts[jnp.argmin(jnp.sum(gaps * gaps, axis=1))].astype(x.dtype)
        found = nearest_coordinates(self.whole(), x, start, steps=12, box=self._box(x.dtype))
        return self._inside(found)

    def project(self, x: Point) -> Point:
        return self.embedding(self.parameter(x))

    def tangent(self, x: Point, v: Point) -> Point:
        frame = tangent_frame(self.whole(), self.parameter(x))
        return dot(frame, dot(frame.T, v))

    def chart(self, x: Point) -> ParametrisedChart:
        return ParametrisedChart(self, self.parameter(x))

    def volume(self) -> Scalar:
        """By `quadrature` of order 4096, 256, 48 for k = 1, 2, 3 and 16 above; `volume_estimate` adds an error."""
        return _volume(self, {1: 4096, 2: 256, 3: 48}.get(self.dim, 16))

    def reach(self) -> Scalar:
        """`reach_estimate` without its error: from above, by the square of the nodes' spacing; without edges."""
        return reach_estimate(self).value

    def uniform(self, key: Key) -> Point:
        """Rejection of uniform parameters against the largest volume element of a grid, with a margin of 5 %.

        Every proposal is checked against that bound, and one above it raises, so what comes back is exact.
        """
        dtype = self.lower.dtype

        def propose(place):
            u = self.lower + (self.upper - self.lower) * jax.random.uniform(place, (self.dim,), dtype)
            return u, log_volume(self.whole(), u) - self.log_bound

        u, excess = rejection(key, propose)
        u = eqx.error_if(u, ~(excess <= 0), "the volume element exceeds its bound: give from_embedding a finer grid")
        return self.embedding(u)

    def quadrature(self, order: int) -> tuple[Points, Float[Array, " n"]]:
        """`order` nodes a coordinate: equally spaced where ends meet (spectrally accurate), Gauss-Legendre between
        edges.
        """
        return _nodes(self, order)

    def shortest(self, offset: Coordinates) -> Coordinates:
        """A difference of parameters, with those that wrap brought into half a period."""
        size = (self.upper - self.lower).astype(offset.dtype)
        wrapped = jnp.mod(offset + size / 2, size) - size / 2
        return jnp.where(self._are("wrap"), wrapped, offset)

    def _inside(self, u: Coordinates) -> Coordinates:
        lower, size = self.lower.astype(u.dtype), (self.upper - self.lower).astype(u.dtype)
        return jnp.where(self._are("wrap"), lower + jnp.mod(u - lower, size), u)

    def _box(self, dtype) -> tuple[Coordinates, Coordinates]:
        edge, far = self._are("edge") | self._are("open"), jnp.asarray(jnp.inf, dtype)
        return jnp.where(edge, self.lower.astype(dtype), -far), jnp.where(edge, self.upper.astype(dtype), far)

    def _are(self, end: Ends):
        return np.asarray([each == end for each in self.ends])


@eqx.filter_jit
def _nodes(manifold: Parametrised, order: int) -> tuple[Points, Float[Array, " n"]]:
    axes = [_rule(order, end) for end in manifold.ends]
    nodes = np.stack([m.ravel() for m in np.meshgrid(*(a[0] for a in axes), indexing="ij")], -1)
    weights = np.prod(np.meshgrid(*(a[1] for a in axes), indexing="ij"), axis=0).ravel()
    size, chart = manifold.upper - manifold.lower, manifold.whole()
    u = manifold.lower[None, :] + size[None, :] * jnp.asarray(nodes, size.dtype)
    # In blocks, because the derivatives of an image at so many nodes would take gigabytes.
    chunk = max(64, 2**20 // manifold.ambient_dim)
    points, elements = chunked_map(lambda v: (chart.embed(v), jnp.exp(log_volume(chart, v))), u, chunk)
    return points, elements * jnp.asarray(weights, size.dtype) * jnp.prod(size)


@eqx.filter_jit
def _volume(manifold: Parametrised, order: int) -> Scalar:
    # A program of its own, which does not make the points.
    return jnp.sum(_nodes(manifold, order)[1])


def _rule(order: int, end: Ends) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1]."""
    if end == "edge":
        nodes, weights = np.polynomial.legendre.leggauss(order)
        return (nodes + 1) / 2, weights / 2
    if end == "open":  # for integrands that vanish at the ends with all derivatives
        return (np.arange(order) + 0.5) / order, np.full(order, 1 / order)
    return np.arange(order) / order, np.full(order, 1 / order)
