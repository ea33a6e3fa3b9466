"""Measures on manifolds: densities with respect to volume, and exact sampling."""

from manifold_diffusion.measures.density import Density, Normaliser, Uniform, jump, kink, normaliser
from manifold_diffusion.measures.heat_kernel import HeatKernel, log_heat_kernel, spectral_gap
from manifold_diffusion.measures.kent import Kent
from manifold_diffusion.measures.kernel_mixture import (
    Choice,
    KernelMixture,
    adaptive_kernel_mixture,
    log_densities,
)
from manifold_diffusion.measures.measure import AbstractMeasure, draw
from manifold_diffusion.measures.mixture import Mixture
from manifold_diffusion.measures.push_forward import PushForward
from manifold_diffusion.measures.short_time import ShortTime, short_time_heat_kernel
from manifold_diffusion.measures.von_mises_fisher import VonMisesFisher
from manifold_diffusion.measures.wrapped_normal import WrappedNormal

__all__ = [
    "AbstractMeasure",
    "Choice",
    "Density",
    "HeatKernel",
    "Kent",
    "KernelMixture",
    "Mixture",
    "Normaliser",
    "PushForward",
    "ShortTime",
    "Uniform",
    "VonMisesFisher",
    "WrappedNormal",
    "adaptive_kernel_mixture",
    "draw",
    "jump",
    "kink",
    "log_densities",
    "log_heat_kernel",
    "normaliser",
    "short_time_heat_kernel",
    "spectral_gap",
]
