"""Steps for SDEs and flows, Langevin chains, and the samplers made of them."""

from manifold_diffusion.samplers.chain import Transition, chain, trajectory
from manifold_diffusion.samplers.integrate import generate, integrate, predictor_corrector
from manifold_diffusion.samplers.langevin import LangevinStep, annealed_langevin, e_folds, langevin, langevin_corrector
from manifold_diffusion.samplers.step import Corrector, Step, ddpm, euler, euler_maruyama, heun
from manifold_diffusion.samplers.walk import ManifoldWalk, critical_persistence, manifold_walk

__all__ = [
    "Corrector",
    "LangevinStep",
    "ManifoldWalk",
    "Step",
    "Transition",
    "annealed_langevin",
    "chain",
    "critical_persistence",
    "ddpm",
    "e_folds",
    "euler",
    "euler_maruyama",
    "generate",
    "heun",
    "integrate",
    "langevin",
    "langevin_corrector",
    "manifold_walk",
    "predictor_corrector",
    "trajectory",
]
