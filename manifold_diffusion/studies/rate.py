"""Convergence rates with confidence intervals.

A rate is the slope of log(mean error) against log(size) by least squares. Its interval is a percentile bootstrap that
resamples the replicates of each size by themselves; without replicates it is the interval of ordinary least squares.

Resampling n values understates the variance of their mean by (n - 1)/n and knows nothing of the tails that few
replicates give. Both are put right by stretching the deviations of the resampled means by sqrt(n/(n - 1)) * t/z, with t
and z the 97.5 % quantiles of Student's law with sum(n - 1) degrees of freedom and of the normal law (Hesterberg, "What
teachers should know about the bootstrap", The American Statistician 69, 2015, does the same to the percentiles of one
mean). In simulations with five sizes and log-normal errors the interval of the slope covers the truth in 92, 93, 94 and
94 % of 6000 studies with 2, 3, 5 and 10 replicates, against 72, 84, 90 and 92 % without the correction.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal, TypeAlias

import jax
import numpy as np

from manifold_diffusion._types import Key
from manifold_diffusion.studies.claim import Statistic

Samples: TypeAlias = Sequence | np.ndarray | jax.Array
"""Values by size and replicate: (sizes, replicates), (sizes,), or a list with the replicates of each size."""

Extent: TypeAlias = Literal["mean", "min", "max"]

LEVEL = 0.95
TAILS = (100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2)


@dataclasses.dataclass(frozen=True)
class RateFit:
    """error ~ constant * size^slope; `local_slopes` are those between neighbouring sizes."""

    slope: float
    ci_low: float
    ci_high: float
    constant: float
    local_slopes: tuple[float, ...]


def fit_rate(sizes: Samples, errors: Samples, key: Key | None = None, resamples: int = 2000) -> RateFit:
    """The slope of log(replicate mean of the error) against log(size), with a 95 % interval.

    `errors` is (sizes, replicates), or one array of replicates per size, or (sizes,) where nothing was repeated. The
    same key gives the same interval. ValueError for fewer than two sizes and for sizes or errors that are not positive
    and finite.
    """
    rows = _rows(errors)
    x = np.asarray(sizes, dtype=float)
    if x.shape != (len(rows),):
        raise ValueError(
            f"fit_rate: {len(rows)} rows of errors, but sizes of shape {x.shape}; give one size for each row"
        )
    if len(np.unique(x)) < 2:
        raise ValueError(f"fit_rate: a slope needs at least two different sizes; got {x.tolist()}")
    _require_positive("size", x)
    _require_positive("error", np.concatenate(rows))
    x = np.log(x)
    y = np.log([row.mean() for row in rows])
    slope, intercept = _line(x, y)
    low, high = _slope_interval(x, y, rows, key, resamples)
    local = tuple(float(s) for s in np.diff(y) / np.diff(x))
    return RateFit(float(slope), low, high, float(np.exp(intercept)), local)


def interval(samples: Samples, statistic: Extent, key: Key | None = None, resamples: int = 2000) -> Statistic:
    """The mean (over replicates, then over sizes) or the smallest or largest of all values, with a 95 % interval.

    The interval of the mean is that of this module; where nothing was repeated it is Student's over the sizes, and
    infinite for a single value. An extreme is resampled without correction: one end of its interval is the extreme that
    was seen.
    """
    rows = _rows(samples)
    if not np.all(np.isfinite(np.concatenate(rows))):
        raise ValueError(f"interval: the values must be finite; got {np.concatenate(rows).tolist()}")
    if statistic == "mean":
        return _mean_interval(rows, key, resamples)
    extreme = np.min if statistic == "min" else np.max
    rng = _generator(key)
    resampled = extreme([extreme(_resample(rng, row, resamples), axis=1) for row in rows], axis=0)
    value = float(extreme([extreme(row) for row in rows]))
    return Statistic(value, *_percentiles(resampled))


def bands(samples: Samples, key: Key | None = None, resamples: int = 2000) -> list[tuple[float, float]]:
    """The 95 % interval of the mean of the positive values at each size, for drawing; a point where nothing was
    repeated."""
    rows = _rows(samples)
    if not _is_repeated(rows):
        return [(float(row[0]), float(row[0])) for row in rows]
    return [_percentiles(np.exp(logs)) for logs in _log_means(rows, key, resamples)]


def _log_means(rows: list[np.ndarray], key: Key | None, resamples: int) -> np.ndarray:
    """(sizes, resamples): logarithms of resampled means, stretched about the logarithm of the mean."""
    rng = _generator(key)
    logs = [np.log(row.mean()) for row in rows]
    return np.array(
        [
            log + c * (np.log(_resample(rng, row, resamples).mean(axis=1)) - log)
            for log, c, row in zip(logs, _stretch(rows), rows, strict=True)
        ]
    )


def _mean_interval(rows: list[np.ndarray], key: Key | None, resamples: int) -> Statistic:
    means = np.array([row.mean() for row in rows])
    value = float(means.mean())
    if not _is_repeated(rows):
        half = _student(len(rows) - 1) * np.std(means, ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else np.inf
        return Statistic(value, float(value - half), float(value + half))
    rng = _generator(key)
    deviations = [
        c * (_resample(rng, row, resamples).mean(axis=1) - row.mean())
        for c, row in zip(_stretch(rows), rows, strict=True)
    ]
    return Statistic(value, *_percentiles(value + np.mean(deviations, axis=0)))


def _slope_interval(
    x: np.ndarray, y: np.ndarray, rows: list[np.ndarray], key: Key | None, resamples: int
) -> tuple[float, float]:
    if not _is_repeated(rows):
        return _least_squares_interval(x, y)
    return _percentiles(_line(x, _log_means(rows, key, resamples))[0])


def _least_squares_interval(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    slope, intercept = _line(x, y)
    if len(x) == 2:
        return -np.inf, np.inf
    residual = np.sum((y - intercept - slope * x) ** 2) / (len(x) - 2)
    half = _student(len(x) - 2) * np.sqrt(residual / np.sum((x - x.mean()) ** 2))
    return float(slope - half), float(slope + half)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and intercept of y on x; y is (sizes,) or (sizes, resamples)."""
    centred = x - x.mean()
    slope = np.tensordot(centred, y, axes=1) / np.sum(centred**2)
    return np.asarray(slope), np.asarray(y.mean(axis=0) - slope * x.mean())


