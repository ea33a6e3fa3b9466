"""Steps for SDEs and flows, Langevin chains, and the samplers made of them."""

from manifold_diffusion.samplers.chain import Transition, chain, trajectory
from manifold_diffusion.samplers.integrate import generate, integrate, predictor_corrector
from manifold_diffusion.samplers.langevin import LangevinStep, annealed_langevin, e_folds, langevin, langevin_corrector
from manifold_diffusion.samplers.posterior import LogLikelihood, gaussian_likelihood, posterior
from manifold_diffusion.samplers.step import Corrector, Step, ddpm, euler, euler_maruyama, heun
from manifold_diffusion.samplers.walk import ManifoldWalk, manifold_walk, matched_persistence

__all__ = [
    "Corrector",
    "LangevinStep",
    "LogLikelihood",
    "ManifoldWalk",
    "Step",
    "Transition",
    "annealed_langevin",
    "chain",
    "ddpm",
    "e_folds",
    "euler",
    "euler_maruyama",
    "gaussian_likelihood",
    "generate",
    "heun",
    "integrate",
    "langevin",
    "langevin_corrector",
    "manifold_walk",
    "matched_persistence",
    "posterior",
    "predictor_corrector",
    "trajectory",
]
