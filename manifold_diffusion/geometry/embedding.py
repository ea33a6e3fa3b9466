"""Manifolds from maps: `from_embedding`, and what it checks."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, overload

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from manifold_diffusion._numerics import chunked_map
from manifold_diffusion._types import Coordinates, Point
from manifold_diffusion.geometry.charted import Charted
from manifold_diffusion.geometry.manifold import as_module, jacobian, log_volume
from manifold_diffusion.geometry.parametrised import Ends, Parametrised

Map: TypeAlias = Callable[[Coordinates], Point]
Domain: TypeAlias = Sequence[tuple[float | int, float | int]]

_STARTS = {1: 512, 2: 64, 3: 20, 4: 10}
_MARGIN = 1.05


@overload
def from_embedding(
    f: Map, domain: Domain, ends: Ends | Sequence[Ends] = ..., grid: int | Sequence[int] | None = ...
) -> Parametrised: ...
@overload
def from_embedding(
    f: Sequence[Map],
    domain: Sequence[Domain],
    ends: Sequence[Ends | Sequence[Ends]] | Ends = ...,
    grid: int | Sequence[int] | None = ...,
) -> Charted: ...
def from_embedding(f: Any, domain: Any, ends: Any = None, grid: Any = None) -> Any:
    """The manifold f(domain), f smooth and one to one from a box to R^d; the domain is (low, high) per coordinate.

    `ends`, for all coordinates or for each, says what happens at the two ends of a coordinate:
    "edge"   the manifold ends there (the default);
    "wrap"   f has that period;
    "glue"   f runs on past the end and onto the manifold again, in other coordinates, as at the seam of a Moebius band;
    "open"   the manifold goes on in other charts.

    Several charts: sequences of maps, of their domains and of their ends (the default is "open"); the images overlap
    and cover the manifold, and a partition of unity patches them together, see `Charted`.

    `grid` is the number of points a coordinate (one for all or one for each) from which searches for the nearest point
    start: with a spacing below the reach the nearest point is found. Everything else (metric, curvature, volume,
    projection, uniform sampling) follows from f by automatic differentiation. ValueError names the parameter where f is
    not an immersion, where its image meets itself, where ends that wrap do not meet, or where charts leave the manifold
    uncovered; each is looked for on the grid. `f` takes one point of shape (k,); an `eqx.Module` may hold arrays.
    """
    if callable(f):
        return _single(f, domain, ends or "edge", grid, {"edge", "wrap", "glue"})
    if len(f) != len(domain) or not (ends is None or isinstance(ends, str) or len(ends) == len(f)):
        raise ValueError(f"{len(f)} charts need as many domains and ends, got {len(domain)} domains and ends={ends}")
    each = ["open" if ends is None else ends] * len(f) if ends is None or isinstance(ends, str) else ends
    pieces = tuple(_single(*one, grid, {"edge", "wrap", "glue", "open"}) for one in zip(f, domain, each, strict=True))
    manifold = Charted(pieces)
    if not isinstance(pieces[0].start_points, Tracer):
        _require_cover(manifold)
    return manifold


def _single(f: Any, domain: Any, ends: Any, grid, allowed: set[str]) -> Parametrised:
    box = np.asarray(domain, float)
    if box.ndim != 2 or box.shape[1] != 2 or not (box[:, 0] < box[:, 1]).all():
        raise ValueError(f"the domain must be (low, high) with low < high for each coordinate, got {domain}")
    k = len(box)
    kinds: Any = (ends,) * k if isinstance(ends, str) else tuple(ends)
    if len(kinds) != k or not set(kinds) <= allowed:
        raise ValueError(f"ends must be among {sorted(allowed)} for each of {k} coordinates, got {ends}")
    counts = (grid or _STARTS.get(k, 6),) * k if not isinstance(grid, Sequence) else tuple(grid)
    if len(counts) != k or not all(count > 0 for count in counts):
        raise ValueError(f"grid must be a positive number of points, or one for each of {k} coordinates, got {grid}")
    function = as_module(f)
    lower, upper = jnp.asarray(box[:, 0], dtype=float), jnp.asarray(box[:, 1], dtype=float)
    shape = jax.eval_shape(function, lower).shape
    if len(shape) != 1 or shape[0] <= k:
        raise ValueError(f"f must map ({k},) to (d,) with d > {k}, got the shape {shape}")
    sides = [
        np.linspace(low, high, count, endpoint=kind in ("edge", "open"))
        for (low, high), kind, count in zip(box, kinds, counts, strict=True)
    ]
    starts = jnp.asarray(list(itertools.product(*sides)), dtype=lower.dtype)
    unbounded = Parametrised(
        embedding=function,
        lower=lower,
        upper=upper,
        starts=starts,
        start_points=jnp.zeros((len(starts), *shape), lower.dtype),
        log_bound=jnp.zeros((), lower.dtype),
        ends=kinds,
        dim=k,
        ambient_dim=shape[0],
    )
    points, jacobians, log_elements = _on_grid(unbounded)
    if not isinstance(points, Tracer):
        _require_immersion(np.asarray(starts), np.asarray(points), np.asarray(jacobians))
        _require_period(function, box, kinds, np.asarray(starts), np.asarray(points))
        cell = (box[:, 1] - box[:, 0]) / np.asarray(counts)
        _require_injective(np.asarray(starts), np.asarray(points), np.asarray(jacobians), box, kinds, cell)
    return dataclasses.replace(unbounded, start_points=points, log_bound=jnp.log(_MARGIN) + jnp.max(log_elements))


@eqx.filter_jit
def _on_grid(manifold: Parametrised):
    chart = manifold.whole()

    def look(u):
        return chart.embed(u), jacobian(chart, u), log_volume(chart, u)

    return chunked_map(look, manifold.starts, _chunk(manifold.ambient_dim))


def _chunk(ambient_dim: int) -> int:
    # Points a block, so that what is computed on the way stays within megabytes for images too.
    return max(16, 2**16 // ambient_dim)


def _require_cover(manifold: Charted) -> None:
    """Where one chart fades out, another must go on."""
    for index, piece in enumerate(manifold.pieces):
        rest = np.asarray(_cover_by_others(manifold, index, piece.start_points))
        starts, size = np.asarray(piece.starts), np.asarray(piece.upper - piece.lower)
        fades = np.asarray([kind == "open" for kind in piece.ends])
        at_end = (np.abs(starts - np.asarray(piece.lower)) < 1e-6 * size) | (
            np.abs(starts - np.asarray(piece.upper)) < 1e-6 * size
        )
        bare = (at_end & fades).any(axis=1) & ~(rest > 1e-3)
        if bare.any():
            where = np.asarray(piece.start_points)[bare][0]
            raise ValueError(
                f"the charts do not cover the manifold: chart {index} ends at u = {_show(starts[bare][0])}, "
                f"x = {_show(where)}, and no other chart goes on there; enlarge a domain or add a chart"
            )


@eqx.filter_jit
def _cover_by_others(manifold: Charted, index: int, points):
    def others(x):
        weights = manifold.bumps(x)
        return jnp.sum(weights) - weights[index]

    return chunked_map(others, points, 1024)


def _require_immersion(starts: np.ndarray, points: np.ndarray, jacobians: np.ndarray) -> None:
    if not np.isfinite(points).all() or not np.isfinite(jacobians).all():
        bad = ~(np.isfinite(points).all(axis=1) & np.isfinite(jacobians).all(axis=(1, 2)))
        raise ValueError(
            f"f or its derivative is not finite at u = {_show(starts[bad][0])}; mend f or shrink the domain"
        )
    values = np.linalg.svd(jacobians, compute_uv=False)
    worst = int(np.argmin(values[:, -1]))
    # No quotient: a map that does not move at all has only zeros.
    if values[worst, -1] <= 100 * np.finfo(points.dtype).eps * np.linalg.norm(values, axis=1).max():
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
        there = jax.jit(lambda u: chunked_map(function, u, _chunk(points.shape[1])))(jnp.asarray(moved))
        gaps = np.linalg.norm(np.asarray(there) - points, axis=1)
        worst = int(np.argmax(gaps))
        if gaps[worst] > 1e3 * np.finfo(points.dtype).eps * extent:
            raise ValueError(
                f"f does not have the period of coordinate {i}: at u = {_show(starts[worst])} the ends are "
                f"{gaps[worst]:.2g} apart; say 'edge', or 'glue' where f runs on along the manifold"
            )


def _require_injective(starts, points, jacobians, box, kinds, cell) -> None:
    """Points of the grid that are much nearer to each other in space than f stretches the way between them."""
    from scipy.spatial import KDTree

    reachable = np.sqrt(np.einsum("ndk,ndk,k->n", jacobians, jacobians, cell**2))
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
