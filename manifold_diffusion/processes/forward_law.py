"""How far the law of the noised data is from the noise that samplers start from."""

import math

import jax.numpy as jnp
from jax.scipy.special import erf

from manifold_diffusion._types import Scalar
from manifold_diffusion.processes.noising import AbstractNoising


def prior_variation(noising: AbstractNoising, radius: float | int | Scalar, t: float | int | Scalar = 1.0) -> Scalar:
    """2 Phi(R / (2 lambda)) - 1 with lambda = sigma(t) / alpha(t): the largest total variation between the law of x_t
    and N(0, sigma(t)^2 I), over all laws of data in the ball of radius R about 0 in any dimension.

    It is that of two normal laws of the same covariance, alpha R apart, which data in one point at distance R attain; a
    mixture of points is no farther, because the variation is convex (derived). A sampler that starts from the normal
    law has this error before its first step. For the Ornstein-Uhlenbeck process it is the cutoff profile of arXiv
    2408.13799, 2 Phi(e^-s / 2) - 1 at the time log R + s, but for sigma^2 = 1 - e^{-2t}.
    """
    t = jnp.asarray(t, dtype=float)
    distance = jnp.asarray(radius, t.dtype) * noising.alpha(t) / noising.sigma(t)
    return erf(distance / math.sqrt(8))
