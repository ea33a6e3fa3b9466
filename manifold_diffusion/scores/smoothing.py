"""Smoothed scores: the mean of a score over noise that is added to its argument."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._types import Key, Point, Scalar, Score
from manifold_diffusion.geometry.manifold import AbstractManifold
from manifold_diffusion.scores.score import denoiser


class _Smoothed(eqx.Module):
    score: Score
    width: Float[Array, ""]
    key: Key
    manifold: AbstractManifold | None
    size: int = eqx.field(static=True)

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        return self._mean(self.score, x, sigma)

    def denoise(self, x: Point, sigma: Scalar | float) -> Point:
        return self._mean(denoiser(self.score), x, sigma)

    def _mean(self, f, x, sigma):
        sigma = jnp.asarray(sigma, x.dtype)
        # In single precision always: draws in double precision would be others.
        half = jax.random.normal(self.key, (self.size // 2, len(x)), jnp.float32).astype(x.dtype)
        if self.manifold is not None:
            foot = self.manifold.project(x)
            half = jax.vmap(lambda v: self.manifold.tangent(foot, v))(half)  # pyright: ignore
        offsets = self.width.astype(x.dtype) * jnp.concatenate([half, -half])
        return jnp.mean(jax.vmap(lambda offset: f(x + offset, sigma))(offsets), axis=0)


def smooth(
    score: Score, width: float | int | Scalar, size: int, key: Key, manifold: AbstractManifold | None = None
) -> Score:
    """D_h(x, sigma) = mean_j D(x + h xi_j, sigma) over fixed antithetic normal draws xi_j, and the score that belongs
    to it, mean_j s(x + h xi_j, sigma).

    The noise-averaged denoiser of closed-form diffusion (arXiv 2310.12395) and the smoothing of log p_sigma (arXiv
    2510.02305), whose score is the second mean, are the same thing (derived): by Tweedie's formula

        mean_j D(x + h xi_j) = x + sigma^2 mean_j s(x + h xi_j) + h mean_j xi_j,

    and antithetic draws have mean zero. It is not the noise level sqrt(sigma^2 + h^2), which smooths p_sigma itself:
    a linear score, that of a normal law, is not changed here, and near a manifold the smoothed score keeps its normal
    part at the strength sigma^-2. Its denoiser leaves the manifold by h^2 H / 2 + O(h^4) all the same (H the mean
    curvature vector: the mean of Pi over normal noise), and what tells points within h apart along it is gone.

    `manifold` confines the draws to the tangent space at Pi(x), so that only tangential structure is smoothed. The size
    counts the draws, each one evaluation; with a size of m the mean is known to about h^2 / sqrt(m).
    """
    if size < 2 or size % 2:
        raise ValueError(f"antithetic draws come in pairs: size must be even and positive, got {size}")
    return _Smoothed(score, jnp.asarray(width, dtype=float), key, manifold, size)
