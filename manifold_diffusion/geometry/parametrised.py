"""Manifolds from a parametrisation: any smooth map of a box, whose sides may be edges or be joined."""

import itertools
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot, rejection
from manifold_diffusion._types import Coordinates, Key, Point, Points, Scalar
from manifold_diffusion.geometry.manifold import (
    AbstractChart,
    AbstractManifold,
    as_module,
    jacobian,
    log_volume,
    nearest_coordinates,
    tangent_frame,
)

Ends: TypeAlias = Literal["edge", "wrap", "glue"]
_STARTS = {1: 512, 2: 64, 3: 20, 4: 10}
_MARGIN = 1.05


class ParametrisedChart(AbstractChart):
    """u -> f(origin + u)."""

    manifold: "Parametrised"
    origin: Coordinates

    def embed(self, u: Coordinates) -> Point:
        return self.manifold.embedding(self.origin + u)

    def coordinates(self, x: Point) -> Coordinates:
        return self.manifold.shortest(self.manifold.parameter(x) - self.origin)


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

    def parameter(self, x: Point) -> Coordinates:
        """The parameter in the box of the nearest point: Newton's method from the nearest of a grid of points."""
        gaps = self.start_points.astype(x.dtype) - x[None, :]
        start = self.starts[jnp.argmin(jnp.sum(gaps * gaps, axis=1))].astype(x.dtype)
        found = nearest_coordinates(_Whole(self.embedding), x, start, steps=12, box=self._box(x.dtype))
        return self._inside(found)

    def project(self, x: Point) -> Point:
        return self.embedding(self.parameter(x))

    def tangent(self, x: Point, v: Point) -> Point:
        frame = tangent_frame(_Whole(self.embedding), self.parameter(x))
        return dot(frame, dot(frame.T, v))

    def chart(self, x: Point) -> ParametrisedChart:
        return ParametrisedChart(self, self.parameter(x))

    def volume(self) -> Scalar:
        """By `quadrature` of order 4096, 256, 48 for k = 1, 2, 3 and 16 above; no error is estimated."""
        return jnp.sum(self.quadrature({1: 4096, 2: 256, 3: 48}.get(self.dim, 16))[1])

    def reach(self) -> Scalar:
        """Federer's formula on the nodes of a quadrature, min over x, y of |x - y|^2 / (2 |P_N (y - x)|): from above,
        by the square of the nodes' spacing. For k <= 2 and without edges.
        """
        if self.dim > 2 or "edge" in self.ends:
            raise ValueError("the reach is found for closed curves and surfaces only")
        points = self.quadrature({1: 1024, 2: 48}[self.dim])[0]

        def smallest(x):
            chart = self.chart(x)
            u = chart.coordinates(x)
            gap = points - x[None, :]
            frame = tangent_frame(chart, u)
            across = gap - dot(dot(gap, frame), frame.T)
            square, height = jnp.sum(gap * gap, axis=1), jnp.sqrt(jnp.sum(across * across, axis=1))
            size = jnp.sqrt(jnp.max(square))
            return jnp.min(jnp.where(height > 1e-6 * size, square / (2 * jnp.maximum(height, 1e-6 * size)), jnp.inf))

        return jnp.min(jax.lax.map(smallest, points, batch_size=64))

    def uniform(self, key: Key) -> Point:
        """Rejection of uniform parameters against the largest volume element of a grid, with a margin of 5 %.

        Every proposal is checked against that bound, and one above it raises, so what comes back is exact.
        """
        dtype = self.lower.dtype

        def propose(place):
            u = self.lower + (self.upper - self.lower) * jax.random.uniform(place, (self.dim,), dtype)
            return u, log_volume(_Whole(self.embedding), u) - self.log_bound

        u, excess = rejection(key, propose)
        u = eqx.error_if(u, ~(excess <= 0), "the volume element exceeds its bound: give from_embedding a finer grid")
        return self.embedding(u)

    def quadrature(self, order: int) -> tuple[Points, Float[Array, " n"]]:
        """`order` nodes a coordinate: equally spaced where ends meet (spectrally accurate), Gauss-Legendre between
        edges.
        """
        axes = [_rule(order, end) for end in self.ends]
        nodes = np.stack([m.ravel() for m in np.meshgrid(*(a[0] for a in axes), indexing="ij")], -1)
        weights = np.prod(np.meshgrid(*(a[1] for a in axes), indexing="ij"), axis=0).ravel()
        size = self.upper - self.lower
        u = self.lower[None, :] + size[None, :] * jnp.asarray(nodes, size.dtype)
        elements = jnp.exp(jax.vmap(lambda v: log_volume(_Whole(self.embedding), v))(u))
        return jax.vmap(self.embedding)(u), elements * jnp.asarray(weights, size.dtype) * jnp.prod(size)

    def shortest(self, offset: Coordinates) -> Coordinates:
        """A difference of parameters, with those that wrap brought into half a period."""
        size = (self.upper - self.lower).astype(offset.dtype)
        wrapped = jnp.mod(offset + size / 2, size) - size / 2
        return jnp.where(self._are("wrap"), wrapped, offset)

    def _inside(self, u: Coordinates) -> Coordinates:
        lower, size = self.lower.astype(u.dtype), (self.upper - self.lower).astype(u.dtype)
        return jnp.where(self._are("wrap"), lower + jnp.mod(u - lower, size), u)

    def _box(self, dtype) -> tuple[Coordinates, Coordinates]:
        edge, far = self._are("edge"), jnp.asarray(jnp.inf, dtype)
        return jnp.where(edge, self.lower.astype(dtype), -far), jnp.where(edge, self.upper.astype(dtype), far)

    def _are(self, end: Ends):
        return np.asarray([each == end for each in self.ends])


