"""Samplers of Gaussian data, coordinate by coordinate: their laws are Gaussian, and a step changes two numbers."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._types import Point, Scalar
from manifold_diffusion.processes import Reverse


class Biased(eqx.Module):
    """The score of N(0, variance) noised, with a constant error e at each noise level; variance 0 is a point, as the
    data are across their manifold.
    """

    variance: Float[Array, ""]
    error: Float[Array, ""]

    def __call__(self, x: Point, sigma: Scalar) -> Point:
        """-x / (variance + sigma^2) + e."""
        return -x / (self.variance + sigma**2) + self.error


@eqx.filter_jit
def divergence(step: Any, sde: Reverse, variance: Scalar, ts: Float[Array, " times"]) -> Scalar:
    """KL of the sampler's law at the last time to the exact one, for one coordinate with data N(0, variance)."""

    def exact(t):
        return sde.noising.alpha(t) ** 2 * variance + sde.noising.variance(t)

    def advance(state, interval):
        mean, spread = state
        t0, t1 = interval
        increment = jnp.sqrt(t0 - t1)[None]
        shift = step(sde, jnp.zeros(1), t0, t1, 0 * increment)
        slope = step(sde, jnp.ones(1), t0, t1, 0 * increment) - shift
        kick = step(sde, jnp.zeros(1), t0, t1, increment) - shift
        return (slope[0] * mean + shift[0], slope[0] ** 2 * spread + kick[0] ** 2), None

    start = jnp.zeros(()), exact(ts[0])
    (mean, spread), _ = jax.lax.scan(advance, start, (ts[:-1], ts[1:]))
    ratio = exact(ts[-1]) / spread
    return (ratio - 1 - jnp.log(ratio) + mean**2 / spread) / 2
