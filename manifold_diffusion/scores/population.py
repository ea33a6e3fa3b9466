"""Scores of measures on manifolds, exactly: what a diffusion model would learn from infinitely many data.

Notation: mu has density rho with respect to Riemannian volume on a manifold M of dimension k in R^d, p_sigma = mu *
N(0, sigma^2 I).
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.spatial import KDTree

from manifold_diffusion import _kernel_covariance as posterior
from manifold_diffusion._bessel import log_scaled_bessel, mean_resultant_quotient
from manifold_diffusion._kernel_sums import Atoms, atoms
from manifold_diffusion._types import Point, Points, Scalar
from manifold_diffusion.geometry.manifold import AbstractManifold


class VonMisesFisherScore(eqx.Module):
    """The score of rho(y) = c exp(kappa m.y) on the unit sphere S^{d-1} in R^d, noised. kappa = 0 is the uniform law.

    Derived: y given x is von Mises-Fisher too, with parameter x / sigma^2 + kappa m, so that, with v = x + sigma^2
    kappa m, r = |v| / sigma^2, A_d(r) = I_{d/2}(r) / I_{d/2-1}(r) and L(r) = log(e^-r r^{1-d/2} I_{d/2-1}(r)),

        D(x, sigma) = A_d(r) v / |v|,
        log p_sigma(x) = -(d/2) log(2 pi sigma^2) - (|v| - 1)^2 / (2 sigma^2) + kappa (m.x - 1) + sigma^2 kappa^2 / 2
                         + L(r) - L(kappa),

    in which nothing of the order of 1 / sigma^2 cancels. Where the sphere is S^2, A_3(r) = coth r - 1 / r.
    """

    mean_direction: Point
    concentration: Scalar = eqx.field(converter=jnp.asarray)

    def __check_init__(self):
        if self.mean_direction.ndim != 1 or self.mean_direction.size < 2:
            raise ValueError(f"mean_direction must be a vector of R^2 or more, got shape {self.mean_direction.shape}")

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        """grad_x log p_sigma(x)."""
        return (self.denoise(x, sigma) - x) / sigma**2

    def denoise(self, x: Point, sigma: Scalar | float) -> Point:
        """E[X_0 | X_0 + sigma Z = x], a point of the ball."""
        natural = self._tilted(x, sigma) / sigma**2
        return mean_resultant_quotient(len(x), jnp.sum(natural**2)) * natural

    def log_density(self, x: Point, sigma: Scalar | float) -> Scalar:
        """log p_sigma(x)."""
        d, kappa, variance = len(x), self.concentration, jnp.asarray(sigma, x.dtype) ** 2
        v = self._tilted(x, sigma)
        squared = jnp.sum(v**2)
        length = jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)
        leading = -d / 2 * jnp.log(2 * math.pi * variance) - (length - 1) ** 2 / (2 * variance)
        tilt = kappa * (jnp.sum(self._direction() * x) - 1) + variance * kappa**2 / 2
        return leading + tilt + log_scaled_bessel(d, squared / variance**2) - log_scaled_bessel(d, kappa**2)

    def _direction(self) -> Point:
        return self.mean_direction / jnp.linalg.norm(self.mean_direction)

    def _tilted(self, x: Point, sigma: Scalar | float) -> Point:
        return x + sigma**2 * self.concentration * self._direction()


class QuadratureScore(eqx.Module):
    """The score of sum_i w_i N(y_i, sigma^2 I) with y_i the nodes of a quadrature of M and w_i its weights times
    rho(y_i).

    It is the score of p_sigma up to the error of the quadrature, while sigma is above `spacing`, the largest distance
    between neighbouring nodes: with equal spacing h the relative error of a Gaussian integral is about 2 exp(-2 pi^2
    s^2 / h^2) (Poisson summation), 5e-9 at s = h and 1 % at s = h / 2. Here s is the width of the posterior on M:
    sigma near M, less outside of a convex M, sigma / sqrt|x| for the unit sphere. Below the spacing this is the score
    of the nodes: ask `resolves`.
    """

    mixture: Atoms
    spacing: float = eqx.field(static=True)

    def __init__(self, points: Points, log_weights: Float[Array, " n"], dim: int | None = None):
        self.mixture = atoms(points, log_weights)
        self.spacing = _spacing(np.asarray(points), dim)

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        """grad_x log p_sigma(x)."""
        return posterior.score(self.mixture, x, jnp.asarray(sigma, x.dtype))

    def denoise(self, x: Point, sigma: Scalar | float) -> Point:
        """E[X_0 | X_0 + sigma Z = x]."""
        return posterior.denoise(self.mixture, x, jnp.asarray(sigma, x.dtype))

    def log_density(self, x: Point, sigma: Scalar | float) -> Scalar:
        """log p_sigma(x)."""
        return posterior.log_density(self.mixture, x, jnp.asarray(sigma, x.dtype))

    def resolves(self, sigma: Scalar | float):
        """Whether sigma is at least the spacing of the nodes, so that the quadrature error is negligible."""
        return jnp.asarray(sigma) >= self.spacing


def _spacing(points: np.ndarray, dim: int | None) -> float:
    """The largest distance of a node to its farthest neighbour in a square cell of a grid: 2 neighbours on a curve, 4
    else.
    """
    count = min(2 if dim == 1 else 4, len(points) - 1)
    if count == 0:
        return math.inf
    distances = KDTree(points).query(points, k=count + 1)[0]
    return float(np.max(distances[:, -1]))


def population_score(
    manifold: AbstractManifold, log_density, order: int, sigma_min: float | None = None
) -> QuadratureScore:
    """The score of the density exp(log_density) on a manifold with a `quadrature`, k <= 2; the density need not be
    normalised.

    order is the manifold's: the number of nodes in each direction, or a multiple of it, so that the spacing is about
    (length / order) and has to be below the smallest sigma that is asked for. With `sigma_min` given this is checked
    now. Where rho jumps the quadrature error is of the order of the spacing, not exponentially small. The cost of an
    evaluation is that of a `KernelScore` on the nodes, order^k of them.
    """
    quadrature = getattr(manifold, "quadrature", None)
    if quadrature is None:
        raise ValueError(
            f"{type(manifold).__name__} has no quadrature: use a manifold of dimension 1 or 2 that has one"
        )
    points, weights = quadrature(order)
    score = QuadratureScore(points, jnp.log(weights) + jax.vmap(log_density)(points), manifold.dim)
    if sigma_min is not None and score.spacing > sigma_min:
        needed = math.ceil(order * score.spacing / sigma_min)
        raise ValueError(
            f"the nodes of order {order} are {score.spacing:.3g} apart, more than sigma_min={sigma_min:.3g}: "
            f"use order={needed} or more"
        )
    return score
