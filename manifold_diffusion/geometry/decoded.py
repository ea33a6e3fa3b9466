"""Manifolds that a decoder draws: the image of a latent manifold, with an encoder that says where to look."""

from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import chunked_map, dot, vary_like
from manifold_diffusion._types import Coordinates, Point, Points, Scalar
from manifold_diffusion.geometry.manifold import (
    AbstractChart,
    AbstractManifold,
    as_module,
    log_volume,
    nearest_coordinates,
    tangent_frame,
)

Code: TypeAlias = Float[Array, " l"]
"""A point of the latent manifold, in its own space."""

_ROUNDS, _STEPS = 3, 5
_ORDERS = {1: 512, 2: 64}


class DecodedChart(AbstractChart):
    """u -> G(c(u)), c a chart of the latent manifold."""

    manifold: "Decoded"
    inner: AbstractChart

    def embed(self, u: Coordinates) -> Point:
        return self.manifold.decode(self.inner.embed(u))

    def coordinates(self, x: Point) -> Coordinates:
        return self.inner.coordinates(self.manifold.code(x))


class Decoded(AbstractManifold):
    """G(L), the image of a latent manifold L (a sphere, a flat torus, R^k) under a decoder G.

    decode   G, a smooth map from the space of L to R^d, an embedding of L; only its values on L matter
    encode   E, from R^d to the space of L: where the search for the nearest point of G(L) starts, after E(x) has been
             projected on L. It need not be exact, but the search ends in the basin in which it starts.
    radius   how far one of three rounds of the search moves, in coordinates of a chart of L (for a sphere of radius 1
             an angle of 45 degrees); more for an R^k with other units

    Where the latent manifold has a quadrature, this one has it too, and a volume.
    """

    latent: AbstractManifold
    encode: Callable[[Point], Code]
    decode: Callable[[Code], Point]
    radius: float = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(
        self,
        latent: AbstractManifold,
        encode: Callable[[Point], Code],
        decode: Callable[[Code], Point],
        radius: float | int = 1.0,
    ):
        self.latent, self.encode, self.decode = latent, as_module(encode), as_module(decode)
        self.radius, self.dim = float(radius), latent.dim
        point = jnp.zeros(latent.ambient_dim)
        made = jax.eval_shape(self.decode, point)
        if made.ndim != 1 or made.shape[0] <= self.dim:
            raise ValueError(f"decode must map ({len(point)},) to (d,) with d > {self.dim}, got the shape {made.shape}")
        code = jax.eval_shape(self.encode, made)
        if code.shape != point.shape:
            raise ValueError(f"encode must map {made.shape} to {point.shape}, as decode goes back, got {code.shape}")
        if not self.radius > 0:
            raise ValueError(f"the radius of a round of the search must be positive, got {radius}")
        self.ambient_dim = made.shape[0]

    def guess(self, x: Point) -> Code:
        """E(x), on the latent manifold."""
        return self.latent.project(self.encode(x))

    def reconstruct(self, x: Point) -> Point:
        """G(E(x)): the first guess at the projection, and what an autoencoder returns."""
        return self.decode(self.guess(x))

    def code(self, x: Point) -> Code:
        """argmin over z in L of |G(z) - x|^2, near E(x): `nearest_coordinates` in a chart around the last guess."""

        def round_of_search(z, _):
            inner = self.latent.chart(z)
            chart = DecodedChart(self, inner)
            u = nearest_coordinates(chart, x, inner.coordinates(z), self.radius, _STEPS)
            return inner.embed(u), None

        return jax.lax.scan(round_of_search, vary_like(self.guess(x), x), None, length=_ROUNDS)[0]

    def project(self, x: Point) -> Point:
        return self.decode(self.code(x))

    def tangent(self, x: Point, v: Point) -> Point:
        z = self.code(x)
        inner = self.latent.chart(z)
        frame = tangent_frame(DecodedChart(self, inner), inner.coordinates(z))
        return dot(frame, dot(frame.T, v))

    def chart(self, x: Point) -> DecodedChart:
        return DecodedChart(self, self.latent.chart(self.code(x)))

    def volume(self) -> Scalar:
        """By `quadrature` of order 512, 64 for k = 1, 2; `volume_estimate` adds an error."""
        return jnp.sum(self.quadrature(_ORDERS.get(self.dim, 16))[1])

    def quadrature(self, order: int) -> tuple[Points, Float[Array, " n"]]:
        """The nodes of the latent manifold, decoded, with the change of volume sqrt(det g_G / det g_L)."""
        codes, weights = self.latent.quadrature(order)
        points, stretch = _decoded_nodes(self, codes)
        return points, weights * stretch


@eqx.filter_jit
def _decoded_nodes(manifold: Decoded, codes: Float[Array, "n l"]) -> tuple[Points, Float[Array, " n"]]:
    def look(z):
        inner = manifold.latent.chart(z)
        u = inner.coordinates(z)
        return manifold.decode(z), jnp.exp(log_volume(DecodedChart(manifold, inner), u) - log_volume(inner, u))

    points, stretch = chunked_map(look, codes, max(64, 2**20 // manifold.ambient_dim))
    return points, stretch
