"""Uniform measures, and any density with respect to volume, sampled by rejection with a checked bound."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from manifold_diffusion._numerics import rejection
from manifold_diffusion._types import Key, Point, Scalar
from manifold_diffusion.geometry import AbstractManifold
from manifold_diffusion.measures.measure import AbstractMeasure


class Uniform(AbstractMeasure):
    """Volume, normalised."""

    manifold: AbstractManifold

    def sample(self, key: Key) -> Point:
        return self.manifold.uniform(key)

    def log_density(self, x: Point) -> Scalar:
        return -jnp.log(self.manifold.volume()).astype(x.dtype)


class Density(AbstractMeasure):
    """The probability measure proportional to exp(log_weight(x)) dvol(x), where log_weight <= log_bound.

    Sampling is rejection from the uniform measure, hence exact; the bound is checked at every proposal, and a violation
    raises. The normaliser is by `manifold.quadrature(order)` (k <= 2): spectrally accurate for smooth weights; for
    weights with jumps O(1/order), so pass `log_normaliser` where it is known. Above k = 2 it must be passed, or only
    ratios of densities are known.
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
        log_normaliser: float | Scalar | None = None,
        order: int = 512,
    ):
        self.manifold, self.log_weight = manifold, log_weight
        self.log_bound = jnp.asarray(log_bound, dtype=float)
        if log_normaliser is None:
            points, weights = manifold.quadrature(order)
            log_normaliser = jax.scipy.special.logsumexp(jax.vmap(log_weight)(points), b=weights)
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
