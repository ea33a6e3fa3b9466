"""The interface of this folder: one step of a sampler, `step(sde, x, t0, t1, dw) -> x`.

Times may run either way (samplers run from 1 down to 0). Randomness enters only as dw, a Wiener increment of variance
|t1 - t0|, so that strong orders can be tested by summing increments and results do not depend on how samples are
batched. Two things a step may have besides: `draws`, how many increments it takes, (draws, d) of them then; and a
memory, which `start(sde, x, t0)` makes and `advance(sde, x, memory, t0, t1, dw) -> (x, memory)` hands on.
"""

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._types import Key, Point, Scalar
from manifold_diffusion.processes import AbstractSDE, Reverse

Step: TypeAlias = Callable[[Any, Point, Scalar, Scalar, Point], Point]
"""(sde, x, t0, t1, dw) -> x at t1; the sde is an `AbstractSDE`, or the `Reverse` that `ddpm` needs."""

Corrector: TypeAlias = Callable[[Any, Point, Scalar, Key], Point]
"""(sde, x, t, key) -> x at the same time t, nearer to the law it should have there."""


def start(step: Step, sde: AbstractSDE, x: Point, t0: Scalar) -> Any:
    """The memory of a step at the start of a trajectory: () for one that has none."""
    own = getattr(step, "start", None)
    return () if own is None else own(sde, x, t0)


def advance(
    step: Step, sde: AbstractSDE, x: Point, memory: Any, t0: Scalar, t1: Scalar, dw: Float[Array, "*draws d"]
) -> tuple[Point, Any]:
    """x at t1 and the memory there, of a step with a memory or without."""
    own = getattr(step, "advance", None)
    return (step(sde, x, t0, t1, dw), memory) if own is None else own(sde, x, memory, t0, t1, dw)


def euler_maruyama(sde: AbstractSDE, x: Point, t0: Scalar, t1: Scalar, dw: Point) -> Point:
    """x + (t1 - t0) drift(x, t0) + diffusion(t0) dw: weak order 1, and strong order 1 too, the noise being additive.

    Kloeden and Platen, "Numerical solution of stochastic differential equations", sec. 10.2-10.3 (Euler is Milstein
    here).
    """
    return x + (t1 - t0) * sde.drift(x, t0) + sde.diffusion(t0) * dw


def ddpm(sde: Reverse, x: Point, t0: Scalar, t1: Scalar, dw: Point) -> Point:
    """A draw from the law of x_{t1} given x_{t0} = x and x_0 = D(x): exact when the data are one point, at any step
    size.

    With a = alpha(t0) / alpha(t1), mean = alpha(t1) D + r a (x - alpha(t0) D) and variance = sigma(t1)^2 (1 - r a^2),
    where r = sigma(t1)^2 / sigma(t0)^2 (Ho et al., arXiv 2006.11239, eq. 6-7, for any alpha and sigma: arXiv
    2107.00630, eq. 25-26). A step to sigma = 0 returns the denoiser.
    """
    noising = sde.noising
    alpha0, alpha1, sigma0, sigma1 = noising.alpha(t0), noising.alpha(t1), noising.sigma(t0), noising.sigma(t1)
    a, r = alpha0 / alpha1, (sigma1 / sigma0) ** 2
    clean = sde.denoise(x, t0)
    mean = alpha1 * clean + r * a * (x - alpha0 * clean)
    deviation = sigma1 * jnp.sqrt(jnp.maximum(1 - r * a**2, 0.0))
    return mean + deviation * dw / jnp.sqrt(jnp.abs(t1 - t0))


def stochastic_heun(sde: AbstractSDE, x: Point, t0: Scalar, t1: Scalar, dw: Point) -> Point:
    """y = x + h b(x, t0) + g(t0) dw, then x + h (b(x, t0) + b(y, t1)) / 2 + (g(t0) + g(t1)) dw / 2, with h = t1 - t0.

    Strong order 1 and weak order 2 in the drift, the noise being additive (Kloeden and Platen, sec. 15.1). To t1 = 0 it
    is the step of Euler and Maruyama.
    """
    h, end = t1 - t0, jnp.where(t1 == 0, t0, t1)
    slope, g = sde.drift(x, t0), sde.diffusion(t0)
    ahead = x + h * slope + g * dw
    corrected = x + h / 2 * (slope + sde.drift(ahead, end)) + (g + sde.diffusion(end)) / 2 * dw
    return jnp.where(t1 == 0, ahead, corrected)


def euler(sde: AbstractSDE, x: Point, t0: Scalar, t1: Scalar, dw: Point) -> Point:
    """x + (t1 - t0) drift(x, t0), order 1, for a flow (eta = 0); dw is not used."""
    refuse_noise(sde, "euler", "euler_maruyama")
    return x + (t1 - t0) * sde.drift(x, t0)


def heun(sde: AbstractSDE, x: Point, t0: Scalar, t1: Scalar, dw: Point) -> Point:
    """The trapezoidal corrector after an Euler predictor, order 2, for a flow (eta = 0); dw is not used.

    At t1 = 0 the drift is 0/0 and the Euler step stands (arXiv 2206.00364, algorithm 1).
    """
    refuse_noise(sde, "heun", "euler_maruyama")
    slope = sde.drift(x, t0)
    predicted = x + (t1 - t0) * slope
    corrected = x + (t1 - t0) / 2 * (slope + sde.drift(predicted, jnp.where(t1 == 0, t0, t1)))
    return jnp.where(t1 == 0, predicted, corrected)


def refuse_noise(sde: AbstractSDE, step: str, remedy: str) -> None:
    """ValueError where the equation has noise, for steps that would leave it out."""
    eta = getattr(sde, "eta", 0.0)
    if eta != 0.0:
        raise ValueError(f"{step} solves a flow, got eta={eta}: use reverse(..., eta=0.0) or the step {remedy}")


def refuse_noising(step: Step, place: str) -> None:
    """ValueError for a step written for `Reverse`, which asks for alpha, sigma and denoisers of R^d, on a manifold."""
    sde = next(iter(inspect.signature(step).parameters.values()))
    if sde.annotation is Reverse:
        name = getattr(step, "__name__", type(step).__name__)
        raise ValueError(f"{place} takes steps made of drift and diffusion, got {name}; use euler_maruyama or heun")
