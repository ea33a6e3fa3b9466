"""D6: the randomised midpoint method in rounds. Given its random times it is a map; its law is a mixture over them.

KL is convex, so that what it is given the times, on average over them, bounds that of the law. For Gaussian data the
law given the times is N(0, v) with a random v: with r = v / v_exact, to leading order in r - 1 (derived),

    E KL given the times = E (r - 1)^2 / 4,    KL = (E r - 1)^2 / 4,

and the first two moments of v follow exactly from those of order two and four of the linear recursion, by quadrature
over each time. On the mixture the law given the times is exact, and only the times are drawn.
"""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._types import Key, Scalar
from manifold_diffusion.processes import Reverse, overlapping_rounds, reverse
from manifold_diffusion.samplers import RandomisedMidpoint
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Grid, Number, Scale
from manifold_diffusion.studies.discretisation.gaussian import Biased
from manifold_diffusion.studies.discretisation.mixture import (
    Errors,
    Mixture,
    equation,
    flow_map,
    log_density,
    log_normal,
    map_errors,
    mixture,
    noising,
    times,
)
from manifold_diffusion.studies.discretisation.order_table import order_table
from manifold_diffusion.studies.discretisation.orders import DISCRETISATION

METHOD, GIVEN = "randomised midpoint", "randomised midpoint, given its times"
ROUNDS, VARIANCE = 3, 0.3

Segments = Float[Array, "rounds times"]
_DRAWS, _CELLS, _EDGE = 64, 600, 7.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def segments(steps: int) -> Segments:
    """The times of each round."""
    return overlapping_rounds(times(steps), ROUNDS).reshape(ROUNDS, -1)


@eqx.filter_jit
def variance_moments(
    step: RandomisedMidpoint, sde: Reverse, variance: Scalar, rounds: Segments
) -> tuple[Scalar, Scalar]:
    """E r and E r^2 for data N(0, variance).

    In a round (x, g) = w x_0 with w random, which each step multiplies by a matrix of its own time; E w^2 and E w^4
    give those of v = w^2 v_0.
    """

    def exact(t):
        return sde.noising.alpha(t) ** 2 * variance + sde.noising.variance(t)

    def advance(moments, interval):
        t0, t1 = interval
        z = jax.scipy.special.ndtri(jnp.asarray(1 + _NODES) / 2)
        matrices = jax.vmap(lambda z: _matrix(step, sde, t0, t1, z))(z)
        second, fourth = moments
        twice = jnp.einsum("nai,nbj,ij->nab", matrices, matrices, second)
        pairs = jnp.einsum("nai,nbj,ijkl->nabkl", matrices, matrices, fourth)
        fourth = jnp.einsum("n,nck,ndl,nabkl->abcd", _WEIGHTS / 2, matrices, matrices, pairs)
        return (jnp.einsum("n,nab->ab", _WEIGHTS / 2, twice), fourth), None

    def run(state, segment):
        mean, square, before = state
        ratio = (sde.noising.alpha(segment[0]) / sde.noising.alpha(before)) ** 2
        noise = sde.noising.variance(segment[0]) - ratio * sde.noising.variance(before)
        mean, square = ratio * mean + noise, ratio**2 * square + 2 * ratio * noise * mean + noise**2
        w = jnp.append(jnp.ones(1), step.start(sde, jnp.ones(1), segment[0]))
        start = jnp.einsum("i,j->ij", w, w), jnp.einsum("i,j,k,l->ijkl", w, w, w, w)
        (second, fourth), _ = jax.lax.scan(advance, start, (segment[:-1], segment[1:]))
        return (second[0, 0] * mean, fourth[0, 0, 0, 0] * square, segment[-1]), None

    first, last = exact(rounds[0, 0]), exact(rounds[-1, -1])
    (mean, square, _), _ = jax.lax.scan(run, (first, first**2, rounds[0, 0]), rounds)
    return mean / last, square / last**2


