"""Every claim there is, and the names of their groups."""

from manifold_diffusion.studies.claim import Claim
from manifold_diffusion.studies.discretisation import CLAIMS as DISCRETISATION
from manifold_diffusion.studies.geometry import CLAIMS as GEOMETRY
from manifold_diffusion.studies.separation import CLAIMS as SEPARATION

CLAIMS: tuple[Claim, ...] = SEPARATION + GEOMETRY + DISCRETISATION

GROUPS = {"separation": "S", "geometry": "G", "discretisation": "D"}
"""A word for each group, besides its letter."""
