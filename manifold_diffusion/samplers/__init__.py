"""Steps for SDEs and flows, Langevin chains, the samplers made of them, and the densities of flows."""

from manifold_diffusion.samplers.adaptive import AdaptiveFlow
from manifold_diffusion.samplers.ancestral import (
    ddim,
    ddpm_accelerated,
    ddpm_hessian,
    ddpm_plain,
    ddpm_training_free,
)
from manifold_diffusion.samplers.chain import Transition, chain, trajectory
from manifold_diffusion.samplers.churn import EDM
from manifold_diffusion.samplers.divergence import (
    Divergence,
    Field,
    exact_divergence,
    hutch_plus_plus,
    hutchinson,
)
from manifold_diffusion.samplers.flow import dpm_solver_2s, exponential_euler, midpoint, runge_kutta_4
from manifold_diffusion.samplers.in_charts import in_charts
from manifold_diffusion.samplers.integrate import generate, integrate, predictor_corrector
from manifold_diffusion.samplers.intrinsic_likelihood import IntrinsicLogDensity, TangentDivergence
from manifold_diffusion.samplers.langevin import LangevinStep, annealed_langevin, e_folds, langevin, langevin_corrector
from manifold_diffusion.samplers.likelihood import (
    FlowLikelihood,
    FlowLogDensity,
    Weighted,
    bits_per_dimension,
    generate_weighted,
)
from manifold_diffusion.samplers.multistep import AcceleratedFlow, DPMSolver2M
from manifold_diffusion.samplers.normal_only import Spectrum, leading_spectrum, normal_only
from manifold_diffusion.samplers.on_manifold import on_manifold
from manifold_diffusion.samplers.posterior import LogLikelihood, gaussian_likelihood, posterior
from manifold_diffusion.samplers.randomised import RandomisedMidpoint
from manifold_diffusion.samplers.step import Corrector, Step, ddpm, euler, euler_maruyama, heun, stochastic_heun
from manifold_diffusion.samplers.volume_density import Extrapolated, VolumeLogDensity, halvings
from manifold_diffusion.samplers.walk import ManifoldWalk, manifold_walk, matched_persistence

__all__ = [
    "EDM",
    "AcceleratedFlow",
    "AdaptiveFlow",
    "Corrector",
    "DPMSolver2M",
    "Divergence",
    "Extrapolated",
    "Field",
    "FlowLikelihood",
    "FlowLogDensity",
    "IntrinsicLogDensity",
    "LangevinStep",
    "LogLikelihood",
    "ManifoldWalk",
    "RandomisedMidpoint",
    "Spectrum",
    "Step",
    "TangentDivergence",
    "Transition",
    "VolumeLogDensity",
    "Weighted",
    "annealed_langevin",
    "bits_per_dimension",
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
    "exact_divergence",
    "exponential_euler",
    "gaussian_likelihood",
    "generate",
    "generate_weighted",
    "halvings",
    "heun",
    "hutch_plus_plus",
    "hutchinson",
    "in_charts",
    "integrate",
    "langevin",
    "langevin_corrector",
    "leading_spectrum",
    "manifold_walk",
    "matched_persistence",
    "midpoint",
    "normal_only",
    "on_manifold",
    "posterior",
    "predictor_corrector",
    "runge_kutta_4",
    "stochastic_heun",
    "trajectory",
]
