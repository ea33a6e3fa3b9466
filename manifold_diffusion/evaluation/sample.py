"""The interface of this folder: what a sample is to an evaluation, and how certain a share or a median of one is.

Evaluations are statistics of finished samples, so they run on the host in float64 whatever the dtype that comes in.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Array, Float
from scipy import stats

Data: TypeAlias = Float[Array | np.ndarray, "n d"]
Generated: TypeAlias = Float[Array | np.ndarray, "m d"]
HeldOut: TypeAlias = Float[Array | np.ndarray, "h d"]


class Interval(NamedTuple):
    """An estimate with a confidence interval."""

    value: float
    low: float
    high: float


class Distinct(NamedTuple):
    """The distinct rows of a sample, how often each occurs, and how many rows repeated an earlier one."""

    points: np.ndarray
    counts: np.ndarray
    duplicates: int


def distinct(points: Data) -> Distinct:
    """The rows without repetitions, in the order in which they first appear."""
    rows = np.asarray(points).astype(np.float64)
    if len(np.unique(_hashes(rows))) == len(rows):
        return Distinct(rows, np.ones(len(rows), np.intp), 0)
    _, first, counts = np.unique(rows, axis=0, return_index=True, return_counts=True)
    order = np.argsort(first)
    return Distinct(rows[first[order]], counts[order], len(rows) - len(first))


def _hashes(rows: np.ndarray) -> np.ndarray:
    """A number for each row, the same for rows that are equal: that all differ is seen much sooner than which do not.

    Sums of products of the bits with odd numbers, modulo 2^64.
    """
    bits = np.ascontiguousarray(rows + 0.0).view(np.uint64)  # -0 + 0 = 0
    factors = np.random.default_rng(0).integers(2**63, size=rows.shape[1], dtype=np.uint64) * 2 + 1
    mixed = bits ^ (bits >> np.uint64(29))
    return (mixed * factors).sum(axis=1, dtype=np.uint64)


def finite_rows(points: Data) -> tuple[np.ndarray, int]:
    """The rows without NaN and infinities in float64, and how many had some."""
    rows = np.asarray(points, np.float64)
    keep = np.isfinite(rows).all(axis=1)
    return rows[keep], int((~keep).sum())


def proportion(count: int | float, size: int, level: float = 0.95) -> Interval:
    """count / size with the exact (Clopper-Pearson) interval; (NaN, 0, 1) for an empty sample."""
    if size == 0:
        return Interval(float("nan"), 0.0, 1.0)
    tail = (1 - level) / 2
    low = stats.beta.ppf(tail, count, size - count + 1) if count > 0 else 0.0
    high = stats.beta.ppf(1 - tail, count + 1, size - count) if count < size else 1.0
    return Interval(count / size, float(low), float(high))


def median(values: Float[np.ndarray, " n"], level: float = 0.95) -> Interval:
    """The median with the distribution-free interval between two order statistics, chosen by the binomial(n, 1/2)
    law.
    """
    if len(values) == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    ordered = np.sort(values)
    below = int(stats.binom.ppf((1 - level) / 2, len(ordered), 0.5))
    low, high = ordered[max(below - 1, 0)], ordered[min(len(ordered) - below, len(ordered) - 1)]
    return Interval(float(np.median(ordered)), float(low), float(high))


def quotient(numerator: Interval, denominator: Interval) -> Interval:
    """The ratio of two positive estimates; its level is at least the sum of both levels minus one (Bonferroni)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value, low, high = np.divide(numerator, (denominator.value, denominator.high, denominator.low))
    return Interval(float(value), float(low), float(high))
