"""How far a walk on the manifold of data may step, how long it takes, and where it may go: from the data alone.

Everything runs on the host in float64, and scales with the data.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import optimize, sparse
from scipy.sparse.csgraph import connected_components

from manifold_diffusion._federer import smallest_balls
from manifold_diffusion._neighbours import nearest, self_nearest

_CENTRES, _PARTNERS, _GRAPH = 400, 4000, 500
_REACH_QUANTILE = 0.05
_BOTTLENECK = 1e-3
_SLACK = 1.5

Rows = Float[np.ndarray, "n d"]


class Surroundings(NamedTuple):
    """The data in whose surroundings a walk may go, the volume that belongs to each, how near the `neighbour`-th datum
    must be, and of how many pieces that is.
    """

    rows: Int[np.ndarray, " kept"]
    volumes: Float[np.ndarray, " kept"]
    radius: float
    neighbour: int
    components: int


class SlowFunction(NamedTuple):
    """The values, at some of the data, of the function on the manifold that mixes slowest, and its eigenvalue under the
    Laplacian.
    """

    places: Float[np.ndarray, "s d"]
    values: Float[np.ndarray, " s"]
    eigenvalue: float

    def at(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """The value at the nearest of those data."""
        return self.values[nearest(self.places, x, 1)[1][:, 0]]


def surroundings(points: Rows, dim: int, quantile: float) -> Surroundings:
    """r^k, r the distance to the m-th neighbour, m = ceil(log n), is the volume of a datum; where r is above 1.5 times
    its `quantile` among the data, the datum is left out.
    """
    count = min(max(2, math.ceil(math.log(len(points)))), len(points) - 1)
    # With four times as many neighbours a curve falls into pieces by chance with probability n 2^-4m, not n 2^-m.
    distances, indices = self_nearest(points, min(4 * count, len(points) - 1))
    farthest = distances[:, count - 1]
    limit = _SLACK * float(np.quantile(farthest, quantile))
    if not limit > 0:
        raise ValueError("the data have more copies of a point than neighbours asked for; drop the duplicates")
    rows = np.flatnonzero(farthest <= limit)
    near = distances <= limit
    pairs = np.repeat(np.arange(len(points)), near.sum(axis=1)), indices[near]
    graph = sparse.coo_array((np.ones(near.sum()), pairs), shape=(len(points),) * 2).tocsr()[rows][:, rows]
    return Surroundings(rows, farthest[rows] ** dim, limit, count, connected_components(graph)[0])


def slow_function(points: Rows, volumes: Float[np.ndarray, " n"]) -> SlowFunction:
    """By diffusion maps with the density taken out (alpha = 1 of Coifman and Lafon, ACHA 21, 2006) on points that are
    spread evenly: the first eigenvector that is not constant on components.

    With the kernel exp(-|x - y|^2 / (4 e)) the normalised matrix is exp(e Laplacian) to first order in e; a function
    whose eigenvalue is below a thousandth of (pi / diameter)^2 counts as constant on components.
    """
    shares = (np.arange(_GRAPH) + 0.5) / _GRAPH
    chosen = np.unique(np.minimum(np.searchsorted(np.cumsum(volumes) / volumes.sum(), shares), len(points) - 1))
    places = points[chosen]
    centred = places - places.mean(axis=0)
    norms = np.einsum("nd,nd->n", centred, centred)
    squares = np.maximum(norms[:, None] + norms[None, :] - 2 * centred @ centred.T, 0.0)
    scale = np.median(np.sort(squares, axis=1)[:, min(8, len(places) - 1)]) / 2
    kernel = np.exp(-squares / (4 * scale))
    density = kernel.sum(axis=1)
    kernel /= density[:, None] * density[None, :]
    root = np.sqrt(kernel.sum(axis=1))
    shares, vectors = np.linalg.eigh(kernel / (root[:, None] * root[None, :]))
    eigenvalues = -np.log(np.clip(shares[::-1], np.finfo(float).tiny, 1.0)) / scale
    least = _BOTTLENECK * np.pi**2 / squares.max()
    first = int(np.argmax(eigenvalues > least)) if np.any(eigenvalues > least) else len(places) - 1
    return SlowFunction(places, vectors[:, ::-1][:, first] / root, float(max(eigenvalues[first], least)))


def manifold_reach(points: Rows, dim: int) -> float:
    """The 5 % quantile over points x of `smallest_balls`; at most the radius of the data, so that a flat manifold has
    one too.
    """
    order = np.random.default_rng(0).permutation(len(points))
    partners, centres = points[order[:_PARTNERS]], points[order[:_CENTRES]]
    distances, indices = nearest(points, centres, min(3 * (dim + 2), len(points)))
    found = smallest_balls(points, centres, partners, indices, dim, 3 * distances[:, -1])
    radius = np.sqrt(np.var(points, axis=0).sum())
    return float(min(np.quantile(found, _REACH_QUANTILE, method="lower"), radius))


def kinetic_folds(time: float) -> float:
    """s - 1 + e^-s: the decay of the slowest mode of a walk with matched persistence, s = steps tau sqrt(lambda_1)."""
    return time + math.expm1(-time)


def kinetic_time(folds: float) -> float:
    """The s with `kinetic_folds(s)` = folds."""
    return optimize.root_scalar(lambda s: kinetic_folds(s) - folds, bracket=(0.0, folds + 2)).root
