"""From data to a sampler: memorising, early-stopped, inertial, coarse and neural diffusion, and uniform points."""

from manifold_diffusion.estimators.coarse import coarse_diffusion
from manifold_diffusion.estimators.estimator import (
    GaussianPrior,
    Prior,
    gaussian_prior,
    reverse_diffusion,
    switching_noise_level,
)
from manifold_diffusion.estimators.kernel import early_stopped_diffusion, inertial_diffusion, memorising_diffusion
from manifold_diffusion.estimators.neural import neural_diffusion, train_diffusion
from manifold_diffusion.estimators.normal_only import NormalOnlySampler, median_spacing, normal_only_diffusion
from manifold_diffusion.estimators.uniform import Mixing, UniformSampler, uniform_on_manifold

__all__ = [
    "GaussianPrior",
    "Mixing",
    "NormalOnlySampler",
    "Prior",
    "UniformSampler",
    "coarse_diffusion",
    "early_stopped_diffusion",
    "gaussian_prior",
    "inertial_diffusion",
    "median_spacing",
    "memorising_diffusion",
    "neural_diffusion",
    "normal_only_diffusion",
    "reverse_diffusion",
    "switching_noise_level",
    "train_diffusion",
    "uniform_on_manifold",
]
