"""Where the steps of a sampler fall: times from t = 1 down, chosen through their noise levels sigma / alpha."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._numerics import known_false
from manifold_diffusion._types import Scalar
from manifold_diffusion.processes.noising import AbstractNoising


def noise_level(noising: AbstractNoising, t: Scalar) -> Scalar:
    """sigma(t) / alpha(t), the noise level that a score is asked for at time t."""
    return noising.sigma(t) / noising.alpha(t)


def time_of(noising: AbstractNoising, level: Scalar) -> Scalar:
    """The time at which sigma / alpha, which increases, reaches a level: by bisection to the last bit; 1 for levels
    it never reaches.
    """
    steps = jnp.finfo(level.dtype).nmant + 64

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        too_far = noise_level(noising, middle) >= level
        return jnp.where(too_far, low, middle), jnp.where(too_far, middle, high)

    zero = jnp.zeros_like(level)
    return jax.lax.fori_loop(0, steps, halve, (zero, zero + 1))[1]


def _grid(
    noising: AbstractNoising, sigma_min: float | Scalar, steps: int, final_zero: bool, rho: float
) -> Float[Array, " times"]:
    _require_steps(steps)
    count = steps if final_zero else steps + 1
    ramp = jnp.linspace(0.0, 1.0, count)
    top = noise_level(noising, jnp.ones_like(ramp[0]))
    bottom = jnp.asarray(sigma_min, ramp.dtype)
    if rho == float("inf"):
        levels = jnp.exp((1 - ramp) * jnp.log(top) + ramp * jnp.log(bottom))
    else:
        levels = ((1 - ramp) * top ** (1 / rho) + ramp * bottom ** (1 / rho)) ** rho
    ts = jax.vmap(lambda level: time_of(noising, level))(levels).at[0].set(1.0)
    return jnp.append(ts, jnp.zeros_like(ts[0])) if final_zero else ts


def geometric_grid(
    noising: AbstractNoising, sigma_min: float | Scalar, steps: int, final_zero: bool = True
) -> Float[Array, " times"]:
    """steps + 1 decreasing times from 1 whose noise levels fall by a constant factor down to sigma_min.

    With `final_zero` the last step goes from sigma_min to 0, so a single step goes from 1 to 0. Early stopping is a
    grid without it.
    """
    return _grid(noising, sigma_min, steps, final_zero, float("inf"))


def karras_grid(
    noising: AbstractNoising, sigma_min: float | Scalar, steps: int, final_zero: bool = True, rho: float = 7.0
) -> Float[Array, " times"]:
    """Noise levels evenly spaced in sigma^(1/rho) between sigma_max and sigma_min (arXiv 2206.00364, eq. 5), as times.

    `steps`, `final_zero` as in `geometric_grid`, which is the limit of large rho.
    """
    if not rho > 0:
        raise ValueError(f"rho must be positive, got {rho}")
    return _grid(noising, sigma_min, steps, final_zero, rho)


def level_grid(noising: AbstractNoising, levels: Float[Array, " times"]) -> Float[Array, " times"]:
    """The times at which sigma / alpha has the given values, which fall; 0 for the level 0."""
    levels = jnp.asarray(levels, dtype=float)
    if known_false(jnp.all(jnp.diff(levels) <= 0)) or known_false(levels[-1] >= 0):
        raise ValueError(f"noise levels must fall and not be negative, got {levels}; sort them, the largest first")
    return jnp.where(levels == 0, 0.0, jax.vmap(lambda level: time_of(noising, level))(levels))


def uniform_grid(noising: AbstractNoising, sigma_min: float | Scalar, steps: int) -> Float[Array, " times"]:
    """steps + 1 equally spaced times from 1 to where sigma / alpha is sigma_min; from 1 to 0 for sigma_min = 0."""
    _require_steps(steps)
    end = level_grid(noising, jnp.asarray(sigma_min, dtype=float)[None])[0]
    ramp = jnp.linspace(0.0, 1.0, steps + 1)
    return 1 - ramp + ramp * end


def logit_grid(
    noising: AbstractNoising, first: float | Scalar, last: float | Scalar, steps: int
) -> Float[Array, " times"]:
    """steps + 1 times at which logit(tau), tau = sigma^2 / (alpha^2 + sigma^2), is equally spaced from tau = first to
    last.

    Since logit(tau) = 2 log(sigma / alpha) it is geometric in the noise level, between fixed ends: the grid on which
    orders of convergence show without factors of log(steps).
    """
    _require_steps(steps)
    ends = jnp.log(jnp.asarray([first, last], dtype=float)) - jnp.log1p(-jnp.asarray([first, last], dtype=float))
    return level_grid(noising, jnp.exp(jnp.linspace(ends[0], ends[1], steps + 1) / 2))


def overlapping_rounds(ts: Float[Array, " times"], rounds: int) -> Float[Array, " visits"]:
    """A grid in overlapping rounds: of its rounds + 1 equal parts each round takes two, down, and starts where the one
    before was half-way. Between rounds it goes up, and a sampler that understands this noises anew.

    The grid of arXiv 2410.13738, in which T steps take 2 T rounds / (rounds + 1) evaluations.
    """
    half, left = divmod(len(ts) - 1, rounds + 1) if rounds >= 1 else (0, 0)
    if half < 1 or left:
        raise ValueError(
            f"{rounds} rounds take a multiple of {rounds + 1} steps, got {len(ts) - 1}: choose the steps accordingly"
        )
    return jnp.concatenate([ts[k * half : (k + 2) * half + 1] for k in range(rounds)])


def li_yan_betas(steps: int, c0: float | int = 2.0, c1: float | int = 4.0) -> Float[np.ndarray, " steps"]:
    """beta_1 = T^-c0 and beta_{t+1} = (c1 log T / T) min(beta_1 (1 + c1 log T / T)^t, 1), t = 1, .., T - 1.

    The schedule of proofs about DDPM (such as arXiv 2409.18959), in which alpha^2 falls by 1 - beta_t. None exceeds a
    half.
    """
    _require_steps(steps)
    rate = c1 * math.log(max(steps, 2)) / steps
    growth = np.minimum(float(steps) ** -c0 * np.exp(np.arange(1, steps) * math.log1p(rate)), 1.0)
    return np.minimum(np.concatenate([[float(steps) ** -c0], rate * growth]), 0.5)


def li_yan_grid(
    noising: AbstractNoising, steps: int, c0: float | int = 2.0, c1: float | int = 4.0
) -> Float[Array, " times"]:
    """The `steps` times whose noise levels are those of `li_yan_betas`, from that of all of them to that of beta_1."""
    # sigma^2 / alpha^2 = 1 / prod (1 - beta) - 1.
    log_bars = np.cumsum(np.log1p(-li_yan_betas(steps, c0, c1)))[::-1]
    return level_grid(noising, jnp.asarray(np.sqrt(np.expm1(-log_bars)), dtype=float))


def _require_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"a grid needs at least one step, got steps={steps}")
