"""What a model has learned while it is still learning: the numbers that a training is watched by.

At points y = x + sigma z, x held out, at a noise level sigma below the reach the best denoiser is the projection Pi(y)
up to O(sigma^2). So e = D(y) - Pi(y) is the error of a model, and splits into its part along the manifold and its part
across it. A network that begins to memorise moves to the data, and gets worse along (claim M10): the ratio of the two
is a signal that needs neither samples nor the density.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._types import Denoiser, Key, Points, Queries, Sampler, Scalar
from manifold_diffusion.evaluation.novelty import novelty
from manifold_diffusion.evaluation.score_dimension import denoising_dimension
from manifold_diffusion.evaluation.shape import spacing
from manifold_diffusion.evaluation.support import distances_to
from manifold_diffusion.geometry.manifold import AbstractManifold
from manifold_diffusion.scores import from_denoiser

_LEVELS, _PROBED = 16, 256


class ErrorParts(NamedTuple):
    """Root mean squares of e = D(y) - Pi(y) along and across a manifold, each per dimension of its own, in units of the
    noise level: those of E|P_T e|^2 / (k sigma^2) and E|P_N e|^2 / ((d - k) sigma^2). The best denoiser of a smooth law
    has both O(sigma).
    """

    tangential: Scalar
    normal: Scalar


@eqx.filter_jit
def error_parts(
    model: Denoiser, manifold: AbstractManifold, points: Points, sigma: Scalar | float, key: Key
) -> ErrorParts:
    """`ErrorParts` at y = x + sigma z, over points x on or near the manifold that the model was not trained on."""
    sigma = jnp.asarray(sigma, points.dtype)

    def one(i, x):
        z = jax.random.normal(jax.random.fold_in(key, i), x.shape, x.dtype)
        y = x + sigma * z
        foot = manifold.project(y)
        error = (model(y, sigma) - foot) / sigma
        along = manifold.tangent(foot, error)
        return jnp.sum(along * along), jnp.sum((error - along) ** 2)

    along, across = jax.vmap(one)(jnp.arange(len(points)), points)
    k, d = manifold.dim, points.shape[1]
    return ErrorParts(jnp.sqrt(jnp.mean(along) / k), jnp.sqrt(jnp.mean(across) / (d - k)))


@eqx.filter_jit
def denoising_losses(
    model: Denoiser, points: Points, sigmas: Float[Array, " levels"], key: Key
) -> Float[Array, " levels"]:
    """E |D(x + sigma z) - x|^2 / sigma^2 over the points, at each noise level; 0 < loss <= d, about k on a manifold.

    The noise of point i is the same direction at every level and for every model, so that models can be compared.
    """

    def one(i, x, sigma):
        z = jax.random.normal(jax.random.fold_in(key, i), x.shape, x.dtype)
        missed = (model(x + sigma * z, sigma) - x) / sigma
        return jnp.sum(missed * missed)

    indices = jnp.arange(len(points))
    return jax.lax.map(lambda sigma: jnp.mean(jax.vmap(one, (0, 0, None))(indices, points, sigma)), sigmas)


class LearningWatch(eqx.Module):
    """The watcher of a training on `data`, with `held_out` points of the same law that it does not see:
    `watch(model, step) -> {name: number}`.

    held_out     mean over noise levels, from a tenth of the spacing to the radius, of the held-out denoising loss
    distance     median distance of generated points to `manifold`, a known one or `fit_atlas(data, ...)`
    novelty      median distance of generated points to the data over that of held-out points; 1 if new, 0 if copied
    memorised    share of generated points with d1^2 <= d2^2 / 9, and `memorised_null`, the same of held-out points
    dimension    the denoising loss at held-out points, about k (`denoising_dimension`), at noise whose length sigma
                 sqrt(d) is four spacings
    ratio        tangential over normal error at the spacing (`error_parts`); it grows when memorisation begins, and
                 before that while the manifold is being learned
    error        the root mean square of both: falls while the manifold is learned, grows with memorisation

    `sampler(model) -> Sampler` draws from a model. Keys are fixed, so looks differ by the model alone.
    """

    data: Points
    held_out: Queries
    sampler: Callable[[Denoiser], Sampler]
    key: Key
    manifold: AbstractManifold | None = None
    samples: int = eqx.field(static=True, default=512)

    def __call__(self, model: Denoiser, step: int) -> dict[str, float]:
        return self.look(model)[0]

    def look(self, model: Denoiser) -> tuple[dict[str, float], Float[np.ndarray, "m d"]]:
        """The numbers, and the points that were drawn for them."""
        new = np.asarray(_draw(self.sampler, model, self.key, self.samples))
        judged = novelty(np.asarray(self.data), new, np.asarray(self.held_out))
        noise, low, far = self.key, self.spacing, 4 / math.sqrt(self.data.shape[1])
        high = jnp.sqrt(jnp.sum(jnp.var(self.data, axis=0)))
        losses = denoising_losses(model, self._probed, jnp.geomspace(low / 10, high, _LEVELS), noise)
        found = {
            "held_out": float(jnp.mean(losses)),
            "novelty": judged.ratio.value,
            "memorised": judged.memorised.value,
            "memorised_null": judged.memorised_null.value,
            "dimension": float(_dimension(model, self._probed, jnp.asarray(far * low, self.data.dtype), noise)),
        }
        if self.manifold is not None:
            finite = new[np.isfinite(new).all(axis=1)]
            parts = error_parts(model, self.manifold, self._probed, low, noise)
            found["distance"] = float(np.median(distances_to(self.manifold, finite))) if len(finite) else float("nan")
            found |= {"tangential": float(parts.tangential), "normal": float(parts.normal)}
            k, d = self.manifold.dim, self.data.shape[1]
            found["error"] = math.sqrt(k * found["tangential"] ** 2 + (d - k) * found["normal"] ** 2)
            found["ratio"] = found["tangential"] / max(found["normal"], float(np.finfo(np.float32).tiny))
        return found, new

    @property
    def spacing(self) -> float:
        """The median distance of a data point to its nearest neighbour."""
        return spacing(self.data)

    @property
    def _probed(self) -> Float[Array, "_ d"]:
        return self.held_out[:_PROBED]


@eqx.filter_jit
def _draw(sampler: Callable[[Denoiser], Sampler], model: Denoiser, key: Key, size: int) -> Points:
    draw = sampler(model)
    return jax.vmap(lambda i: draw(jax.random.fold_in(key, i)))(jnp.arange(size))


@eqx.filter_jit
def _dimension(model: Denoiser, points: Points, sigma: Scalar, key: Key) -> Scalar:
    score = from_denoiser(model)
    one = lambda i, x: denoising_dimension(score, x, sigma, jax.random.fold_in(key, i), draws=4)  # noqa: E731
    return jnp.mean(jax.vmap(one)(jnp.arange(len(points)), points))
