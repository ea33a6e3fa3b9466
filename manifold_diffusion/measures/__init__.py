"""Measures on manifolds: densities with respect to volume, and exact sampling."""

from manifold_diffusion.measures.density import Density, Uniform, jump, kink
from manifold_diffusion.measures.kernel_mixture import (
    Choice,
    KernelMixture,
    adaptive_kernel_mixture,
    log_densities,
)
from manifold_diffusion.measures.measure import AbstractMeasure, draw
from manifold_diffusion.measures.von_mises_fisher import VonMisesFisher

__all__ = [
    "AbstractMeasure",
    "Choice",
    "Density",
    "KernelMixture",
    "Uniform",
    "VonMisesFisher",
    "adaptive_kernel_mixture",
    "draw",
    "jump",
    "kink",
    "log_densities",
]
