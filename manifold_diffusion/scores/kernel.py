"""The score of noised data, exactly: what a diffusion model learns if it memorises."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion import _kernel_sums
from manifold_diffusion._types import Point, Scalar


class KernelScore(eqx.Module):
    """The score of p_sigma = sum_i w_i N(y_i, sigma^2 I), the empirical law of weighted data noised at level sigma.

    With p_i ~ w_i exp(-|x - y_i|^2 / (2 sigma^2)) normalised to sum one,

        denoiser  D(x, sigma) = sum_i p_i y_i,    score = (D(x, sigma) - x) / sigma^2,    Jacobian of D = Cov_p(y) /
        sigma^2

    (Karras et al., arXiv 2206.00364, app. B.3; the Jacobian is derived). It is single-point; under `jax.vmap` over
    points, noise levels or both, the sums over data are streamed in blocks: memory O(block), not O(n m). It
    differentiates in x and sigma, in forward and reverse mode; the data are constants.
    """

    mixture: _kernel_sums.Atoms

    def __init__(self, data: Float[Array, "n d"], weights: Float[Array, " n"] | None = None):
        data = jnp.asarray(data)
        if data.ndim != 2 or 0 in data.shape:
            raise ValueError(f"data must be (points, dimensions) with at least one of each, got shape {data.shape}")
        if weights is not None and np.shape(weights) != data.shape[:1]:
            raise ValueError(f"weights must be one per point, ({data.shape[0]},), got shape {np.shape(weights)}")
        self.mixture = jax.lax.stop_gradient(_kernel_sums.atoms(data, weights))

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        """grad_x log p_sigma(x)."""
        sigma = jnp.asarray(sigma, x.dtype)
        return _kernel_sums.shift(self.mixture, x, sigma)[0] / sigma

    def denoise(self, x: Point, sigma: Scalar | float) -> Point:
        """E[X_0 | X_0 + sigma Z = x]."""
        sigma = jnp.asarray(sigma, x.dtype)
        return x + sigma * _kernel_sums.shift(self.mixture, x, sigma)[0]

    def log_density(self, x: Point, sigma: Scalar | float) -> Scalar:
        """log p_sigma(x)."""
        sigma = jnp.asarray(sigma, x.dtype)
        return _kernel_sums.shift(self.mixture, x, sigma)[1] - len(x) * (jnp.log(sigma) + 0.5 * np.log(2 * np.pi))
