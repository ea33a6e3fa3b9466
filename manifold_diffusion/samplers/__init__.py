"""Steps for SDEs and flows, and the samplers made of them."""

from manifold_diffusion.samplers.integrate import generate, integrate
from manifold_diffusion.samplers.step import Step, ddpm, euler, euler_maruyama, heun

__all__ = ["Step", "ddpm", "euler", "euler_maruyama", "generate", "heun", "integrate"]
