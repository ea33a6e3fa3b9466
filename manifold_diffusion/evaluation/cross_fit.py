"""Distance to a manifold that is not known: fit it to one half of the data, measure on the other."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from manifold_diffusion._types import Key
from manifold_diffusion.evaluation.sample import Data, HeldOut, distinct
from manifold_diffusion.evaluation.shape import spacing
from manifold_diffusion.evaluation.support import distances_to
from manifold_diffusion.geometry.atlas import EstimatedAtlas, default_neighbours, fit_atlas, monomial_count

_DEGREES = (1, 2, 3, 4)
_WORTH_A_DEGREE = 0.95
_RESOLVED = 0.01
_QUERIES = 1024


class CrossFit(NamedTuple):
    """The degree of the local polynomials and the held-out distance that it and every other admissible degree gave."""

    degree: int
    errors: dict[int, float]


def halves(points: Data, key: Key) -> tuple[np.ndarray, np.ndarray]:
    """The distinct points at random in two halves."""
    rows = distinct(points).points
    order = np.asarray(jax.random.permutation(key, len(rows)))
    return rows[order[::2]], rows[order[1::2]]


def fit_admissible(points: Data, dim: int, degree: int) -> EstimatedAtlas | None:
    """The atlas with its default neighbours, fewer at degree 1 if there are no more; None where the points do not
    suffice.

    Beyond degree 1 the neighbourhoods must be local: at most a quarter of the points.
    """
    points, count = jnp.asarray(points), default_neighbours(dim, degree)
    if degree == 1:
        count = min(count, len(points))
        return fit_atlas(points, dim, 1, count) if count > monomial_count(dim, 1) else None
    return fit_atlas(points, dim, degree, count) if 4 * count <= len(points) else None


def held_out_distances(train: Data, held_out: HeldOut, dim: int, degree: int) -> Float[np.ndarray, " h"]:
    """Distances of the held-out points to the manifold fitted to the others, in float64; NaN if none can be fitted."""
    with jax.enable_x64(True):
        centre = np.mean(np.asarray(train, np.float64), axis=0)
        atlas = fit_admissible(np.asarray(train, np.float64) - centre, dim, degree)
        if atlas is None:
            return np.full(len(held_out), np.nan)
        queries = np.asarray(held_out, np.float64) - centre
        blocks = np.array_split(queries, range(_QUERIES, len(queries), _QUERIES))
        return np.concatenate([_padded_distances(atlas, block) for block in blocks])


def _padded_distances(atlas: EstimatedAtlas, queries: np.ndarray) -> np.ndarray:
    # Blocks of one size, so that every sample is served by one compiled program.
    padded = np.resize(queries, (_QUERIES, queries.shape[1]))
    return distances_to(atlas, padded)[: len(queries)]


def choose_degree(points: Data, dim: int, *, key: Key) -> CrossFit:
    """The lowest degree whose median held-out distance is within 5 % of the best, among those the points suffice for.

    Degrees are tried from the lowest; once the distance is below 1 % of the spacing there is nothing left to gain. The
    halves make the choice a little too cautious for the whole sample.
    """
    train, test = halves(points, key)
    enough = _RESOLVED * spacing(points)
    errors = {}
    for degree in _admissible(train, dim):
        error = float(np.median(held_out_distances(train, test[:_QUERIES], dim, degree)))
        if np.isfinite(error):
            errors[degree] = error
        if error <= enough:
            break
    if not errors:
        return CrossFit(1, errors)
    best = min(errors.values())
    return CrossFit(min(p for p, e in errors.items() if e * _WORTH_A_DEGREE <= best), errors)


def _admissible(train: np.ndarray, dim: int) -> list[int]:
    return [p for p in _DEGREES if p == 1 or 4 * default_neighbours(dim, p) <= len(train)]
