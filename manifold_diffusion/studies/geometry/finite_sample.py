"""G9: the score of N data against that of their law: where it errs along M and where across."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion._types import Key, Points
from manifold_diffusion.evaluation import unit_ball_volume
from manifold_diffusion.geometry import Sphere
from manifold_diffusion.measures import Uniform, draw
from manifold_diffusion.scores import KernelScore, VonMisesFisherScore
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Grid, Number, Scale
from manifold_diffusion.studies.geometry.laws import GEOMETRY, PAPER

_QUERIES, _WEIGHED = 500, 200
_ABOVE = {1: 16_384, 2: 131_072}


@jax.jit
def _errors(data: Points, queries: Points, sigma):
    """Root mean squares of the parts of D_N - D along and across the unit sphere, at points on it."""
    empirical = KernelScore(data)
    exact = VonMisesFisherScore(jnp.eye(data.shape[1], dtype=data.dtype)[0], jnp.zeros((), data.dtype))

    def parts(x):
        gap = empirical.denoise(x, sigma) - exact.denoise(x, sigma)
        across = jnp.sum(gap * x)
        return jnp.sum((gap - across * x) ** 2), across**2

    along, across = jax.vmap(parts)(queries)
    return jnp.sqrt(jnp.mean(along)), jnp.sqrt(jnp.mean(across))


@jax.jit
def _effective_size(data: Points, queries: Points, sigma):
    """The mean of 1 / sum p_i^2 over the queries, p_i the weights of the data in the posterior."""

    def one(x):
        gaps = data - x[None]
        p = jax.nn.softmax(-jnp.sum(gaps * gaps, axis=1) / (2 * sigma**2))
        return 1 / jnp.sum(p * p)

    return jnp.mean(jax.lax.map(one, queries, batch_size=8))


def _measure(key: Key, sigma: Number, size: Number, dim: int) -> dict[str, float]:
    data_key, query_key = jax.random.split(key)
    law = Uniform(Sphere(dim))
    data, queries = draw(law.sample, data_key, int(size)), draw(law.sample, query_key, _QUERIES)
    along, across = _errors(data, queries, jnp.asarray(sigma, data.dtype))
    return {"tangential": float(along), "normal": float(across)}


def _in_sigma(key: Key, sigma: Number, *, dim: int):
    return {"empirical": _measure(key, sigma, _ABOVE[dim], dim)}


def _in_size(key: Key, size: Number, *, dim: int, sigma: float):
    return {"empirical": _measure(key, sigma, size, dim)}


def _weights(key: Key, size: Number, *, dim: int, sigma: float):
    data_key, query_key = jax.random.split(key)
    law = Uniform(Sphere(dim))
    data, queries = draw(law.sample, data_key, int(size)), draw(law.sample, query_key, _WEIGHED)
    found = float(_effective_size(data, queries, jnp.asarray(sigma, data.dtype)))
    expected = size / float(law.manifold.volume()) * (4 * np.pi * sigma**2) ** (dim / 2)
    return {"empirical": {"effective size / expected": found / expected}}


def collapse_level(dim: int, size: Number) -> float:
    """exp((H - log N) / k) / sqrt(2 pi e) for the uniform law of S^k, whose entropy H is the log of its volume."""
    volume = (dim + 1) * unit_ball_volume(dim + 1)
    return float((volume / size) ** (1 / dim) / np.sqrt(2 * np.pi * np.e))


def _grids(sizes: dict[str, tuple[Number, ...]], replicates: int) -> dict[Scale, Grid]:
    # The gpu scale repeats more.
    return {
        "smoke": Grid(sizes["smoke"], max(replicates // 2, 3)),
        "cpu": Grid(sizes["cpu"], replicates),
        "gpu": Grid(sizes["cpu"], 4 * replicates),
    }


_SIGMAS = {1: (0.02, 0.03, 0.045, 0.07), 2: (0.08, 0.11, 0.15, 0.2)}
_REPLICATES = {1: 48, 2: 24}
_AT = {1: 0.13, 2: 0.17}
_SIZES: tuple[Number, ...] = (1000, 4000, 16_000)


def _all(dim: int) -> tuple[Experiment, ...]:
    methods = ("empirical",)
    above = {"smoke": _SIGMAS[dim], "cpu": _SIGMAS[dim]}
    return (
        Experiment(
            f"S^{dim}, above", partial(_in_sigma, dim=dim), methods, _grids(above, _REPLICATES[dim]), size_name="sigma"
        ),
        Experiment(
            f"S^{dim}, above, in N",
            partial(_in_size, dim=dim, sigma=_AT[dim]),
            methods,
            _grids({"smoke": _SIZES, "cpu": _SIZES}, 24),
        ),
        Experiment(
            f"S^{dim}, below, in N",
            partial(_in_size, dim=dim, sigma=1e-6),
            methods,
            _grids({"smoke": _SIZES[:2], "cpu": _SIZES}, 32),
        ),
    )


G9 = Claim(
    id="G9",
    group=GEOMETRY,
    title="finite sample",
    statement=(
        "Above the collapse scale sigma^2 times the error of the empirical score is sigma^{1-k/2} along M and "
        "sigma^{2-k/2} across, times N^{-1/2}; below, N^{-1/k} and N^{-2/k}."
    ),
    source=PAPER + "; the exponents derived",
    experiments=(
        *_all(1),
        *_all(2),
        Experiment(
            "effective sample size",
            partial(_weights, dim=1, sigma=0.05),
            ("empirical",),
            _grids({"smoke": (40_000,), "cpu": (40_000, 100_000)}, 6),
        ),
    ),
    checks=(
        *(
            check
            for k in (1, 2)
            for check in (
                Check(f"S^{k}, above", "empirical", "tangential", "slope", 1 - k / 2, 0.07, smoke_tolerance=0.15),
                Check(f"S^{k}, above", "empirical", "normal", "slope", 2 - k / 2, 0.07, smoke_tolerance=0.15),
                Check(f"S^{k}, above, in N", "empirical", "tangential", "slope", -0.5, 0.07, smoke_tolerance=0.15),
                Check(f"S^{k}, above, in N", "empirical", "normal", "slope", -0.5, 0.07, smoke_tolerance=0.15),
                Check(f"S^{k}, below, in N", "empirical", "tangential", "slope", -1 / k, 0.07, smoke_tolerance=0.15),
                Check(f"S^{k}, below, in N", "empirical", "normal", "slope", -2 / k, 0.07, smoke_tolerance=0.15),
            )
        ),
        Check("effective sample size", "empirical", "effective size / expected", "mean", 1.0, 0.02),
    ),
)