@eqx.filter_jit
def errors_given_times(
    key: Key, step: RandomisedMidpoint, sde: Reverse, law: Mixture, rounds: Segments, draws: int
) -> Errors:
    """For draws of the times: a round is a map of the line, and between rounds the images of the grid are noised."""
    grid = jnp.linspace(-_EDGE, _EDGE, _CELLS)
    width = grid[1] - grid[0]
    first = jnp.exp(log_density(law, sde, grid, rounds[0, 0]))

    def run(density, inputs):
        segment, dws, t = inputs
        ends, _ = flow_map(step, sde, segment, grid, dws)
        ratio = sde.noising.alpha(t) / sde.noising.alpha(segment[-1])
        noise = sde.noising.variance(t) - ratio**2 * sde.noising.variance(segment[-1])
        kernel = jnp.exp(log_normal(grid[:, None] - ratio * ends[None], noise))
        return jnp.matmul(kernel, density * width, precision="highest"), None

    def one(key):
        z = jax.random.normal(key, (len(rounds), rounds.shape[1] - 1, 1))
        increments = jnp.sqrt(-jnp.diff(rounds))[..., None] * z
        density, _ = jax.lax.scan(run, first, (rounds[:-1], increments[:-1], rounds[1:, 0]))
        log_first = jnp.log(jnp.maximum(density, jnp.finfo(density.dtype).tiny))
        ends, slopes = flow_map(step, sde, rounds[-1], grid, increments[-1])
        return map_errors(law, sde, rounds[-1, -1], ends, slopes, log_first, width)

    return jax.vmap(one)(jax.random.split(key, draws))


def _matrix(step: RandomisedMidpoint, sde: Reverse, t0: Scalar, t1: Scalar, z: Scalar) -> Float[Array, "2 2"]:
    """Of a step, linear in (x, g)."""

    def advance(x, slope):
        return jnp.concatenate(step.advance(sde, x, slope, t0, t1, jnp.sqrt(t0 - t1) * z[None]))

    one, zero = jnp.ones(1), jnp.zeros(1)
    return jnp.stack([advance(one, zero), advance(zero, one)], axis=1)


def _gaussian(key: Key, steps: Number) -> Mapping[str, Mapping[str, float]]:
    variance = jnp.asarray(VARIANCE)
    sde = reverse(noising(), Biased(variance, jnp.zeros(())), 0.0)
    mean, square = variance_moments(RandomisedMidpoint(), sde, variance, segments(int(steps)))
    return {GIVEN: {"KL": float(square - 2 * mean + 1) / 4}, METHOD: {"KL": float(mean - 1) ** 2 / 4}}


def _mixture(key: Key, steps: Number) -> Mapping[str, Mapping[str, float]]:
    law, rounds = mixture(), segments(int(steps))
    found = errors_given_times(key, RandomisedMidpoint(), equation(law, 0.0), law, rounds, _DRAWS)
    return {GIVEN: {"TV": float(found.total_variation.mean()), "KL": float(found.divergence.mean())}}


_STEPS: tuple[Number, ...] = (64, 96, 128, 192, 256)
_EXACT: dict[Scale, Grid] = {"smoke": Grid(_STEPS, 1), "cpu": Grid(_STEPS, 1), "gpu": Grid(_STEPS, 1)}
_DRAWN: dict[Scale, Grid] = {"cpu": Grid(_STEPS, 8), "gpu": Grid((*_STEPS, 512), 16)}

D6 = Claim(
    id="D6",
    group=DISCRETISATION,
    title="randomised midpoint",
    statement=(
        "KL of the randomised midpoint method, in 3 rounds with noise between them, falls like 1/T^3 given its random "
        "times; that of its law, which is no more, at least as fast."
    ),
    source="arXiv 2410.13738; the algorithm, the rigs and the reading of KL derived",
    experiments=(
        Experiment("Gaussian", _gaussian, (GIVEN, METHOD), _EXACT, "T"),
        Experiment("mixture", _mixture, (GIVEN,), _DRAWN, "T"),
    ),
    checks=(
        Check("mixture", GIVEN, "KL", "slope", -3.0, 0.25),
        Check("Gaussian", GIVEN, "KL", "slope", -3.0, 0.25),
        Check("Gaussian", METHOD, "KL", "slope_at_most", -3.0, 0.25),
    ),
    table=order_table,
)
