"""From data to a sampler: memorising, early-stopped, inertial and coarse diffusion models."""

from manifold_diffusion.estimators.coarse import coarse_diffusion
from manifold_diffusion.estimators.estimator import (
    GaussianPrior,
    Prior,
    gaussian_prior,
    reverse_diffusion,
    switching_noise_level,
)
from manifold_diffusion.estimators.kernel import early_stopped_diffusion, inertial_diffusion, memorising_diffusion

__all__ = [
    "GaussianPrior",
    "Prior",
    "coarse_diffusion",
    "early_stopped_diffusion",
    "gaussian_prior",
    "inertial_diffusion",
    "memorising_diffusion",
    "reverse_diffusion",
    "switching_noise_level",
]
