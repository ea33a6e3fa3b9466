r"""Points that are uniform on the manifold of the data, with respect to its volume, whatever the density of the data.

Two routes lead from the coarse score s = (Pihat(x) - x) / sigma^2 of an estimated manifold to its uniform law.

Tempered Langevin ("When Scores Learn Geometry", arXiv 2509.24912): the coarse score, tempered by sigma^alpha, has the
law exp(-|x - Pi x|^2 / (2 h^2)) with h = sigma^{1-alpha/2}, so sigma and alpha matter through h alone. In x = y + n, y
in M and n normal, the volume is det(I - S_n) dy dn, S_n the shape operator, so the law of Pi(x) has the density

    E det(I - h S_Z) = 1 + h^2 scal(y) / 2 + O(h^4)     with respect to volume,

Z normal noise and scal the scalar curvature: E tr S_Z = 0, and E e_2(S_Z) = (|H|^2 - |II|^2) / 2 = scal / 2 by Gauss
(derived; integrated over M it is Weyl's tube formula). Curves have no intrinsic curvature: their bias is 0 as long as
the tube stays inside the reach. With steps eta = 1 the chain is x <- Pihat(x) + sqrt(2) h xi: a projected random walk.

The kinetic walk of `samplers.manifold_walk`: no bias in the step, no noise across, and steps ~ 1 / tau instead of 1 /
tau^2. It is the default.

Either starts at a datum, drawn with a probability in proportion to the volume that belongs to it, r^k with r the
distance to its m-th neighbour, m = ceil(log n), so that what mixes slowest is nearly right from the start, and so are
the shares of components between which no walk can go.
"""

import math
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from manifold_diffusion._neighbours import NeighbourIndex
from manifold_diffusion._types import Estimator, Key, Point, Points, Sampler, Scalar
from manifold_diffusion.estimators.pace import (
    SlowFunction,
    Surroundings,
    kinetic_folds,
    kinetic_time,
    manifold_reach,
    slow_function,
    surroundings,
)
from manifold_diffusion.geometry import EstimatedAtlas, fit_atlas
from manifold_diffusion.samplers import LangevinStep, ManifoldWalk, matched_persistence
from manifold_diffusion.scores import ProjectionScore

_PILOTS = 256
_OUTSIDE = -50.0


class Mixing(NamedTuple):
    """How well the chains of a `UniformSampler` mix, as measured on pilot chains.

    e_folds      by how many factors of e the slowest function has decayed after `steps` steps; below about 3 points
                 still remember the density of the data (though less than where they start)
    steps, step  how many, and their size tau in units of the data
    components   pieces between which there are no data and no steps; each has the share of its estimated volume
    supported    the share of the data in whose surroundings points are drawn
    """

    e_folds: Scalar
    steps: Int[Array, ""]
    step: Scalar
    components: Int[Array, ""]
    supported: Scalar


class UniformSampler(eqx.Module):
    """key -> a point of the estimated manifold, nearly uniform in volume; `mixing` says how nearly."""

    starts: Points
    cumulated: Float[Array, " n"]
    walk: ManifoldWalk | LangevinStep
    atlas: EstimatedAtlas
    mixing: Mixing

    def __call__(self, key: Key) -> Point:
        x, path = self.start(key), jax.random.fold_in(key, 1)
        # A number of steps that is data, so that one program serves pilots and all fits of the same shape.
        walk, steps = self.walk, self.mixing.steps
        first = walk.start(jax.random.fold_in(key, 2), x) if isinstance(walk, ManifoldWalk) else self.atlas.project(x)
        last = jax.lax.fori_loop(0, steps, lambda i, at: walk(jax.random.fold_in(path, i), at), first)
        return self.atlas.project(last if isinstance(last, Array) else last.place.point)

    def start(self, key: Key) -> Point:
        """The datum from which the chain with this key starts."""
        share = jax.random.uniform(jax.random.fold_in(key, 0), dtype=self.cumulated.dtype)
        return self.starts[jnp.minimum(jnp.searchsorted(self.cumulated, share), len(self.starts) - 1)]


class _Near(eqx.Module):
    """log-density 0 where the m-th nearest datum is within the radius, and low elsewhere."""

    index: NeighbourIndex
    radius: Scalar
    count: int = eqx.field(static=True)

    def __call__(self, x: Point) -> Scalar:
        farthest = self.index.points[self.index(x, self.count)[-1]]
        squared = jnp.sum((x - farthest.astype(x.dtype)) ** 2)
        return jnp.where(squared <= self.radius.astype(x.dtype) ** 2, 0.0, _OUTSIDE).astype(x.dtype)


