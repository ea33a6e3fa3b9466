"""The covering radius of a sample: how far from all data the worst point of the manifold is, and what to expect of it.

It is the largest gap where the spacing is the typical one, larger by about (log N)^(1/k).
"""

import math

import numpy as np
from scipy import optimize
from scipy.spatial import Delaunay, QhullError

from manifold_diffusion._neighbours import nearest
from manifold_diffusion.evaluation.dimension import checked
from manifold_diffusion.evaluation.sample import Data, Interval
from manifold_diffusion.evaluation.transport import unit_ball_volume

_NEIGHBOURS = {1: 8, 2: 24, 3: 60, 4: 120}
_GROWTH = 8


def covering_radius(points: Data, dim: int) -> float:
    """The largest distance of a point of the manifold to its nearest data point: the radius of the largest empty ball.

    Its centre is a vertex of the Voronoi diagram of the data on the manifold. Around each point the neighbours are
    projected to their plane of local PCA, the vertices of the Voronoi cell of the point are found there, and the
    farthest one counts if it lies among the neighbours (within their convex hull), so that the outside of an edge is
    no gap. Assumes a dimension <= 4, noise well below the spacing, and gaps well below the reach: the error is of
    relative order (gap / reach)^2. A neighbourhood grows, up to eightfold, until it reaches twice as far as the vertex
    and surrounds the point.
    """
    if dim not in _NEIGHBOURS:
        raise ValueError(f"the covering radius is for dimensions 1 to {max(_NEIGHBOURS)}, got {dim}")
    rows = checked(points)
    if len(rows) < dim + 2:
        raise ValueError(f"{len(rows)} distinct points are too few: dimension {dim} needs {dim + 2}; bring more")
    left, count, largest = np.arange(len(rows)), min(_NEIGHBOURS[dim], len(rows) - 1), 0.0
    last = min(_GROWTH * _NEIGHBOURS[dim], len(rows) - 1)
    while len(left):
        distances, indices = nearest(rows, rows[left], count + 1)
        found = np.array([_farthest_vertex(rows[patch], dim, count == last) for patch in indices])
        settled = (2 * found <= distances[:, -1]) | (count == last)
        largest = max(largest, found[settled].max(initial=0.0))
        left, count = left[~settled], min(2 * count, last)
    return float(largest)


def expected_covering_radius(size: int, dim: int, volume: float) -> Interval:
    """Median and 95 % range of the covering radius of uniform points on a closed manifold of that volume.

    The number of gaps of radius r or more is about Poisson with mean alpha_k lambda vol m^(k-1) exp(-m), where m =
    lambda omega_k r^k is the number of points that a ball of radius r holds on average, lambda = size / vol, and
    alpha_k = (sqrt(pi) Gamma(k/2 + 1) / Gamma((k + 1)/2))^(k - 1) / k! (Janson 1986, Acta Mathematica 156; Hall 1988,
    Introduction to the Theory of Coverage Processes). Asymptotic in the size.
    """
    if dim < 1 or size < 2:
        raise ValueError(f"a covering radius needs a dimension >= 1 and a size >= 2, got {dim} and {size}")
    ratio = math.sqrt(math.pi) * math.gamma(dim / 2 + 1) / math.gamma((dim + 1) / 2)
    constant = math.log(size) + (dim - 1) * math.log(ratio) - math.lgamma(dim + 1)

    def radius(probability: float) -> float:
        """Where exp(-mean) is the probability; the mean falls in m above k - 1."""
        excess = constant - math.log(-math.log(probability))
        most = 50 * (dim + abs(excess) + 1)
        held = optimize.bisect(lambda m: excess + (dim - 1) * math.log(m) - m, max(dim - 1.0, 1e-12), most)
        return (float(held) * volume / (size * unit_ball_volume(dim))) ** (1 / dim)  # pyright: ignore[reportArgumentType]

    return Interval(radius(0.5), radius(0.025), radius(0.975))


def _farthest_vertex(patch: np.ndarray, dim: int, last: bool) -> float:
    """The distance from the first point to the farthest vertex of its Voronoi cell that lies among the points.

    Infinite where another vertex does not, or the point has no points on some side, and more neighbours are to come.
    """
    centred = patch - patch.mean(axis=0)
    flat = (patch - patch[0]) @ np.linalg.svd(centred, full_matrices=False)[2][:dim].T
    vertices, surrounded = _cell_of_first(flat) if dim > 1 else _halves(flat)
    if not (surrounded or last):
        return float("inf")
    return float(np.linalg.norm(vertices, axis=1).max(initial=0.0))


def _halves(flat: np.ndarray) -> tuple[np.ndarray, bool]:
    """Midpoints to the next points on either side."""
    line = flat[1:, 0]
    sides = [np.abs(side).min() / 2 for side in (line[line > 0], line[line < 0]) if len(side)]
    return np.array(sides)[:, None], len(sides) == 2


def _cell_of_first(flat: np.ndarray) -> tuple[np.ndarray, bool]:
    """Which vertices of the first cell (circumcentres of its simplices) lie in the convex hull, and whether all do."""
    dim = flat.shape[1]
    try:
        cells = Delaunay(flat)
    except QhullError:
        return np.zeros((0, dim)), False
    own = cells.simplices[(cells.simplices == 0).any(axis=1)]
    others = flat[own[own != 0].reshape(-1, dim)]
    sound = np.abs(np.linalg.det(others)) > 1e-10 * np.linalg.norm(others, axis=2).max(axis=1) ** dim
    squares = (others[sound] ** 2).sum(axis=2)
    vertices = np.linalg.solve(2 * others[sound], squares[..., None])[..., 0]
    inside = cells.find_simplex(vertices) >= 0 if len(vertices) else np.zeros(0, bool)
    return vertices[inside], bool(inside.all()) and 0 not in cells.convex_hull
