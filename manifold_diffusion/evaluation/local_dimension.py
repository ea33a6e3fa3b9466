"""Intrinsic dimension around given points: the sample may have parts of different dimension.

Each estimator has a core, a function of the neighbours of one centre that works under jit, vmap and grad on any
device, and a function that finds the neighbours, runs the core over all centres in one compiled program, and adds
intervals. Local values are not extrapolated to radius zero: one neighbourhood does not tell curvature from chance, so
the intervals cover sampling error, and fewer neighbours mean less bias.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import stats

from manifold_diffusion._neighbours import nearest
from manifold_diffusion._types import Scalar
from manifold_diffusion.evaluation.dimension import checked
from manifold_diffusion.evaluation.sample import Data

Centres: TypeAlias = Float[Array | np.ndarray, "c _"]

# Points in mutual neighbourhoods share distances, which makes variances of sums larger than of independent terms: of
# log(T_2 / T_1) by 1.3 to 1.5 in dimensions 1 to 5 (measured), of pairs counted from both ends by 2.
_SHARED_RATIOS = 1.5
_SHARED_PAIRS = 2.0


class LocalDimensions(NamedTuple):
    """Dimensions around centres, with 95 % intervals that cover sampling error, not bias."""

    values: Float[np.ndarray, " c"]
    ci_low: Float[np.ndarray, " c"]
    ci_high: Float[np.ndarray, " c"]
    estimator: str


def levina_bickel_at(distances: Float[Array, " K"]) -> Scalar:
    """(K - 2) / sum_j log(T_K / T_j), from the sorted distances to K >= 3 neighbours: unbiased where balls grow like
    r^k.
    """
    return (len(distances) - 2) / jnp.sum(jnp.log(distances[-1] / distances[:-1]))


def two_nearest_at(distances: Float[Array, "m two"]) -> Scalar:
    """(m - 1) / sum_i log(T_2 / T_1) over m points around the centre, each with the distances to its two nearest."""
    return (len(distances) - 1) / jnp.sum(jnp.log(distances[:, 1] / distances[:, 0]))


def correlation_at(distances: Float[Array, "m K"]) -> tuple[Scalar, Scalar]:
    """(n - 1) / sum log(R / r) over the n distances r < R from m points to their neighbours, and n.

    R is the smallest of the m distances to the K-th neighbour, so that every pair within R is there.
    """
    radius = jnp.min(distances[:, -1])
    inside = distances < radius
    count = jnp.sum(inside, dtype=distances.dtype)
    logs = jnp.where(inside, jnp.log(radius / jnp.where(inside, distances, radius)), 0.0)
    return (count - 1) / jnp.sum(logs), count


def participation_at(offsets: Float[Array, "K d"]) -> tuple[Scalar, Scalar]:
    """1 / mean cos^2 of the angles between differences of disjoint pairs of the K >= 8 neighbours, nearest first, and
    the mean square error of that mean.

    Its variance is found by leaving out one difference at a time, the square of its bias from the mean over the inner
    half of the neighbours: what of the square of their difference is not variance.
    """
    inner = len(offsets) // 4
    mean, variance = _mean_and_variance(offsets)
    near, near_variance = _mean_and_variance(offsets[: 2 * inner])
    return 1 / mean, variance + jnp.maximum((near - mean) ** 2 - near_variance, 0.0)


def _mean_and_variance(offsets: Float[Array, "K d"]) -> tuple[Scalar, Scalar]:
    pairs = len(offsets) // 2
    differences = offsets[0 : 2 * pairs : 2] - offsets[1 : 2 * pairs : 2]
    units = differences / jnp.sqrt(jnp.sum(differences**2, axis=1, keepdims=True))
    shares = jnp.sum(jnp.matmul(units, units.T, precision="highest") ** 2, axis=1) - 1
    mean = jnp.sum(shares) / (pairs * (pairs - 1))
    if pairs < 3:
        return mean, jnp.full_like(mean, jnp.inf)
    without = (jnp.sum(shares) - 2 * shares) / ((pairs - 1) * (pairs - 2))
    return mean, (pairs - 1) / pairs * jnp.sum((without - jnp.mean(without)) ** 2)


def local_levina_bickel(points: Data, centres: Centres | None = None, neighbours: int = 20) -> LocalDimensions:
    """`levina_bickel_at` for each centre, by default each distinct point.

    k sum log(T_K / T_j) has the law Gamma(K - 1), which gives the interval.
    """
    around = _around(points, centres, neighbours, 3)
    values = _mapped(levina_bickel_at, around.distances)
    return _gamma(values, np.full(len(values), around.distances.shape[1] - 1.0), 1.0, "Levina-Bickel")


def local_two_nearest(points: Data, centres: Centres | None = None, neighbours: int = 100) -> LocalDimensions:
    """`two_nearest_at` for each centre, over the points next to it; they are few, so their ratios are not censored."""
    around = _around(points, centres, neighbours, 3)
    values = _mapped(two_nearest_at, _own_distances(around.rows, 2)[around.indices])
    return _gamma(values, np.full(len(values), float(around.indices.shape[1])), _SHARED_RATIOS, "TwoNN")


def local_correlation(points: Data, centres: Centres | None = None, neighbours: int = 20) -> LocalDimensions:
    """`correlation_at` for each centre, over as many points next to it as each of them has neighbours."""
    around = _around(points, centres, neighbours, 3)
    own = _own_distances(around.rows, around.indices.shape[1])
    values, counts = _mapped(correlation_at, own[around.indices])
    return _gamma(values, counts.astype(float), _SHARED_PAIRS, "correlation")


def local_participation(points: Data, centres: Centres | None = None, neighbours: int = 30) -> LocalDimensions:
    """`participation_at` for each centre: local PCA as a real number, with a jackknife interval."""
    around = _around(points, centres, neighbours, 8)
    offsets = around.rows[around.indices] - around.queries[:, None, :]
    values, squares = _mapped(participation_at, offsets)
    half = stats.t.ppf(0.975, offsets.shape[1] // 2 - 1) * np.sqrt(squares)
    low, high = 1 / (1 / values + half), 1 / values - half
    return LocalDimensions(values, low, np.where(high > 0, 1 / np.where(high > 0, high, 1.0), np.inf), "participation")


class _Around(NamedTuple):
    rows: np.ndarray
    queries: np.ndarray
    distances: np.ndarray
    indices: np.ndarray


def _around(points: Data, centres: Centres | None, neighbours: int, least: int) -> _Around:
    """The neighbours of each centre, itself left out where it is one of the points."""
    rows = checked(points)
    count = min(neighbours, len(rows) - 1)
    if count < least:
        raise ValueError(f"{count} neighbours are too few for a local dimension: ask for at least {least}")
    queries = rows if centres is None else np.asarray(centres, np.float64)
    if queries.shape[1] != rows.shape[1]:
        raise ValueError(f"centres have {queries.shape[1]} columns and the points {rows.shape[1]}: bring equal ones")
    distances, indices = nearest(rows, queries, count + 1)
    keep = np.ones(distances.shape, bool)
    own = distances[:, 0] == 0
    keep[own, 0], keep[~own, -1] = False, False
    return _Around(rows, queries, distances[keep].reshape(-1, count), indices[keep].reshape(-1, count))


def _own_distances(rows: np.ndarray, count: int) -> np.ndarray:
    return nearest(rows, rows, count + 1)[0][:, 1:]


def _mapped(core: Callable, neighbours: np.ndarray):
    """The core over all centres, in units in which neighbourhoods have size one (dimensions have none)."""
    scale = np.abs(neighbours).max(axis=tuple(range(1, neighbours.ndim)), keepdims=True)
    return jax.tree.map(np.asarray, _run(core, jnp.asarray(neighbours / np.where(scale > 0, scale, 1.0))))


@eqx.filter_jit
def _run(core: Callable, neighbours: Array):
    return jax.vmap(core)(neighbours)


def _gamma(values: np.ndarray, counts: np.ndarray, shared: float, estimator: str) -> LocalDimensions:
    """k sum(logs) has the law Gamma(count), with fewer terms if they are shared; values are (count - 1) / sum(logs)."""
    shape = counts / shared
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = values * counts / (counts - 1)
        low, high = (scaled * stats.gamma.ppf(q, shape) / shape for q in (0.025, 0.975))
    return LocalDimensions(values, low, high, estimator)
