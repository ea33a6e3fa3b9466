"""Every claim there is, and the names of their groups."""

from manifold_diffusion.studies.claim import Claim
from manifold_diffusion.studies.discretisation import CLAIMS as DISCRETISATION
from manifold_diffusion.studies.geometry import CLAIMS as GEOMETRY
from manifold_diffusion.studies.learning import CLAIMS as LEARNING
from manifold_diffusion.studies.separation import CLAIMS as SEPARATION

CLAIMS: tuple[Claim, ...] = SEPARATION + GEOMETRY + DISCRETISATION + LEARNING

GROUPS = {"separation": "S", "geometry": "G", "discretisation": "D", "learning": "M"}
"""A word for each group, besides its letter."""
