"""Every claim there is, and the names of their groups."""

from manifold_diffusion.studies.claim import Claim
from manifold_diffusion.studies.geometry import CLAIMS as GEOMETRY
from manifold_diffusion.studies.separation import CLAIMS as SEPARATION

CLAIMS: tuple[Claim, ...] = SEPARATION + GEOMETRY

GROUPS = {"separation": "S", "geometry": "G"}
"""A word for each group, besides its letter."""