class _Whole(AbstractChart):
    embedding: Callable[[Coordinates], Point]

    def embed(self, u: Coordinates) -> Point:
        return self.embedding(u)

    def coordinates(self, x: Point) -> Coordinates:
        raise NotImplementedError("a parametrisation alone does not know the parameters of a point")


def from_embedding(
    f: Callable[[Coordinates], Point],
    domain: Sequence[tuple[float | int, float | int]],
    ends: Ends | Sequence[Ends] = "edge",
    grid: int | None = None,
) -> Parametrised:
    """The manifold f(domain), f smooth and one to one from a box to R^d; the domain is (low, high) per coordinate.

    `ends`, for all coordinates or for each, says what happens at the two ends of a coordinate:
    "edge"   the manifold ends there;
    "wrap"   f has that period;
    "glue"   f runs on past the end and onto the manifold again, in other coordinates, as at the seam of a Moebius band.

    `grid` is the number of points a coordinate from which searches for the nearest point start: with a spacing below
    the reach the nearest point is found. Everything else (metric, curvature, volume, projection, uniform sampling)
    follows from f by automatic differentiation. ValueError names the parameter where f is not an immersion, where its
    image meets itself, or where ends that wrap do not meet; each is looked for on the grid. `f` takes one point of
    shape (k,); an `eqx.Module` may hold arrays.
    """
    box = np.asarray(domain, float)
    if box.ndim != 2 or box.shape[1] != 2 or not (box[:, 0] < box[:, 1]).all():
        raise ValueError(f"the domain must be (low, high) with low < high for each coordinate, got {domain}")
    k = len(box)
    kinds = (ends,) * k if isinstance(ends, str) else tuple(ends)
    if len(kinds) != k or not set(kinds) <= {"edge", "wrap", "glue"}:
        raise ValueError(f"ends must be 'edge', 'wrap' or 'glue' for each of {k} coordinates, got {ends}")
    count = grid or _STARTS.get(k, 6)
    function = as_module(f)
    lower, upper = jnp.asarray(box[:, 0], dtype=float), jnp.asarray(box[:, 1], dtype=float)
    shape = jax.eval_shape(function, lower).shape
    if len(shape) != 1 or shape[0] <= k:
        raise ValueError(f"f must map ({k},) to (d,) with d > {k}, got the shape {shape}")
    sides = [
        np.linspace(low, high, count, endpoint=kind == "edge") for (low, high), kind in zip(box, kinds, strict=True)
    ]
    starts = jnp.asarray(list(itertools.product(*sides)), dtype=lower.dtype)
    points, jacobians = jax.jit(jax.vmap(lambda u: (function(u), jacobian(_Whole(function), u))))(starts)
    log_bound = jnp.log(_MARGIN) + jnp.max(jax.jit(jax.vmap(lambda u: log_volume(_Whole(function), u)))(starts))
    if not isinstance(points, Tracer):
        _require_immersion(np.asarray(starts), np.asarray(points), np.asarray(jacobians))
        _require_period(function, box, kinds, np.asarray(starts), np.asarray(points))
        _require_injective(np.asarray(starts), np.asarray(points), np.asarray(jacobians), box, kinds)
    return Parametrised(
        embedding=function,
        lower=lower,
        upper=upper,
        starts=starts,
        start_points=points,
        log_bound=log_bound,
        ends=kinds,
        dim=k,
        ambient_dim=shape[0],
    )


