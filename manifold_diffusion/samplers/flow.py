"""Steps for the probability flow, dx = drift dt with eta = 0; the increment dw is not used."""

import jax.numpy as jnp
import numpy as np

from manifold_diffusion._types import Point, Scalar
from manifold_diffusion.processes import AbstractSDE, Reverse, squared_diffusion
from manifold_diffusion.samplers.step import refuse_noise
from manifold_diffusion.scores import denoiser

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def runge_kutta_4(sde: AbstractSDE, x: Point, t0: Scalar, t1: Scalar, dw: Point) -> Point:
    """The classical method of order 4 (Kutta 1901), four evaluations a step.

    To t1 = 0, where the drift has no value, it is an Euler step.
    """
    refuse_noise(sde, "runge_kutta_4", "euler_maruyama")
    end = jnp.where(t1 == 0, t0, t1)
    h, middle = end - t0, (t0 + end) / 2
    k1 = sde.drift(x, t0)
    k2 = sde.drift(x + h / 2 * k1, middle)
    k3 = sde.drift(x + h / 2 * k2, middle)
    k4 = sde.drift(x + h * k3, end)
    return jnp.where(t1 == 0, x + (t1 - t0) * k1, x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))


def midpoint(sde: AbstractSDE, x: Point, t0: Scalar, t1: Scalar, dw: Point) -> Point:
    """x + h drift(x + h drift(x, t0) / 2, t0 + h / 2), h = t1 - t0: order 2 (Runge 1895). It never asks for the drift
    at t1, and so ends at 0 like at any other time.
    """
    refuse_noise(sde, "midpoint", "euler_maruyama")
    h = t1 - t0
    return x + h * sde.drift(x + h / 2 * sde.drift(x, t0), t0 + h / 2)


def exponential_euler(sde: Reverse, x: Point, t0: Scalar, t1: Scalar, dw: Point) -> Point:
    """alpha(t1) (x / alpha(t0) + (1/2) s int_{t1}^{t0} g(t)^2 / alpha(t) dt), order 1: the score is held fixed and the
    rest solved (Zhang and Chen, arXiv 2204.13902, sec. 3.1); the integral by 8 Gauss nodes.
    """
    refuse_noise(sde, "exponential_euler", "ddpm_plain")
    noising = sde.noising
    middle, half = (t0 + t1) / 2, (t0 - t1) / 2
    kicks = [
        weight * squared_diffusion(noising, middle + half * node) / noising.alpha(middle + half * node)
        for node, weight in zip(_NODES.astype(x.dtype), _WEIGHTS.astype(x.dtype), strict=True)
    ]
    return noising.alpha(t1) * (x / noising.alpha(t0) + half / 2 * sum(kicks) * sde.score_at(x, t0))


def dpm_solver_2s(sde: Reverse, x: Point, t0: Scalar, t1: Scalar, dw: Point) -> Point:
    """Second order with one evaluation between: D at the middle in lambda = log(alpha / sigma) for the whole step (Lu
    et al., arXiv 2211.01095, algorithm 1 with r = 1/2). To sigma = 0 it is the first-order step.
    """
    refuse_noise(sde, "dpm_solver_2s", "DPMSolver2M")
    noising = sde.noising
    last = noising.sigma(t1) == 0
    end = jnp.where(last, t0, t1)
    first, final = (noising.sigma(t) / noising.alpha(t) for t in (t0, end))
    middle = jnp.sqrt(first * final)
    clean = sde.denoise(x, t0)
    # In x / alpha, where a level is all that the denoiser asks for: no time has to be found for it.
    halfway = clean + middle / first * (x / noising.alpha(t0) - clean)
    return _hold(sde, x, t0, t1, jnp.where(last, clean, denoiser(sde.score)(halfway, middle)))


def _hold(sde: Reverse, x: Point, t0: Scalar, t1: Scalar, clean: Point) -> Point:
    """alpha(t1) D + sigma(t1) (x - alpha(t0) D) / sigma(t0): the flow from t0 to t1 if D stays what it is."""
    noising = sde.noising
    share = noising.sigma(t1) / noising.sigma(t0)
    return noising.alpha(t1) * clean + share * (x - noising.alpha(t0) * clean)
