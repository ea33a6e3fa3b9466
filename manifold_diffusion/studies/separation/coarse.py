"""Measuring the coarse model: what the experiments of this folder share.

A coarse sample is Pihat(x) with x a datum plus noise of level sigma_0, which is the law in which the kernel score
leaves a sample at sigma_0; the flow of the projection score from there ends at Pihat(x). Claim S2 runs the whole
reverse SDE instead.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion._neighbours import NeighbourIndex, self_nearest
from manifold_diffusion._types import Key, Points, Queries
from manifold_diffusion.evaluation import unit_ball_volume
from manifold_diffusion.geometry import (
    AbstractManifold,
    Ellipsoid,
    EstimatedAtlas,
    Torus,
    default_neighbours,
    fit_chart,
)
from manifold_diffusion.measures import AbstractMeasure, Density, Uniform, draw, jump
from manifold_diffusion.measures.poisson import poisson_neighbours
from manifold_diffusion.studies.claim import Number

SEPARATION = "S"
PAPER = "Manifold Generalization Provably Proceeds Memorization in Diffusion Models, arXiv 2603.23792"
_LOCAL_BLOCK = 200
_EXTREME = 3.146
"""c - 1 - log c = 1: the emptiest of N balls that expect c log N points holds log N of them."""


def sample(measure: AbstractMeasure, key: Key, size: Number) -> Points:
    """`size` draws."""
    return draw(measure.sample, key, int(size))


def switching_level(data: Points) -> float:
    """Half the largest distance of a point to its ceil(log N)-th neighbour; of 20 000 points where there are more."""
    points = np.asarray(data)
    count = math.ceil(math.log(len(points)))
    if len(points) <= 20_000:
        return float(self_nearest(points, count)[0].max()) / 2
    return float(NeighbourIndex(data).search(points[:20_000], count + 1)[0].max()) / 2


def half_and_half(manifold: Ellipsoid | Torus, direction) -> Density:
    """Density 3:1 across a plane through the centre of symmetry, so that it is (3 + 1) vol / 2 that normalises it."""
    return jump(manifold, direction, 3.0, jnp.log(2 * manifold.volume()))


def expected_switching_level(manifold: AbstractManifold, log_size: Number) -> float:
    """The limit of `switching_level` for uniform data: (3.146 log N vol / (N omega_k))^{1/k} / 2 (derived)."""
    k = manifold.dim
    log_volume = float(jnp.log(manifold.volume()))
    log_ball = math.log(unit_ball_volume(k))
    return math.exp((math.log(_EXTREME * log_size) + log_volume - log_size - log_ball) / k) / 2


def noised(key: Key, data: Points, level: float, queries: int) -> Queries:
    """`queries` data, chosen with replacement, plus Gaussian noise of the level."""
    which, noise = jax.random.split(key)
    chosen = data[jax.random.randint(which, (queries,), 0, len(data))]
    return chosen + level * jax.random.normal(noise, chosen.shape, chosen.dtype)


def atlases(
    data: Points, dim: int, degrees: tuple[int, ...], neighbours: int | None = None
) -> dict[int, EstimatedAtlas]:
    """The estimated atlas of each degree, over one search tree."""
    index = NeighbourIndex(data)
    return {
        degree: EstimatedAtlas(
            index=index,
            dim=dim,
            ambient_dim=data.shape[1],
            degree=degree,
            neighbours=neighbours or default_neighbours(dim, degree),
        )
        for degree in degrees
    }


@jax.jit
def project_true(manifold: AbstractManifold, points: Points) -> Points:
    """The true projection of each point."""
    return jax.vmap(manifold.project)(points)


def off_manifold(manifold: AbstractManifold, points: Points) -> dict[str, float]:
    """Mean, 99 % quantile and maximum of the distance to the manifold, and how many points were not finite."""
    distances = np.linalg.norm(np.asarray(points - project_true(manifold, points)), axis=1)
    finite = distances[np.isfinite(distances)]
    return {
        "mean": float(finite.mean()),
        "q99": float(np.quantile(finite, 0.99)),
        "max": float(finite.max()),
        "non_finite": int(len(distances) - len(finite)),
    }


def coarse_distances(
    key: Key, size: Number, *, measure: Uniform | Density, degrees: tuple[int, ...], queries: int
) -> dict[str, dict[str, float]]:
    """Distance to the manifold of coarse samples, for each degree on the same data."""
    data_key, noise_key = jax.random.split(key)
    data = sample(measure, data_key, size)
    points = noised(noise_key, data, switching_level(data), queries)
    fitted = atlases(data, measure.manifold.dim, degrees)
    return {
        f"p={degree}": off_manifold(measure.manifold, atlas.project_all(points)) for degree, atlas in fitted.items()
    }


def local_coarse_distances(
    key: Key, size: Number, *, manifold: AbstractManifold, degrees: tuple[int, ...], queries: int
) -> dict[str, dict[str, float]]:
    """The same for a Poisson sample of mean size `size`, of which only the neighbours of the queries are ever made.

    Each query is a datum plus noise, and the datum is one of its neighbours (the Palm law of a Poisson sample). sigma_0
    is the limit of its rule. Cost does not depend on the size, so sizes are not bounded by memory.
    """
    level = jnp.asarray(expected_switching_level(manifold, math.log(size)))
    log_intensity = jnp.asarray(math.log(size)) - jnp.log(manifold.volume())
    outcome = {}
    for degree in degrees:
        points, complete = [], []
        for start in range(0, queries, _LOCAL_BLOCK):
            block_key = jax.random.fold_in(jax.random.fold_in(key, degree), start)
            projected, whole = _local_projections(block_key, manifold, level, log_intensity, degree, _LOCAL_BLOCK)
            points.append(projected)
            complete.append(whole)
        whole = np.concatenate(complete)
        projected = jnp.concatenate(points)[whole]
        outcome[f"p={degree}"] = {**off_manifold(manifold, projected), "incomplete": float(np.mean(~whole))}
    return outcome


@partial(jax.jit, static_argnums=(4, 5))
def _local_projections(key, manifold, level, log_intensity, degree, queries):
    count = default_neighbours(manifold.dim, degree)

    def one(index):
        datum_key, noise_key, sample_key = jax.random.split(jax.random.fold_in(key, index), 3)
        datum = manifold.uniform(datum_key)
        x = datum + level * jax.random.normal(noise_key, datum.shape, datum.dtype)
        others = poisson_neighbours(sample_key, manifold, x, log_intensity, count)
        pool = jnp.concatenate([others.points, datum[None, :]])
        nearest = jnp.argsort(jnp.sum((pool - x[None, :]) ** 2, axis=1))[:count]
        chart = fit_chart(pool[nearest], x, manifold.dim, degree)
        return chart.embed(chart.foot(x)), others.complete

    return jax.lax.map(one, jnp.arange(queries), batch_size=100)
