"""Steps that draw from the law of x_{t1} given x_{t0}, or from something near it.

Notation: a = alpha(t0) / alpha(t1) and V = sigma(t0)^2 - a^2 sigma(t1)^2, so that x_{t0} given x_{t1} is N(a x_{t1}, V
I); s is the score at time t0. Backwards (derived, exact for any data)

    E[x_{t1} | x] = (x + V s) / a,    Cov[x_{t1} | x] = (V / a^2) (I + V grad s).

For variance-preserving noising in discrete time a^2 is 1 - beta_t of Ho et al. (arXiv 2006.11239), and V = beta_t.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot
from manifold_diffusion._small_matrices import symmetric_eigen
from manifold_diffusion._types import Point, Scalar
from manifold_diffusion.processes import Reverse


class Backward(NamedTuple):
    """a, V and the standard normal z that a Wiener increment stands for."""

    ratio: Scalar
    variance: Scalar
    noise: Float[Array, "*draws d"]

    def mean(self, sde: Reverse, x: Point, t0: Scalar) -> Point:
        """E[x_{t1} | x]."""
        return (x + self.variance * sde.score_at(x, t0)) / self.ratio


def backward(sde: Reverse, t0: Scalar, t1: Scalar, dw: Float[Array, "*draws d"]) -> Backward:
    """What the steps of this file share."""
    noising = sde.noising
    ratio = noising.alpha(t0) / noising.alpha(t1)
    variance = jnp.maximum(noising.variance(t0) - ratio**2 * noising.variance(t1), 0.0)
    return Backward(ratio, variance, dw / jnp.sqrt(jnp.abs(t1 - t0)))


def ddpm_plain(sde: Reverse, x: Point, t0: Scalar, t1: Scalar, dw: Point) -> Point:
    """(x + V s + sqrt(V) z) / a: the mean of `ddpm` with the variance of the way there, V / a^2 (arXiv 2510.27562),
    to leading order right in every direction. The choice sigma_t^2 = beta_t of Ho et al. (arXiv 2006.11239) leaves the
    noise undivided, sqrt(V) z, which is the same to that order.

    Across a manifold it leaves more noise than there should be, and the error grows with the ambient dimension; `ddpm`,
    whose variance is that of the posterior of one point, does not (arXiv 2409.18959).
    """
    back = backward(sde, t0, t1, dw)
    return back.mean(sde, x, t0) + jnp.sqrt(back.variance) / back.ratio * back.noise


def ddim(sde: Reverse, x: Point, t0: Scalar, t1: Scalar, dw: Point) -> Point:
    """alpha(t1) D + sqrt(sigma(t1)^2 - v) (x - alpha(t0) D) / sigma(t0) + sqrt(v) z, v = eta^2 times the variance of
    `ddpm` (Song et al., arXiv 2010.02502, eq. 12 and 16), eta that of the equation: 0 for the flow, 1 is `ddpm`.

    For eta = 0 it is the exponential integrator that holds D fixed, the first-order DPM-Solver++ (arXiv 2211.01095).
    """
    noising, clean = sde.noising, sde.denoise(x, t0)
    back = backward(sde, t0, t1, dw)
    sigma0, sigma1 = noising.sigma(t0), noising.sigma(t1)
    v = sde.eta**2 * sigma1**2 * back.variance / sigma0**2
    rest = jnp.sqrt(jnp.maximum(sigma1**2 - v, 0.0)) / sigma0
    # The root has no derivative in t1 at 0, and no noise is wanted for the flow.
    noise = jnp.sqrt(v) * back.noise if sde.eta > 0 else 0.0
    return noising.alpha(t1) * clean + rest * (x - noising.alpha(t0) * clean) + noise


def ddpm_hessian(sde: Reverse, x: Point, t0: Scalar, t1: Scalar, dw: Point) -> Point:
    """A normal draw with the exact mean and covariance of x_{t1} given x: exact for Gaussian data at any step (arXiv
    2402.13901). It takes the Jacobian of the score, d forward derivatives, and the symmetric root of the covariance.
    """
    back = backward(sde, t0, t1, dw)
    H, s = jax.jacfwd(lambda x: (sde.score_at(x, t0),) * 2, has_aux=True)(x)
    values, vectors = symmetric_eigen(jnp.eye(len(x), dtype=x.dtype) + back.variance * (H + H.T) / 2)
    # A score that is not exact may promise less than no variance.
    noise = dot(vectors, jnp.sqrt(jnp.maximum(values, 0.0)) * dot(back.noise, vectors))
    return (x + back.variance * s + jnp.sqrt(back.variance) * noise) / back.ratio


def ddpm_accelerated(sde: Reverse, x: Point, t0: Scalar, t1: Scalar, dw: Point) -> Point:
    """(x + V s + sqrt(V) (I + V grad s / 2) z) / a: the root of the exact covariance to second order in V, by one
    derivative of the score along z (Li et al., arXiv 2403.03852).
    """
    back = backward(sde, t0, t1, dw)
    s, along = jax.jvp(lambda x: sde.score_at(x, t0), (x,), (back.noise,))
    noise = back.noise + back.variance / 2 * along
    return (x + back.variance * s + jnp.sqrt(back.variance) * noise) / back.ratio


class _TrainingFree(eqx.Module):
    draws: int = eqx.field(static=True, default=2)

    def __call__(self, sde: Reverse, x: Point, t0: Scalar, t1: Scalar, dw: Float[Array, "draws d"]) -> Point:
        back = backward(sde, t0, t1, dw)
        first, second = math.sqrt(0.5) * jnp.sqrt(back.variance) * back.noise
        ahead = x + first
        return (ahead + back.variance * sde.score_at(ahead, t0) + second) / back.ratio


ddpm_training_free = _TrainingFree()
"""y = x + sqrt(V / 2) z, then (y + V s(y) + sqrt(V / 2) z') / a: the accelerated step without a derivative, s(y) = s +
sqrt(V / 2) grad s z (arXiv 2403.03852, algorithm 2, with the noise inside of the division). It takes two increments."""
