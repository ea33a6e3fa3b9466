"""G11: dimension, tangent space and curvature, read out of a score."""

import functools
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot
from manifold_diffusion._types import Key, Point, Points, Scalar, Score
from manifold_diffusion.evaluation import (
    denoiser_spectrum,
    denoising_dimension,
    flipd,
    gap_dimension,
    score_first_order,
    score_tangent_space,
)
from manifold_diffusion.geometry import (
    Sphere,
    Torus,
    mean_curvature_vector,
    principal_curvatures,
    random_frame,
    tangent_frame,
)
from manifold_diffusion.measures import draw
from manifold_diffusion.scores import KernelScore, QuadratureScore, VonMisesFisherScore, population_score
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Grid, Number, Scale
from manifold_diffusion.studies.geometry.finite_sample import collapse_level
from manifold_diffusion.studies.geometry.laws import GEOMETRY, PAPER, levels

_READ_OUTS = "singular values: arXiv 2212.12611; FLIPD: arXiv 2406.03537; Jacobian: " + PAPER + " (derived)"
_POINTS, _SAMPLE = 64, 4000


class InSubspace(eqx.Module):
    """The score of the image of a law under x -> F x, F orthonormal columns: D(x) = F D_0(F^T x)."""

    score: Score
    frame: Float[Array, "D d"]

    def __call__(self, x: Point, sigma: Scalar) -> Point:
        """(D - x) / sigma^2."""
        return (self.denoise(x, sigma) - x) / sigma**2

    def denoise(self, x: Point, sigma: Scalar) -> Point:
        """F D_0(F^T x, sigma)."""
        inner = dot(self.frame.T, x)
        return dot(self.frame, inner + sigma**2 * self.score(inner, sigma))


def _sphere_score(k: int) -> VonMisesFisherScore:
    return VonMisesFisherScore(jnp.eye(k + 1)[0], 1.0)


@functools.cache
def _case(name: str) -> tuple[InSubspace, Points]:
    """A score and points on its manifold, in the precision of the study."""
    key = jax.random.key(3)
    if name == "torus in R^16":
        torus, ambient = Torus(1.0, 0.5), 16
        score, points = population_score(torus, lambda x: x[0] / 2, 160), draw(torus.uniform, key, _POINTS)
    else:
        k, ambient = (2, 10) if name == "S^2 in R^10" else (5, 20)
        score, points = _sphere_score(k), draw(Sphere(k).uniform, key, _POINTS)
    frame = random_frame(jax.random.key(4), ambient, points.shape[1])
    return InSubspace(score, frame), dot(points, frame.T)


@eqx.filter_jit
def _dimensions(score: Score, points: Points, sigma: Scalar, keys) -> dict[str, Array]:
    return {
        "FLIPD": jax.vmap(lambda x: flipd(score, x, sigma))(points),
        "singular values": jax.vmap(lambda x, key: gap_dimension(score, x, sigma, key))(points, keys),
        "denoising loss": jax.vmap(lambda x, key: denoising_dimension(score, x, sigma, key, 64))(points, keys),
    }


def _exact(key: Key, sigma: Number, *, name: str, dim: int):
    score, points = _case(name)
    found = _dimensions(score, points, jnp.asarray(sigma), jax.random.split(key, len(points)))
    return {
        method: {
            "dimension / k": float(np.mean(values)) / dim,
            "rounds to k": float(np.mean(np.round(np.asarray(values)) == dim)),
            "non_finite": int(np.sum(~np.isfinite(np.asarray(values)))),
        }
        for method, values in found.items()
    }


def _empirical(key: Key, multiple: Number):
    """FLIPD of the score of 4000 points of S^2 in R^10, at multiples of the collapse scale."""
    data_key, fresh_key, frame_key = jax.random.split(key, 3)
    frame = random_frame(frame_key, 10, 3)
    data, fresh = (dot(draw(Sphere(2).uniform, k, n), frame.T) for k, n in ((data_key, _SAMPLE), (fresh_key, _POINTS)))
    sigma = jnp.asarray(multiple * collapse_level(2, _SAMPLE))
    score = KernelScore(data)
    found = {where: _flipd(score, points, sigma) for where, points in (("data", data[:_POINTS]), ("fresh", fresh))}
    return {where: {"FLIPD": float(np.median(values))} for where, values in found.items()}


@eqx.filter_jit
def _flipd(score: Score, points: Points, sigma: Scalar) -> Array:
    return jax.vmap(lambda x: flipd(score, x, sigma))(points)


_OFFSET = 0.15


