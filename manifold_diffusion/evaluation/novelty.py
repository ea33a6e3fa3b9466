"""Novelty: are generated points new, or the data again?

Every figure stands next to what fresh points of the same law would give: measured on held-out points, or where there
are none by leaving each data point out in turn. Distances are taken to the *distinct* data: with repeated points the
second neighbour of a copy would be its twin and no ratio d1/d2 could tell anything. Where data repeat, as rounded
data do, fresh points repeat them as well, and the null says so: a data point that has a twin counts as a copy in it.
If more than half of the rows have one, the repetition is taken for an accident of the file, and the null is that of
the distinct points. Points on top of data points say nothing about distance to the manifold: a memorised point lies
on it.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from manifold_diffusion._neighbours import nearest, self_nearest
from manifold_diffusion.evaluation.sample import (
    Data,
    Distinct,
    Generated,
    HeldOut,
    Interval,
    distinct,
    finite_rows,
    median,
    proportion,
    quotient,
)


class Novelty(NamedTuple):
    """How new generated points are.

    median_distance     median distance of a generated point to the nearest data point
    null_distance       the same of a fresh point
    ratio               their quotient with its interval: about 1 for fresh points, 0 for copies
    memorised           share of generated points with d1^2 <= d2^2 / 9, d1 and d2 the distances to the two nearest data
    memorised_null      the same share of fresh points, measured
    memorised_expected  the same share of fresh points, 3^-k in theory (NaN if no dimension was given)
    null_points         how many fresh points the null was measured on, and `null` their origin
    duplicates          data points that repeat another; distances are to the distinct ones
    copies              generated points that equal a data point in every coordinate
    repeats             generated points that equal another generated point; intervals count distinct points only
    non_finite          generated points with NaN or infinities, left out of everything else
    """

    median_distance: Interval
    null_distance: Interval
    ratio: Interval
    memorised: Interval
    memorised_null: Interval
    memorised_expected: float
    null: str
    null_points: int
    duplicates: int
    copies: int
    repeats: int
    non_finite: int


class Authenticity(NamedTuple):
    """Shares of authentic points: generated, fresh as measured, and fresh in theory (NaN if no dimension was given)."""

    share: Interval
    null: Interval
    expected: float


def novelty(data: Data, generated: Generated, held_out: HeldOut | None = None, dim: int | None = None) -> Novelty:
    """Distances to the data and the memorised fraction with their nulls (claims S6, M2).

    The criterion d1^2 <= d2^2 / 9 is that of arXiv 2511.03202. Its null is derived: among the data around a fresh
    point (d1/d2)^k is uniform on [0, 1], the smaller of two volumes that both lie in the larger, so the share is 3^-k
    in dimension k. It is therefore blind at k = 1, where a third of fresh points pass; the ratio of distances and
    `authenticity` are not.

    """
    train = distinct(data)
    _check_size(train)
    points, non_finite = finite_rows(generated)
    to_data = _two_nearest(train, points)
    null_to_data = _left_out_distances(train) if held_out is None else _two_nearest(train, finite_rows(held_out)[0])
    repeats = len(points) - len(np.unique(points, axis=0))
    distances, null_distances = median(to_data[:, 0], 0.975), median(null_to_data[:, 0], 0.975)
    return Novelty(
        median_distance=distances,
        null_distance=null_distances,
        ratio=quotient(distances, null_distances),
        memorised=_share(_memorised(to_data), len(points) - repeats),
        memorised_null=_share(_memorised(null_to_data), len(null_to_data)),
        memorised_expected=float("nan") if dim is None else 3.0**-dim,
        null="leave-one-out" if held_out is None else "held-out",
        null_points=len(null_to_data),
        duplicates=train.duplicates,
        copies=int((to_data[:, 0] == 0).sum()),
        repeats=repeats,
        non_finite=non_finite,
    )


def authentic_pct(data: Data, generated: Generated) -> float:
    """Percentage of generated points that are farther from their nearest data point than that one from its own
    nearest neighbour.

    The definition is that of Alaa et al. 2022 (How faithful is your synthetic data?, arXiv 2102.08921).
    """
    return 100 * authenticity(data, generated).share.value


def authenticity(
    data: Data, generated: Generated, held_out: HeldOut | None = None, dim: int | None = None
) -> Authenticity:
    """The authentic share with its measured null and `expected_authentic_share`: local, so it does not mistake a
    change of density for memorisation, and not blind on curves."""
    train = distinct(data)
    _check_size(train)
    points, _ = finite_rows(generated)
    to_others, others = self_nearest(train.points, 2)
    repeats = len(points) - len(np.unique(points, axis=0))
    if held_out is None:
        partner = others[:, 0]
        mutual = others[partner, 0] == np.arange(len(others))
        hits = to_others[:, 0] > np.where(mutual, to_others[partner, 1], to_others[partner, 0])
        null = _as_rows(train, hits, False)
    else:
        null = _authentic(train.points, to_others[:, 0], finite_rows(held_out)[0])
    return Authenticity(
        share=_share(_authentic(train.points, to_others[:, 0], points), len(points) - repeats),
        null=_share(null, len(null)),
        expected=float("nan") if dim is None else expected_authentic_share(dim),
    )


def expected_authentic_share(dim: int) -> float:
    """The authentic share of fresh points of the data's own law: 1/3, .379, .407 in dimension 1, 2, 3, towards 1/2.

    Derived: with g fresh and x the nearest of the data, the ball B(g, |g - x|) is empty, and g is authentic unless
    B(x, |g - x|) is too; for a Poisson process that happens with probability 1/(1 + c), c the share of B(x, r)
    outside B(g, r), where 1 - c = I_{3/4}((k + 1)/2, 1/2) is the lens of two equal balls through each other's centre.
    """
    outside = 1 - special.betainc((dim + 1) / 2, 0.5, 0.75)
    return float(outside / (1 + outside))


def _check_size(train: Distinct) -> None:
    if len(train.points) < 3:
        raise ValueError(f"novelty needs at least 3 distinct data points, got {len(train.points)}; give more data")


def _two_nearest(train: Distinct, points: np.ndarray) -> np.ndarray:
    return nearest(train.points, points, 2)[0] if len(points) else np.empty((0, 2))


def _left_out_distances(train: Distinct) -> np.ndarray:
    """For each row of the data the distances to the two nearest others, 0 first where the row has a twin."""
    distances = self_nearest(train.points, 2)[0]
    return _as_rows(train, distances, np.array([0.0, np.nan]))


def _as_rows(train: Distinct, values: np.ndarray, of_a_twin: np.ndarray | bool) -> np.ndarray:
    """A value per row of the data, given one per distinct point; of the distinct points only, if most rows have a
    twin.
    """
    twins = train.counts > 1
    if train.counts[twins].sum() > train.counts.sum() / 2:
        return values
    values = values.copy()
    values[twins] = of_a_twin
    return np.repeat(values, train.counts, axis=0)


def _memorised(distances: np.ndarray) -> np.ndarray:
    return (distances[:, 0] == 0) | (distances[:, 0] ** 2 <= distances[:, 1] ** 2 / 9)


def _authentic(train: np.ndarray, to_others: np.ndarray, points: np.ndarray) -> np.ndarray:
    if len(points) == 0:
        return np.empty(0, bool)
    distances, indices = nearest(train, points, 1)
    return distances[:, 0] > to_others[indices[:, 0]]


def _share(hits: np.ndarray, size: int) -> Interval:
    """The share of hits, with the interval of a sample of `size` points."""
    value = float(hits.mean()) if len(hits) else float("nan")
    return proportion(value * size if size else 0.0, size)._replace(value=value)
