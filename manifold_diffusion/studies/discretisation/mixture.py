"""Samplers in one dimension against exact laws, without Monte Carlo: what the claims of this folder measure with.

The data are a mixture of three Gaussians, noised by an Ornstein-Uhlenbeck process; samplers start from the exact law
at the first time, and their law at the last is compared with the exact one. A step of an SDE is a Gaussian kernel,
whose mean and deviation are read off the step itself by two increments, or, where it draws twice, a mixture of such
over the first draw; laws are propagated by its matrix on a grid, and along the path each step is compared with the
exact backward law about its mean. Divergences are integrals of p log(p / q) - p + q, which does not count the mass that
a grid loses at its ends. A flow is a map, whose derivative says how it changes a density.
"""

from itertools import pairwise
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

_CELLS, _EDGE, _LINE = 768, 7.0, 6001
_STARTS, _WIDE, _LOCAL = 190, 9.0, 49
_GAUSS = np.polynomial.hermite_e.hermegauss(8)
# In the tails a law that is drawn twice needs nodes where the first draw has little weight.
_EVEN = np.linspace(-7.2, 7.2, 25), np.exp(-(np.linspace(-7.2, 7.2, 25) ** 2) / 2)


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
    """Total variation and Kullback-Leibler divergence of the exact last law to that of the sampler."""

    total_variation: Scalar
    divergence: Scalar


class ChainErrors(NamedTuple):
    """The same, and the divergence of the exact backward chain to that of the sampler, step by step."""

    total_variation: Scalar
    divergence: Scalar
    path_divergence: Scalar


def kernel_errors(
    step: Any, sde: Reverse, law: Mixture, ts: Float[Array, " times"], cells: int = _CELLS
) -> ChainErrors:
    """Of a step that is Gaussian given where it starts and, where it draws twice, its first draw."""
    grid = jnp.linspace(-_EDGE, _EDGE, cells)
    width = grid[1] - grid[0]
    density = jnp.exp(log_density(law, sde, grid, ts[0]))
    density = density / (jnp.sum(density) * width)
    for t0, t1 in pairwise(ts):
        density = _propagate(step, sde, grid, density * width, t0, t1)
    log_exact = log_density(law, sde, grid, ts[-1])
    exact = jnp.exp(log_exact)
    gap = log_exact - jnp.log(jnp.maximum(density, jnp.finfo(density.dtype).tiny))
    divergence = jnp.sum(exact * (gap + jnp.expm1(-gap))) * width
    return ChainErrors(jnp.sum(jnp.abs(density - exact)) * width / 2, divergence, path_divergence(step, sde, law, ts))


def path_divergence(step: Any, sde: Reverse, law: Mixture, ts: Float[Array, " times"]) -> Scalar:
    """sum_t E KL(x_{t1} given x_{t0} || the step from x_{t0}) under the exact laws, at any number of steps: the inner
    integral is over 9 deviations of the way there, about the mean of the backward law.
    """
    return jnp.sum(jnp.stack([_step_divergence(step, sde, law, t0, t1) for t0, t1 in pairwise(ts)]))


# One step is a program, which serves every number of them.
@eqx.filter_jit
def _propagate(step: Any, sde: Reverse, grid: Array, mass: Array, t0: Scalar, t1: Scalar) -> Array:
    parts, means, deviations = _kernel(step, sde, grid, t0, t1, _GAUSS)
    kernel = jnp.exp(log_normal(grid[None, None] - means[..., None], deviations[..., None] ** 2))
    return jnp.einsum("p,i,pij->j", parts, mass, kernel, precision="highest")


@eqx.filter_jit
def _step_divergence(step: Any, sde: Reverse, law: Mixture, t0: Scalar, t1: Scalar) -> Scalar:
    starts = jnp.linspace(-_EDGE, _EDGE, _STARTS)
    around = jnp.linspace(-_WIDE, _WIDE, _LOCAL)
    a = sde.noising.alpha(t0) / sde.noising.alpha(t1)
    V = sde.noising.variance(t0) - a**2 * sde.noising.variance(t1)
    mean = jax.vmap(lambda x: (x + V * sde.score_at(x[None], t0)[0]) / a)(starts)
    ends = mean[:, None] + jnp.sqrt(V) / a * around[None]
    parts, means, deviations = _kernel(step, sde, starts, t0, t1, _EVEN)
    log_kernels = log_normal(ends[None] - means[..., None], deviations[..., None] ** 2)
    log_kernel = jax.nn.logsumexp(log_kernels + jnp.log(parts)[:, None, None], axis=0)
    before, after = log_density(law, sde, starts, t0), log_density(law, sde, ends.ravel(), t1).reshape(ends.shape)
    joint = after + log_normal(starts[:, None] - a * ends, V)
    gap = joint - before[:, None] - log_kernel
    cell = (starts[1] - starts[0]) * (around[1] - around[0]) * jnp.sqrt(V) / a
    return jnp.sum(jnp.exp(joint) * (gap + jnp.expm1(-gap))) * cell


