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
