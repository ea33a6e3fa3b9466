"""The correlation dimension, by the likelihood of the distances of pairs."""

import numpy as np

from manifold_diffusion.evaluation import extrapolation
from manifold_diffusion.evaluation.dimension import Dimension, checked, neighbourhoods
from manifold_diffusion.evaluation.sample import Data

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)
_STEPS = 30


def correlation_dimension(points: Data, neighbours: int = 20, order: int = 1, centres: int = 2000) -> Dimension:
    """k in the law r^(k-1) exp(a r^2 + ...) of the distances r < R between points, by maximum likelihood.

    Grassberger and Procaccia (1983) fit a slope to the number C(r) of pairs closer than r, in logarithms; Takens
    (1985) maximises the likelihood of C ~ r^k, the case `order` = 0. On a closed manifold with a smooth law C(r) = c
    r^k (1 + a' r^2 + ...), so the distances have a density in the exponential family with statistics log r, r^2, ...
    up to r^(2 order), and k is found together with the coefficients of curvature and density (derived). The interval
    and the value are those of `extrapolation.combined`.

    R is the median distance to the given number of neighbours. Each ball is used with at most twice as many: where
    data are dense its own radius takes the place of R, which the likelihood allows.
    """
    rows = checked(points)
    around = neighbourhoods(rows, 2 * neighbours, centres)
    # With too few points for 2K neighbours, the median radius still has to hold some.
    radius = np.median(around.distances[:, min(neighbours, (around.distances.shape[1] + 1) // 2) - 1])
    scaled = around.distances / radius
    limits = np.minimum(scaled[:, -1], 1.0)
    # What lies on the limit would be inside or not by rounding.
    inside = scaled < limits[:, None] * (1 - 1e-9)
    if not inside.any():
        return Dimension(float("inf"), float("inf"), float("inf"), "correlation")
    fits = [_likeliest(scaled, inside, limits, p) for p in (0, order, order + 1)]
    found = extrapolation.combined(fits, around.labels)
    raw = fits[0][0]
    value = float(np.clip(found.value, raw / 2, 2 * raw)) if np.isfinite(found.value) else raw
    return Dimension(value, max(min(found.low, value), 0.0), max(found.high, value), "correlation")


def _likeliest(scaled: np.ndarray, inside: np.ndarray, limits: np.ndarray, order: int) -> tuple[float, np.ndarray]:
    """k and the influence of every ball on it, by Newton's method in an exponential family."""
    counts = inside.sum(axis=1)
    safe = np.where(inside, scaled, 1.0)
    statistics = [
        np.log(safe).sum(axis=1),
        *(np.where(inside, safe ** (2 * p), 0.0).sum(axis=1) for p in _powers(order)),
    ]
    sums = np.stack(statistics, axis=1)
    unique, place = np.unique(limits, return_inverse=True)
    held = np.bincount(place, counts, len(unique))
    parameters = np.zeros(order + 1)
    parameters[0] = counts.sum() / (counts * np.log(limits) - sums[:, 0]).sum()
    for _ in range(_STEPS):
        step = _newton(parameters, sums, held, unique)
        # A step is shortened until k moves by less than its half.
        parameters = parameters + step * min(1.0, 0.5 * parameters[0] / max(abs(step[0]), 1e-300))
        if np.abs(step[0]) < 1e-9 * parameters[0]:
            break
    means, covariances = _moments(parameters, unique)
    information = np.einsum("i,ijk->jk", held, covariances)
    scores = sums - counts[:, None] * means[place]
    return float(parameters[0]), scores @ np.linalg.pinv(information)[0] * len(scores)


def _newton(parameters: np.ndarray, sums: np.ndarray, held: np.ndarray, limits: np.ndarray) -> np.ndarray:
    means, covariances = _moments(parameters, limits)
    information = np.einsum("i,ijk->jk", held, covariances)
    return np.linalg.lstsq(information, sums.sum(axis=0) - held @ means, rcond=1e-12)[0]


def _powers(order: int) -> range:
    return range(1, order + 1)


def _moments(parameters: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and covariances of (log t, t^2, t^4, ...) under t^(k-1) exp(a t^2 + ...) on (0, limit), for each limit.

    Gauss-Legendre in v with t = limit v^(4/k), which makes the logarithm harmless.
    """
    dim, order = parameters[0], len(parameters) - 1
    v = (_NODES + 1) / 2
    t = limits[:, None] * v[None, :] ** (4 / dim)
    statistics = np.stack([np.log(t), *(t ** (2 * p) for p in _powers(order))], axis=1)
    tilt = np.einsum("p,ipq->iq", parameters[1:], statistics[:, 1:])
    weights = _WEIGHTS * v**3 * np.exp(tilt - tilt.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    means = np.einsum("iq,ipq->ip", weights, statistics)
    centred = statistics - means[:, :, None]
    return means, np.einsum("iq,ipq,isq->ips", weights, centred, centred)
