"""What spheres and their stretched images share: frames, areas and quadrature on the unit sphere."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import gammaln

from manifold_diffusion._types import Point


def complement(centre: Point) -> Float[Array, "d k"]:
    """Orthonormal columns orthogonal to the unit vector `centre`: a Householder reflection, smooth away from one sign
    change.
    """
    sign = jnp.where(centre[-1] >= 0, 1.0, -1.0).astype(centre.dtype)
    mirror = centre.at[-1].add(sign)
    reflection = jnp.eye(len(centre), dtype=centre.dtype) - jnp.outer(mirror, mirror) / (1 + jnp.abs(centre[-1]))
    return reflection[:, :-1]


def log_sphere_area(dim: int) -> float:
    """log of the k-volume of the unit sphere S^k: log(2 pi^{(k+1)/2} / Gamma((k+1)/2))."""
    return float(np.log(2) + 0.5 * (dim + 1) * np.log(np.pi) - gammaln(0.5 * (dim + 1)))


def sphere_quadrature(dim: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on the unit sphere: `order` equal angles on S^1; Gauss-Legendre in height by 2 `order` angles
    on S^2.

    Exact for polynomials of degree < order on S^1 and < 2 order on S^2.
    """
    if dim == 1:
        angle = 2 * np.pi * np.arange(order) / order
        return np.stack([np.cos(angle), np.sin(angle)], 1), np.full(order, 2 * np.pi / order)
    if dim != 2:
        raise ValueError(f"quadrature on spheres covers dimensions 1 and 2, got {dim}; use Monte Carlo above")
    height, weight = np.polynomial.legendre.leggauss(order)
    angle = np.pi * (np.arange(2 * order) + 0.5) / order
    width = np.sqrt(1 - height**2)
    points = np.stack(
        [
            width[:, None] * np.cos(angle),
            width[:, None] * np.sin(angle),
            np.broadcast_to(height[:, None], (order, 2 * order)),
        ],
        -1,
    )
    return points.reshape(-1, 3), np.repeat(weight * np.pi / order, 2 * order)