def uniform_on_manifold(
    dim: int,
    degree: int = 3,
    *,
    neighbours: int | None = None,
    walk: Literal["kinetic", "langevin"] = "kinetic",
    e_folds: float | int = 5.0,
    max_steps: int = 1000,
    quantile: float | int = 1.0,
) -> Estimator:
    """The estimator whose points are uniform in volume on the local polynomials of `geometry.fit_atlas(data, dim,
    degree, neighbours)`, whatever the density of the data.

    Steps are as long as the reach allows, and as many as make `e_folds` factors of e in the decay of the slowest
    function, measured on pilot chains, or `max_steps`: the sampler's `mixing` says what came of it. Points are drawn
    where the m-th datum, m = ceil(log n), is no farther than 1.5 times the `quantile` of those distances among the
    data: a wider gap is not filled, and beyond an edge nothing is made up. Lower the quantile where data have outliers.
    """
    if walk not in ("kinetic", "langevin"):
        raise ValueError(f"walk must be 'kinetic' or 'langevin', got {walk!r}")
    if not (e_folds > 0 and max_steps >= 1 and 0 < quantile <= 1):
        raise ValueError(
            f"e_folds and max_steps must be positive and quantile in (0, 1], got {e_folds}, {max_steps}, {quantile}"
        )

    def estimate(key: Key, data: Points) -> Sampler:
        points = jnp.asarray(data, dtype=jnp.result_type(data, jnp.float32))
        rows = np.asarray(points, np.float64)
        atlas = fit_atlas(points, dim, degree, neighbours)
        around = surroundings(rows, dim, float(quantile))
        slow = slow_function(rows[around.rows], around.volumes)
        reach = manifold_reach(rows[around.rows], dim)
        make = _kinetic if walk == "kinetic" else _langevin
        chosen, step, pace = make(atlas, around, reach, slow.eigenvalue)

        def sampler(steps: int, folds: float) -> UniformSampler:
            return _sampler(points, around, atlas, chosen, steps, step, folds)

        folds, time = (kinetic_folds, kinetic_time) if walk == "kinetic" else (float, float)
        pilot_steps = int(np.clip(math.ceil(1.5 / pace), 2, max_steps))
        pace = time(-math.log(_correlation(sampler(pilot_steps, 0.0), key, slow))) / pilot_steps
        steps = min(math.ceil(time(e_folds) / pace), max_steps)
        return sampler(steps, folds(steps * pace))

    return estimate


def _kinetic(
    atlas: EstimatedAtlas, around: Surroundings, reach: float, eigenvalue: float
) -> tuple[ManifoldWalk, float, float]:
    """The walk, its step tau = .6 reach / sqrt(k), at which 99 % of the moves are accepted on surfaces of catalogues,
    and its pace tau sqrt(lambda_1).
    """
    dtype, step = atlas.index.points.dtype, 0.6 * reach / math.sqrt(atlas.dim)
    near = _Near(atlas.index, jnp.asarray(around.radius, dtype), around.neighbour)
    return ManifoldWalk(atlas, step, matched_persistence(step, eigenvalue), reach, near), step, step * eigenvalue**0.5


def _langevin(
    atlas: EstimatedAtlas, around: Surroundings, reach: float, eigenvalue: float
) -> tuple[LangevinStep, float, float]:
    """The chain of eta = 1 at sigma^{2-alpha} = h^2, its step sqrt(2) h and its pace h^2 lambda_1.

    All D - k directions of noise together reach a third of the way to where projections end, reach = 3 sqrt(2 (D - k))
    h. The coarse score times sigma^2 does not depend on sigma, so h is passed as the noise level.
    """
    h = reach / (3 * math.sqrt(2 * max(atlas.ambient_dim - atlas.dim, atlas.dim)))
    return LangevinStep(ProjectionScore(atlas), h, 1.0), math.sqrt(2) * h, h * h * eigenvalue


def _sampler(
    points: Points,
    around: Surroundings,
    atlas: EstimatedAtlas,
    walk: ManifoldWalk | LangevinStep,
    steps: int,
    step: float,
    folds: float,
) -> UniformSampler:
    dtype, kept = points.dtype, len(around.rows)
    mixing = Mixing(
        jnp.asarray(folds, dtype),
        jnp.asarray(steps, jnp.int32),
        jnp.asarray(step, dtype),
        jnp.asarray(around.components, jnp.int32),
        jnp.asarray(kept / len(points), dtype),
    )
    cumulated = jnp.asarray(np.cumsum(around.volumes) / np.sum(around.volumes), dtype)
    return UniformSampler(points[around.rows], cumulated, walk, atlas, mixing)


def _correlation(pilot: UniformSampler, key: Key, slow: SlowFunction) -> float:
    """Of the slow function at the starts and at the ends of pilot chains, kept where its logarithm can be trusted."""
    starts, ends = _pilots(pilot, jax.random.split(key, _PILOTS))
    before, after = (slow.at(np.asarray(x, np.float64)) for x in (starts, ends))
    mean = np.mean(before)
    kept = np.mean((before - mean) * (after - mean)) / np.var(before)
    return float(np.clip(np.nan_to_num(kept, nan=1.0), 0.05, 0.98))


@eqx.filter_jit
def _pilots(pilot: UniformSampler, keys: Array) -> tuple[Points, Points]:
    return jax.vmap(pilot.start)(keys), jax.vmap(pilot)(keys)
