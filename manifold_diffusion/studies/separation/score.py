"""S10: the error of a score at noise level sigma, where both papers meet."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion._types import Key, Points
from manifold_diffusion.measures import VonMisesFisher, draw
from manifold_diffusion.scores import KernelScore, VonMisesFisherScore
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Grid, Number
from manifold_diffusion.studies.gallery import separation_figure
from manifold_diffusion.studies.separation.coarse import PAPER, SEPARATION, atlases, sample

_DIRECTION, _CONCENTRATION = (0.0, 0.6, 0.8), 1.0
_DEGREES = (1, 3)
_QUERIES = 2000


def _law() -> VonMisesFisher:
    return VonMisesFisher(jnp.asarray(_DIRECTION), _CONCENTRATION)


def score_errors(key: Key, data: Points, sigma: Number, degrees: tuple[int, ...]) -> dict[str, float]:
    """sigma^2 times the L2(p_sigma) error of the score, which is that of the denoiser, of the memoriser and of coarse
    scores.
    """
    datum_key, noise_key = jax.random.split(key)
    fresh = draw(_law().sample, datum_key, _QUERIES)
    points = fresh + sigma * jax.random.normal(noise_key, fresh.shape, fresh.dtype)
    level = jnp.asarray(sigma, points.dtype)
    exact = _denoise_exactly(points, level)
    guesses = {"memoriser": _denoise_empirically(KernelScore(data), points, level)}
    for degree, atlas in atlases(data, 2, degrees).items():
        guesses[f"coarse p={degree}"] = atlas.project_all(points)
    return {
        name: float(np.sqrt(np.mean(np.sum(np.asarray(guess - exact) ** 2, axis=1)))) for name, guess in guesses.items()
    }


@jax.jit
def _denoise_exactly(points: Points, sigma: jax.Array) -> Points:
    score = VonMisesFisherScore(jnp.asarray(_DIRECTION), _CONCENTRATION)
    return jax.vmap(lambda x: score.denoise(x, sigma))(points)


@jax.jit
def _denoise_empirically(score: KernelScore, points: Points, sigma: jax.Array) -> Points:
    return jax.vmap(lambda x: score.denoise(x, sigma))(points)


def _plateau(key: Key, size: Number):
    """The error at sigma = 1e-4, where the density term is 1e-8 and only geometry and data are left."""
    data_key, query_key = jax.random.split(key)
    errors = score_errors(query_key, sample(_law(), data_key, size), 1e-4, _DEGREES)
    return {name: {"error": error} for name, error in errors.items()}


def _curve(key: Key, sigma: float, *, sizes: tuple[int, ...]):
    """The error against sigma at fixed sizes."""
    outcome = {}
    for size in sizes:
        data_key, query_key = jax.random.split(jax.random.fold_in(key, size))
        errors = score_errors(query_key, sample(_law(), data_key, size), sigma, (3,))
        outcome |= {f"{name} N={size}": {"error": error} for name, error in errors.items()}
    return outcome


_METHODS = ("memoriser", *(f"coarse p={p}" for p in _DEGREES))
_CURVE_SIZES = (1024, 16_384)
_LEVELS = tuple(float(s) for s in np.geomspace(1e-4, 1.0, 13))
_SMOKE_LEVELS = (0.001, 0.01, 0.1, 0.2, 0.4)

S10 = Claim(
    id="S10",
    group=SEPARATION,
    title="score error",
    statement=(
        "sigma^2 times the score error levels off at N^{-1/k} for the memoriser and N^{-(p+1)/k} for the "
        "coarse score; above, the density term sigma^2."
    ),
    source=PAPER + "; When Scores Learn Geometry, arXiv 2509.24912",
    experiments=(
        Experiment(
            "plateau",
            _plateau,
            _METHODS,
            {
                "smoke": Grid((1000, 4000), 3),
                "cpu": Grid((1000, 4000, 16_000, 64_000), 4),
                "gpu": Grid((1000, 4000, 16_000, 64_000, 256_000), 10),
            },
        ),
        Experiment(
            "curve",
            partial(_curve, sizes=_CURVE_SIZES),
            tuple(f"{method} N={size}" for size in _CURVE_SIZES for method in ("memoriser", "coarse p=3")),
            {"smoke": Grid(_SMOKE_LEVELS, 3), "cpu": Grid(_LEVELS, 3), "gpu": Grid(_LEVELS, 10)},
            size_name="sigma",
        ),
    ),
    checks=(
        Check("plateau", "memoriser", "error", "slope", -0.5, 0.05, smoke_tolerance=0.1),
        Check("plateau", "coarse p=1", "error", "slope", -1.0, 0.05, smoke_tolerance=0.15),
        Check("plateau", "coarse p=3", "error", "slope", -2.0, 0.05, smoke_tolerance=0.3),
        Check(
            "curve",
            "coarse p=3 N=16384",
            "error",
            "slope",
            2.0,
            0.05,
            min_size=0.025,
            max_size=0.25,
            smoke_tolerance=0.2,
        ),
    ),
    figure=separation_figure,
)
