"""The interface of this folder: a loss is a function of a model, a key and one data point, `loss(model, key, x)`.

A batch is `jax.vmap` over keys and points; what is trained is its mean. Notation: sigma is the noise level, z a
standard normal, y = x + sigma z the noised point, D the model (a denoiser), s = (D(y) - y) / sigma^2 its score, and
p_sigma the law of y. Every loss below has D(y) = E[x | y] as its minimiser among all functions, unless it says
otherwise.
"""

from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._types import Denoiser, Key, Point, Scalar
from manifold_diffusion.geometry.manifold import AbstractManifold

Loss: TypeAlias = Callable[[Denoiser, Key, Point], Scalar]
Noise: TypeAlias = Callable[[Key], Scalar]
"""A key to a noise level."""
Weight: TypeAlias = Callable[[Scalar], Scalar]
"""The weight of a noise level."""


class LogNormal(eqx.Module):
    """log sigma ~ N(log median, spread^2); (Karras et al., arXiv 2206.00364, use .3 and 1.2 for data of deviation
    .5).
    """

    median: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    spread: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def __call__(self, key: Key) -> Scalar:
        return self.median * jnp.exp(self.spread * jax.random.normal(key, dtype=self.median.dtype))


class LogUniform(eqx.Module):
    """log sigma uniform between log low and log high: every octave of noise is trained alike."""

    low: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    high: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def __call__(self, key: Key) -> Scalar:
        u = jax.random.uniform(key, dtype=self.low.dtype)
        return self.low * (self.high / self.low) ** u


class BalancedWeight(eqx.Module):
    """lambda(sigma) = (sigma^2 + s^2) / (sigma s)^2, for data of deviation s: with it the error of a preconditioned
    network is weighted by 1 at every noise level (arXiv 2206.00364, table 1).
    """

    deviation: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def __call__(self, sigma: Scalar) -> Scalar:
        return 1 / self.deviation**2 + 1 / sigma**2


class Denoising(eqx.Module):
    """w(sigma) |D(y) - x|^2 (Vincent, Neural Computation 23, 2011; weighted as in arXiv 2206.00364, eq. 8)."""

    noise: Noise
    weight: Weight

    def __call__(self, model: Denoiser, key: Key, x: Point) -> Scalar:
        sigma, y, _ = noised(self.noise, key, x)
        return self.weight(sigma) * _square(model(y, sigma) - x)


def karras_denoising(deviation: Scalar | float) -> Denoising:
    """`Denoising` with log sigma ~ N(log .6 s, 1.2^2) and the balanced weight, for data of deviation s: the choice of
    arXiv 2206.00364, table 1, for data of any units.
    """
    s = 1.0 * jnp.asarray(deviation)
    return Denoising(LogNormal(0.6 * s, jnp.asarray(1.2, s.dtype)), BalancedWeight(s))


class RaoBlackwellised(eqx.Module):
    """w(sigma) |D(y) - m(y, sigma)|^2 with m = E[x | y], exact: the population score's denoiser, or `KernelScore`'s for
    what a memorising network is trained towards.

    The same gradient in expectation as `Denoising`, without the variance of x given y (Rao and Blackwell; derived:
    E|D - x|^2 = E|D - m|^2 + E|m - x|^2). Given only the *nearest point* the tangential target has variance k / sigma^2
    left, claim G10.
    """

    noise: Noise
    weight: Weight
    mean: Denoiser

    def __call__(self, model: Denoiser, key: Key, x: Point) -> Scalar:
        sigma, y, _ = noised(self.noise, key, x)
        return self.weight(sigma) * _square(model(y, sigma) - jax.lax.stop_gradient(self.mean(y, sigma)))


class TangentialBelow(eqx.Module):
    """As `Denoising` at sigma >= level; below it, only the part of the error along the manifold at its point nearest
    to y counts.

    There the normal part of D(y) is left free: use it with a known or estimated manifold whose projection takes over
    (`scores.blend`, `samplers.on_manifold`).
    """

    noise: Noise
    weight: Weight
    manifold: AbstractManifold
    level: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def __call__(self, model: Denoiser, key: Key, x: Point) -> Scalar:
        sigma, y, _ = noised(self.noise, key, x)
        error = model(y, sigma) - x
        along = self.manifold.tangent(jax.lax.stop_gradient(self.manifold.project(y)), error)
        return self.weight(sigma) * _square(jnp.where(sigma >= self.level.astype(sigma.dtype), error, along))


class Implicit(eqx.Module):
    """w(sigma) sigma^4 (|s|^2 + 2 v . ds/dy v) at y, v of independent random signs: Hyvarinen's loss of p_sigma
    (JMLR 6, 2005, eq. 4) by Hutchinson's estimate of the divergence.

    Its mean is that of `Denoising` less E w(sigma) |x - y|^2, which no model changes (derived by parts), so the weights
    mean the same. It does not use x once y is made, at the price of a derivative and of more variance.
    """

    noise: Noise
    weight: Weight

    def __call__(self, model: Denoiser, key: Key, x: Point) -> Scalar:
        sigma, y, probe = noised(self.noise, key, x)
        v = jax.random.rademacher(probe, y.shape, y.dtype)
        move, turn = _score_and_derivative(model, y, sigma, v)
        return self.weight(sigma) * (_square(move) + 2 * sigma**2 * jnp.sum(v * turn))


class Sliced(eqx.Module):
    """As `Implicit` with (v . s)^2 for |s|^2, v standard normal: sliced score matching (Song et al., arXiv 1905.07088,
    eq. 8). The same mean, more variance.
    """

    noise: Noise
    weight: Weight

    def __call__(self, model: Denoiser, key: Key, x: Point) -> Scalar:
        sigma, y, probe = noised(self.noise, key, x)
        v = jax.random.normal(probe, y.shape, y.dtype)
        move, turn = _score_and_derivative(model, y, sigma, v)
        return self.weight(sigma) * (jnp.sum(v * move) ** 2 + 2 * sigma**2 * jnp.sum(v * turn))


def noised(noise: Noise, key: Key, x: Point) -> tuple[Scalar, Point, Key]:
    """A noise level, the point x + sigma z, and a key for whatever else a loss draws."""
    level, direction, rest = jax.random.split(key, 3)
    sigma = noise(level).astype(x.dtype)
    return sigma, x + sigma * jax.random.normal(direction, x.shape, x.dtype), rest


def _score_and_derivative(model: Denoiser, y: Point, sigma: Scalar, v: Point) -> tuple[Point, Point]:
    """sigma^2 s and sigma^2 ds/dy v = dD/dy v - v, both of the order of D - y."""
    denoised, turned = jax.jvp(lambda point: model(point, sigma), (y,), (v,))
    return denoised - y, turned - v


def _square(x: Point) -> Scalar:
    return jnp.sum(x * x)