@eqx.filter_jit
def flow_errors(step: Any, sde: Reverse, law: Mixture, ts: Float[Array, " times"], cells: int = _LINE) -> Errors:
    """Of a map."""
    grid = jnp.linspace(-_EDGE, _EDGE, cells)
    ends, slopes = flow_map(step, sde, ts, grid, jnp.zeros((len(ts) - 1, 1)))
    return map_errors(law, sde, ts[-1], ends, slopes, log_density(law, sde, grid, ts[0]), grid[1] - grid[0])


def padded(ts: Float[Array, " times"]) -> Float[Array, " padded"]:
    """The last time repeated, to a multiple of 256 steps: those of length zero stay where they are, and one program
    serves several numbers of steps.
    """
    return jnp.pad(ts, (0, -(len(ts) - 1) % 256), mode="edge")


def flow_map(
    step: Any, sde: Reverse, ts: Float[Array, " times"], grid: Array, increments: Array
) -> tuple[Array, Array]:
    """Where a sampler brings the points of a grid, and the derivative of this map."""

    def end(x):
        return integrate(step, sde, ts, x[None], increments)[0]

    return jax.vmap(lambda x: jax.jvp(end, (x,), (jnp.ones_like(x),)))(grid)


def map_errors(
    law: Mixture, sde: Reverse, last: Scalar, ends: Array, slopes: Array, log_first: Array, width: Scalar
) -> Errors:
    """Of a map F that was given the density q: int |p(F) F' - q| dx / 2 and int p(F) F' log(p(F) F' / q) dx, with p the
    exact density at the last time.
    """
    log_last = log_density(law, sde, ends, last)
    gap = log_last + jnp.log(slopes) - log_first
    mass = jnp.exp(log_last) * slopes
    return Errors(
        jnp.sum(jnp.abs(mass - jnp.exp(log_first))) * width / 2, jnp.sum(mass * (gap + jnp.expm1(-gap))) * width
    )


def equation(score: Any, eta: float) -> Reverse:
    """The SDE (eta = 1) or the flow (0)."""
    return reverse(noising(), score, eta)


def _kernel(
    step: Any, sde: Reverse, grid: Array, t0: Scalar, t1: Scalar, rule: tuple[np.ndarray, np.ndarray]
) -> tuple[Array, Array, Array]:
    """Weights of the parts of a step's law, and their means and deviations from each point, (parts, cells); `rule` is
    for the first draw of two.
    """
    twice = getattr(step, "draws", None) == 2
    z, weights = rule if twice else (np.zeros(1), np.ones(1))

    def ends(second):
        def end(x, first):
            draws = jnp.stack([first, second])[:, None] if twice else second[None]
            return step(sde, x[None], t0, t1, jnp.sqrt(t0 - t1) * draws)[0]

        return jax.vmap(lambda first: jax.vmap(lambda x: end(x, first))(grid))(jnp.asarray(z, grid.dtype))

    means = ends(jnp.zeros_like(t0))
    return jnp.asarray(weights / weights.sum()), means, ends(jnp.ones_like(t0)) - means


def log_density(law: Mixture, sde: Reverse, grid: Array, t: Scalar) -> Array:
    """Of the data noised to time t, on a grid."""
    alpha = sde.noising.alpha(t)
    level = sde.noising.sigma(t) / alpha
    return jax.vmap(lambda x: law.log_density(x[None] / alpha, level))(grid) - jnp.log(alpha)


def log_normal(gap: Array, variance: Array) -> Array:
    """log N(gap; 0, variance)."""
    return -(gap**2) / (2 * variance) - jnp.log(2 * np.pi * variance) / 2
