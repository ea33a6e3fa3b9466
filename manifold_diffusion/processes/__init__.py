"""Forward noising, its reverse, and time grids: the only schedules in the package."""

from manifold_diffusion.processes.grid import (
    geometric_grid,
    karras_grid,
    level_grid,
    li_yan_betas,
    li_yan_grid,
    logit_grid,
    noise_level,
    overlapping_rounds,
    time_of,
    uniform_grid,
)
from manifold_diffusion.processes.noising import (
    SDE,
    AbstractNoising,
    AbstractSDE,
    Reverse,
    forward,
    reverse,
    squared_diffusion,
)
from manifold_diffusion.processes.variance_exploding import VarianceExploding
from manifold_diffusion.processes.variance_preserving import (
    Schedule,
    SubVariancePreserving,
    VariancePreserving,
    constant,
    cosine,
    linear,
    tabulated,
)

__all__ = [
    "SDE",
    "AbstractNoising",
    "AbstractSDE",
    "Reverse",
    "Schedule",
    "SubVariancePreserving",
    "VarianceExploding",
    "VariancePreserving",
    "constant",
    "cosine",
    "forward",
    "geometric_grid",
    "karras_grid",
    "level_grid",
    "li_yan_betas",
    "li_yan_grid",
    "linear",
    "logit_grid",
    "noise_level",
    "overlapping_rounds",
    "reverse",
    "squared_diffusion",
    "tabulated",
    "time_of",
    "uniform_grid",
]
