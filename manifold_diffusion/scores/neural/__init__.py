"""Neural score models: networks, and what makes them denoisers."""

from manifold_diffusion.scores.neural.intrinsic import HeatFeatures, IntrinsicScore, intrinsic_score
from manifold_diffusion.scores.neural.mlp import MLP, ResidualMLP
from manifold_diffusion.scores.neural.network import Constant, Linear, Network, fourier_features, linear, trainable
from manifold_diffusion.scores.neural.preconditioned import Preconditioned, preconditioned

__all__ = [
    "MLP",
    "Constant",
    "HeatFeatures",
    "IntrinsicScore",
    "Linear",
    "Network",
    "Preconditioned",
    "ResidualMLP",
    "fourier_features",
    "intrinsic_score",
    "linear",
    "preconditioned",
    "trainable",
]
