"""Faithfulness: how far generated points are from the manifold, and two samples from one another."""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._neighbours import nearest
from manifold_diffusion._numerics import chunked_map
from manifold_diffusion._types import Point, Points, Scalar
from manifold_diffusion.evaluation.sample import Data, Generated
from manifold_diffusion.geometry.atlas import EstimatedAtlas
from manifold_diffusion.geometry.manifold import AbstractManifold

_CHUNK = 4096


class SupportDistance(NamedTuple):
    """Quantiles of |x - Pi(x)| over the finite points, and how many points had no finite distance."""

    mean: float
    median: float
    q99: float
    max: float
    non_finite: int


class Hausdorff(NamedTuple):
    """The two directed Hausdorff distances; the larger one is the Hausdorff distance."""

    a_to_b: float
    b_to_a: float


def distances_to(manifold: AbstractManifold, points: Generated) -> Float[np.ndarray, " m"]:
    """|x - Pi(x)| of every point, NaN or infinite where the point or its projection is."""
    if isinstance(manifold, EstimatedAtlas):
        x = jnp.asarray(points)
        return np.linalg.norm(np.asarray(x, np.float64) - np.asarray(manifold.project_all(x)), axis=1)
    return np.asarray(_distances(manifold, jnp.asarray(points)), np.float64)


@eqx.filter_jit
def _distances(manifold: AbstractManifold, points: Points) -> Float[Array, " n"]:
    return chunked_map(partial(_distance, manifold), points, _CHUNK)


def _distance(manifold: AbstractManifold, x: Point) -> Scalar:
    return jnp.linalg.norm(x - manifold.project(x))


def support_distance(manifold: AbstractManifold, points: Generated) -> SupportDistance:
    """The distances to the manifold, true or estimated, summarised (claims S1, S2; all NaN when no point is finite)."""
    distances = distances_to(manifold, points)
    finite = distances[np.isfinite(distances)]
    non_finite = len(distances) - len(finite)
    if len(finite) == 0:
        return SupportDistance(*[float("nan")] * 4, non_finite=non_finite)
    middle, q99 = np.quantile(finite, [0.5, 0.99])
    return SupportDistance(float(finite.mean()), float(middle), float(q99), float(finite.max()), non_finite)


def hausdorff(a: Data, b: Generated) -> Hausdorff:
    """max over a of the distance to b, and max over b of the distance to a."""
    return Hausdorff(float(nearest(b, a, 1)[0].max()), float(nearest(a, b, 1)[0].max()))
