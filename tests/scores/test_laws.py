"""Laws of scores, on every score of the catalogue: Tweedie's formula, potentials, batches and precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import scores
from manifold_diffusion.geometry import Torus
from tests.catalogue import SCORES, cloud

SIGMA = 0.375  # which float32 holds exactly
SLOWEST = {"expansion", "Monte Carlo"}
"""Scores whose programs take longest to compile; they have quick tests of their own."""
every_score = pytest.mark.parametrize(
    "make",
    [pytest.param(make, marks=pytest.mark.slow) if name in SLOWEST else make for name, make in SCORES.items()],
    ids=SCORES,
)


def points(dtype):
    """A few points of R^3 near the data and the manifolds of the catalogue, which float32 holds exactly."""
    rng = np.random.default_rng(2)
    angles = 2 * np.pi * rng.random(6)
    ring = np.stack([np.cos(angles), np.sin(angles), 0 * angles], -1) + 0.2 * rng.standard_normal((6, 3))
    return ring.astype(np.float32).astype(dtype)


@functools.cache
def batch(make, dtype):
    """The score and the denoiser at `points`, compiled and batched."""
    with jax.enable_x64(dtype == "float64"):
        score, x, sigma = make(), jnp.asarray(points(dtype)), jnp.asarray(SIGMA, dtype)
        denoise = scores.denoiser(score)
        both = jax.jit(jax.vmap(lambda x: (score(x, sigma), denoise(x, sigma))))(x)
        assert all(values.dtype == dtype for values in both)
        return tuple(np.asarray(values) for values in both)


@every_score
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_denoiser_and_score_obey_tweedie(make, dtype):
    """D = x + sigma^2 score, with a denoiser that most scores code apart."""
    score, denoised = batch(make, dtype)
    tolerance = 1e-12 if dtype == "float64" else 2e-6
    np.testing.assert_allclose(denoised, points(dtype) + SIGMA**2 * score, atol=tolerance)


@every_score
def test_a_batch_is_its_points(make):
    score = make()
    single = score(jnp.asarray(points("float32")[2]), jnp.asarray(SIGMA))
    np.testing.assert_allclose(single, batch(make, "float32")[0][2], rtol=2e-5, atol=2e-5)


@every_score
def test_float32_stays_within_its_budget_of_float64(make):
    """In units of sigma for the denoiser, which is what a sampler moves by."""
    rounded, exact = batch(make, "float32")[1], batch(make, "float64")[1]
    np.testing.assert_allclose(rounded, exact, atol=2e-4 * SIGMA)


@every_score
def test_a_score_is_the_gradient_of_its_log_density(make, x64):
    """By central differences, where there is a log density."""
    score = make()
    if not hasattr(score, "log_density"):
        pytest.skip("no log density")
    log_density = jax.jit(jax.vmap(lambda x: score.log_density(x, jnp.asarray(SIGMA))))
    x, step = jnp.asarray(points("float64")), 1e-5
    gradient = [(log_density(x + step * e[None]) - log_density(x - step * e[None])) / (2 * step) for e in jnp.eye(3)]
    np.testing.assert_allclose(np.stack(gradient, -1), jax.vmap(lambda x: score(x, SIGMA))(x), atol=1e-6)


def test_a_switch_is_each_of_its_parts():
    switch, below, above = SCORES["switch"](), scores.ProjectionScore(Torus()), scores.KernelScore(cloud())
    x = jnp.asarray(points("float32")[0])
    for sigma, part in ((0.1, below), (0.3, above), (0.5, above)):
        here, there = switch(x, jnp.float32(sigma)), part(x, jnp.float32(sigma))
        np.testing.assert_allclose(here, there, rtol=1e-6)
