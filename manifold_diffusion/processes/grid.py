"""Where the steps of a sampler fall: decreasing times from t = 1, chosen through their noise levels sigma / alpha."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

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
    if steps < 1:
        raise ValueError(f"a grid needs at least one step, got steps={steps}")
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
