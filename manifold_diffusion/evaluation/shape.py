"""The scales of a sample near a manifold: spacing, noise, curvature, reach, and the noise level of collapse.

All of them are estimates from finite data near which no manifold need lie; what each one assumes stands with it.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import special, stats

from manifold_diffusion._federer import smallest_balls
from manifold_diffusion._neighbours import nearest, self_nearest
from manifold_diffusion.evaluation.sample import Data, Interval, distinct
from manifold_diffusion.evaluation.transport import unit_ball_volume

_CENTRES = 1000
_PARTNERS = 4000


class Noise(NamedTuple):
    """Standard deviation of the noise in each normal direction, and the curvature that explains the rest of the
    offsets.
    """

    noise: float
    curvature: float


def spacing(points: Data) -> float:
    """The median distance of a point to its nearest neighbour; repeated points count once."""
    return float(np.median(self_nearest(distinct(points).points, 1)[0]))


def entropy(points: Data, dim: int, neighbours: int = 3) -> float:
    """Differential entropy of the law on its k-manifold, in nats, by the estimator of Kozachenko and Leonenko (1987).

    psi(N) - psi(m) + log omega_k + k mean(log d_m), d_m the distance to the m-th neighbour among the other points. m
    = 3 makes it less sensitive to rounded data than m = 1.
    """
    rows = distinct(points).points
    count = min(neighbours, len(rows) - 1)
    distances = self_nearest(rows, count)[0][:, -1]
    logs = special.digamma(len(rows)) - special.digamma(count) + np.log(unit_ball_volume(dim))
    return float(logs + dim * np.log(distances).mean())


def collapse_scale(points: Data, dim: int) -> float:
    """sigma_c = exp((H - log N) / k) / sqrt(2 pi e): below it the empirical score sees single data points (claim M1).

    There the volume of the k-dimensional Gaussian of entropy k log(sigma sqrt(2 pi e)) is the volume per data point,
    exp(H) / N.
    """
    size = len(distinct(points).points)
    return float(np.exp((entropy(points, dim) - np.log(size)) / dim) / np.sqrt(2 * np.pi * np.e))


def noise_level(points: Data, dim: int) -> Noise:
    """How far points lie off their manifold, by the offsets from local planes at several scales.

    In a ball of radius h the mean square offset per normal direction is sigma^2 + c h^4: noise does not depend on the
    scale, the sagitta of curvature does. Local PCA planes are fitted to K neighbours, offsets are corrected for the
    degrees of freedom the plane takes (K - 1 - k of K), and sigma^2 and c are found by weighted least squares over K
    from K_0 to 6 K_0. K_0 starts at k + 4 and doubles until its balls are five times wider than the noise found, so
    that planes are not fitted to noise. On a manifold that bends alike in all directions c = kappa^2 k / ((d - k) (k
    + 2)^2 (k + 4)) (derived), which defines the curvature reported. Noise well below the smallest sagitta cannot be
    told from zero and comes out as a fraction of it.
    """
    rows = distinct(points).points
    centres = rows[np.random.default_rng(0).permutation(len(rows))[:_CENTRES]]
    smallest = min(dim + 4, len(rows) - 1)
    while True:
        found, radius = _noise_at(rows, centres, dim, smallest)
        if radius >= 5 * found.noise or 12 * smallest > len(rows):
            return found
        smallest *= 2


def _noise_at(rows: np.ndarray, centres: np.ndarray, dim: int, smallest: int) -> tuple[Noise, float]:
    """The fit over balls of `smallest` to 6 * `smallest` points, and the median radius of the smallest."""
    normals = rows.shape[1] - dim
    sizes = sorted({min(int(smallest * f), len(rows) - 1) for f in (1, 1.5, 2, 3, 4, 6)})
    distances, indices = nearest(rows, centres, sizes[-1] + 1)
    squares = [_offsets(rows, indices[:, :size], dim) / normals for size in sizes]
    # Given the first neighbour outside, those inside are uniform in its ball.
    fourth = [distances[:, size] ** 4 for size in sizes]
    variance, slope = _line(np.concatenate(fourth), np.concatenate(squares))
    curvature = np.sqrt(slope * normals * (dim + 2) ** 2 * (dim + 4) / dim)
    return Noise(float(np.sqrt(variance)), float(curvature)), float(np.median(distances[:, smallest]))


def _offsets(rows: np.ndarray, patches: np.ndarray, dim: int) -> Float[np.ndarray, " c"]:
    """Mean over the points of each patch of the squared distance to its PCA plane, unbiased for noise."""
    return np.array([_offset(rows[patch], dim) for patch in patches])


def _offset(patch: np.ndarray, dim: int) -> float:
    spectrum = np.linalg.svd(patch - patch.mean(axis=0), compute_uv=False) ** 2
    return spectrum[dim:].sum() / max(len(patch) - 1 - dim, 1)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """y ~ a + b x with a, b >= 0, the errors in proportion to the mean: three rounds of reweighting."""
    weights = 1 / np.maximum(x + np.quantile(x, 0.1), np.finfo(float).tiny) ** 2
    a = b = 0.0
    for _ in range(5):
        mean_x, mean_y = np.average(x, weights=weights), np.average(y, weights=weights)
        spread = np.average((x - mean_x) ** 2, weights=weights)
        b = max(np.average((x - mean_x) * (y - mean_y), weights=weights) / spread, 0.0) if spread > 0 else 0.0
        a = mean_y - b * mean_x
        if a < 0:
            a, b = 0.0, np.average(x * y, weights=weights) / np.average(x * x, weights=weights)
        fitted = a + b * x
        weights = 1 / np.maximum(fitted, 1e-6 * max(fitted.max(), np.finfo(float).tiny)) ** 2
    return a, b


def reach(points: Data, dim: int, noise: Noise | None = None, quantile: float = 0.05) -> float:
    """The reach, by the smallest |y - x|^2 / (2 d(y - x, T_x)) over pairs (Federer; Aamari et al. 2019, EJS 13),
    robustified.

    The infimum over all pairs is the reach, through curvature for near pairs and bottlenecks for far ones. Here T_x
    is the tangent space at x of a quadratic fitted over the plane of local PCA, to at least 3 (k + 2) neighbours and
    out to ten times the noise; left out are pairs nearer than three times that radius or than sqrt(8 noise /
    curvature), where errors of T_x and noise would count as curvature (but never more than half of the pairs). The
    minimum over y is taken for up to 1000 points x against up to 4000 points y, and of those minima the 5 % quantile:
    so it is an estimate, not a lower bound, and a bottleneck that fewer than 5 % of the points see is missed.
    Infinite where no pair bends away.
    """
    return float(np.quantile(_smallest_balls(points, dim, noise), quantile, method="lower"))


def reach_interval(points: Data, dim: int, noise: Noise | None = None, quantile: float = 0.05) -> Interval:
    """`reach` with the 95 % interval of that quantile between two order statistics.

    Points that share the neighbours of their planes count as one: of n minima, n / (3 (k + 2)) are taken to be
    independent. It covers sampling error, not what few points see, nor the error of the planes.
    """
    smallest = np.sort(_smallest_balls(points, dim, noise))
    independent = max(len(smallest) // (3 * (dim + 2)), 1)
    low, high = stats.binom.ppf((0.025, 0.975), independent, quantile) / independent
    places = np.clip(np.array([low, high]) * len(smallest), 0, len(smallest) - 1).astype(int)
    value = float(np.quantile(smallest, quantile, method="lower"))
    return Interval(value, float(smallest[places[0]]), float(smallest[places[1]]))


def _smallest_balls(points: Data, dim: int, noise: Noise | None) -> Float[np.ndarray, " c"]:
    rows = distinct(points).points
    noise = noise_level(rows, dim) if noise is None else noise
    order = np.random.default_rng(0).permutation(len(rows))
    partners, centres = rows[order[:_PARTNERS]], rows[order[:_CENTRES]]
    distances, indices = _neighbourhoods(rows, centres, 3 * (dim + 2), 10 * noise.noise)
    least = np.sqrt(8 * noise.noise / noise.curvature) if noise.curvature > 0 else 0.0
    return smallest_balls(rows, centres, partners, indices, dim, np.maximum(3 * distances[:, -1], least))


def _neighbourhoods(rows: np.ndarray, centres: np.ndarray, count: int, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours, as many as needed for the median radius, but at most a tenth of the points if that is more than
    `count`.
    """
    while True:
        count = min(count, len(rows))
        distances, indices = nearest(rows, centres, count)
        if np.median(distances[:, -1]) >= radius or 10 * count > len(rows):
            return distances, indices
        count *= 2
