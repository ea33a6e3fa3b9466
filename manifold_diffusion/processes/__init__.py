"""Forward noising, its reverse, and time grids: the only schedules in the package."""

from manifold_diffusion.processes.forward_law import prior_variation
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
from manifold_diffusion.processes.heat_flow import HeatFlow
from manifold_diffusion.processes.noising import (
    SDE,
    AbstractNoising,
    AbstractSDE,
    Reverse,
    forward,
    log_alpha_rate,
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
    ornstein_uhlenbeck,
    tabulated,
)

__all__ = [
    "SDE",
    "AbstractNoising",
    "AbstractSDE",
    "HeatFlow",
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
    "log_alpha_rate",
    "logit_grid",
    "noise_level",
    "ornstein_uhlenbeck",
    "overlapping_rounds",
    "prior_variation",
    "reverse",
    "squared_diffusion",
    "tabulated",
    "time_of",
    "uniform_grid",
]
