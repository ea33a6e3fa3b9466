"""The intrinsic dimension that a score knows, at a point and a noise level, and over points and noise levels.

Notation: D is the denoiser, z standard normal, d the ambient dimension. All three estimates rest on D being the
projection Pi to the order sigma^2, whose derivative on the manifold is the projection onto its tangent space. They are
right from about three collapse scales of the data (0 for an exact score) to a fourth of the reach. Below, a score of
data sees single points, and above, the manifold as a whole.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import stats

from manifold_diffusion._numerics import chunked_map, dot
from manifold_diffusion._small_matrices import symmetric_eigen
from manifold_diffusion._types import Key, Point, Points, Scalar, Score
from manifold_diffusion.evaluation.sample import Interval, median
from manifold_diffusion.scores import denoiser

Level = Scalar | float

_LEAST = 3
_CHUNK = 1024


class ScoreDimension(NamedTuple):
    """An intrinsic dimension with a 95 % interval, and the curve over noise levels that it is the plateau of.

    values, ci_low, ci_high   the mean (or median) over points at each of `sigmas` with its interval over points
    non_finite                at how many points it was not finite, which are left out of that mean
    plateau                   the lowest and the highest noise level of the plateau; NaN where there is none
    value                     the mean (or median) of `local`; its interval adds the range of the curve there
    local                     the mean over the plateau at each point
    """

    sigmas: np.ndarray
    values: np.ndarray
    ci_low: np.ndarray
    ci_high: np.ndarray
    non_finite: np.ndarray
    plateau: tuple[float, float]
    value: Interval
    local: np.ndarray
    method: str


def flipd(score: Score, x: Point, sigma: Level, key: Key | None = None, probes: int | None = None) -> Scalar:
    """d + sigma^2 (tr grad s + |s|^2) = tr grad D + |D - x|^2 / sigma^2 at x on the manifold.

    FLIPD (arXiv 2406.03537). By the heat equation it is d + dlog p_sigma(x) / dlog sigma, and p_sigma ~ sigma^(k - d)
    on M. The second form, derived, does not cancel. The trace is exact, or with `probes` the mean over random signs
    (Hutchinson).
    """
    sigma, denoise = jnp.asarray(sigma, x.dtype), denoiser(score)
    move = (denoise(x, sigma) - x) / sigma
    if probes is None:
        trace = jnp.sum(jnp.diagonal(jax.jacfwd(denoise)(x, sigma)))
    else:
        signs = jax.random.rademacher(_needed(key, "probes"), (probes, len(x)), x.dtype)
        moved = jax.vmap(lambda v: jax.jvp(lambda x: denoise(x, sigma), (x,), (v,))[1])(signs)
        trace = jnp.mean(jnp.sum(signs * moved, axis=1))
    return trace + jnp.sum(move * move)


def denoising_dimension(score: Score, x: Point, sigma: Level, key: Key, draws: int = 16) -> Scalar:
    """E |sigma s(x + sigma z) + z|^2 = E |D(x + sigma z) - x|^2 / sigma^2, the denoising loss at x on the manifold.

    To leading order D(x + sigma z) = x + sigma P_T z, which makes it E |P_T z|^2 = k (derived). No derivatives; with m
    draws its standard deviation is sqrt(2 k / m).
    """
    sigma, denoise = jnp.asarray(sigma, x.dtype), denoiser(score)
    z = _normal(key, (draws, len(x)), x.dtype)
    missed = (jax.vmap(denoise, (0, None))(x[None, :] + sigma * z, sigma) - x[None, :]) / sigma
    return jnp.mean(jnp.sum(missed * missed, axis=1))


def gap_dimension(score: Score, x: Point, sigma: Level, key: Key, draws: int | None = None) -> Scalar:
    """d less the number of large singular values of the scores at x + sigma z, 4 d draws by default (arXiv 2212.12611).

    sigma s is -P_N z to leading order, so the singular values are of the order of the square root of the number of
    draws across the manifold and of the order of sigma along it. They are cut at the largest difference, where that
    square root stands before the first one and 0 after the last one: d and 0 are answers too.
    """
    sigma, count = jnp.asarray(sigma, x.dtype), 4 * len(x) if draws is None else draws
    z = _normal(key, (count, len(x)), x.dtype)
    pulls = sigma * jax.vmap(score, (0, None))(x[None, :] + sigma * z, sigma)
    values = symmetric_eigen(dot(pulls.T, pulls) / count)[0][::-1]
    ends = jnp.asarray([1.0, 0.0], x.dtype)
    singular = jnp.concatenate([ends[:1], jnp.sqrt(jnp.maximum(values, 0.0)), ends[1:]])
    return jnp.where(jnp.all(jnp.isfinite(values)), len(x) - jnp.argmax(singular[:-1] - singular[1:]), jnp.nan)


def score_dimension(
    score: Score,
    points: Points,
    sigmas: Float[Array | np.ndarray, " levels"],
    key: Key | None = None,
    method: str = "flipd",
    probes: int | None = None,
    draws: int | None = None,
    tolerance: float = 0.1,
    centre: str = "mean",
) -> ScoreDimension:
    """The dimension by "flipd", "denoising" or "gap" at points on the manifold, over noise levels, and its plateau.

    The plateau is the longest stretch of at least three noise levels, in log sigma, on which the curve (its intervals
    with it) stays within `tolerance` times max(1, value) and above 1/2, with no value that is not finite. "flipd" takes
    a key only with `probes`. The interval covers points, and what is left of the dependence on sigma.

    `centre` is the "mean" or the "median" over points. Scores of data, at points that are not among them, have heavy
    tails in gaps between data: there the median is right from about three collapse scales, the mean from eight. With
    few draws or probes at each point the median is below the mean.
    """
    if centre not in ("mean", "median"):
        raise ValueError(f"centre must be 'mean' or 'median', got {centre!r}")
    middle_of = mean_interval if centre == "mean" else _median_interval
    levels = np.sort(np.asarray(sigmas, np.float64))
    if len(levels) < _LEAST or not levels[0] > 0:
        raise ValueError(f"sigmas must be at least {_LEAST} positive noise levels, got {levels.tolist()}")
    if method not in ("flipd", "denoising", "gap"):
        raise ValueError(f"method must be 'flipd', 'denoising' or 'gap', got {method!r}")
    if method != "flipd" or probes is not None:
        _needed(key, f"method {method!r}" if probes is None else "probes")
    x = jnp.asarray(points)
    keys = jax.random.split(jax.random.key(0) if key is None else key, (len(levels), len(x)))
    local = np.asarray(_curves(score, x, jnp.asarray(levels, x.dtype), keys, method, probes, draws), np.float64)
    curve = [middle_of(row) for row in local]
    values, low, high = (np.array([each[i] for each in curve]) for i in range(3))
    non_finite = np.sum(~np.isfinite(local), axis=1)
    found = plateau(levels, low, high, values, non_finite, tolerance)
    here = local[found].mean(axis=0) if found is not None else np.full(len(x), math.nan)
    ends = (math.nan, math.nan) if found is None else (float(levels[found][0]), float(levels[found][-1]))
    headline = middle_of(here)
    drift = 0.0 if found is None else float(np.ptp(values[found]))
    value = Interval(headline.value, headline.low - drift, headline.high + drift)
    return ScoreDimension(levels, values, low, high, non_finite, ends, value, here, method)


def mean_interval(values: Float[np.ndarray, " n"], level: float = 0.95) -> Interval:
    """The mean of what is finite with Student's interval; NaN where nothing is, and ends of NaN for a single value."""
    kept = values[np.isfinite(values)]
    if len(kept) == 0:
        return Interval(math.nan, math.nan, math.nan)
    middle = float(kept.mean())
    if len(kept) == 1:
        return Interval(middle, math.nan, math.nan)
    half = float(stats.t.ppf((1 + level) / 2, len(kept) - 1) * kept.std(ddof=1) / math.sqrt(len(kept)))
    return Interval(middle, middle - half, middle + half)


