"""Manifolds of several charts: a sphere by its two stereographic charts, against the sphere in closed form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from manifold_diffusion import geometry, measures


def stereographic(sign):
    """From the pole sign e_3."""

    def embed(u):
        square = jnp.sum(u * u)
        return jnp.stack([2 * u[0], 2 * u[1], sign * (1 - square)]) / (1 + square)

    return embed


MAPS, DOMAINS = [stereographic(1.0), stereographic(-1.0)], [[(-1.4, 1.4)] * 2] * 2


@functools.cache
def sphere():
    with jax.enable_x64(True):
        return geometry.from_embedding(MAPS, DOMAINS, grid=24)


@functools.cache
def looked_at():
    """Everything about random points near the sphere, compiled once."""
    z = np.random.default_rng(0).standard_normal((200, 3))
    x = z / np.linalg.norm(z, axis=1, keepdims=True) * np.random.default_rng(1).uniform(0.7, 1.4, (200, 1))
    with jax.enable_x64(True):
        manifold = sphere()

        def look(x):
            y = manifold.project(x)
            chart = manifold.chart(y)
            u = chart.coordinates(y)
            moved = u + 0.1
            back = chart.coordinates(chart.embed(moved)) - moved
            projector = jax.vmap(lambda v: manifold.tangent(y, v))(jnp.eye(3))
            return y, manifold.partition(y), chart.embed(u), back, projector, geometry.gauss_curvature(chart, moved)

        return x, *(np.asarray(a) for a in jax.jit(jax.vmap(look))(jnp.asarray(x)))


@pytest.mark.slow
def test_projection_tangents_charts_and_curvature_are_those_of_the_sphere():
    x, y, _, centre, back, projector, curvature = looked_at()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(y, unit, atol=1e-10)
    np.testing.assert_allclose(centre, unit, atol=1e-10)
    np.testing.assert_allclose(back, 0, atol=1e-10)
    np.testing.assert_allclose(projector, np.eye(3) - unit[:, :, None] * unit[:, None, :], atol=1e-10)
    np.testing.assert_allclose(curvature, 1, atol=1e-8)


def test_the_partition_adds_up_to_one_and_both_charts_take_part():
    shares = looked_at()[2]
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-12)
    assert np.all(shares >= 0)
    assert np.mean((shares > 0.05).all(1)) > 0.1
    assert np.mean(shares[:, 0] == 0) > 0.05  # near the pole that the first chart does not reach


@pytest.mark.slow
def test_integrals_converge_faster_than_any_power(x64):
    errors = []
    for order in (16, 32, 64):
        points, weights = sphere().quadrature(order)
        integrals = jnp.stack([jnp.sum(weights), jnp.sum(weights * points[:, 2] ** 4), jnp.sum(weights * points[:, 2])])
        errors.append(float(jnp.max(jnp.abs(integrals - jnp.asarray([4 * np.pi, 4 * np.pi / 5, 0.0])))))
    # The order itself grows: 4.9 from 16 to 32 and 11 from 32 to 64.
    first, second = np.log2(errors[0] / errors[1]), np.log2(errors[1] / errors[2])
    assert second > 2 * first > 8


@pytest.mark.slow
def test_uniform_points_are_uniform(key):
    manifold = geometry.from_embedding(MAPS, DOMAINS, grid=24)
    points = np.asarray(measures.draw(manifold.uniform, key, 4000), float)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-5)
    for share in (
        (points[:, 2] + 1) / 2,
        (points[:, 0] + 1) / 2,
        np.arctan2(points[:, 1], points[:, 0]) / 2 / np.pi + 0.5,
    ):
        counts = np.histogram(np.clip(share, 0, 1), bins=20, range=(0, 1))[0]
        assert stats.chisquare(counts).pvalue > 1e-4


def test_charts_that_leave_a_gap_are_refused_and_it_is_said_where():
    with pytest.raises(ValueError, match=r"do not cover the manifold: chart 0 ends at u = \(-0.7, -0.7\), x = \("):
        geometry.from_embedding(MAPS, [[(-0.7, 0.7)] * 2] * 2, grid=24)
    with pytest.raises(ValueError, match="2 charts need as many domains"):
        geometry.from_embedding(MAPS, DOMAINS[:1])
    with pytest.raises(ValueError, match="agree in their dimensions"):
        geometry.from_embedding(
            [MAPS[0], lambda u: jnp.stack([jnp.cos(u[0]), jnp.sin(u[0]), 0 * u[0]])],
            [DOMAINS[0], [(0.0, 3.0)]],
            grid=24,
        )
