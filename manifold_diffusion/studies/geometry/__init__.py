"""Group G: scores learn geometry first, and what follows from it."""

from manifold_diffusion.studies.geometry.inverse import G8
from manifold_diffusion.studies.geometry.tempered import G4, G5, G6
from manifold_diffusion.studies.geometry.thresholds import G3

CLAIMS = (G3, G4, G5, G6, G8)

__all__ = ["CLAIMS", "G3", "G4", "G5", "G6", "G8"]
