"""Coverage: does the generated law put its mass everywhere where the true one does, and down to which scale?"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from manifold_diffusion._neighbours import nearest
from manifold_diffusion._types import Key
from manifold_diffusion.evaluation.sample import Data, Generated, HeldOut, Interval, distinct, finite_rows, proportion

Centres = Float[Array | np.ndarray, "c d"]
_TREE_DIM = 16


class Coverage(NamedTuple):
    """Share of data points with a generated point within the radius, and the same share for fresh data as many in
    number.
    """

    radius: float
    covered: Interval
    null: Interval
    points: int


def coverage(
    data: Data, generated: Generated, radius: float | None = None, held_out: HeldOut | None = None, *, key: Key
) -> Coverage:
    """How much of the data is covered by generated points, next to how much of it fresh data would cover.

    The distinct data are split at random into centres and a cover (or the held-out points are the cover). As many
    generated points as the cover has are compared with it (fewer of both if there are fewer), so the null is
    calibrated for the sample size. Without a radius it is the 90 % quantile of the distance from a centre to the
    cover with the roles of the two exchanged.
    """
    points = distinct(data).points
    order = np.asarray(jax.random.permutation(key, len(points)))
    if held_out is None:
        centres, cover = points[order[::2]], points[order[1::2]]
    else:
        centres, cover = points[order], distinct(finite_rows(held_out)[0]).points
    new = finite_rows(generated)[0]
    size = min(len(cover), len(new))
    if size == 0:
        return Coverage(radius or float("nan"), proportion(0, 0), proportion(0, 0), 0)
    if radius is None:
        radius = float(np.quantile(nearest(centres[:size], cover, 1)[0], 0.9))
    return Coverage(radius, _covered(centres, new[:size], radius), _covered(centres, cover[:size], radius), size)


def _covered(centres: np.ndarray, cover: np.ndarray, radius: float) -> Interval:
    hits = nearest(cover, centres, 1)[0][:, 0] <= radius
    return proportion(int(hits.sum()), len(centres))


def ball_masses(centres: Centres, points: Data, radius: float) -> Float[np.ndarray, " c"]:
    """The share of the points in the closed ball of the radius around each centre."""
    centres, points = np.asarray(centres, np.float64), np.asarray(points, np.float64)
    if points.shape[1] <= _TREE_DIM:
        counts = KDTree(points).query_ball_point(centres, radius, return_length=True)
    else:
        counts = np.array([(np.linalg.norm(points - c[None, :], axis=1) <= radius).sum() for c in centres])
    return np.asarray(counts) / len(points)


def ball_mass_ratios(centres: Centres, truth: Data, generated: Generated, radius: float) -> Float[np.ndarray, " c"]:
    """Generated mass over true mass in each ball, by counting; NaN in balls without points of either."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return ball_masses(centres, generated, radius) / ball_masses(centres, truth, radius)


def coverage_scale(centres: Centres, truth: Data, generated: Generated, c: float = 4.0) -> float:
    """The smallest radius from which on every ball around a centre holds between 1/c and c of its true mass (claim S5).

    Masses are shares of points, so the truth is a large fresh sample, and the figure cannot fall below the scale at
    which balls hold a handful of points: there the ratio is all noise.
    """
    centres, truth, generated = (np.asarray(x, np.float64) for x in (centres, truth, generated))
    return max(_last_violation(x, truth, generated, c) for x in centres)


def _last_violation(centre: np.ndarray, truth: np.ndarray, generated: np.ndarray, c: float) -> float:
    """The radius at which the ratio of the two masses enters the band [1/c, c] for good."""
    distances = cdist(centre[None, :], np.concatenate([truth, generated]))[0]
    order = np.argsort(distances, kind="stable")
    is_true = order < len(truth)
    true_mass, new_mass = np.cumsum(is_true) / len(truth), np.cumsum(~is_true) / len(generated)
    last_of_tie = np.append(np.diff(distances[order]) > 0, True)
    outside = ((new_mass < true_mass / c) | (new_mass > c * true_mass)) & last_of_tie
    bad = np.flatnonzero(outside)
    if len(bad) == 0:
        return 0.0
    return float(distances[order[bad[-1] + 1]])
