"""The score of noised data, exactly: what a diffusion model learns if it memorises."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Num

from manifold_diffusion import _kernel_covariance as posterior
from manifold_diffusion._kernel_sums import Atoms, atoms
from manifold_diffusion._types import Point, Scalar


class KernelScore(eqx.Module):
    """The score of p_sigma = sum_i w_i N(y_i, sigma^2 I), the empirical law of weighted data noised at level sigma.

    With p_i ~ w_i exp(-|x - y_i|^2 / (2 sigma^2)) normalised to sum one,

        D(x, sigma) = sum_i p_i y_i,    score = (D(x, sigma) - x) / sigma^2,    dD/dx = Cov_p(y) / sigma^2

    (Karras et al., arXiv 2206.00364, app. B.3; the Jacobian is derived). It takes one point. Under `jax.vmap` over
    points, noise levels or both, the sums stream over blocks of data: memory O(block), not O(n m). It differentiates in
    x and sigma, in forward and reverse mode; the data are constants. Weights need not be normalised; none means equal
    ones.
    """

    mixture: Atoms

    # The shapes are checked by hand, for an error that names the remedy.
    def __init__(self, data: Num[ArrayLike, "..."], weights: Num[ArrayLike, "..."] | None = None):
        data = _floating(data)
        if data.ndim != 2 or 0 in data.shape:
            raise ValueError(f"data must be (points, dimensions) with at least one of each, got shape {data.shape}")
        if weights is not None and np.shape(weights) != data.shape[:1]:
            raise ValueError(f"weights must be one per point, ({data.shape[0]},), got shape {np.shape(weights)}")
        self.mixture = atoms(data, None if weights is None else jnp.log(_floating(weights)))

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        """grad_x log p_sigma(x)."""
        return posterior.score(self.mixture, x, jnp.asarray(sigma, x.dtype))

    def denoise(self, x: Point, sigma: Scalar | float) -> Point:
        """E[X_0 | X_0 + sigma Z = x]."""
        return posterior.denoise(self.mixture, x, jnp.asarray(sigma, x.dtype))

    def log_density(self, x: Point, sigma: Scalar | float) -> Scalar:
        """log p_sigma(x)."""
        return posterior.log_density(self.mixture, x, jnp.asarray(sigma, x.dtype))


def _floating(a: ArrayLike) -> Array:
    a = jnp.asarray(a)
    return a if jnp.issubdtype(a.dtype, jnp.floating) else a.astype(jnp.result_type(float))
