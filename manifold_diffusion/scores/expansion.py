"""The score of a measure near its manifold in closed form, up to O(sigma^2): geometry, density and curvature.

Notation: mu = rho dvol on M of dimension k in R^d, y = Pi(x) the nearest point, v = x - y normal, S_v the shape
operator, <S_v a, b> = <II(a, b), v>. Inside of the reach

    log p_sigma(x) = -|v|^2 / (2 sigma^2) - ((d - k) / 2) log(2 pi sigma^2) + log rho(y) - (1/2) log det(I - S_v)
                     + O(sigma^2)

by Laplace's method (arXiv 2509.24912; the Hessian of |x - y'|^2 / 2 at y' = y is I - S_v), and its gradient is the
score. On M itself grad(-(1/2) log det(I - S_v)) = H / 2, H the mean curvature vector, so that D_sigma = y + sigma^2
(grad log rho + H / 2) + O(sigma^4).
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp

from manifold_diffusion._small_matrices import log_determinant
from manifold_diffusion._types import Point, Scalar
from manifold_diffusion.geometry.manifold import metric_tensor, second_fundamental_form
from manifold_diffusion.measures.measure import AbstractMeasure


class ExpansionScore(eqx.Module):
    """(x, sigma) -> (Pi(x) - x) / sigma^2 + grad[log rho(Pi(x)) - (1/2) log det(I - S_{x - Pi(x)})].

    For x inside of the reach, where M and rho are smooth; the error is O(sigma^2). Unlike quadrature it costs the same
    in every dimension and at every sigma. Derivatives are taken through `measure.manifold.project`, and the density is
    asked for at points of M only.
    """

    measure: AbstractMeasure

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        """grad_x of the expansion of log p_sigma."""
        return (self.measure.manifold.project(x) - x) / sigma**2 + self.correction(x)

    def denoise(self, x: Point, sigma: Scalar | float) -> Point:
        """Pi(x) + sigma^2 grad[...]: E[X_0 | X_0 + sigma Z = x] up to O(sigma^4)."""
        return self.measure.manifold.project(x) + sigma**2 * self.correction(x)

    def correction(self, x: Point) -> Point:
        """grad_x [log rho(Pi(x)) - (1/2) log det(I - S_{x - Pi(x)})], which is what the density and curvature add."""
        return jax.grad(lambda x: self._bounded_part(x))(x)

    def log_density(self, x: Point, sigma: Scalar | float) -> Scalar:
        """The expansion of log p_sigma(x), without its O(sigma^2)."""
        manifold, variance = self.measure.manifold, jnp.asarray(sigma, x.dtype) ** 2
        v = x - manifold.project(x)
        codimension = manifold.ambient_dim - manifold.dim
        leading = -jnp.sum(v * v) / (2 * variance) - codimension / 2 * jnp.log(2 * math.pi * variance)
        return leading + self._bounded_part(x)

    def _bounded_part(self, x: Point) -> Scalar:
        y = self.measure.manifold.project(x)
        return self.measure.log_density(y) - self.log_curvature(x) / 2

    def log_curvature(self, x: Point) -> Scalar:
        """log det(I - S_{x - Pi(x)}), from det(g - <II, v>) / det g."""
        manifold = self.measure.manifold
        y = manifold.project(x)
        chart = manifold.chart(y)
        u = chart.coordinates(y)
        metric = metric_tensor(chart, u)
        bending = jnp.einsum("ijd,d->ij", second_fundamental_form(chart, u), x - y, precision="highest")
        return log_determinant(metric - bending) - log_determinant(metric)
