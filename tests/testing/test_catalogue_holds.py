"""The laws hold on what the package has: in one precision each, and in both for a few that take longer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import estimators, geometry, measures, scores, testing


def ring(size):
    """Points on the unit circle."""
    t = 2 * np.pi * np.random.default_rng(0).random(size)
    return np.stack([np.cos(t), np.sin(t)], -1)


def oval(u):
    """An ellipse by its angle."""
    return jnp.stack([2 * jnp.cos(u[0]), jnp.sin(u[0])])


def torus_at(u):
    """The torus of radii 1 and .4, by its angles."""
    size = 1 + 0.4 * jnp.cos(u[1])
    return jnp.stack([size * jnp.cos(u[0]), size * jnp.sin(u[0]), 0.4 * jnp.sin(u[1])])


def test_a_torus():
    report = testing.check_manifold(geometry.Torus, dtype="float32")
    assert len([f for f in report.findings if f.outcome == "holds"]) == 26


@pytest.mark.slow
def test_a_measure():
    assert not testing.check_measure(lambda: measures.VonMisesFisher([0.0, 0.6, 0.8], 10.0), dtype="float32").broken


def test_a_score_of_data():
    data = ring(100)
    score = lambda: scores.KernelScore(jnp.asarray(data, dtype=float))  # noqa: E731
    assert not testing.check_score(score, data=data, is_gradient=True, dtype="float32").broken


@pytest.mark.slow
def test_an_estimator():
    coarse = estimators.coarse_diffusion(1, 3, steps=24)
    report = testing.check_estimator(coarse, ring(200), manifold=geometry.Sphere(1), count=256, dtype="float32")
    assert not report.broken


@pytest.mark.slow
def test_an_atlas_estimated_from_data_with_a_budget_of_its_own():
    """Its projection jumps where the neighbours change, by the error of the fit."""
    data = ring(400)
    atlas = lambda: geometry.fit_atlas(jnp.asarray(data, dtype=float), 1, 2)  # noqa: E731
    options = {"distance": 0.1, "dtype": "float64"}
    assert not testing.check_manifold(atlas, data, budget=1e-3, **options).broken
    with pytest.raises(AssertionError, match="chart maps into the manifold"):
        testing.check_manifold(atlas, data, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda: geometry.Sphere(2),
        lambda: geometry.Ellipsoid((1.0, 1.5, 2.0)),
        lambda: geometry.from_embedding(oval, [(0, 2 * np.pi)], "wrap"),
        lambda: geometry.from_embedding(torus_at, [(0, 2 * np.pi), (-np.pi, np.pi)], "wrap"),
    ],
    ids=["sphere", "ellipsoid", "curve from an embedding", "surface from an embedding"],
)
def test_manifolds_in_both_precisions(make):
    assert not testing.check_manifold(make).broken


@pytest.mark.slow
def test_a_level_set_in_both_precisions():
    axes = np.asarray([1.0, 1.5, 2.0])
    directions = np.asarray(jax.random.normal(jax.random.key(0), (32, 3)))
    points = axes * directions / np.linalg.norm(directions, axis=1, keepdims=True)

    def surface():
        return geometry.from_equations(lambda x: jnp.sum((x / jnp.asarray(axes, x.dtype)) ** 2) - 1, 3)

    assert not testing.check_manifold(surface, points, distance=0.15).broken