@functools.cache
def _torus() -> tuple[Torus, QuadratureScore, Points]:
    torus = Torus(1.0, 0.5)
    return torus, population_score(torus, lambda x: x[0] / 2, 256), draw(torus.uniform, jax.random.key(5), 32)


@eqx.filter_jit
def _shape_errors(torus: Torus, score: Score, points: Points, sigma: Scalar) -> dict[str, Array]:
    """The largest errors of the eigenvalues of the Jacobian off M, of the tangent plane and of H on M."""

    def errors(y):
        chart = torus.chart(y)
        u = chart.coordinates(y)
        frame, H = tangent_frame(chart, u), mean_curvature_vector(chart, u)
        normal = H / jnp.sqrt(jnp.sum(H * H))
        stretch = 1 / (1 - _OFFSET * principal_curvatures(chart, u, normal))
        values, _ = denoiser_spectrum(score, y + _OFFSET * normal, sigma, order=1)
        read = score_tangent_space(score, y, sigma, 2, order=1)
        missed = frame - dot(read, dot(read.T, frame))
        bend = score_first_order(score, y, sigma, 2, order=0).mean_curvature - H
        return {
            "eigenvalues": jnp.max(jnp.abs(values[:2] - jnp.sort(stretch)[::-1])),
            "tangent plane": jnp.sqrt(jnp.sum(missed * missed)),
            "H": jnp.sqrt(jnp.sum(bend * bend)),
        }

    return {name: jnp.max(e) for name, e in jax.lax.map(errors, points, batch_size=8).items()}


def _shape(key: Key, sigma: Number):
    torus, score, points = _torus()
    return {"exact": {k: float(v) for k, v in _shape_errors(torus, score, points, jnp.asarray(sigma)).items()}}


def _grids(smoke: bool) -> dict[Scale, Grid]:
    grids: dict[Scale, Grid] = {"cpu": Grid(_SIGMAS, 4), "gpu": Grid(_SIGMAS, 16)}
    if smoke:
        grids["smoke"] = Grid(_SIGMAS[1:2], 3)
    return grids


_SIGMAS, _SMALLEST = (0.03, 0.045, 0.06), "S^2 in R^10"
_CASES = {_SMALLEST: 2, "S^5 in R^20": 5, "torus in R^16": 2}
_METHODS = ("FLIPD", "singular values", "denoising loss")
_BELOW, _ABOVE, _WELL_ABOVE = 0.1, 3.0, 8.0
"""In collapse scales. A datum weighs itself more than others see it: there the read-out needs a larger noise level."""

G11 = Claim(
    id="G11",
    group=GEOMETRY,
    title="read-outs",
    statement=(
        "From a score: the dimension by singular values, FLIPD and the denoising loss, tangents and curvatures from "
        "the denoiser's Jacobian with error sigma^2; all break below sigma_c."
    ),
    source=_READ_OUTS,
    experiments=(
        *(
            Experiment(name, partial(_exact, name=name, dim=k), _METHODS, _grids(name == _SMALLEST), size_name="sigma")
            for name, k in _CASES.items()
        ),
        Experiment(
            "empirical score",
            _empirical,
            ("data", "fresh"),
            {
                "smoke": Grid((_BELOW, _WELL_ABOVE), 3),
                "cpu": Grid((_BELOW, 0.3, 0.5, 1.0, 2.0, _ABOVE, 4.0, 6.0, _WELL_ABOVE), 12),
                "gpu": Grid((_BELOW, 0.3, 0.5, 1.0, 2.0, _ABOVE, 4.0, 6.0, _WELL_ABOVE), 48),
            },
            size_name="sigma / sigma_c",
        ),
        Experiment("torus", _shape, ("exact",), levels(0.025, 0.07, smoke=0), size_name="sigma"),
    ),
    checks=(
        *(Check(name, "singular values", "rounds to k", "at_least", 1.0, 0.0) for name in _CASES),
        *(Check(name, m, "dimension / k", "mean", 1.0, 0.05) for name in _CASES for m in ("FLIPD", "denoising loss")),
        Check("empirical score", "data", "FLIPD", "mean", 2.0, 0.3, min_size=_WELL_ABOVE),
        Check("empirical score", "fresh", "FLIPD", "mean", 2.0, 0.3, min_size=_ABOVE),
        Check("empirical score", "data", "FLIPD", "at_most", 0.0, 0.2, max_size=_BELOW),
        Check("empirical score", "fresh", "FLIPD", "at_least", 20.0, 0.0, max_size=_BELOW),
        *(
            Check("torus", "exact", quantity, "slope", 2.0, 0.1, smoke_tolerance=0.2)
            for quantity in ("eigenvalues", "tangent plane", "H")
        ),
    ),
)
