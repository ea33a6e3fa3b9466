"""Steps for SDEs and flows, Langevin chains, and the samplers made of them."""

from manifold_diffusion.samplers.ancestral import (
    ddim,
    ddpm_accelerated,
    ddpm_hessian,
    ddpm_plain,
    ddpm_training_free,
)
from manifold_diffusion.samplers.chain import Transition, chain, trajectory
from manifold_diffusion.samplers.flow import dpm_solver_2s, exponential_euler, midpoint, runge_kutta_4
from manifold_diffusion.samplers.integrate import generate, integrate, predictor_corrector
from manifold_diffusion.samplers.langevin import LangevinStep, annealed_langevin, e_folds, langevin, langevin_corrector
from manifold_diffusion.samplers.multistep import AcceleratedFlow, DPMSolver2M
from manifold_diffusion.samplers.posterior import LogLikelihood, gaussian_likelihood, posterior
from manifold_diffusion.samplers.randomised import RandomisedMidpoint
from manifold_diffusion.samplers.step import Corrector, Step, ddpm, euler, euler_maruyama, heun, stochastic_heun
from manifold_diffusion.samplers.walk import ManifoldWalk, manifold_walk, matched_persistence

__all__ = [
    "AcceleratedFlow",
    "Corrector",
    "DPMSolver2M",
    "LangevinStep",
    "LogLikelihood",
    "ManifoldWalk",
    "RandomisedMidpoint",
    "Step",
    "Transition",
    "annealed_langevin",
    "chain",
    "ddim",
    "ddpm",
    "ddpm_accelerated",
    "ddpm_hessian",
    "ddpm_plain",
    "ddpm_training_free",
    "dpm_solver_2s",
    "e_folds",
    "euler",
    "euler_maruyama",
    "exponential_euler",
    "gaussian_likelihood",
    "generate",
    "heun",
    "integrate",
    "langevin",
    "langevin_corrector",
    "manifold_walk",
    "matched_persistence",
    "midpoint",
    "posterior",
    "predictor_corrector",
    "runge_kutta_4",
    "stochastic_heun",
    "trajectory",
]
