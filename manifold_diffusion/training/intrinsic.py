"""Losses on a known manifold, for models that are scores.

Notation: x a data point of M, sigma the noise level, tau = sigma^2, h_tau the heat kernel of M, y the end of Brownian
motion on M from x after the time tau, p_sigma the law of y, s(y, sigma) the model, a tangent at y. Both losses have the
score grad log p_sigma as their minimiser among all tangent fields.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from manifold_diffusion._numerics import dot
from manifold_diffusion._types import Key, Point, Scalar, Score
from manifold_diffusion.geometry.manifold import AbstractManifold
from manifold_diffusion.measures import HeatKernel, log_heat_kernel
from manifold_diffusion.measures.tangent import frame_at
from manifold_diffusion.training.loss import Noise


class IntrinsicDenoising(eqx.Module):
    """sigma^2 |s(y) - grad_y log h_tau(y, x)|^2 (De Bortoli et al., arXiv 2202.02763, sec. 3), with the exact heat
    kernel: on spheres up to dimension 3, rotations, flat space and products of these.

    With log sigma uniform the weight is that of the likelihood: since d tau = 2 sigma^2 d log sigma, the mean is
    proportional to the integral over tau of E|s - grad log h_tau|^2, half of which bounds, up to terms that no model
    changes, the relative entropy of the data to the law of the reverse SDE (Girsanov; arXiv 2101.09258, theorem 1, in
    R^d).
    """

    manifold: AbstractManifold
    noise: Noise

    def __call__(self, model: Score, key: Key, x: Point) -> Scalar:
        sigma, y, _ = walked(self.manifold, self.noise, key, x)
        slope = jax.grad(lambda y: log_heat_kernel(self.manifold, y, x, sigma**2))(y)
        error = model(y, sigma) - self.manifold.tangent(y, slope)
        return sigma**2 * jnp.sum(error * error)


class IntrinsicImplicit(eqx.Module):
    """sigma^2 (|s|^2 + 2 v . D_v s) at y, v of independent random signs along an orthonormal frame at y: the implicit
    loss of De Bortoli et al., arXiv 2202.02763, sec. 3, by Hutchinson's estimate of the divergence.

    Its mean is that of `IntrinsicDenoising` less E sigma^2 |grad log h_tau|^2, which no model changes, since on a
    closed manifold E <s, grad log h_tau> = -E div s (by parts). It takes a derivative and has more variance, but never
    asks for the slope of the heat kernel.
    """

    manifold: AbstractManifold
    noise: Noise

    def __call__(self, model: Score, key: Key, x: Point) -> Scalar:
        sigma, y, probe = walked(self.manifold, self.noise, key, x)
        frame = frame_at(self.manifold, y)
        v = dot(frame, jax.random.rademacher(probe, (frame.shape[1],), y.dtype))
        s, turned = jax.jvp(lambda y: model(y, sigma), (y,), (v,))
        return sigma**2 * (jnp.sum(s * s) + 2 * jnp.sum(v * turned))


def walked(manifold: AbstractManifold, noise: Noise, key: Key, x: Point) -> tuple[Scalar, Point, Key]:
    """A noise level, the end of Brownian motion from x, drawn exactly, and a key for whatever else a loss draws."""
    level, motion, rest = jax.random.split(key, 3)
    sigma = noise(level).astype(x.dtype)
    return sigma, HeatKernel(manifold, x, sigma**2).sample(motion), rest
