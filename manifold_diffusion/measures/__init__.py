"""Measures on manifolds: densities with respect to volume, and exact sampling."""

from manifold_diffusion.measures.density import Density, Uniform, jump, kink
from manifold_diffusion.measures.measure import AbstractMeasure, draw
from manifold_diffusion.measures.von_mises_fisher import VonMisesFisher

__all__ = ["AbstractMeasure", "Density", "Uniform", "VonMisesFisher", "draw", "jump", "kink"]
