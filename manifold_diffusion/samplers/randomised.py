"""The randomised midpoint method: the flow's integral over each interval by the score at one random time in it."""

from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp

from manifold_diffusion._types import Point, Scalar
from manifold_diffusion.processes import Reverse
from manifold_diffusion.samplers.step import refuse_noise

Slope: TypeAlias = Point


class RandomisedMidpoint(eqx.Module):
    """One evaluation a step, at a time that is uniform in it (Li and Jiao, arXiv 2410.13738).

    Notation: tau = sigma^2 / (alpha^2 + sigma^2), u = x / alpha, and s(u, level) the score of the data noised to the
    level sigma / alpha. Along the flow (derived)

        du / dtau = -g(u, tau),    g = s(u, level) / (2 (1 - tau)^2),

    which for variance-preserving noising is s_tau(x) / (2 (1 - tau)^{3/2}) with the score s_tau of the law of x. A step
    from tau0 to tau1, with a tau' uniform between them and g' the g of the step before (of its start, for the first),

        u' = u + (tau0 - tau') g',    g = g(u', tau'),    u1 = u + (tau0 - tau1) g,

    leaves the partial term of u' behind. Given x its error is of order h^2 with mean of order h^3, so that over T steps
    errors of the times average to T^-3/2. A step that goes up in time draws from the noising, exactly: with the grid of
    `overlapping_rounds` it is the paper's algorithm, but for rounds that start and end at times of the grid (derived
    from the flow; the paper was not at hand). A step to sigma = 0 takes tau' = tau0.
    """

    def start(self, sde: Reverse, x: Point, t0: Scalar) -> Slope:
        """g at the start."""
        refuse_noise(sde, "RandomisedMidpoint", "ddpm")
        alpha = sde.noising.alpha(t0)
        return _slope(sde, x / alpha, sde.noising.sigma(t0) / alpha)

    def __call__(self, sde: Reverse, x: Point, t0: Scalar, t1: Scalar, dw: Point) -> Point:
        return self.advance(sde, x, self.start(sde, x, t0), t0, t1, dw)[0]

    def advance(self, sde: Reverse, x: Point, memory: Slope, t0: Scalar, t1: Scalar, dw: Point) -> tuple[Point, Slope]:
        """x at t1 and the g that was used; the random time is the normal distribution function of dw's first entry."""
        z = dw / jnp.sqrt(jnp.abs(t1 - t0))
        return jax.lax.cond(
            t1 > t0,
            lambda: self._renoise(sde, x, t0, t1, z),
            lambda: _descend(sde, x, memory, t0, t1, jax.scipy.special.ndtr(z[0])),
        )

    def _renoise(self, sde: Reverse, x: Point, t0: Scalar, t1: Scalar, z: Point) -> tuple[Point, Slope]:
        noising = sde.noising
        ratio = noising.alpha(t1) / noising.alpha(t0)
        variance = jnp.maximum(noising.variance(t1) - ratio**2 * noising.variance(t0), 0.0)
        after = (ratio * x + jnp.sqrt(variance) * z).astype(x.dtype)
        return after, self.start(sde, after, t1)


def _descend(sde: Reverse, x: Point, memory: Slope, t0: Scalar, t1: Scalar, share: Scalar) -> tuple[Point, Slope]:
    alpha0, alpha1 = sde.noising.alpha(t0), sde.noising.alpha(t1)
    v0, v1 = sde.noising.variance(t0) / alpha0**2, sde.noising.variance(t1) / alpha1**2
    tau0, tau1, width = v0 / (1 + v0), v1 / (1 + v1), (v0 - v1) / ((1 + v0) * (1 + v1))
    # At tau' = 0 the score has no value.
    share = jnp.where(v1 == 0, 0.0, jnp.minimum(share, 1 - jnp.finfo(x.dtype).eps))
    u, tau, rest = x / alpha0, (1 - share) * tau0 + share * tau1, 1 / (1 + v0) + share * width
    slope = _slope(sde, u + share * width * memory, jnp.sqrt(tau / rest))
    return (alpha1 * (u + width * slope)).astype(x.dtype), slope.astype(memory.dtype)


def _slope(sde: Reverse, u: Point, level: Scalar) -> Slope:
    """g, with 1 / (1 - tau) = 1 + level^2."""
    return (1 + level**2) ** 2 / 2 * sde.score(u, level)