def _rule(order: int, end: Ends) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1]."""
    if end == "edge":
        nodes, weights = np.polynomial.legendre.leggauss(order)
        return (nodes + 1) / 2, weights / 2
    return np.arange(order) / order, np.full(order, 1 / order)


def _require_immersion(starts: np.ndarray, points: np.ndarray, jacobians: np.ndarray) -> None:
    if not np.isfinite(points).all() or not np.isfinite(jacobians).all():
        bad = ~(np.isfinite(points).all(axis=1) & np.isfinite(jacobians).all(axis=(1, 2)))
        raise ValueError(
            f"f or its derivative is not finite at u = {_show(starts[bad][0])}; mend f or shrink the domain"
        )
    singular = np.linalg.svd(jacobians, compute_uv=False)[:, -1] / np.linalg.norm(jacobians, axis=(1, 2)).max()
    worst = int(np.argmin(singular))
    if singular[worst] < 100 * np.finfo(points.dtype).eps:
        raise ValueError(
            f"f is not an immersion at u = {_show(starts[worst])}: its derivative has a vanishing direction there; "
            "take another parametrisation around that point, or a domain without it"
        )


def _require_period(function, box, kinds, starts: np.ndarray, points: np.ndarray) -> None:
    extent = np.ptp(points, axis=0).max()
    for i, kind in enumerate(kinds):
        if kind != "wrap":
            continue
        moved = starts.copy()
        moved[:, i] += box[i, 1] - box[i, 0]
        gaps = np.linalg.norm(np.asarray(jax.jit(jax.vmap(function))(jnp.asarray(moved))) - points, axis=1)
        worst = int(np.argmax(gaps))
        if gaps[worst] > 1e3 * np.finfo(points.dtype).eps * extent:
            raise ValueError(
                f"f does not have the period of coordinate {i}: at u = {_show(starts[worst])} the ends are "
                f"{gaps[worst]:.2g} apart; say 'edge', or 'glue' where f runs on along the manifold"
            )


def _require_injective(starts, points, jacobians, box, kinds) -> None:
    """Points of the grid that are much nearer to each other in space than f stretches the way between them."""
    from scipy.spatial import KDTree

    cell = (box[:, 1] - box[:, 0]) / np.maximum(1, round(len(starts) ** (1 / len(box))))
    reachable = np.linalg.norm(jacobians * cell, axis=(1, 2))
    pairs = KDTree(points).query_pairs(1e-3 * float(reachable.min()), output_type="ndarray")
    if not len(pairs):
        return
    size = box[:, 1] - box[:, 0]
    apart = starts[pairs[:, 0]] - starts[pairs[:, 1]]
    wraps = np.asarray([kind != "edge" for kind in kinds])
    apart = np.where(wraps, (apart + size / 2) % size - size / 2, apart)
    far = (np.abs(apart) > 2 * cell).any(axis=1)
    if far.any():
        i, j = pairs[far][0]
        raise ValueError(
            f"f maps u = {_show(starts[i])} and u = {_show(starts[j])} to the same point: the image meets itself; "
            "shrink the domain, or say 'wrap' or 'glue' where its ends are joined"
        )


def _show(u: np.ndarray) -> str:
    return "(" + ", ".join(f"{each:.4g}" for each in u) + ")"
