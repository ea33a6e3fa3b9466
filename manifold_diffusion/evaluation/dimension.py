"""Intrinsic dimension of a sample, by estimators with confidence intervals.

Two rest on the same fact: around a data point the volumes r^k of the balls through its neighbours form a Poisson
process, so ratios of distances carry k and nothing else. The correlation dimension counts pairs within a distance
instead. All three measure how the *law* fills space: noise raises them below its own scale, rounding and clustering of
the data lower them. Two others count the directions in which neighbours spread, which is the dimension of the
*manifold* around them however unevenly they fill it.

Curvature and uneven density bias all of them in proportion to the square of the radius of the balls, (K/N)^{2/k}. So
all are extrapolated to radius zero (see `extrapolation`), and their intervals count what bias is left.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from manifold_diffusion._neighbours import Neighbours
from manifold_diffusion.evaluation import extrapolation
from manifold_diffusion.evaluation.extrapolation import Extrapolated
from manifold_diffusion.evaluation.sample import Data, distinct

_DECISIVE_GAP = 5.0
_CENTRES = 2000
_PROFILE = 40


class Dimension(NamedTuple):
    """An intrinsic dimension with a 95 % interval that covers sampling error and the bias that the sample shows."""

    value: float
    ci_low: float
    ci_high: float
    estimator: str


def levina_bickel(points: Data, neighbours: int = 20, order: int = 1, centres: int = 1000) -> Dimension:
    """1/k = mean over i and j < K of y_ij = j log(T_{j+1} / T_j), T_j the distance from x_i to its j-th neighbour.

    That is the maximum likelihood estimator of Levina and Bickel (2004), averaged as MacKay and Ghahramani do (2005):
    inverses first. It is the case `order` = 0. By default the means of y_ij over i are extrapolated along a line in
    the mean of T_j^2 (derived: a ball of volume c r^k (1 + a r^2 + ...) has E y_j = 1/k - (2a/k^2) E T_j^2 + ...).

    At most `centres` points x_i are used, all points as neighbours; len(points) gives the smallest interval. Repeated
    points count once. The extrapolation changes the estimate by a factor of two at most.

    Intervals hold the dimension in 90 % or more of repeats on closed manifolds with k <= 5 and N >= 1000 (measured).
    Above, the bias left at N = 2500 is within 2.5 % on spheres up to k = 10 and flat tori up to k = 8, and from 2 to
    8 % on spheres of dimension 15 and 20, 14 % on the flat 10-torus, -6 to -11 % on cubes, which have edges. Without
    extrapolation it is -4, -10 and -22 % on spheres of dimension 6, 10 and 20.
    """
    rows = checked(points)
    around = neighbourhoods(rows, neighbours, centres)
    terms, squares = _profile(around.distances)
    found = extrapolation.extrapolate(terms, squares, np.ones(terms.shape[1]), order, around.labels)
    return _inverted(found, terms.mean(), "Levina-Bickel")


def two_nearest(points: Data, discarded: float = 0.1, order: int = 1, centres: int = 600) -> Dimension:
    """1/k = sum of log min(mu_i, c) / (number of mu_i <= c), where mu = T_2/T_1 has the law P(mu > t) = t^-k.

    TwoNN of Facco et al. (2017, Scientific Reports 7:12140). They drop the largest ratios, where the law fails, from
    a fit of a line; here those ratios are censored at their quantile c in the likelihood (derived), which uses the
    same information and has an error that can be stated.

    `order` = 0 is that. By default the bias at radius T_2 is subtracted, as `levina_bickel` extrapolates it from 40
    neighbours of at most `centres` points.
    """
    rows = checked(points)
    search = Neighbours(rows)
    distances = search(rows, 3)[0][:, 1:]
    logs = np.log(distances[:, 1] / distances[:, 0])
    cut = np.quantile(logs, 1 - discarded)
    share = (logs <= cut).mean()
    raw = np.minimum(logs, cut).mean() / share
    influence = (np.minimum(logs, cut) - raw * (logs <= cut)) / share
    around = neighbourhoods(rows, _PROFILE if order else 2, centres, search)
    fits = extrapolation.orders(around.distances.shape[1] - 1, order)
    pieces = [_anchored(raw, influence, around, p) for p in fits]
    found = extrapolation.combined(pieces, extrapolation.spatial_blocks(rows))
    return _inverted(found, raw, "TwoNN")


def _anchored(raw: float, influence: np.ndarray, around: "Neighbourhoods", order: int) -> tuple[float, np.ndarray]:
    """The raw value less what the polynomial of that order gains between radius zero and the first neighbour."""
    terms, squares = _profile(around.distances)
    coefficients, pulls = extrapolation.fit(terms, squares, np.ones(terms.shape[1]), order)
    powers = squares[:, 0].mean() ** np.arange(1, order + 1)
    total = influence.copy()
    total[around.picked] -= pulls[:, 1:] @ powers * (len(total) / len(pulls))
    return raw - float(coefficients[1:] @ powers), total


def dimensions(points: Data) -> tuple[Dimension, Dimension, Dimension]:
    """All three estimates; local PCA looks for the gap near where the other two point."""
    by_volume = levina_bickel(points), two_nearest(points)
    return *by_volume, local_pca(points, at_least=_mean(by_volume) - 0.5)


def local_pca(points: Data, neighbours: int = 20, at_least: float = 1.0) -> Dimension:
    """Where the mean logarithmic spectrum of local covariances has a decisive gap; `participation` where it has none.

    On a k-manifold of curvature kappa the neighbours within h spread with variance h^2 / (k + 2) along k directions
    and with O(kappa^2 h^4) across them. Sampling alone leaves gaps below 2 (20 neighbours, k <= 10), so a factor of 5
    is asked for. Of several such gaps (a surface that bends within a flat subspace has two) the first one from
    `at_least` on is taken, or else the last one below. The interval is the range of gaps under resampling of the
    spectra of at most 2000 points (whole patches: no point is repeated within one).
    """
    rows = checked(points)
    around = neighbourhoods(rows, neighbours, _CENTRES)
    spectra = _log_spectra(rows[around.indices])
    places = min(rows.shape[1] - 1, around.distances.shape[1] // 2)
    generator = np.random.default_rng(0)
    weights = generator.multinomial(len(spectra), np.full(len(spectra), 1 / len(spectra)), size=200) / len(spectra)
    found = _gap(spectra.mean(axis=0), places, at_least)
    if np.isnan(found):
        return participation(rows)
    low, high = np.nanquantile([_gap(mean, places, at_least) for mean in weights @ spectra], [0.025, 0.975])
    return Dimension(found, float(min(low, found)), float(max(high, found)), "local PCA")


def participation(points: Data, neighbours: int = 40, order: int = 2, centres: int = _CENTRES) -> Dimension:
    """1/k = mean of cos^2 of the angle between differences of neighbours: local PCA where its spectrum has no gap.

    The inverse participation ratio of the local covariance, sum(lambda^2) / sum(lambda)^2 of directions, with no
    sampling bias (see `extrapolation.squared_cosines`) and extrapolated to radius zero: the interval by a polynomial
    of the given order, the value by one order less, since the curvature of normal directions takes more terms than
    what noise lets one find in high dimension. It needs neither a gap nor many neighbours, is exact for spheres at
    every radius and stays within a few percent in dimensions above ten, where estimators by volume fall short;
    neighbours that spread unevenly lower it.
    """
    rows = checked(points)
    around = neighbourhoods(rows, max(neighbours, 4), centres)
    cosines = extrapolation.squared_cosines(rows[around.indices[:, 1:]] - rows[around.indices[:, :1]])
    squares = extrapolation.pair_squares((around.distances / np.median(around.distances[:, -1])) ** 2)
    weights = np.arange(1.0, cosines.shape[1] + 1)
    finer = extrapolation.extrapolate(cosines, squares, weights, order, around.labels)
    lower = extrapolation.extrapolate(cosines, squares, weights, max(order - 1, 0), around.labels)
    found = finer._replace(value=lower.value)
    return _inverted(found, float(cosines.mean(axis=0) @ weights / weights.sum()), "participation")


def _log_spectra(patches: np.ndarray) -> np.ndarray:
    """log of the squared singular values of each centred patch (c, m, d), by the smaller of its two Gram matrices."""
    centred = patches - patches.mean(axis=1, keepdims=True)
    turned = np.swapaxes(centred, 1, 2)
    grams = centred @ turned if patches.shape[1] < patches.shape[2] else turned @ centred
    squares = np.linalg.eigvalsh(grams)[:, ::-1]
    return np.log(np.maximum(squares, 1e-14 * squares[:, :1]))


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


class Neighbourhoods(NamedTuple):
    """Which rows are centres, distances to their neighbours (c, K), indices of themselves and those (c, K + 1), and the
    block of each.
    """

    picked: np.ndarray
    distances: np.ndarray
    indices: np.ndarray
    labels: np.ndarray


def neighbourhoods(rows: np.ndarray, neighbours: int, centres: int, search: Neighbours | None = None) -> Neighbourhoods:
    """Around at most so many rows, drawn without replacement."""
    search = Neighbours(rows) if search is None else search
    picked = np.arange(len(rows))
    if len(rows) > centres:
        picked = np.random.default_rng(0).choice(len(rows), centres, replace=False)
    distances, indices = search(rows[picked], min(neighbours, len(rows) - 1) + 1)
    return Neighbourhoods(picked, distances[:, 1:], indices, extrapolation.spatial_blocks(rows[picked]))


def _profile(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Terms y_j and squared distances T_j^2 in units in which the largest is about one."""
    return extrapolation.log_ratio_terms(distances), (distances[:, :-1] / np.median(distances[:, -1])) ** 2


def _inverted(found: Extrapolated, raw: float, estimator: str) -> Dimension:
    """The dimension of an estimate of 1/k, held within a factor of two of the one that is not extrapolated."""
    if not raw > 0:
        return Dimension(float("inf"), float("inf"), float("inf"), estimator)
    inverse = float(np.clip(found.value, raw / 2, 2 * raw)) if np.isfinite(found.value) else raw
    low, high = min(found.low, inverse), max(found.high, inverse)
    return Dimension(1 / inverse, 1 / high, 1 / low if low > 0 else float("inf"), estimator)


def checked(points: Data) -> np.ndarray:
    """The distinct rows in float64; ValueError if there are fewer than 4."""
    rows = np.asarray(points, np.float64)
    first = np.sort(rows[:, 0])
    if (first[1:] == first[:-1]).any():
        rows = distinct(rows).points
    if len(rows) < 4:
        raise ValueError(f"{len(rows)} distinct points are too few: a dimension needs at least 4; bring more")
    return rows
