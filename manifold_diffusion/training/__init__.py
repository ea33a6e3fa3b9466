"""Training score models: losses, one compiled loop, checkpoints, early stopping, ensembles."""

from manifold_diffusion.scores.neural import deviation
from manifold_diffusion.training.checkpoint import CheckpointError, Checkpoints, describe, load
from manifold_diffusion.training.coarse import Projection, Reconstruction
from manifold_diffusion.training.ensemble import Member, fit_ensemble
from manifold_diffusion.training.fit import Trained, TrainingError, fit
from manifold_diffusion.training.history import EarlyStopping, Seen, Stopping, Until, Watch
from manifold_diffusion.training.intrinsic import IntrinsicDenoising, IntrinsicImplicit, walked
from manifold_diffusion.training.loss import (
    BalancedWeight,
    Denoising,
    Implicit,
    LogNormal,
    LogUniform,
    Loss,
    Noise,
    RaoBlackwellised,
    Sliced,
    TangentialBelow,
    Weight,
    karras_denoising,
    noised,
)
from manifold_diffusion.training.optimise import (
    Chunk,
    Recipe,
    State,
    advance,
    assemble,
    data_parallel,
    initialise,
)
from manifold_diffusion.training.pruning import importance, prune

__all__ = [
    "BalancedWeight",
    "CheckpointError",
    "Checkpoints",
    "Chunk",
    "Denoising",
    "EarlyStopping",
    "Implicit",
    "IntrinsicDenoising",
    "IntrinsicImplicit",
    "LogNormal",
    "LogUniform",
    "Loss",
    "Member",
    "Noise",
    "Projection",
    "RaoBlackwellised",
    "Recipe",
    "Reconstruction",
    "Seen",
    "Sliced",
    "State",
    "Stopping",
    "TangentialBelow",
    "Trained",
    "TrainingError",
    "Until",
    "Watch",
    "Weight",
    "advance",
    "assemble",
    "data_parallel",
    "describe",
    "deviation",
    "fit",
    "fit_ensemble",
    "importance",
    "initialise",
    "karras_denoising",
    "load",
    "noised",
    "prune",
    "walked",
]
