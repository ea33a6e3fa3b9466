"""Studies: how fast it gets better with more data.

A claim owns experiments, which measure, and checks, which judge. `verify` runs them; `fit_rate` is the slope behind a
verdict.
"""

from manifold_diffusion.studies.claim import (
    Cell,
    Check,
    Claim,
    Experiment,
    Grid,
    Result,
    Statistic,
    StudyError,
    Table,
    Verdict,
)
from manifold_diffusion.studies.figure import claim_figure
from manifold_diffusion.studies.gallery import samples_figure, separation_figure
from manifold_diffusion.studies.rate import RateFit, fit_rate, interval
from manifold_diffusion.studies.run import Event, Study, cell_key, verify
from manifold_diffusion.studies.summary import decide
from manifold_diffusion.studies.verdict import judge

__all__ = [
    "Cell",
    "Check",
    "Claim",
    "Event",
    "Experiment",
    "Grid",
    "RateFit",
    "Result",
    "Statistic",
    "Study",
    "StudyError",
    "Table",
    "Verdict",
    "cell_key",
    "claim_figure",
    "decide",
    "fit_rate",
    "interval",
    "judge",
    "samples_figure",
    "separation_figure",
    "verify",
]
