"""Laws that you check on your own charts, manifolds, measures, scores, samplers and estimators.

Each check runs the laws of its kind in both precisions, raises an AssertionError that says all that is broken and
where, and else returns a report, which prints as a table. `manifold_diffusion.testing.strategies` draws manifolds,
points and tangents for hypothesis.
"""

import importlib

from manifold_diffusion.testing.charts import check_chart
from manifold_diffusion.testing.estimators import check_estimator
from manifold_diffusion.testing.law import Law
from manifold_diffusion.testing.laws.chart import CHART_LAWS
from manifold_diffusion.testing.laws.estimator import ESTIMATOR_LAWS
from manifold_diffusion.testing.laws.measure import MEASURE_LAWS
from manifold_diffusion.testing.laws.sampler import SAMPLER_LAWS
from manifold_diffusion.testing.laws.score import SCORE_LAWS
from manifold_diffusion.testing.manifolds import MANIFOLD_LAWS, check_manifold
from manifold_diffusion.testing.measures import check_measure
from manifold_diffusion.testing.report import BrokenLaws, Finding, Report
from manifold_diffusion.testing.samplers import check_sampler
from manifold_diffusion.testing.scores import check_score

__all__ = [
    "CHART_LAWS",
    "ESTIMATOR_LAWS",
    "MANIFOLD_LAWS",
    "MEASURE_LAWS",
    "SAMPLER_LAWS",
    "SCORE_LAWS",
    "BrokenLaws",
    "Finding",
    "Law",
    "Report",
    "check_chart",
    "check_estimator",
    "check_manifold",
    "check_measure",
    "check_sampler",
    "check_score",
]


def __getattr__(name: str):
    # Imported when it is named, because it needs hypothesis.
    if name == "strategies":
        return importlib.import_module("manifold_diffusion.testing.strategies")
    raise AttributeError(f"module 'manifold_diffusion.testing' has no attribute {name!r}")