def _stretch(rows: list[np.ndarray]) -> list[float]:
    freedom = sum(len(row) - 1 for row in rows)
    tails = _student(freedom) / _student(np.inf)
    return [float(tails * np.sqrt(len(row) / (len(row) - 1))) for row in rows]


def _student(freedom: float | int) -> float:
    from scipy.stats import t  # a third of a second to import

    return float(t.ppf(TAILS[1] / 100, freedom))


def _resample(rng: np.random.Generator, row: np.ndarray, resamples: int) -> np.ndarray:
    return row[rng.integers(len(row), size=(resamples, len(row)))]


def _percentiles(resampled: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(resampled, TAILS)
    return float(low), float(high)


def _generator(key: Key | None) -> np.random.Generator:
    return np.random.default_rng(0 if key is None else np.asarray(jax.random.key_data(key)).tolist())


def _rows(samples: Samples) -> list[np.ndarray]:
    rows = [np.atleast_1d(np.asarray(row, dtype=float)) for row in samples]
    if not rows or any(row.ndim != 1 or len(row) == 0 for row in rows):
        raise ValueError("a statistic needs at least one value for each size, as (sizes,) or (sizes, replicates)")
    return rows


def _is_repeated(rows: list[np.ndarray]) -> bool:
    counts = {len(row) for row in rows}
    if 1 in counts and counts != {1}:
        raise ValueError(f"every size needs two replicates, or every size one; got {[len(row) for row in rows]}")
    return counts != {1}


def _require_positive(what: str, x: np.ndarray) -> None:
    bad = ~(np.isfinite(x) & (x > 0))
    if bad.any():
        raise ValueError(
            f"fit_rate: each {what} must be positive and finite; got {float(x[bad][0])} ({bad.sum()} such)"
        )
