"""Manifolds given by several charts that overlap, patched together by a partition of unity."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from manifold_diffusion._numerics import dot, rejection
from manifold_diffusion._types import Coordinates, Key, Point, Points, Scalar
from manifold_diffusion.geometry.extent import reach_estimate
from manifold_diffusion.geometry.manifold import AbstractChart, AbstractManifold, log_volume, tangent_frame
from manifold_diffusion.geometry.parametrised import Parametrised

_ON = 1e-3


class ChartedChart(AbstractChart):
    """u -> f_i(origin + u), i the chart that was chosen for the point."""

    manifold: "Charted"
    index: Int[Array, ""]
    origin: Coordinates

    def embed(self, u: Coordinates) -> Point:
        maps = [piece.embedding for piece in self.manifold.pieces]
        return jax.lax.switch(self.index, maps, self.origin.astype(u.dtype) + u)

    def coordinates(self, x: Point) -> Coordinates:
        origin = self.origin.astype(x.dtype)
        found = [lambda x, piece=piece: piece.shortest(piece.parameter(x) - origin) for piece in self.manifold.pieces]
        return jax.lax.switch(self.index, found, x)


class Charted(AbstractManifold):
    """The union of overlapping charts f_i: box_i -> R^d; make it with `from_embedding`.

    Where a side of a box is "open" the chart fades out: with s the position between the two ends, 0 < s < 1, the bump
    of the coordinate is b(s) = exp(4 - 1 / (s (1 - s))), smooth and 0 with all its derivatives at the ends (1 for the
    other kinds of end). phi_i(x) = B_i(x) / sum_j B_j(x), with B_i the product over the coordinates of x in chart i, or
    0 where x is not in it, is a partition of unity, and

        int_M f dvol = sum_i int f(f_i(u)) phi_i(f_i(u)) sqrt(det g_i(u)) du.

    In a coordinate that is open the integrand vanishes at the ends with all its derivatives, so equally spaced nodes
    converge faster than any power of their number.
    """

    pieces: tuple[Parametrised, ...]
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(self, pieces: tuple[Parametrised, ...]):
        dims = {(piece.dim, piece.ambient_dim) for piece in pieces}
        if len(dims) != 1:
            raise ValueError(f"the charts of a manifold must agree in their dimensions, got {sorted(dims)}")
        self.pieces = tuple(pieces)
        self.dim, self.ambient_dim = dims.pop()

    def bumps(self, x: Point) -> Float[Array, " charts"]:
        """B_i(x) for each chart."""
        return self._look(x)[2]

    def partition(self, x: Point) -> Float[Array, " charts"]:
        """phi_i(x) for each chart, at the point x of the manifold: they add up to one."""
        bumps = self.bumps(x)
        return bumps / jnp.sum(bumps)

    def project(self, x: Point) -> Point:
        _, points, _ = self._look(x)
        gaps = points - x[None, :]
        return points[jnp.argmin(jnp.sum(gaps * gaps, axis=1))]

    def tangent(self, x: Point, v: Point) -> Point:
        parameters, _, bumps = self._look(x)
        frames = [tangent_frame(piece.whole(), u) for piece, u in zip(self.pieces, parameters, strict=True)]
        frame = jnp.stack(frames)[jnp.argmax(bumps)]
        return dot(frame, dot(frame.T, v))

    def chart(self, x: Point) -> ChartedChart:
        parameters, _, bumps = self._look(x)
        index = jnp.argmax(bumps)
        return ChartedChart(self, index, parameters[index])

    def volume(self) -> Scalar:
        """By `quadrature` of order 1024, 128, 48 for k = 1, 2, 3 and 16 above; `volume_estimate` adds an error."""
        return jnp.sum(self.quadrature({1: 1024, 2: 128, 3: 48}.get(self.dim, 16))[1])

    def reach(self) -> Scalar:
        """`reach_estimate` without its error: from above, by the square of the nodes' spacing."""
        return reach_estimate(self).value

    def uniform(self, key: Key) -> Point:
        """A chart in proportion to its bound, a uniform parameter, and rejection of the density phi_i sqrt(det g_i)
        against the bound; a volume element above its bound raises.
        """
        dtype = self.pieces[0].lower.dtype
        log_sizes = jnp.stack([piece.log_bound + jnp.sum(jnp.log(piece.upper - piece.lower)) for piece in self.pieces])

        def propose(place):
            which, where = jax.random.split(place)
            index = jax.random.categorical(which, log_sizes)
            share = jax.random.uniform(where, (self.dim,), dtype)

            def one(piece, i):
                u = piece.lower + (piece.upper - piece.lower) * share
                x, excess = piece.embedding(u), log_volume(piece.whole(), u) - piece.log_bound
                return x, excess + jnp.log(self.partition(x)[i]), excess

            branches = [lambda piece=piece, i=i: one(piece, i) for i, piece in enumerate(self.pieces)]
            x, log_ratio, excess = jax.lax.switch(index, branches)
            return x, jnp.where(excess > 0, excess, log_ratio)

        x, worst = rejection(key, propose)
        return eqx.error_if(x, ~(worst <= 0), "the volume element exceeds its bound: give from_embedding a finer grid")

    def quadrature(self, order: int) -> tuple[Points, Float[Array, " n"]]:
        """`order` nodes a coordinate in each chart, weighted by the partition of unity; nodes where a chart has faded
        out have the weight 0.
        """
        return _nodes(self, order)

    def _look(self, x: Point) -> tuple[Float[Array, "charts k"], Float[Array, "charts d"], Float[Array, " charts"]]:
        """For each chart the parameter of the point nearest to x, that point, and the bump there."""
        parameters = jnp.stack([piece.parameter(x) for piece in self.pieces])
        points = jnp.stack([piece.embedding(u) for piece, u in zip(self.pieces, parameters, strict=True)])
        bumps = [
            _bump(piece, u) * _is_at(piece, x, y) for piece, u, y in zip(self.pieces, parameters, points, strict=True)
        ]
        return parameters, points, jnp.stack(bumps)


@eqx.filter_jit
def _nodes(manifold: Charted, order: int) -> tuple[Points, Float[Array, " n"]]:
    nodes = [piece.quadrature(order) for piece in manifold.pieces]
    share = jax.vmap(manifold.partition)
    weights = [w * share(points)[:, i] for i, (points, w) in enumerate(nodes)]
    return jnp.concatenate([points for points, _ in nodes]), jnp.concatenate(weights)


def _bump(piece: Parametrised, u: Coordinates) -> Scalar:
    s = (u - piece.lower.astype(u.dtype)) / (piece.upper - piece.lower).astype(u.dtype)
    fades = jnp.asarray([end == "open" for end in piece.ends])
    inside = jnp.where(fades & (s > 0) & (s < 1), s * (1 - s), 0.25)
    logs = jnp.where(fades & ((s <= 0) | (s >= 1)), -jnp.inf, 4 - 1 / inside)
    return jnp.exp(jnp.sum(logs))


def _is_at(piece: Parametrised, x: Point, y: Point) -> Scalar:
    """Whether y is x, up to a thousandth of the extent of the chart: other sheets are further off."""
    extent = jnp.max(jnp.abs(piece.start_points)).astype(x.dtype)
    return jnp.where(jnp.sum((x - y) ** 2) <= (_ON * extent) ** 2, 1.0, 0.0).astype(x.dtype)
