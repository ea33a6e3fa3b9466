"""Intrinsic dimension of a sample, by three estimators with confidence intervals.

Two rest on the same fact: around a data point the volumes r^k of the balls through its neighbours form a Poisson
process, so ratios of distances carry k and nothing else. They fail in the same ways: noise raises them below its own
scale, curvature and edges bias them above, rounding and clustering of the data lower them: they measure how the *law*
fills space. The third counts the directions in which neighbours spread, which is the dimension of the *manifold*
around them however unevenly they fill it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from manifold_diffusion._neighbours import nearest, self_nearest
from manifold_diffusion.evaluation.sample import Data, distinct

_BLOCKS = 32
_DECISIVE_GAP = 5.0
_CENTRES = 2000


class Dimension(NamedTuple):
    """An intrinsic dimension with a 95 % interval that covers sampling error, not bias."""

    value: float
    ci_low: float
    ci_high: float
    estimator: str


def levina_bickel(points: Data, neighbours: int = 20) -> Dimension:
    """1/k = mean over i of (1/(K-1)) sum_{j<K} log(T_K(x_i) / T_j(x_i)), T_j the distance to the j-th neighbour.

    The maximum likelihood estimator of Levina and Bickel (2004), averaged as MacKay and Ghahramani do (2005):
    inverses first. Repeated points count once.
    """
    rows, count = _checked(points, neighbours)
    distances = self_nearest(rows, count)[0]
    logs = np.log(distances[:, -1:] / distances[:, :-1]).sum(axis=1)
    return _ratio(np.full(len(rows), count - 1.0), logs, rows, "Levina-Bickel")


def two_nearest(points: Data, discarded: float = 0.1) -> Dimension:
    """k = (number of mu_i <= c) / sum of log min(mu_i, c), where mu = d2/d1 has the law P(mu > t) = t^-k.

    TwoNN of Facco et al. (2017, Scientific Reports 7:12140). They drop the largest ratios, where the law fails, from
    a fit of a line; here those ratios are censored at their quantile c in the likelihood (derived), which uses the
    same information and has an error that can be stated.
    """
    rows, _ = _checked(points, 2)
    distances = self_nearest(rows, 2)[0]
    logs = np.log(distances[:, 1] / distances[:, 0])
    cut = np.quantile(logs, 1 - discarded)
    return _ratio((logs <= cut).astype(float), np.minimum(logs, cut), rows, "TwoNN")


def dimensions(points: Data) -> tuple[Dimension, Dimension, Dimension]:
    """All three estimates; local PCA looks for the gap near where the other two point."""
    by_volume = levina_bickel(points), two_nearest(points)
    return *by_volume, local_pca(points, at_least=_mean(by_volume) - 0.5)


def local_pca(points: Data, neighbours: int = 20, at_least: float = 1.0) -> Dimension:
    """Where the mean logarithmic spectrum of local covariances has a decisive gap, or NaN where it has none.

    On a k-manifold of curvature kappa the neighbours within h spread with variance h^2 / (k + 2) along k directions
    and with O(kappa^2 h^4) across them. Sampling alone leaves gaps below 2 (20 neighbours, k <= 10), so a factor of 5
    is asked for. Of several such gaps (a surface that bends within a flat subspace has two) the first one from
    `at_least` on is taken, or else the last one below. The interval is the range of gaps under resampling of 2000
    points at most.
    """
    rows, count = _checked(points, neighbours)
    generator = np.random.default_rng(0)
    centres = rows[generator.permutation(len(rows))[:_CENTRES]]
    spectra = np.stack([_log_spectrum(rows[i]) for i in nearest(rows, centres, count + 1)[1]])
    places = min(rows.shape[1] - 1, count // 2)
    draws = generator.integers(len(spectra), size=(200, len(spectra)))
    resampled = [_gap(spectra[draw].mean(axis=0), places, at_least) for draw in draws]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Dimension(_gap(spectra.mean(axis=0), places, at_least), float(low), float(high), "local PCA")


def _log_spectrum(patch: np.ndarray) -> np.ndarray:
    squares = np.linalg.svd(patch - patch.mean(axis=0), compute_uv=False) ** 2
    return np.log(np.maximum(squares, 1e-14 * squares[0]))


def _gap(spectrum: np.ndarray, places: int, at_least: float) -> float:
    decisive = np.flatnonzero(-np.diff(spectrum)[:places] >= np.log(_DECISIVE_GAP)) + 1
    if len(decisive) == 0:
        return float("nan")
    return float(next((place for place in decisive if place >= at_least), decisive[-1]))


def _mean(estimates: Sequence[Dimension]) -> float:
    finite = [e.value for e in estimates if np.isfinite(e.value)]
    return float(np.mean(finite or [1.0]))


def consensus(estimates: Sequence[Dimension], ambient_dim: int) -> int:
    """One whole number for those who fit a manifold: a local PCA that sees a gap decides; otherwise the mean of the
    others.

    It lies between 1 and the ambient dimension - 1.
    """
    seen = [e.value for e in estimates if e.estimator == "local PCA" and np.isfinite(e.value)]
    value = seen[0] if seen else _mean([e for e in estimates if e.estimator != "local PCA"])
    return int(np.clip(np.floor(value + 0.5), 1, max(ambient_dim - 1, 1)))


def headline(estimates: Sequence[Dimension], dim: int) -> Dimension:
    """The first estimate that rounds to the dimension, or failing that the one nearest to it."""
    finite = [e for e in estimates if np.isfinite(e.value)]
    return min(finite, key=lambda e: max(abs(e.value - dim), 0.5))


def _checked(points: Data, neighbours: int) -> tuple[np.ndarray, int]:
    rows = distinct(points).points
    if len(rows) < 4:
        raise ValueError(f"{len(rows)} distinct points are too few: a dimension needs at least 4; bring more")
    return rows, min(neighbours, len(rows) - 1)


def _ratio(numerators: np.ndarray, denominators: np.ndarray, points: np.ndarray, estimator: str) -> Dimension:
    """sum(numerators) / sum(denominators), with the error of a ratio estimator over blocks of neighbouring points.

    Neighbouring points share neighbours, so their terms are dependent; sums over spatial blocks nearly are not.
    """
    total = denominators.sum()
    if total <= 0:
        return Dimension(float("inf"), float("inf"), float("inf"), estimator)
    value = numerators.sum() / total
    blocks = _spatial_blocks(points, min(_BLOCKS, max(len(points) // 4, 2)))
    count = blocks.max() + 1
    sums = np.bincount(blocks, numerators - value * denominators, count)
    error = (count / (count - 1) * (sums**2).sum()) ** 0.5 / total
    half = stats.t.ppf(0.975, count - 1) * error
    return Dimension(float(value), float(max(value - half, 0.0)), float(value + half), estimator)


def _spatial_blocks(points: np.ndarray, count: int) -> np.ndarray:
    """A block for every point: halve the largest block at the median of its widest coordinate until there are
    `count`.
    """
    blocks = [np.arange(len(points))]
    while len(blocks) < count:
        blocks.sort(key=len)
        rows = blocks.pop()
        axis = np.ptp(points[rows], axis=0).argmax()
        rows = rows[np.argsort(points[rows, axis], kind="stable")]
        blocks += [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    labels = np.empty(len(points), int)
    for label, rows in enumerate(blocks):
        labels[rows] = label
    return labels
