"""The interface of this folder: from data to a sampler through noising, a score and a time grid."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion._neighbours import self_nearest
from manifold_diffusion._types import Key, Point, Points, Sampler, Scalar, Score
from manifold_diffusion.processes import VarianceExploding, geometric_grid, reverse
from manifold_diffusion.samplers import ddpm, generate

Prior = Callable[[Points, Scalar], Sampler]
"""(data, sigma_max) -> sampler of the noisiest law, from which generation starts."""


class GaussianPrior(eqx.Module):
    """N(mean, deviation^2 I): p_sigma_max up to O((radius / sigma_max)^2) in total variation."""

    mean: Point
    deviation: Scalar

    def __call__(self, key: Key) -> Point:
        return self.mean + self.deviation * jax.random.normal(key, self.mean.shape, self.mean.dtype)

    def log_density(self, x: Point) -> Scalar:
        """-|x - mean|^2 / (2 deviation^2) - (d / 2) log(2 pi deviation^2), the `log_prior` of a likelihood."""
        mean, deviation = self.mean.astype(x.dtype), self.deviation.astype(x.dtype)
        z = (x - mean) / deviation
        return -jnp.sum(z * z) / 2 - len(x) * (jnp.log(deviation) + 0.5 * math.log(2 * math.pi))


def gaussian_prior(data: Points, sigma_max: Scalar) -> GaussianPrior:
    """The Gaussian with the mean of the data and their mean variance added to sigma_max^2."""
    return GaussianPrior(jnp.mean(data, axis=0), jnp.sqrt(sigma_max**2 + jnp.mean(jnp.var(data, axis=0))))


def reverse_diffusion(
    data: Points,
    score: Score,
    sigma_min: float | Scalar,
    *,
    steps: int,
    final_zero: bool,
    prior: Prior = gaussian_prior,
) -> Sampler:
    """DDPM steps along the reverse of a variance-exploding noising, on a geometric grid from 20 data radii to
    sigma_min.

    With `final_zero` a last step returns the denoiser at sigma_min; without it samples are left at noise level
    sigma_min.
    """
    sigma_max = 20 * radius(data)
    noising = VarianceExploding(sigma_max)
    ts = geometric_grid(noising, sigma_min, steps, final_zero=final_zero)
    return generate(prior(data, sigma_max), ddpm, reverse(noising, score), ts)


def radius(data: Points) -> Scalar:
    """The root mean square distance of the data to their mean."""
    return jnp.sqrt(jnp.sum(jnp.var(data, axis=0)))


def switching_noise_level(data: Points, quantile: float = 1.0) -> float:
    """sigma_0: half the largest distance of a point to its ceil(log n)-th neighbour.

    At this noise level every point of the manifold is reached by about log n data, so the noised data leave no gaps; it
    is O((log n / n)^{1/k}), whatever the density. On data with outliers take a `quantile` below 1 of the distances
    instead of the largest. (The order is from arXiv 2603.23792; the neighbour rule is derived.)
    """
    points = np.asarray(data)
    count = min(max(1, math.ceil(math.log(len(points)))), len(points) - 1)
    distances, _ = self_nearest(points, count)
    return float(np.quantile(distances[:, -1], quantile)) / 2
