"""An audit: what the manifold of the data looks like, and whether generated points are new, faithful and covering.

It composes the other evaluations, puts every figure next to its null, and turns them into one verdict by a stated rule.
"""

import dataclasses
import math
from typing import Any, Literal, TypeAlias

import jax
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._types import Key
from manifold_diffusion.evaluation.coverage import Coverage, coverage
from manifold_diffusion.evaluation.cross_fit import choose_degree, halves, held_out_distances
from manifold_diffusion.evaluation.dimension import (
    Dimension,
    consensus,
    dimensions,
    headline,
)
from manifold_diffusion.evaluation.novelty import Authenticity, Novelty, authenticity, novelty
from manifold_diffusion.evaluation.sample import Data, Generated, HeldOut, Interval, distinct, finite_rows, proportion
from manifold_diffusion.evaluation.shape import Noise, collapse_scale, noise_level, reach, spacing

Other: TypeAlias = Float[Array | np.ndarray, "_ _"]
Verdict: TypeAlias = Literal["memorised", "off-manifold", "collapsed", "generalises", "inconclusive"]

MEMORISED_EXCESS = 0.10
AUTHENTIC_FLOOR = 0.5
BEYOND_LIMIT = 0.20
COVERAGE_LOSS = 0.10
RESOLUTION = 0.05


@dataclasses.dataclass(frozen=True)
class Faithfulness:
    """Distances of generated points to the estimated manifold, and of data points that it was not fitted to.

    `beyond` is the share of generated points farther out than `limit` (or not finite). The limit is the distance within
    which 95 % of those data points lie, so that 5 % is expected, but at least 5 % of the spacing of the data: less than
    that is on the manifold for any purpose that the data can serve.
    """

    median: float
    q99: float
    null_median: float
    null_q99: float
    limit: float
    beyond: Interval


@dataclasses.dataclass(frozen=True)
class GeneratedAudit:
    """What is known about generated points."""

    n: int
    faithfulness: Faithfulness
    novelty: Novelty
    authenticity: Authenticity
    coverage: Coverage
    verdict: Verdict
    reason: str


