"""Scores of noised measures: exact, of data, of a manifold alone, and their algebra."""

from manifold_diffusion.scores.adaptive import AdaptiveScore, Bounded, adaptive_score
from manifold_diffusion.scores.algebra import (
    blend,
    guide,
    guide_denoised,
    normal,
    perturb,
    perturb_potential,
    tangential,
    temper,
)
from manifold_diffusion.scores.expansion import ExpansionScore
from manifold_diffusion.scores.heat_kernel import HeatKernelScore
from manifold_diffusion.scores.kernel import KernelScore
from manifold_diffusion.scores.monte_carlo import Estimated, MonteCarloScore
from manifold_diffusion.scores.neural import (
    MLP,
    GaussianPreconditioned,
    Preconditioned,
    ResidualMLP,
    UNet,
    gaussian_preconditioned,
    preconditioned,
)
from manifold_diffusion.scores.outside import from_numpy, from_torch
from manifold_diffusion.scores.parametrisation import (
    epsilon,
    from_epsilon,
    from_variance_preserving,
    to_variance_preserving,
)
from manifold_diffusion.scores.population import QuadratureScore, VonMisesFisherScore, population_score
from manifold_diffusion.scores.projection import ProjectionScore
from manifold_diffusion.scores.score import denoiser, from_denoiser, switch
from manifold_diffusion.scores.smoothing import smooth

__all__ = [
    "MLP",
    "AdaptiveScore",
    "Bounded",
    "Estimated",
    "ExpansionScore",
    "GaussianPreconditioned",
    "HeatKernelScore",
    "KernelScore",
    "MonteCarloScore",
    "Preconditioned",
    "ProjectionScore",
    "QuadratureScore",
    "ResidualMLP",
    "UNet",
    "VonMisesFisherScore",
    "adaptive_score",
    "blend",
    "denoiser",
    "epsilon",
    "from_denoiser",
    "from_epsilon",
    "from_numpy",
    "from_torch",
    "from_variance_preserving",
    "gaussian_preconditioned",
    "guide",
    "guide_denoised",
    "normal",
    "perturb",
    "perturb_potential",
    "population_score",
    "preconditioned",
    "smooth",
    "switch",
    "tangential",
    "temper",
    "to_variance_preserving",
]