def _median_interval(values: Float[np.ndarray, " n"]) -> Interval:
    return median(values[np.isfinite(values)])


def plateau(
    levels: Float[np.ndarray, " levels"],
    low: Float[np.ndarray, " levels"],
    high: Float[np.ndarray, " levels"],
    values: Float[np.ndarray, " levels"],
    non_finite: np.ndarray,
    tolerance: float,
) -> slice | None:
    """The longest stretch of a curve, in log sigma, that stays in a band; the flatter one of two that are as long."""
    low, high = (np.where(np.isfinite(end), end, values) for end in (low, high))
    best, found = (0.0, 0.0), None
    for i in range(len(levels)):
        for j in range(i + _LEAST, len(levels) + 1):
            part = slice(i, j)
            middle = values[part].mean()
            band = low[part].max() - high[part].min()
            if np.any(non_finite[part]) or not (middle > 0.5 and band <= tolerance * max(1.0, middle)):
                continue
            rank = (round(math.log(levels[j - 1] / levels[i]), 9), -float(np.ptp(values[part])))
            if found is None or rank > best:
                best, found = rank, part
    return found


@eqx.filter_jit
def _curves(score, points, levels, keys, method, probes, draws):
    def at(sigma, x, key):
        if method == "flipd":
            return flipd(score, x, sigma, None if probes is None else key, probes)
        if method == "denoising":
            return denoising_dimension(score, x, sigma, key, 16 if draws is None else draws)
        return gap_dimension(score, x, sigma, key, draws)

    def level(each):
        sigma, keys = each
        return chunked_map(lambda one: at(sigma, *one), (points, keys), _CHUNK)

    return jax.lax.map(level, (levels, keys))


def _normal(key: Key, shape: tuple[int, int], dtype) -> Array:
    # In single precision always: draws in double precision would be others.
    return jax.random.normal(key, shape, jnp.float32).astype(dtype)


def _needed(key: Key | None, what: str) -> Key:
    if key is None:
        raise ValueError(f"{what} needs a key for its draws: pass key=jax.random.key(0)")
    return key