@dataclasses.dataclass(frozen=True)
class Audit:
    """What is known about the data and, if there are any, about generated points; `as_dict` is what is written as
    JSON.
    """

    n: int
    ambient_dim: int
    duplicates: int
    dim: int
    dimension: Dimension
    dimensions: tuple[Dimension, ...]
    spacing: float
    noise: Noise
    reach: float
    collapse_scale: float
    degree: int
    generated: GeneratedAudit | None

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and dictionaries; what is not finite is None."""
        return _plain(
            {
                "n": self.n,
                "ambient_dim": self.ambient_dim,
                "dim": {**self.dimension._asdict(), "used": self.dim, "all": [e._asdict() for e in self.dimensions]},
                "spacing": self.spacing,
                "noise": self.noise.noise,
                "curvature": self.noise.curvature,
                "reach": self.reach,
                "collapse_scale": self.collapse_scale,
                "degree": self.degree,
                "duplicates": self.duplicates,
                "generated": None if self.generated is None else _generated_dict(self.generated),
            }
        )


def audit(data: Data, generated: Other | None = None, held_out: Other | None = None, *, key: Key) -> Audit:
    """Audit the data, and generated points against it.

    Without held-out points the nulls come from the data: each point against the others for novelty, one half against
    the other for the distance to the estimated manifold and for coverage. Figures are in the data's units. ValueError
    with less than two columns, less than 2 dim + 2 distinct points, or samples of unequal width.
    """
    points, _, duplicates = distinct(data)
    _check_shapes(points, generated, held_out)
    estimates = dimensions(points)
    dim = consensus(estimates, points.shape[1])
    if len(points) < 2 * dim + 2:
        raise ValueError(
            f"{len(points)} distinct points are too few: dimension {dim} needs at least {2 * dim + 2}; bring more"
        )
    noise = noise_level(points, dim)
    degree = choose_degree(points, dim, key=jax.random.fold_in(key, 0)).degree
    return Audit(
        n=len(data),
        ambient_dim=points.shape[1],
        duplicates=duplicates,
        dim=dim,
        dimension=headline(estimates, dim),
        dimensions=estimates,
        spacing=spacing(points),
        noise=noise,
        reach=reach(points, dim, noise),
        collapse_scale=collapse_scale(points, dim),
        degree=degree,
        generated=None if generated is None else _audit_generated(data, generated, held_out, dim, degree, key),
    )


def decide(new: Novelty, authentic: Authenticity, faithful: Faithfulness, covered: Coverage) -> tuple[Verdict, str]:
    """The verdict and its reason; the first rule that holds decides, each on the safe ends of 95 % intervals.

    memorised      the memorised share lies more than 10 % of the way from its null to 1, or the authentic share is
                   less than half of its null (which also sees copies on curves, where the first share is blind)
    off-manifold   more than 20 % of the points lie farther out than 95 % of the data does, and than 5 % of its spacing
    collapsed      more than 10 % of the data that fresh points would cover is not covered
    generalises    all three are excluded with the same confidence
    inconclusive   otherwise: bring more points
    """
    excess = _excess(new.memorised, new.memorised_null)
    relative = (
        authentic.share.low / max(authentic.null.high, 1e-12),
        authentic.share.high / max(authentic.null.low, 1e-12),
    )
    lost = 1 - _ratio(covered.covered.high, covered.null.low), 1 - _ratio(covered.covered.low, covered.null.high)
    if excess[0] > MEMORISED_EXCESS:
        return (
            "memorised",
            f"{new.memorised.value:.1%} sit on a data point, {new.memorised_null.value:.1%} of fresh points do",
        )
    if relative[1] < AUTHENTIC_FLOOR:
        return "memorised", f"{authentic.share.value:.1%} are authentic, {authentic.null.value:.1%} of fresh points are"
    if faithful.beyond.low > BEYOND_LIMIT:
        return "off-manifold", f"{faithful.beyond.value:.1%} lie farther out than 95% of the data does"
    if lost[0] > COVERAGE_LOSS:
        return (
            "collapsed",
            f"{covered.covered.value:.1%} of the data is covered, fresh points cover {covered.null.value:.1%}",
        )
    doubts = [
        name
        for name, doubtful in (
            ("memorisation", not (excess[1] <= MEMORISED_EXCESS and relative[0] >= AUTHENTIC_FLOOR)),
            ("faithfulness", not (faithful.beyond.high <= BEYOND_LIMIT and math.isfinite(faithful.null_median))),
            ("coverage", not lost[1] <= COVERAGE_LOSS),
        )
        if doubtful
    ]
    if doubts:
        return "inconclusive", f"too few points, or too close to the limit, to decide on {' and '.join(doubts)}"
    blurred = (
        f"; {new.ratio.value:.3g} times as far from the data as fresh points, so blurred" if new.ratio.low > 1.5 else ""
    )
    return "generalises", f"new, faithful and covering, like fresh points within the limits of the rule{blurred}"


def _excess(share: Interval, null: Interval) -> tuple[float, float]:
    """How far a share is on the way from its null to 1, at the two safe ends."""
    return (share.low - null.high) / max(1 - null.high, 1e-12), (share.high - null.low) / max(1 - null.low, 1e-12)


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else 1.0


def _check_shapes(points: np.ndarray, generated: Other | None, held_out: Other | None) -> None:
    width = points.shape[1]
    if width < 2:
        raise ValueError("the points have one coordinate; an audit needs at least two columns")
    for name, other in (("generated", generated), ("held-out", held_out)):
        if other is not None and other.shape[1] != width:
            raise ValueError(
                f"the {name} points have {other.shape[1]} columns and the data {width}; give the same columns"
            )


def _audit_generated(
    data: Data, generated: Generated, held_out: HeldOut | None, dim: int, degree: int, key: Key
) -> GeneratedAudit:
    new, authentic = novelty(data, generated, held_out, dim), authenticity(data, generated, held_out, dim)
    faithful = _faithfulness(data, generated, held_out, dim, degree, jax.random.fold_in(key, 1))
    covered = coverage(data, generated, None, held_out, key=jax.random.fold_in(key, 2))
    return GeneratedAudit(len(generated), faithful, new, authentic, covered, *decide(new, authentic, faithful, covered))


def _faithfulness(
    data: Data, generated: Generated, held_out: HeldOut | None, dim: int, degree: int, key: Key
) -> Faithfulness:
    train, fresh = halves(data, key) if held_out is None else (distinct(data).points, finite_rows(held_out)[0])
    finite, lost = finite_rows(generated)
    distances = held_out_distances(train, np.concatenate([fresh, finite]), dim, degree)
    null, own = distances[: len(fresh)], distances[len(fresh) :]
    limit = float(np.maximum(np.quantile(null, 0.95), RESOLUTION * spacing(data))) if len(null) else float("nan")
    beyond = int((~(own <= limit)).sum()) + lost
    unknown = Interval(float("nan"), 0.0, 1.0)
    return Faithfulness(
        *_summary(own), *_summary(null), limit, proportion(beyond, len(generated)) if np.isfinite(limit) else unknown
    )


def _summary(distances: np.ndarray) -> tuple[float, float]:
    finite = distances[np.isfinite(distances)]
    return (float(np.median(finite)), float(np.quantile(finite, 0.99))) if len(finite) else (float("nan"), float("nan"))


def _generated_dict(found: GeneratedAudit) -> dict[str, Any]:
    new, faithful, covered, authentic = found.novelty, found.faithfulness, found.coverage, found.authenticity
    return {
        "n": found.n,
        "non_finite": new.non_finite,
        "repeats": new.repeats,
        "copies": new.copies,
        "null": new.null,
        "support_distance": {
            "median": faithful.median,
            "q99": faithful.q99,
            "null_median": faithful.null_median,
            "null_q99": faithful.null_q99,
            "limit": faithful.limit,
            "beyond": faithful.beyond.value,
            "beyond_ci": faithful.beyond[1:],
            "beyond_null": 0.05,
        },
        "novelty_ratio": new.ratio.value,
        "novelty_ratio_ci": new.ratio[1:],
        "memorised_fraction": new.memorised.value,
        "memorised_fraction_ci": new.memorised[1:],
        "memorised_null": new.memorised_null.value,
        "memorised_null_ci": new.memorised_null[1:],
        "memorised_expected": new.memorised_expected,
        "coverage": {
            "radius": covered.radius,
            "covered": covered.covered.value,
            "covered_ci": covered.covered[1:],
            "null": covered.null.value,
            "null_ci": covered.null[1:],
        },
        "authentic_pct": 100 * authentic.share.value,
        "authentic_null_pct": 100 * authentic.null.value,
        "authentic_expected_pct": 100 * authentic.expected,
        "verdict": found.verdict,
        "reason": found.reason,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
