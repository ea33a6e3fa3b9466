"""Extrapolation of neighbour statistics to neighbourhoods of size zero, with an error that counts bias.

A statistic of small balls around the points of a smooth closed manifold is a constant plus even powers of their radius:
curvature and uneven density enter at second order (at first order near an edge). If y_j belongs to balls of mean square
radius s_j, the constant is the intercept of a polynomial in s fitted to the means of y_j over all points; one order
more tells what the fit still misses. Everything is written for any array library, so that the same lines run on the
host in float64 and inside compiled JAX programs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import stats

BLOCKS = 32


class Extrapolated(NamedTuple):
    """An estimate at radius zero: its value, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def log_ratio_terms(distances):
    """y_j = j log(T_{j+1} / T_j), (..., K) -> (..., K - 1), from sorted distances T.

    Where the volume of balls grows like r^k these are independent exponential variables of mean 1/k (Renyi's
    representation of the order statistics of volumes). TwoNN is y_1, Levina and Bickel's estimator the mean of all.
    """
    xp = distances.__array_namespace__()
    ranks = xp.arange(1, distances.shape[-1], dtype=distances.dtype)
    return xp.reshape(ranks, (1,) * (distances.ndim - 1) + (-1,)) * xp.log(distances[..., 1:] / distances[..., :-1])


def squared_cosines(offsets):
    """c_q = mean over p < q of cos^2 of the angle between v_p and v_q; (..., K, d) -> (..., K // 2 - 1).

    v_p = x_{2p} - x_{2p+1} are differences of disjoint pairs of neighbours, nearest first. Independent directions of
    second moment A have E cos^2 = tr A^2, which is 1/k on a k-dimensional patch that looks alike from all sides: the
    inverse participation ratio sum(lambda)^2 / sum(lambda^2) of the spectrum of local PCA, without the bias that a
    spectrum has from few neighbours, and whatever the mean of the patch (derived).
    """
    xp = offsets.__array_namespace__()
    pairs = offsets.shape[-2] // 2
    differences = offsets[..., 0 : 2 * pairs : 2, :] - offsets[..., 1 : 2 * pairs : 2, :]
    squares = xp.sum(differences * differences, axis=-1)
    products = _gram(differences) ** 2
    cosines = products / (squares[..., :, None] * squares[..., None, :])
    counts = xp.arange(1, pairs, dtype=offsets.dtype)
    sums = xp.sum(xp.tril(cosines, k=-1), axis=-1)[..., 1:]
    return sums / xp.reshape(counts, (1,) * (sums.ndim - 1) + (-1,))


def _gram(rows):
    if isinstance(rows, np.ndarray):
        return rows @ np.swapaxes(rows, -1, -2)
    return jnp.matmul(rows, jnp.swapaxes(rows, -1, -2), precision="highest")


def pair_squares(squares):
    """The mean square radius that belongs to each of `squared_cosines`: (..., K) -> (..., K // 2 - 1)."""
    xp = squares.__array_namespace__()
    pairs = squares.shape[-1] // 2
    means = (squares[..., 0 : 2 * pairs : 2] + squares[..., 1 : 2 * pairs : 2]) / 2
    counts = xp.reshape(xp.arange(1, pairs, dtype=squares.dtype), (1,) * (squares.ndim - 1) + (-1,))
    return (means[..., 1:] + xp.cumulative_sum(means, axis=-1)[..., :-1] / counts) / 2


def fit(terms, squares, weights, order: int):
    """Coefficients (order + 1,) of the polynomial in s for the means of y, and the influence (n, order + 1) of each
    point on them.

    terms y and squares s are (n, J), weights (J,) the precisions of the terms. Influences add up to zero; the variance
    of a coefficient is that of their mean.
    """
    xp = terms.__array_namespace__()
    y, s = xp.mean(terms, axis=0), xp.mean(squares, axis=0)
    functionals = xp.stack([_functional(s, weights, order, p) for p in range(order + 1)])
    coefficients = xp.sum(functionals * y[None, :], axis=1)
    slope = xp.zeros_like(s)
    for p in range(1, order + 1):
        slope = slope + p * coefficients[p] * s ** (p - 1)
    moved = (terms - y[None, :]) - slope[None, :] * (squares - s[None, :])
    return coefficients, xp.matmul(moved, xp.matrix_transpose(functionals))


