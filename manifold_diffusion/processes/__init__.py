"""Forward noising, its reverse, and time grids: the only schedules in the package."""

from manifold_diffusion.processes.grid import geometric_grid, karras_grid, noise_level, time_of
from manifold_diffusion.processes.noising import SDE, AbstractNoising, AbstractSDE, Reverse, forward, reverse
from manifold_diffusion.processes.variance_exploding import VarianceExploding

__all__ = [
    "SDE",
    "AbstractNoising",
    "AbstractSDE",
    "Reverse",
    "VarianceExploding",
    "forward",
    "geometric_grid",
    "karras_grid",
    "noise_level",
    "reverse",
    "time_of",
]
