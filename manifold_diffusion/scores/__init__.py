"""Scores of noised measures: exact, of data, of a manifold alone, and their algebra."""

from manifold_diffusion.scores.adaptive import AdaptiveScore, Bounded, adaptive_score
from manifold_diffusion.scores.kernel import KernelScore
from manifold_diffusion.scores.monte_carlo import Estimated, MonteCarloScore
from manifold_diffusion.scores.population import QuadratureScore, VonMisesFisherScore, population_score
from manifold_diffusion.scores.projection import ProjectionScore
from manifold_diffusion.scores.score import denoiser, from_denoiser, switch

__all__ = [
    "AdaptiveScore",
    "Bounded",
    "Estimated",
    "KernelScore",
    "MonteCarloScore",
    "ProjectionScore",
    "QuadratureScore",
    "VonMisesFisherScore",
    "adaptive_score",
    "denoiser",
    "from_denoiser",
    "population_score",
    "switch",
]
