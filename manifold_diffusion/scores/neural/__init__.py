"""Neural score models: networks, and what makes them denoisers."""

from manifold_diffusion.scores.neural.mlp import MLP, ResidualMLP
from manifold_diffusion.scores.neural.network import Constant, Linear, Network, fourier_features, linear, trainable
from manifold_diffusion.scores.neural.preconditioned import (
    GaussianPreconditioned,
    Preconditioned,
    gaussian_preconditioned,
    preconditioned,
)
from manifold_diffusion.scores.neural.unet import UNet

__all__ = [
    "MLP",
    "Constant",
    "GaussianPreconditioned",
    "Linear",
    "Network",
    "Preconditioned",
    "ResidualMLP",
    "UNet",
    "fourier_features",
    "gaussian_preconditioned",
    "linear",
    "preconditioned",
    "trainable",
]
