"""Neural score models: networks, and what makes them denoisers."""

from manifold_diffusion.scores.neural.coarse import (
    CoarseModel,
    Decoder,
    Encoder,
    Equations,
    Perceptron,
    chart_autoencoder,
    implicit_network,
)
from manifold_diffusion.scores.neural.intrinsic import HeatFeatures, IntrinsicScore, intrinsic_score
from manifold_diffusion.scores.neural.mlp import MLP, ResidualMLP
from manifold_diffusion.scores.neural.network import (
    Constant,
    Linear,
    Network,
    deviation,
    fourier_features,
    linear,
    trainable,
)
from manifold_diffusion.scores.neural.preconditioned import (
    GaussianPreconditioned,
    Preconditioned,
    gaussian_preconditioned,
    preconditioned,
)
from manifold_diffusion.scores.neural.unet import UNet

__all__ = [
    "MLP",
    "CoarseModel",
    "Constant",
    "Decoder",
    "Encoder",
    "Equations",
    "GaussianPreconditioned",
    "HeatFeatures",
    "IntrinsicScore",
    "Linear",
    "Network",
    "Perceptron",
    "Preconditioned",
    "ResidualMLP",
    "UNet",
    "chart_autoencoder",
    "deviation",
    "fourier_features",
    "gaussian_preconditioned",
    "implicit_network",
    "intrinsic_score",
    "linear",
    "preconditioned",
    "trainable",
]
