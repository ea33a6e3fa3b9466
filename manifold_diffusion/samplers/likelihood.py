"""Densities along the probability flow, the instantaneous change of variables (arXiv 1806.07366, 2011.13456 eq. 39).

With x_t a path of the flow dx = b(x, t) dt and p_t the law that it carries,

    d log p_t(x_t) / dt = -div b(x_t, t).

The pair (x, log p) solves one equation, so that any step for flows that asks for the drift alone integrates both. For a
`Reverse` the divergence is taken of the denoiser D (derived: s_t = (alpha D - x) / sigma^2),

    div b = d (f + g^2 / (2 sigma^2)) - alpha g^2 / (2 sigma^2) tr dD/dx,

whose Jacobian is that of a projection near a manifold: probes see its rank, the dimension of the data, and the part
that only counts dimensions is not left to chance.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import known_false
from manifold_diffusion._types import Key, Point, Sampler, Scalar, Score
from manifold_diffusion.processes import (
    AbstractNoising,
    AbstractSDE,
    Reverse,
    geometric_grid,
    log_alpha_rate,
    reverse,
    squared_diffusion,
)
from manifold_diffusion.samplers.divergence import Divergence, exact_divergence
from manifold_diffusion.samplers.flow import runge_kutta_4
from manifold_diffusion.samplers.integrate import integrate
from manifold_diffusion.samplers.step import Step

_STEPS = "euler, midpoint, heun, runge_kutta_4 or AdaptiveFlow"


class Weighted(NamedTuple):
    """A point and the log of the density there."""

    point: Point
    log_density: Scalar


class FlowLikelihood(eqx.Module):
    """(key, x) -> log p_t(x) at t = ts[-1] > 0, by the flow from there back to ts[0], where `log_prior` is log p.

    ts          decreasing, as for `generate`: a grid with final_zero=False
    step        one for flows that asks for the drift alone: euler, midpoint, heun, runge_kutta_4, or AdaptiveFlow, for
                which two times are enough
    divergence  `exact_divergence`, `hutchinson(probes)` or `hutch_plus_plus(probes)`; the key chooses the probes, which
                are the same along the path, so that the estimate is a smooth function of x; with the exact one the key
                is not used

    The error is that of the step, and of a prior that is not the law at ts[0]: N(mean, (variance + sigma^2) I) is off
    by O(sigma^-2). Unbiased probes give an unbiased log p with fixed steps, whose path is the same for all of them,
    and with adaptive ones to their tolerance.
    """

    sde: AbstractSDE
    log_prior: Callable[[Point], Scalar]
    ts: Float[Array, " times"]
    step: Step = runge_kutta_4
    divergence: Divergence = exact_divergence

    def __check_init__(self):
        _require_flow(self.sde, self.ts)

    def __call__(self, key: Key, x: Point) -> Scalar:
        return self.encode(key, x)[1]

    def encode(self, key: Key, x: Point) -> tuple[Point, Scalar]:
        """Where the flow takes x from ts[-1] to ts[0], its latent, and log p of x."""
        end = _follow(self.step, self.sde, self.divergence, key, self.ts[::-1], Weighted(x, jnp.zeros_like(x[0])))
        return end.point, self.log_prior(end.point) - end.log_density


class _WeightedSampler(eqx.Module):
    prior: Sampler
    log_prior: Callable[[Point], Scalar]
    step: Step
    sde: AbstractSDE
    ts: Float[Array, " times"]
    divergence: Divergence

    def __call__(self, key: Key) -> Weighted:
        start, probes = jax.random.split(key)
        x = self.prior(start)
        return _follow(self.step, self.sde, self.divergence, probes, self.ts, Weighted(x, self.log_prior(x)))


def generate_weighted(
    prior: Sampler,
    log_prior: Callable[[Point], Scalar],
    step: Step,
    sde: AbstractSDE,
    ts: Float[Array, " times"],
    divergence: Divergence = exact_divergence,
) -> Callable[[Key], Weighted]:
    """key -> (x, log p(x)): the points of `generate(prior, step, sde, ts)` for a flow, with the log of the density that
    the flow gives them, for importance weights; the arguments are those of `FlowLikelihood`.
    """
    _require_flow(sde, ts)
    return _WeightedSampler(prior, log_prior, step, sde, ts, divergence)


class FlowLogDensity(eqx.Module):
    """(key, x, sigma) -> log p_sigma(x) at any noise level, p_sigma = mu * N(0, sigma^2 I), by the flow of a score.

    `FlowLikelihood` on `steps` steps of a geometric grid from the noise level of t = 1 down to sigma; one is enough for
    `AdaptiveFlow`. With x_t = alpha x at the level sigma = sigma(t) / alpha(t), log p_sigma(x) = log p_t(alpha x) + d
    log alpha (derived). `log_prior` is the log density of x_t at t = 1. Fixed steps are least exact between modes,
    where the posterior changes within a step.
    """

    noising: AbstractNoising
    score: Score
    log_prior: Callable[[Point], Scalar]
    steps: int = eqx.field(static=True, default=64)
    step: Step = runge_kutta_4
    divergence: Divergence = exact_divergence

    def __call__(self, key: Key, x: Point, sigma: Scalar | float) -> Scalar:
        ts = geometric_grid(self.noising, jnp.asarray(sigma, x.dtype), self.steps, final_zero=False)
        flow = reverse(self.noising, self.score, eta=0.0)
        alpha = self.noising.alpha(ts[-1].astype(x.dtype))
        whole = FlowLikelihood(flow, self.log_prior, ts, self.step, self.divergence)
        return whole(key, alpha * x) + len(x) * jnp.log(alpha)


def bits_per_dimension(log_density: Scalar, dim: int, spacing: float | Scalar = 1.0) -> Scalar:
    """-(log p / dim + log spacing) / log 2: the bits that a code needs for each number, if they are `spacing` apart.

    Images of 8 bits scaled to [0, 1] have the spacing 1/256, those scaled to [-1, 1] have 2/256 (Theis et al., arXiv
    1511.01844).
    """
    return -(log_density / dim + jnp.log(jnp.asarray(spacing, log_density.dtype))) / math.log(2)


class _WithDensity(eqx.Module):
    # The equation of (x, log p).
    of: AbstractSDE
    divergence: Divergence
    key: Key
    eta: float = eqx.field(static=True, default=0.0)

    def drift(self, state: Point, t: Scalar) -> Point:
        x = state[:-1]
        return jnp.append(self.of.drift(x, t), -_divergence(self.of, self.divergence, self.key, x, t))

    def diffusion(self, t: Scalar) -> Scalar:
        return jnp.zeros_like(t)

    @property
    def noising(self):
        raise ValueError(f"this step needs more than the drift, and a likelihood takes {_STEPS}")


def _divergence(sde: AbstractSDE, divergence: Divergence, key: Key, x: Point, t: Scalar) -> Scalar:
    if not isinstance(sde, Reverse):
        return divergence(key, lambda x: sde.drift(x, t), x)
    noising = sde.noising
    rate = squared_diffusion(noising, t) / (2 * noising.variance(t))
    trace = divergence(key, lambda x: sde.denoise(x, t), x)
    return len(x) * (log_alpha_rate(noising, t) + rate) - noising.alpha(t) * rate * trace


def _follow(
    step: Step, sde: AbstractSDE, divergence: Divergence, key: Key, ts: Float[Array, " times"], start: Weighted
) -> Weighted:
    state = jnp.append(start.point, start.log_density.astype(start.point.dtype))
    increments = jnp.zeros((len(ts) - 1, len(state)), state.dtype)
    end = integrate(step, _WithDensity(sde, divergence, key), ts, state, increments)
    return Weighted(end[:-1], end[-1])


def _require_flow(sde: AbstractSDE, ts: Float[Array, " times"]) -> None:
    eta = getattr(sde, "eta", 0.0)
    if eta != 0.0:
        raise ValueError(f"a likelihood follows the flow, got eta={eta}: use reverse(..., eta=0.0)")
    if known_false(ts[0] > ts[-1]) or known_false(ts[-1] > 0):
        raise ValueError(
            f"times must fall and end above 0, where there is a density, got {ts[0]} to {ts[-1]}: use a grid with "
            "final_zero=False"
        )