def dimension_from_distances(distances, order: int = 1):
    """k by extrapolated means of `log_ratio_terms`, from sorted distances (n, K): `levina_bickel` without its interval.

    One program for accelerators: works under jit, vmap (over samples) and grad.
    """
    xp = distances.__array_namespace__()
    squares = (distances[:, :-1] / xp.mean(distances[:, -1:])) ** 2
    weights = xp.ones_like(squares[0])
    return 1 / fit(log_ratio_terms(distances), squares, weights, order)[0][0]


def _functional(s, weights, order: int, place: int):
    """The vector whose product with y is a coefficient of the weighted fit: what the other monomials leave of its own.

    Gram-Schmidt, each projection done twice against rounding.
    """
    xp = s.__array_namespace__()
    basis = []
    for p in [*(p for p in range(order + 1) if p != place), place]:
        rest = s**p if p else xp.ones_like(s)
        for known in [*basis, *basis]:
            rest = rest - known * (xp.sum(weights * known * rest) / xp.sum(weights * known * known))
        basis.append(rest)
    own = basis[-1]
    return weights * own / xp.sum(weights * own * own)


def extrapolate(terms, squares, weights, order: int, labels: np.ndarray) -> Extrapolated:
    """The intercept by the fits of order 0, `order` and the next one: see `combined`."""
    pieces = []
    for p in orders(terms.shape[1], order):
        coefficients, influences = fit(terms, squares, weights, p)
        pieces.append((float(coefficients[0]), influences[:, 0]))
    return combined(pieces, labels)


def orders(terms: int, order: int) -> tuple[int, int, int]:
    """0, the order and the next one, lowered to what the number of terms can bear."""
    finer = min(order + 1, terms - 1)
    return 0, max(min(order, finer - 1), 0), finer


def combined(pieces: Sequence[tuple[float, np.ndarray]], labels: np.ndarray) -> Extrapolated:
    """One estimate of three (value, influences): without extrapolation, extrapolated, and by one order more.

    The interval is that of the second, by Student's law over blocks, and counts as one more error the bias that the
    third shows, b^2 = max(0, difference^2 - its variance): what of the difference is not noise. The value lies
    between the first and the second, where the mean square error is least: the weight of the first is v / (v + B^2),
    with v the variance of their difference and B the bias of the first, found as b is.

    Points are not resampled, since repeated points would be neighbours at distance zero: neighbouring points share
    neighbours, and the sums of influences over spatial blocks are nearly independent.
    """
    raw, middle, fine = pieces
    rough, noise = _bias(raw, middle, labels)
    weight = noise**2 / (rough**2 + noise**2) if noise > 0 else 0.0
    error = np.hypot(block_error(middle[1], labels), _bias(middle, fine, labels)[0])
    half = float(stats.t.ppf(0.975, labels.max()) * error)
    return Extrapolated(middle[0] + weight * (raw[0] - middle[0]), middle[0] - half, middle[0] + half)


def _bias(coarse: tuple[float, np.ndarray], fine: tuple[float, np.ndarray], labels: np.ndarray) -> tuple[float, float]:
    """What of their difference is not noise, and the noise."""
    noise = block_error(fine[1] - coarse[1], labels)
    return max((fine[0] - coarse[0]) ** 2 - noise**2, 0.0) ** 0.5, noise


def block_error(influences: np.ndarray, labels: np.ndarray) -> float:
    """The standard error of a mean of influences of mean zero that depend on one another only within blocks."""
    count = int(labels.max()) + 1
    sums = np.bincount(labels, influences, count)
    return float((count / (count - 1) * (sums**2).sum()) ** 0.5 / len(influences))


def spatial_blocks(points: np.ndarray) -> np.ndarray:
    """A block for every point, 32 or as many as have 4 points: the largest one is halved until enough are there.

    It is cut at the median along the line between two points far apart, the same whatever frame the points are in.
    """
    count = min(BLOCKS, max(len(points) // 4, 2))
    blocks = [np.arange(len(points))]
    while len(blocks) < count:
        blocks.sort(key=len)
        rows = blocks.pop()
        along = _line_coordinates(points[rows])
        order = np.argpartition(along, len(rows) // 2)
        blocks += [np.sort(rows[order[: len(rows) // 2]]), np.sort(rows[order[len(rows) // 2 :]])]
    labels = np.empty(len(points), int)
    for label, rows in enumerate(blocks):
        labels[rows] = label
    return labels


def _line_coordinates(points: np.ndarray) -> np.ndarray:
    offsets = points - points[0]
    far = np.einsum("nd,nd->n", offsets, offsets).argmax()
    offsets = points - points[far]
    return offsets @ offsets[np.einsum("nd,nd->n", offsets, offsets).argmax()]
