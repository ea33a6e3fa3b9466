"""Distances of two densities that are known on the nodes of a quadrature: no sampling noise.

p and q are densities with respect to Riemannian volume at the nodes, `weights` are the quadrature weights, so that
sum(weights * f) approximates the integral of f over the manifold.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._types import Scalar

Values = Float[Array, " n"]


def squared_hellinger(p: Values, q: Values, weights: Values) -> Scalar:
    """H^2 = (1/2) int (sqrt p - sqrt q)^2, in [0, 1] for probability densities; chi^2 / 8 to leading order."""
    return 0.5 * jnp.sum(weights * (jnp.sqrt(p) - jnp.sqrt(q)) ** 2)


def chi_square(p: Values, q: Values, weights: Values) -> Scalar:
    """int (p - q)^2 / q; infinite where p puts mass and q does not, and a node without either adds nothing."""
    excess = jnp.where(q > 0, (p - q) ** 2 / jnp.where(q > 0, q, 1.0), jnp.where(p > 0, jnp.inf, 0.0))
    return jnp.sum(jnp.where(weights > 0, weights * excess, 0.0))


def total_variation(p: Values, q: Values, weights: Values) -> Scalar:
    """(1/2) int |p - q|."""
    return 0.5 * jnp.sum(weights * jnp.abs(p - q))
