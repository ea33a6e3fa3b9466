"""What the manifold of a score looks like: its points, tangent spaces and curvatures over a sample, with intervals."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from manifold_diffusion._numerics import chunked_map
from manifold_diffusion._types import Points, Scalar, Score
from manifold_diffusion.evaluation.readout import extrapolated_denoiser, score_second_form
from manifold_diffusion.evaluation.sample import Interval
from manifold_diffusion.evaluation.score_dimension import mean_interval

_CHUNK = 1024


class ScoreShape(NamedTuple):
    """The geometry at n points, and means over them with 95 % intervals over points.

    feet (n, d), frames (n, d, k), second_forms (n, k, k, d), mean_curvature_vectors (n, d), the traces of the forms
    mean_curvature      the mean of their lengths |H|: k / R on a sphere of radius R
    scalar_curvature    the mean of |H|^2 - |II|^2 (Gauss' equation): k (k - 1) / R^2 on a sphere, 0 on curves
    non_finite          at how many points something was not finite; they are left out of the means
    """

    feet: np.ndarray
    frames: np.ndarray
    second_forms: np.ndarray
    mean_curvature_vectors: np.ndarray
    mean_curvature: Interval
    scalar_curvature: Interval
    non_finite: int


def score_shape(score: Score, points: Points, sigma: Scalar | float, dim: int, order: int = 2) -> ScoreShape:
    """Projection, tangent space and second fundamental form at points near the manifold, from the score alone.

    One program for all points; `order` as in `score_second_form`. The intervals cover points, not the error in sigma.
    """
    x = jnp.asarray(points)
    feet, frames, forms = (np.asarray(a) for a in _shapes(score, x, jnp.asarray(sigma, x.dtype), dim, order))
    vectors = np.trace(forms, axis1=1, axis2=2)
    lengths = np.linalg.norm(vectors, axis=1)
    scalars = lengths**2 - np.sum(forms**2, axis=(1, 2, 3))
    finite = np.isfinite(scalars) & np.isfinite(feet).all(axis=1)
    means = (mean_interval(np.asarray(v[finite], np.float64)) for v in (lengths, scalars))
    return ScoreShape(feet, frames, forms, vectors, *means, non_finite=int(np.sum(~finite)))


@eqx.filter_jit
def _shapes(score: Score, points: Points, sigma: Scalar, dim: int, order: int):
    def at(x):
        foot = extrapolated_denoiser(score, order)(x, sigma)
        return foot, *score_second_form(score, foot, sigma, dim, order)

    return chunked_map(at, points, _CHUNK)
