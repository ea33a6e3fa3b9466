"""Group D: the orders of samplers."""

from manifold_diffusion.studies.discretisation.dimension import D2, D9
from manifold_diffusion.studies.discretisation.forward import D7
from manifold_diffusion.studies.discretisation.orders import D1, D3, D4, D5
from manifold_diffusion.studies.discretisation.random_times import D6
from manifold_diffusion.studies.discretisation.strong import D8

CLAIMS = (D1, D2, D3, D4, D5, D6, D7, D8, D9)

__all__ = ["CLAIMS", "D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8", "D9"]
