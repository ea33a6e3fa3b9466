"""The stochastic sampler of Karras et al.: a flow that is thrown back by a little noise before every step."""

import math

import equinox as eqx
import jax.numpy as jnp

from manifold_diffusion._types import Point, Scalar
from manifold_diffusion.processes import Reverse, noise_level
from manifold_diffusion.samplers.step import refuse_noise
from manifold_diffusion.scores import denoiser

MOST_CHURN = math.sqrt(2) - 1


class EDM(eqx.Module):
    """One step of algorithm 2 of arXiv 2206.00364, for any noising.

    With y = x / alpha and lambda = sigma / alpha, in which the flow is dy = (y - D(y, lambda)) / lambda dlambda, noise
    is added up to the level lambda' = (1 + churn) lambda0,

        y' = y + inflation sqrt(lambda'^2 - lambda0^2) z,

    and Heun's method leads from lambda' to lambda1, an Euler step where lambda1 = 0. Order 2; two evaluations a step.
    Without churn it is the flow, and for `VarianceExploding` the step `heun`.

    churn       gamma of the paper, S_churn / (number of steps) there, in [0, sqrt(2) - 1]
    least, most the noise levels between which it is applied, S_tmin and S_tmax
    inflation   S_noise, the deviation of the added noise
    """

    churn: float = eqx.field(static=True, default=0.0)
    least: float = eqx.field(static=True, default=0.0)
    most: float = eqx.field(static=True, default=math.inf)
    inflation: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        if not 0 <= self.churn <= MOST_CHURN:
            raise ValueError(f"churn must lie in [0, sqrt(2) - 1], got {self.churn}: it is S_churn over the steps")

    def __call__(self, sde: Reverse, x: Point, t0: Scalar, t1: Scalar, dw: Point) -> Point:
        refuse_noise(sde, "EDM", "ddpm")
        denoise = denoiser(sde.score)
        before, after = noise_level(sde.noising, t0), noise_level(sde.noising, t1)
        churn = jnp.where((before >= self.least) & (before <= self.most), self.churn, 0.0).astype(x.dtype)
        raised = (1 + churn) * before
        added = self.inflation * before * jnp.sqrt(churn * (2 + churn))
        y = x / sde.noising.alpha(t0) + added * dw / jnp.sqrt(jnp.abs(t1 - t0))
        slope = (y - denoise(y, raised)) / raised
        ahead = y + (after - raised) * slope
        # At level 0 the slope is 0/0.
        level = jnp.where(after == 0, raised, after)
        corrected = y + (after - raised) / 2 * (slope + (ahead - denoise(ahead, level)) / level)
        return sde.noising.alpha(t1) * jnp.where(after == 0, ahead, corrected)
