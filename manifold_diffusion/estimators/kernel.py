"""Diffusion models with the exact score of the noised data: they differ only in where they stop."""

import jax.numpy as jnp

from manifold_diffusion._types import Estimator, Key, Points, Sampler
from manifold_diffusion.estimators.estimator import (
    Prior,
    gaussian_prior,
    radius,
    reverse_diffusion,
    switching_noise_level,
)
from manifold_diffusion.scores import KernelScore


def memorising_diffusion(
    *, sigma_min: float | None = None, steps: int = 64, prior: Prior = gaussian_prior
) -> Estimator:
    """The kernel score all the way to sigma_min (by default 1e-5 data radii), then the denoiser: samples are training
    points.
    """

    def estimate(key: Key, data: Points) -> Sampler:
        del key
        points = jnp.asarray(data, dtype=jnp.result_type(data, jnp.float32))
        level = 1e-5 * radius(points) if sigma_min is None else sigma_min
        return reverse_diffusion(points, KernelScore(points), level, steps=steps, final_zero=True, prior=prior)

    return estimate


def early_stopped_diffusion(
    *, sigma_stop: float | None = None, steps: int = 40, prior: Prior = gaussian_prior
) -> Estimator:
    """The kernel score down to sigma_stop (by default `switching_noise_level(data)`), where it stops: samples of
    p_sigma_stop.
    """

    def estimate(key: Key, data: Points) -> Sampler:
        del key
        points = jnp.asarray(data, dtype=jnp.result_type(data, jnp.float32))
        level = switching_noise_level(points) if sigma_stop is None else sigma_stop
        return reverse_diffusion(points, KernelScore(points), level, steps=steps, final_zero=False, prior=prior)

    return estimate


def inertial_diffusion(
    dim: int, *, sigma_stop: float | None = None, steps: int = 40, prior: Prior = gaussian_prior
) -> Estimator:
    """Early stopping at sigma = radius N^{-1/(dim+4)}, then one exact Tweedie step x + sigma^2 score = E[X_0 | x].

    The step removes the noise to first order and leaves a bias sigma^2 H / 2 (H the mean curvature vector), so samples
    lie at distance O(N^{-2/(dim+4)}) of the manifold (arXiv 2505.02508; the rate by the expansion of the denoiser,
    derived).
    """

    def estimate(key: Key, data: Points) -> Sampler:
        del key
        points = jnp.asarray(data, dtype=jnp.result_type(data, jnp.float32))
        level = radius(points) * len(points) ** (-1.0 / (dim + 4)) if sigma_stop is None else sigma_stop
        return reverse_diffusion(points, KernelScore(points), level, steps=steps, final_zero=True, prior=prior)

    return estimate
