"""The coarse diffusion model: the kernel score far from the data, the projection on an estimated manifold near them."""

import jax.numpy as jnp

from manifold_diffusion._types import Estimator, Key, Points, Sampler
from manifold_diffusion.estimators.estimator import Prior, gaussian_prior, reverse_diffusion, switching_noise_level
from manifold_diffusion.geometry import fit_atlas
from manifold_diffusion.scores import KernelScore, ProjectionScore, switch


def coarse_diffusion(
    dim: int,
    degree: int = 3,
    *,
    neighbours: int | None = None,
    sigma_0: float | None = None,
    steps: int = 48,
    prior: Prior = gaussian_prior,
) -> Estimator:
    """The estimator whose score is that of the noised data for sigma >= sigma_0 and (Pihat(x) - x) / sigma^2 below.

    Pihat projects on the local polynomials of `geometry.fit_atlas(data, dim, degree, neighbours)`; sigma_0 defaults to
    `switching_noise_level(data)`. Samples are new points at distance O(N^{-(degree+1)/dim}) of the manifold,
    distributed like the data smoothed at scale sigma_0 (arXiv 2603.23792).
    """

    def estimate(key: Key, data: Points) -> Sampler:
        del key
        points = jnp.asarray(data, dtype=jnp.result_type(data, jnp.float32))
        level = switching_noise_level(points) if sigma_0 is None else sigma_0
        if not level > 0:
            raise ValueError(
                "the data have more copies of a point than neighbours asked for, so sigma_0 is 0; drop the duplicates"
            )
        atlas = fit_atlas(points, dim, degree, neighbours)
        score = switch(ProjectionScore(atlas), KernelScore(points), level)
        return reverse_diffusion(points, score, 0.05 * level, steps=steps, final_zero=True, prior=prior)

    return estimate
