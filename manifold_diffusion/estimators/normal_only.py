"""New points from a model that has memorised its data, without training it again: claim M12."""

from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._neighbours import self_nearest
from manifold_diffusion._types import Key, Point, Points, Sampler, Scalar, Score
from manifold_diffusion.estimators.estimator import Prior, gaussian_prior, reverse_diffusion
from manifold_diffusion.samplers import normal_only
from manifold_diffusion.scores import KernelScore

_DATA_FRAMES = 1.5


class NormalOnlySampler(eqx.Module):
    """`follow` after `noisy`: a point at noise level levels[0], then normal steps. `normal_only_diffusion` makes it."""

    # A pytree, so that a program compiled for one sampler serves every other of the same shapes.
    noisy: Sampler
    score: Score
    frames: Score | None
    levels: Float[Array, " levels"]
    frame_level: Scalar
    dim: int = eqx.field(static=True)

    def __call__(self, key: Key) -> Point:
        return self.follow(self.noisy(key))

    def follow(self, x: Point) -> Point:
        """`samplers.normal_only` from x."""
        return normal_only(self.score, x, self.levels, self.dim, frame_level=self.frame_level, frames=self.frames)


def normal_only_diffusion(
    score: Score,
    dim: int,
    *,
    sigma_0: float | None = None,
    sigma_min: float | None = None,
    frames: Literal["score", "data"] = "score",
    steps: int = 40,
    normal_steps: int = 16,
    prior: Prior = gaussian_prior,
) -> Callable[[Key, Points], NormalOnlySampler]:
    """The estimator that follows a given score down to sigma_0, and only its part across the manifold from there on.

    The score, of any origin, is that of a model of the data, trained until it returns them or not; nothing is trained.
    sigma_0 is by default two `median_spacing(data)`: the data stand closer than that, so that the noised data leave no
    gaps and the directions along the manifold can be told from those across; on a manifold whose reach is below that
    there is no such level, and `evaluation.normal_only_window` shows it. Then `samplers.normal_only`, on `normal_steps`
    noise levels that fall by a constant factor to sigma_min, by default a hundredth of sigma_0. The directions come
    from the Jacobian of the denoiser at sigma_0, or, with frames "data", from the covariance of the data around the
    point, at 1.5 spacings.

    Samples are distributed like the data smoothed at scale sigma_0, at distance O(kappa spacing^2) of a manifold of
    curvature kappa if the score returns the data, and less if it knows the manifold better than them (derived).
    """

    def estimate(key: Key, data: Points) -> NormalOnlySampler:
        del key
        points = jnp.asarray(data, dtype=jnp.result_type(data, jnp.float32))
        spacing = median_spacing(points)
        top = 2 * spacing if sigma_0 is None else sigma_0
        bottom = top / 100 if sigma_min is None else sigma_min
        if not 0 < bottom < top:
            raise ValueError(f"normal steps need 0 < sigma_min < sigma_0, got {bottom:.3g} and {top:.3g}")
        own = frames == "score"
        return NormalOnlySampler(
            noisy=reverse_diffusion(points, score, top, steps=steps, final_zero=False, prior=prior),
            score=score,
            frames=None if own else KernelScore(points),
            levels=jnp.geomspace(top, bottom, normal_steps, dtype=points.dtype),
            frame_level=jnp.asarray(top if own else _DATA_FRAMES * spacing, points.dtype),
            dim=dim,
        )

    return estimate


def median_spacing(data: Points) -> float:
    """The median distance of a datum to its nearest other, copies left out."""
    distances = self_nearest(np.unique(np.asarray(data), axis=0), 1)[0]
    return float(np.median(distances))
