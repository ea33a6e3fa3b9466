"""Steps that remember: a second order at the price of one evaluation, or of an evaluation at the time before.

Each is a step too: called without its memory it is the first step of a trajectory.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool

from manifold_diffusion._types import Point, Scalar
from manifold_diffusion.processes import Reverse
from manifold_diffusion.samplers.step import refuse_noise


class Before(NamedTuple):
    """The time of the step before and the denoiser there; `known` is false at the first step."""

    t: Scalar
    clean: Point
    known: Bool[Array, ""]


class DPMSolver2M(eqx.Module):
    """DPM-Solver++(2M): with lambda = log(alpha / sigma), h its increase over this step and h' over the one before,

        D' = D + (h / 2h') (D - D_before),    x1 = (sigma1 / sigma0) x + alpha1 (1 - e^-h) D'    (the flow)
                                              x1 = (sigma1 / sigma0) e^-h x + alpha1 (1 - e^-2h) D' + sigma1 sqrt(1 -
                                              e^-2h) z    (the SDE)

    (Lu et al., arXiv 2211.01095, algorithm 2; its SDE in app. B). The first step and one to sigma = 0 use D' = D, which
    is `ddim` and `ddpm`. Which of the two it is follows from the eta of the equation, 0 or 1.
    """

    def start(self, sde: Reverse, x: Point, t0: Scalar) -> Before:
        """No step before."""
        if sde.eta not in (0.0, 1.0):
            raise ValueError(
                f"DPM-Solver++(2M) solves the flow or the SDE, got eta={sde.eta}: use 0 or 1, or the step ddim"
            )
        return Before(t0, jnp.zeros_like(x), jnp.asarray(False))

    def __call__(self, sde: Reverse, x: Point, t0: Scalar, t1: Scalar, dw: Point) -> Point:
        return self.advance(sde, x, self.start(sde, x, t0), t0, t1, dw)[0]

    def advance(
        self, sde: Reverse, x: Point, memory: Before, t0: Scalar, t1: Scalar, dw: Point
    ) -> tuple[Point, Before]:
        """x at t1, and what the next step needs."""
        noising = sde.noising
        alpha1, sigma0, sigma1 = noising.alpha(t1), noising.sigma(t0), noising.sigma(t1)
        clean, last = sde.denoise(x, t0), sigma1 == 0
        usable = memory.known & ~last
        # Where there is no step before, or no lambda at t1, times that have one stand in.
        here, there = _log_ratio(sde, t0), _log_ratio(sde, jnp.where(last, t0 / 2, t1))
        past = _log_ratio(sde, jnp.where(memory.known, memory.t, t0))
        slope = (there - here) / (2 * jnp.where(memory.known, here - past, 1.0))
        ahead = clean + jnp.where(usable, slope, 0.0) * (clean - memory.clean)
        share = sigma1 / sigma0
        shrink = share * noising.alpha(t0) / alpha1  # e^-h
        if sde.eta > 0:
            noise = sigma1 * jnp.sqrt(jnp.maximum(1 - shrink**2, 0.0)) * dw / jnp.sqrt(jnp.abs(t1 - t0))
            after = share * shrink * x + alpha1 * (1 - shrink**2) * ahead + noise
        else:
            after = share * x + alpha1 * (1 - shrink) * ahead
        return after, Before(t0, clean, jnp.asarray(True))


def _log_ratio(sde: Reverse, t: Scalar) -> Scalar:
    return jnp.log(sde.noising.alpha(t)) - jnp.log(sde.noising.sigma(t))


class AcceleratedFlow(eqx.Module):
    """The accelerated flow of Li et al. (arXiv 2306.09251), order 2 with two evaluations.

    For variance-preserving noising, with a_t the ratio of alpha^2 over this step, a_{t+1} over the one before, b = 1 -
    a_t and b' = 1 - a_{t+1},

        x- = sqrt(a_{t+1}) (x - b' s_t(x) / 2),
        x1 = (x + b s_t(x) / 2 + (b^2 / 4b') (s_t(x) - sqrt(a_{t+1}) s_{t+1}(x-))) / sqrt(a_t).

    The first step leaves the last term out. Any other noising is first scaled to unit variance of its kernel, x /
    sqrt(alpha^2 + sigma^2), which makes it variance-preserving (derived).
    """

    def start(self, sde: Reverse, x: Point, t0: Scalar) -> tuple[Scalar, Any]:
        """No step before."""
        refuse_noise(sde, "AcceleratedFlow", "ddpm_accelerated")
        return t0, jnp.asarray(False)

    def __call__(self, sde: Reverse, x: Point, t0: Scalar, t1: Scalar, dw: Point) -> Point:
        return self.advance(sde, x, self.start(sde, x, t0), t0, t1, dw)[0]

    def advance(
        self, sde: Reverse, x: Point, memory: tuple[Scalar, Any], t0: Scalar, t1: Scalar, dw: Point
    ) -> tuple[Point, tuple[Scalar, Any]]:
        """x at t1, and the time of this step."""
        past, known = memory
        past = jnp.where(known, past, t0)
        size0, size1 = _size(sde, t0), _size(sde, t1)
        y, ratio, before = x / size0, _share(sde, t0) / _share(sde, t1), _share(sde, past) / _share(sde, t0)
        b, b_before = 1 - ratio, jnp.where(known, 1 - before, 1.0)
        s = _scaled_score(sde, y, t0)
        back = jnp.sqrt(before) * (y - b_before / 2 * s)
        change = s - jnp.sqrt(before) * _scaled_score(sde, back, past)
        curved = jnp.where(known, b**2 / (4 * b_before), 0.0) * change
        return size1 * (y + b / 2 * s + curved) / jnp.sqrt(ratio), (t0, jnp.asarray(True))


def _size(sde: Reverse, t: Scalar) -> Scalar:
    return jnp.sqrt(sde.noising.alpha(t) ** 2 + sde.noising.variance(t))


def _share(sde: Reverse, t: Scalar) -> Scalar:
    """alpha^2 of the scaled process."""
    return (sde.noising.alpha(t) / _size(sde, t)) ** 2


def _scaled_score(sde: Reverse, y: Point, t: Scalar) -> Point:
    return _size(sde, t) * sde.score_at(_size(sde, t) * y, t)
