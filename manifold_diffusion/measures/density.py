"""Uniform measures, and any density with respect to volume, sampled by rejection with a checked bound."""

import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import chunked_map, rejection
from manifold_diffusion._types import Key, Point, Points, Scalar
from manifold_diffusion.geometry import AbstractManifold
from manifold_diffusion.geometry.manifold import as_module
from manifold_diffusion.measures.measure import AbstractMeasure, draw


class Uniform(AbstractMeasure):
    """Volume, normalised."""

    manifold: AbstractManifold

    def sample(self, key: Key) -> Point:
        return self.manifold.uniform(key)

    def log_density(self, x: Point) -> Scalar:
        return -jnp.log(self.manifold.volume()).astype(x.dtype)


class Normaliser(NamedTuple):
    """log int exp(log_weight) dvol by Monte Carlo, and the standard error of that logarithm."""

    log_value: Scalar
    standard_error: Scalar


def normaliser(
    manifold: AbstractManifold, log_weight: Callable[[Point], Scalar], key: Key, size: int = 100_000
) -> Normaliser:
    """The normaliser of a density on a manifold of any dimension, from `size` uniform points.

    log(vol mean(w)), w = exp(log_weight), with the standard error std(w) / (mean(w) sqrt(size)): small where the weight
    is spread over much of the manifold. An error of many percent is itself uncertain.
    """
    logs = _log_weights(as_module(log_weight), draw(manifold.uniform, key, size))
    log_mean = jax.scipy.special.logsumexp(logs) - math.log(size)
    spread = jnp.std(jnp.exp(logs - log_mean), ddof=1)
    return Normaliser(log_mean + jnp.log(manifold.volume()), spread / math.sqrt(size))


@eqx.filter_jit
def _log_weights(log_weight: Callable[[Point], Scalar], xs: Points) -> Float[Array, " n"]:
    return chunked_map(log_weight, xs, 64 * 1024)


class Density(AbstractMeasure):
    """The probability measure proportional to exp(log_weight(x)) dvol(x), where log_weight <= log_bound.

    Sampling is rejection from the uniform measure, hence exact; the bound is checked at every proposal, and a violation
    raises. The normaliser is by `manifold.quadrature(order)` (k <= 2): spectrally accurate for smooth weights; for
    weights with jumps O(1/order), so pass `log_normaliser` where it is known. Above k = 2 it must be passed; it may be
    an estimate by `normaliser`, whose standard error is then one of every log density.
    """

    manifold: AbstractManifold
    log_weight: Callable[[Point], Scalar]
    log_bound: Scalar = eqx.field(converter=jnp.asarray)
    log_normaliser: Scalar = eqx.field(converter=jnp.asarray)

    def __init__(
        self,
        manifold: AbstractManifold,
        log_weight: Callable[[Point], Scalar],
        log_bound: float | Scalar,
        log_normaliser: float | Scalar | Normaliser | None = None,
        order: int = 512,
    ):
        self.manifold, self.log_weight = manifold, log_weight
        self.log_bound = jnp.asarray(log_bound, dtype=float)
        if log_normaliser is None:
            points, weights = manifold.quadrature(order)
            log_normaliser = jax.scipy.special.logsumexp(jax.vmap(log_weight)(points), b=weights)
        if isinstance(log_normaliser, Normaliser):
            log_normaliser = log_normaliser.log_value
        self.log_normaliser = jnp.asarray(log_normaliser, dtype=float)

    def sample(self, key: Key) -> Point:
        def propose(place):
            x = self.manifold.uniform(place)
            return x, self.log_weight(x) - self.log_bound.astype(x.dtype)

        x, excess = rejection(key, propose)
        slack = 16 * jnp.finfo(x.dtype).eps
        return eqx.error_if(
            x, ~(excess <= slack), "log_weight exceeds log_bound: the samples would be biased; raise log_bound"
        )

    def log_density(self, x: Point) -> Scalar:
        return self.log_weight(x) - self.log_normaliser.astype(x.dtype)


class _Jump(eqx.Module):
    # Modules rather than closures, so that a program compiled for one density serves every other of the kind.
    direction: Point
    log_ratio: Scalar

    def __call__(self, x: Point) -> Scalar:
        return jnp.where(jnp.sum(self.direction.astype(x.dtype) * x) > 0, self.log_ratio, 0.0).astype(x.dtype)


class _Kink(eqx.Module):
    direction: Point
    strength: Scalar

    def __call__(self, x: Point) -> Scalar:
        return -(self.strength * jnp.abs(jnp.sum(self.direction.astype(x.dtype) * x))).astype(x.dtype)


def jump(
    manifold: AbstractManifold, direction, ratio: float = 3.0, log_normaliser: float | Scalar | None = None
) -> Density:
    """The density that is `ratio` times as high where <direction, x> > 0 as elsewhere: a jump along a hyperplane
    section.

    `log_normaliser` as in `Density`; for a manifold symmetric about the hyperplane it is log((ratio + 1) volume / 2).
    """
    if not ratio > 0:
        raise ValueError(f"the ratio of a jump must be positive, got {ratio}")
    weight = _Jump(jnp.asarray(direction, dtype=float), jnp.log(jnp.asarray(ratio, dtype=float)))
    return Density(manifold, weight, jnp.maximum(weight.log_ratio, 0.0), log_normaliser)


def kink(
    manifold: AbstractManifold, direction, strength: float = 1.0, log_normaliser: float | Scalar | None = None
) -> Density:
    """The density proportional to exp(-strength |<direction, x>|): continuous, not differentiable where <direction, x>
    = 0.
    """
    if not strength >= 0:
        raise ValueError(f"the strength of a kink must not be negative, got {strength}")
    weight = _Kink(jnp.asarray(direction, dtype=float), jnp.asarray(strength, dtype=float))
    return Density(manifold, weight, 0.0, log_normaliser)
