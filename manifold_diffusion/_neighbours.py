"""Nearest neighbours: exact, on the host for concrete arrays, and inside compiled programs.

On a CPU and in low dimension a k-d tree (scipy) answers; inside a compiled program it is reached by
`jax.pure_callback`. Elsewhere distances are streamed over blocks of the data, with the k best kept, so that no
(queries, data, d) array exists.
"""

import itertools
import weakref
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int
from scipy.spatial import KDTree

from manifold_diffusion._numerics import dot, vary_like
from manifold_diffusion._types import Point, Points

_TREE_DIM, _FEW = 16, 3
_TREE_POINTS_DIM, _MOST_COLUMNS, _PROBES = 6, 64, 100
_BLOCK = 2048


def nearest(points, queries, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices, both (m, k) and sorted, of the k points (n, d) nearest to each query (m, d); on the
    host.
    """
    return Neighbours(points)(queries, k)


class Neighbours:
    """`nearest` for several batches of queries, or of numbers of neighbours, with one tree."""

    def __init__(self, points):
        self._points = np.asarray(points)
        self._axes = _subspace(self._points)
        rotated = self._rotated(self._points)
        # Splitting at the median takes twice as long as at the midpoint, which many queries pay back.
        self._source = KDTree(rotated) if _is_low_dimensional(rotated) else rotated

    def __call__(self, queries, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances and indices, both (m, k) and sorted, of the k points nearest to each query."""
        _check_count(len(self._points), k)
        queries = np.asarray(queries)
        distances, indices = _search(self._source, self._rotated(queries), k)
        return (distances, indices) if self._axes is None else _sorted(self._points, queries, indices)

    def _rotated(self, x: np.ndarray) -> np.ndarray:
        return x if self._axes is None else (x - self._axes[0]) @ self._axes[1]


def _subspace(points: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The mean and the p < d principal axes (d, p) along which the points spread by more than rounding, the widest
    first; None where there are d of them, in few dimensions and in those of images.

    What is left out is the same for all points, and a tree for p dimensions is several times faster.
    """
    if not _FEW < points.shape[1] <= _MOST_COLUMNS or not np.isfinite(points).all():
        return None
    centre = points.mean(axis=0, dtype=np.float64)
    offsets = points - centre
    axes = np.linalg.eigh(offsets.T @ offsets)[1][:, ::-1]
    extents = np.abs(offsets @ axes).max(axis=0)
    kept = extents > 64 * np.finfo(np.float64).eps * max(extents.max(), np.abs(centre).max())
    kept[0] = True  # of copies of one point
    return None if kept.all() else (centre, axes[:, kept])


def _sorted(points: np.ndarray, queries: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances by differences of the points as they are, zero for copies, and the indices in their order."""
    distances = np.empty(indices.shape)
    rows = max(1, 2**22 // (indices.shape[1] * points.shape[1]))
    for start in range(0, len(queries), rows):
        block = slice(start, start + rows)
        gaps = points[indices[block]].astype(np.float64) - queries[block, None]
        distances[block] = np.sqrt(np.einsum("mkd,mkd->mk", gaps, gaps))
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, order, 1), np.take_along_axis(indices, order, 1)


def _is_low_dimensional(points: np.ndarray) -> bool:
    """Whether a tree is faster than all distances: where the space has few dimensions, or the points have.

    The latter by the ratios of distances (Levina and Bickel 2004) from some of the points to 10 neighbours.
    """
    n, d = points.shape
    if d <= _TREE_DIM or n <= 20 * _PROBES or d > _MOST_COLUMNS:
        return d <= _TREE_DIM
    distances = _search(points, points[:: n // _PROBES], 11)[0][:, 1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.log(distances[:, -1:] / distances[:, :-1])
    known = ratios[np.isfinite(ratios)]  # copies of a point have none
    return bool(known.sum() * _TREE_POINTS_DIM >= max(known.size, 1))


def self_nearest(points, k: int) -> tuple[np.ndarray, np.ndarray]:
    """As `nearest(points, points, k)` with each point itself left out, whatever the ties among duplicates."""
    distances, indices = nearest(points, points, k + 1)
    keep = indices != np.arange(len(indices))[:, None]
    keep[keep.all(axis=1), -1] = False
    return distances[keep].reshape(-1, k), indices[keep].reshape(-1, k)


class _Owner:
    """Keeps a tree alive. Owners compare equal, so that programs compiled for one data set serve another."""

    def __init__(self, tree):
        self.tree = tree

    def __eq__(self, other):
        return isinstance(other, _Owner)

    def __hash__(self):
        return hash(_Owner)


_owners: weakref.WeakValueDictionary[int, _Owner] = weakref.WeakValueDictionary()
_handles = itertools.count()


class NeighbourIndex(eqx.Module):
    """The points, ready to be searched: `index(x, k)` gives the indices of the k points nearest to x, nearest first.

    Single-point, and works under jit, vmap and scan. Built from concrete points in dimension <= 16 on a CPU it owns a
    k-d tree (logarithmic queries); otherwise it streams over the points. Indices carry no gradient.
    """

    points: Points
    handle: Int[Array, ""] | None
    owner: _Owner | None = eqx.field(static=True)

    def __init__(self, points: Points):
        self.points = jnp.asarray(points)
        self.handle, self.owner = None, None
        concrete = not isinstance(self.points, Tracer)
        if concrete and self.points.shape[1] <= _TREE_DIM and jax.default_backend() == "cpu":
            self.owner = _Owner(_tree(np.asarray(self.points)))
            handle = next(_handles)
            _owners[handle] = self.owner
            self.handle = jnp.asarray(handle, jnp.int32)

    def __call__(self, x: Point, k: int) -> Int[Array, " k"]:
        _check_count(len(self.points), k)
        x = jax.lax.stop_gradient(x)
        if self.handle is None:
            return _streamed(jax.lax.stop_gradient(self.points), x, k)
        shape = jax.ShapeDtypeStruct((k,), jnp.int32)
        return jax.pure_callback(partial(_ask, k), shape, self.handle, x, vmap_method="expand_dims")

    def search(self, queries, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances and indices (m, k) for concrete queries (m, d), outside compiled programs."""
        _check_count(len(self.points), k)
        source = np.asarray(self.points) if self.owner is None else self.owner.tree
        return _search(source, np.asarray(queries), k)


def _check_count(n: int, k: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"{k} nearest neighbours were asked of {n} points; ask for between 1 and {n}")


def _tree(points: np.ndarray) -> KDTree:
    # Splitting at the midpoint builds in half the time of the median and answers as fast on a manifold.
    return KDTree(points, balanced_tree=False, compact_nodes=False)


def _ask(k: int, handle, x) -> np.ndarray:
    owner = _owners.get(int(np.asarray(handle).reshape(-1)[0]))
    if owner is None:
        raise RuntimeError("the data set of this index is gone; keep the object that built it alive while it is used")
    x = np.asarray(x)
    return _search(owner.tree, x.reshape(-1, x.shape[-1]), k)[1].astype(np.int32).reshape(*x.shape[:-1], k)


def _search(source: KDTree | np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    # A query that is not finite has no neighbours; any k points do, and its distances say so.
    finite = np.isfinite(queries).all(axis=1, keepdims=True)
    safe = np.where(finite, queries, 0.0)
    if isinstance(source, KDTree):
        found = source.query(safe, k=k, workers=-1)
        distances, indices = (np.reshape(part, (len(safe), k)) for part in found)
    else:
        distances, indices = _blocked(source, safe, k)
    return np.where(finite, distances, np.nan), indices


def _blocked(points: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Selection by the expanded square in float64 with spare candidates, then exact differences among those."""
    centre = points.mean(axis=0, dtype=np.float64)
    data = points.astype(np.float64) - centre
    norms = np.einsum("nd,nd->n", data, data)
    spare = min(len(points), k + 8)
    distances, indices = np.empty((len(queries), k)), np.empty((len(queries), k), np.intp)
    rows = max(1, 2**25 // len(points))
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows].astype(np.float64) - centre
        squares = norms - 2 * block @ data.T
        candidates = np.argpartition(squares, spare - 1, axis=1)[:, :spare] if spare < len(points) else None
        for i, x in enumerate(block):
            chosen = np.arange(len(points)) if candidates is None else candidates[i]
            exact = np.linalg.norm(data[chosen] - x, axis=1)
            order = np.argsort(exact, kind="stable")[:k]
            distances[start + i], indices[start + i] = exact[order], chosen[order]
    return distances, indices


def _streamed(points: Points, x: Point, k: int) -> Int[Array, " k"]:
    """Running top-k over blocks of the data, by the centred expanded square, then sorted by exact differences."""
    n, d = points.shape
    spare = min(n, k + 8)
    block = min(max(spare, _BLOCK), n)
    padding = -n % block
    centre = jnp.mean(points, axis=0)
    data = jnp.pad(points - centre[None, :], ((0, padding), (0, 0))).reshape(-1, block, d)
    query = x - centre

    def merge(best, rows_and_start):
        rows, start = rows_and_start
        index = start + jnp.arange(block, dtype=jnp.int32)
        squares: Float[Array, " block"] = jnp.sum(rows * rows, axis=1) - 2 * dot(rows, query)
        squares = jnp.where(index < n, squares, jnp.inf)
        joined = jnp.concatenate([best[0], squares]), jnp.concatenate([best[1], index])
        values, order = jax.lax.top_k(-joined[0], spare)
        return (-values, joined[1][order]), None

    starts = jnp.arange(len(data), dtype=jnp.int32) * block
    empty = jnp.full((spare,), jnp.inf, data.dtype), jnp.zeros((spare,), jnp.int32)
    (_, candidates), _ = jax.lax.scan(merge, vary_like(empty, data, query), (data, starts))
    exact = jnp.sum((points[candidates] - x[None, :]) ** 2, axis=1)
    return candidates[jnp.argsort(exact)[:k]]
