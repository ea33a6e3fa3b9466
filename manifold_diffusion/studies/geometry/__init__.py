"""Group G: scores learn geometry first, and what follows from it."""

from manifold_diffusion.studies.geometry.expansion import G1, G2
from manifold_diffusion.studies.geometry.finite_sample import G9
from manifold_diffusion.studies.geometry.from_data import G12
from manifold_diffusion.studies.geometry.inverse import G8
from manifold_diffusion.studies.geometry.mixing import G7
from manifold_diffusion.studies.geometry.rao_blackwell import G10
from manifold_diffusion.studies.geometry.readouts import G11
from manifold_diffusion.studies.geometry.tempered import G4, G5, G6
from manifold_diffusion.studies.geometry.thresholds import G3

CLAIMS = (G1, G2, G3, G4, G5, G6, G7, G8, G9, G10, G11, G12)

__all__ = ["CLAIMS", "G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8", "G9", "G10", "G11", "G12"]
