"""Neural score models: networks, and what makes them denoisers."""

from manifold_diffusion.scores.neural.mlp import MLP, ResidualMLP
from manifold_diffusion.scores.neural.network import Constant, Linear, Network, fourier_features, linear, trainable
from manifold_diffusion.scores.neural.preconditioned import Preconditioned, preconditioned
from manifold_diffusion.scores.neural.unet import UNet

__all__ = [
    "MLP",
    "Constant",
    "Linear",
    "Network",
    "Preconditioned",
    "ResidualMLP",
    "UNet",
    "fourier_features",
    "linear",
    "preconditioned",
    "trainable",
]
