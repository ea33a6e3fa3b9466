"""Whether Markov chains have mixed, from their states alone: no acceptance rate is needed, so it serves Langevin too.

A scalar function of the state is given as an array of (chains, states), each row one chain after its burn-in. That of
the slowest function tells most: on a manifold an eigenfunction of the first positive eigenvalue lambda_1 of the
Laplacian, which is a coordinate on a sphere (lambda_1 = k / r^2), the cosine of the angle along the longest circle on a
product of circles (1 / r^2), that of the arc length on a closed curve of length L ((2 pi / L)^2).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float
from scipy import special, stats

States = Float[Array | np.ndarray, "c n"]


class ChainDiagnosis(NamedTuple):
    """R-hat near 1 (below 1.01) and a large effective size: the chains agree and are long enough."""

    split_r_hat: float
    effective_size: float
    autocorrelation_time: float


def diagnose(values: States) -> ChainDiagnosis:
    """All three at once."""
    size = effective_sample_size(values)
    return ChainDiagnosis(split_r_hat(values), size, np.size(values) / size)


def split_r_hat(values: States) -> float:
    """The rank-normalised split R-hat: the larger of that of the values and that of their distances to the median.

    With each chain cut into halves of n states, W the mean variance within halves and B / n the variance of their
    means, R-hat = sqrt(((n - 1) / n W + B / n) / W); values are replaced by the normal scores of their ranks first, so
    that heavy tails do no harm (Vehtari et al., Bayesian Analysis 16, 2021, eq. 3-4 and sec. 4.1; arXiv 1903.08008).
    NaN where all values are equal or some are not finite.
    """
    halves = _halves(values)
    folded = np.abs(halves - np.median(halves))
    return float(max(_r_hat(_normal_scores(halves)), _r_hat(_normal_scores(folded))))


def effective_sample_size(values: States) -> float:
    """The bulk effective sample size: how many independent draws know the mean of the normal scores as well.

    m n / (1 + 2 sum rho_t) over the m halves of n states, where 1 - rho_t = (W - mean autocovariance at lag t) / V
    with V = (n - 1) / n W + B / n; the sum runs over pairs rho_2t + rho_2t+1 as long as they are positive, and made
    to fall, and the even lag that follows is added once where it is positive (Geyer, Statistical Science 7, 1992;
    Vehtari et al. 2021, eq. 10-13). At most m n log10(m n), which caps what chains whose successive states are opposed
    may claim.
    """
    return _effective_size(_normal_scores(_halves(values)))


def autocorrelation(values: States) -> Float[np.ndarray, " n"]:
    """rho_t, t = 0 .. n - 1, of chains whose mean is that of all of them: sum_i f_i f_i+t / (n - t) over the variance,
    in O(n log n).
    """
    rows = _checked(values, 2)
    return _autocovariance(rows - rows.mean(), unbiased=True).mean(axis=0) / rows.var()


def measured_e_folds(before: Float[Array | np.ndarray, " n"], after: Float[Array | np.ndarray, " n"]) -> float:
    """-log of the correlation of a function at the starts of many chains, drawn from their law, and at their ends;
    infinite where none is left. Its error is that of the correlation, n^-1/2: beyond log(n) / 2 it is a lower bound at
    best.
    """
    kept = np.corrcoef(np.asarray(before, np.float64), np.asarray(after, np.float64))[0, 1]
    return float(-np.log(kept)) if kept > 0 else float("inf")


def _checked(values: States, least: int) -> np.ndarray:
    rows = np.asarray(values, np.float64)
    if rows.shape[1] < least:
        raise ValueError(f"chains must have at least {least} states, got {rows.shape[1]}; run them longer")
    return rows


def _halves(values: States) -> np.ndarray:
    rows = _checked(values, 4)
    half = rows.shape[1] // 2
    return np.concatenate([rows[:, :half], rows[:, -half:]])


def _normal_scores(rows: np.ndarray) -> np.ndarray:
    """Phi^-1((rank - 3/8) / (size + 1/4)), ties sharing their mean rank; NaN all through where a value is not
    finite.
    """
    if not np.isfinite(rows).all():
        return np.full(rows.shape, np.nan)
    ranks = stats.rankdata(rows).reshape(rows.shape)
    return special.ndtri((ranks - 0.375) / (rows.size + 0.25))


def _variances(rows: np.ndarray) -> tuple[float, float]:
    """W, and V = (n - 1) / n W + B / n."""
    n = rows.shape[1]
    within = rows.var(axis=1, ddof=1).mean()
    return within, (n - 1) / n * within + rows.mean(axis=1).var(ddof=1)


def _r_hat(rows: np.ndarray) -> float:
    within, total = _variances(rows)
    return float(np.sqrt(total / within)) if within > 0 else float("nan")


def _effective_size(rows: np.ndarray) -> float:
    n = rows.shape[1]
    within, total = _variances(rows)
    if not total > 0:
        return float("nan")
    centred = rows - rows.mean(axis=1, keepdims=True)
    covariance = _autocovariance(centred, unbiased=False).mean(axis=0) * n / (n - 1)
    rho = 1 - (within - covariance) / total
    rho[0] = 1.0
    pairs = rho[: 2 * (n // 2)].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    kept = ends[0] if len(ends) else len(pairs)
    time = -1 + 2 * np.minimum.accumulate(pairs[:kept]).sum()
    if 2 * kept < n:
        time += max(rho[2 * kept], 0.0)
    return float(rows.size / max(time, 1 / np.log10(rows.size)))


def _autocovariance(centred: np.ndarray, unbiased: bool) -> np.ndarray:
    """sum_i f_i f_i+t / n for each chain, or / (n - t), by FFT with as many zeros behind."""
    n = centred.shape[1]
    spectrum = np.abs(np.fft.rfft(centred, 2 * n, axis=1)) ** 2
    sums = np.fft.irfft(spectrum, 2 * n, axis=1)[:, :n]
    return sums / ((n - np.arange(n)) if unbiased else n)
