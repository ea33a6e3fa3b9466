"""Lacunary (Weierstrass) series sum_j 2^{-jb} cos(2^j t + phase_j): Hoelder of order exactly b, and nowhere better."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._types import Scalar


def lacunary_weights(exponent: Scalar, amplitude: Scalar, levels: int) -> Float[Array, " levels"]:
    """amplitude 2^{-j exponent}, j = 1 .. levels."""
    return amplitude * 2.0 ** (-exponent * jnp.arange(1, levels + 1))


def lacunary_angles(t: Scalar, levels: int) -> Float[Array, " levels"]:
    """2^j t, j = 1 .. levels."""
    return jnp.ldexp(t, jnp.arange(1, levels + 1))


def lacunary_phases(levels: int, seed: int = 0) -> Float[Array, " levels"]:
    """Fixed phases in general position."""
    return jnp.asarray(np.random.default_rng(seed).uniform(0, 2 * np.pi, levels), dtype=float)


def lacunary_slopes(weights: Float[Array, " levels"]) -> tuple[Scalar, Scalar, Scalar]:
    """Bounds on the series and its first two derivatives: sum w_j, sum 2^j w_j, sum 4^j w_j."""
    scales = 2.0 ** jnp.arange(1, len(weights) + 1)
    return jnp.sum(weights), jnp.sum(weights * scales), jnp.sum(weights * scales**2)


def deformed_reach(reach: float, shift: Scalar, growth: Scalar, bend: Scalar) -> Scalar:
    """A lower bound on the reach of f(A), where A has the reach given, f(x) = x + g(x), |g| <= shift on A, and |Dg| <=
    growth < 1 and |D^2 g| <= bend on the segments between points of A at most 1 apart.

    For such a, b, with G = growth, Taylor's formula and Federer's criterion for A give dist(f(b) - f(a), Tan(f(A),
    f(a))) <= ((1 + G) / reach + bend) |b - a|^2 / 2 <= |f(b) - f(a)|^2 / (2 R) with R = (1 - G)^2 / ((1 + G) / reach +
    bend). Points that are further apart than 1 in A are so by 1 - 2 shift in f(A), and a distance of 2 R or more
    meets the criterion by itself, so min(R, (1 - 2 shift) / 2) is a bound (derived; in the manner of Federer 1959,
    theorems 4.18 and 4.19).
    """
    smooth = (1 - growth) ** 2 / ((1 + growth) / reach + bend)
    return jnp.where(growth < 1, jnp.maximum(jnp.minimum(smooth, (1 - 2 * shift) / 2), 0.0), 0.0)
