"""Samplers in one dimension against exact laws, without Monte Carlo: what the claims of this folder measure with.

The data are a mixture of three Gaussians, noised by an Ornstein-Uhlenbeck process; samplers start from the exact law
at the first time, and their law at the last is compared with the exact one. A step of an SDE is a Gaussian kernel,
whose mean and deviation are read off the step itself by two increments; laws are propagated by its matrix on a grid. A
flow is a map, whose derivative says how it changes a density.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._types import Point, Scalar
from manifold_diffusion.processes import Reverse, VariancePreserving, constant, logit_grid, reverse
from manifold_diffusion.samplers import integrate

HORIZON, FIRST, LAST = 10.0, 0.99, 0.05
"""Of the process, and tau = sigma^2 at the first and the last time."""

_CELLS, _EDGE, _LINE = 1600, 6.0, 20_001


class Mixture(eqx.Module):
    """The score of sum_i w_i N(m_i, v_i) on the line, noised: sum_i w_i N(m_i, v_i + sigma^2)."""

    weights: Float[Array, " parts"]
    means: Float[Array, " parts"]
    variances: Float[Array, " parts"]

    def __call__(self, x: Point, sigma: Scalar) -> Point:
        """grad log p_sigma(x)."""
        return jax.grad(self.log_density)(x, sigma)

    def log_density(self, x: Point, sigma: Scalar) -> Scalar:
        """log p_sigma(x)."""
        spread = self.variances + sigma**2
        terms = jnp.log(self.weights) - (x[0] - self.means) ** 2 / (2 * spread) - jnp.log(2 * jnp.pi * spread) / 2
        return jax.nn.logsumexp(terms)


class Perturbed(eqx.Module):
    """The score of a mixture with an error delta sin(frequency x): smooth or, at 1/sqrt(delta), resonant."""

    score: Mixture
    size: Float[Array, ""]
    frequency: Float[Array, ""]

    def __call__(self, x: Point, sigma: Scalar) -> Point:
        """The score and the error."""
        return self.score(x, sigma) + self.size * jnp.sin(self.frequency * x)


def mixture() -> Mixture:
    """The law of the data."""
    return Mixture(jnp.array([0.3, 0.5, 0.2]), jnp.array([-1.2, 0.3, 1.5]), jnp.array([0.1, 0.05, 0.15]))


def noising() -> VariancePreserving:
    """The Ornstein-Uhlenbeck process."""
    return VariancePreserving(constant(HORIZON))


def times(steps: int) -> Float[Array, " times"]:
    """Of the sampler: log(tau / (1 - tau)) equally spaced."""
    return logit_grid(noising(), FIRST, LAST, steps)


class Errors(NamedTuple):
    """Total variation and Kullback-Leibler divergence of the exact last law to that of the sampler, and the divergence
    of the exact backward chain to that of the sampler, step by step.
    """

    total_variation: Scalar
    divergence: Scalar
    path_divergence: Scalar


@eqx.filter_jit
def kernel_errors(step: Any, sde: Reverse, law: Mixture, ts: Float[Array, " times"], cells: int = _CELLS) -> Errors:
    """Of a step that is Gaussian given where it starts."""
    grid = jnp.linspace(-_EDGE, _EDGE, cells)
    width = grid[1] - grid[0]
    start = jnp.exp(_log_density(law, sde, grid, ts[0]))

    def advance(state, interval):
        density, path = state
        t0, t1 = interval
        mean, deviation = _kernel(step, sde, grid, t0, t1)
        log_kernel = _log_normal(grid[None] - mean[:, None], deviation[:, None] ** 2)
        before, after = (_log_density(law, sde, grid, t) for t in (t0, t1))
        a = sde.noising.alpha(t0) / sde.noising.alpha(t1)
        forward = _log_normal(
            grid[:, None] - a * grid[None], sde.noising.variance(t0) - a**2 * sde.noising.variance(t1)
        )
        posterior = after[None] + forward - before[:, None]
        divergences = jnp.sum(jnp.exp(posterior) * (posterior - log_kernel), axis=1) * width
        path = path + jnp.sum(jnp.exp(before) * divergences) * width
        return (jnp.matmul(density * width, jnp.exp(log_kernel), precision="highest"), path), None

    (density, path), _ = jax.lax.scan(advance, (start / (jnp.sum(start) * width), 0.0 * width), (ts[:-1], ts[1:]))
    log_exact = _log_density(law, sde, grid, ts[-1])
    exact = jnp.exp(log_exact)
    gap = log_exact - jnp.log(jnp.maximum(density, jnp.finfo(density.dtype).tiny))
    return Errors(jnp.sum(jnp.abs(density - exact)) * width / 2, jnp.sum(exact * gap) * width, path)


@eqx.filter_jit
def flow_error(step: Any, sde: Reverse, law: Mixture, ts: Float[Array, " times"], points: int = _LINE) -> Scalar:
    """Total variation to the exact last law: int |p_last(F(x)) F'(x) - p_first(x)| dx / 2, F the sampler's map."""
    grid = jnp.linspace(-_EDGE - 1, _EDGE + 1, points)

    def end(x):
        return integrate(step, sde, ts, x[None], jnp.zeros((len(ts) - 1, 1), x.dtype))[0]

    ends, slopes = jax.vmap(lambda x: jax.jvp(end, (x,), (jnp.ones_like(x),)))(grid)
    first, last = jnp.exp(_log_density(law, sde, grid, ts[0])), jnp.exp(_log_density(law, sde, ends, ts[-1]))
    return jnp.sum(jnp.abs(last * slopes - first)) * (grid[1] - grid[0]) / 2


def equation(score: Any, eta: float) -> Reverse:
    """The SDE (eta = 1) or the flow (0)."""
    return reverse(noising(), score, eta)


def _kernel(step: Any, sde: Reverse, grid: Array, t0: Scalar, t1: Scalar) -> tuple[Array, Array]:
    increment = jnp.sqrt(t0 - t1)[None]
    mean = jax.vmap(lambda x: step(sde, x[None], t0, t1, 0 * increment)[0])(grid)
    return mean, jax.vmap(lambda x: step(sde, x[None], t0, t1, increment)[0])(grid) - mean


def _log_density(law: Mixture, sde: Reverse, grid: Array, t: Scalar) -> Array:
    alpha = sde.noising.alpha(t)
    level = sde.noising.sigma(t) / alpha
    return jax.vmap(lambda x: law.log_density(x[None] / alpha, level))(grid) - jnp.log(alpha)


def _log_normal(gap: Array, variance: Array) -> Array:
    return -(gap**2) / (2 * variance) - jnp.log(2 * np.pi * variance) / 2
