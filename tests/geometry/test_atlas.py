"""The estimated atlas: exact on polynomials, and its rates on a smooth manifold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion.geometry import (
    Embedded,
    Torus,
    fit_atlas,
    fit_chart,
    mean_curvature_vector,
    random_frame,
)
from manifold_diffusion.geometry.atlas import monomial_derivatives, monomials
from manifold_diffusion.measures import draw


def _graph(u, degree):
    return np.concatenate([u, (u**degree).sum(axis=1, keepdims=True) - 0.3 * u[:, :1]], axis=1)


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_charts_reproduce_polynomial_graphs_over_their_plane(degree, x64):
    """A graph over the plane that local PCA finds is fitted exactly; degree p - 1 is not."""
    rng = np.random.default_rng(degree)
    u = rng.uniform(-1, 1, size=(4000, 1))
    u = np.concatenate([u, -u])
    height = u**degree if degree % 2 == 0 else 0 * u
    points = jnp.asarray(np.concatenate([u, height], axis=1))
    chart = fit_chart(points, points[0], 1, degree)
    inside = jax.vmap(lambda x: chart.embed(chart.coordinates(x)))(points)
    np.testing.assert_allclose(inside, points, atol=1e-10)
    if degree in (2, 4):
        coarser = fit_chart(points, points[0], 1, degree - 1)
        assert jnp.max(jnp.abs(jax.vmap(lambda x: coarser.embed(coarser.coordinates(x)))(points) - points)) > 1e-2


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_the_distance_to_the_manifold_falls_at_its_rate(degree, x64, key):
    torus = Torus(1.0, 0.5)
    sizes, errors = (4000, 16_000, 64_000), []
    for size in sizes:
        data = draw(torus.uniform, jax.random.fold_in(key, size), size)
        noise = jax.random.normal(key, (1500, 3)) * size**-0.5
        projected = fit_atlas(data, 2, degree).project_all(data[:1500] + noise)
        errors.append(float(jnp.mean(jnp.linalg.norm(projected - jax.vmap(torus.project)(projected), axis=1))))
    slopes = np.diff(np.log(errors)) / np.diff(np.log(sizes))
    np.testing.assert_allclose(slopes, -(degree + 1) / 2, atol=0.15)


def test_project_all_is_project_on_each(x64, key):
    data = draw(Torus().uniform, key, 500)
    atlas = fit_atlas(data, 2, 2)
    points = data[:30] + 0.05
    np.testing.assert_allclose(atlas.project_all(points), jax.jit(jax.vmap(atlas.project))(points), atol=1e-10)


def test_float32_stays_within_its_budget_of_float64(key):
    with jax.enable_x64(True):
        data = draw(Torus().uniform, jax.random.key(0), 4000)
        points = data[:200] + 0.02
        exact = np.asarray(fit_atlas(data, 2, 3).project_all(points))
    single = fit_atlas(jnp.asarray(np.asarray(data), jnp.float32), 2, 3)
    rough = np.asarray(single.project_all(jnp.asarray(np.asarray(points), jnp.float32)))
    assert np.median(np.linalg.norm(rough - exact, axis=1)) < 1e-6
    assert np.linalg.norm(rough - exact, axis=1).max() < 1e-4


@pytest.mark.parametrize("ambient", [10, 60])
def test_more_ambient_dimensions_change_nothing(ambient, x64, key):
    """Up to D = 16 a tree searches, above it blocks; above D = neighbours the smaller Gram matrix is used."""
    torus = Torus()
    data = draw(torus.uniform, key, 1000)
    copy = Embedded(torus, random_frame(jax.random.key(1), ambient, 3))
    points = data[:50] + 0.03
    flat = fit_atlas(data, 2, 2).project_all(points)
    high = fit_atlas(jax.vmap(copy.outside)(data), 2, 2).project_all(jax.vmap(copy.outside)(points))
    np.testing.assert_allclose(jax.vmap(copy.inside)(high), flat, atol=1e-9)


@pytest.mark.slow
def test_curvature_is_read_off_the_fitted_charts(x64, key):
    torus = Torus(1.0, 0.5)
    data = draw(torus.uniform, key, 64_000)
    atlas = fit_atlas(data, 2, 4)

    def curvature(x):
        chart = atlas.chart(x)
        return mean_curvature_vector(chart, chart.foot(x))

    def exact(x):
        return mean_curvature_vector(torus.chart(x), jnp.zeros(2))

    np.testing.assert_allclose(jax.vmap(curvature)(data[:50]), jax.vmap(exact)(data[:50]), atol=0.02)


def test_points_far_from_the_data_go_to_the_edge_of_a_chart_and_stay_finite(key):
    data = draw(Torus().uniform, key, 500)
    projected = fit_atlas(data, 2, 4).project_all(100 * jax.random.normal(key, (50, 3)))
    assert bool(jnp.all(jnp.isfinite(projected)))
    assert float(jnp.max(jnp.abs(projected))) < 3


def test_duplicated_points_leave_the_fit_finite():
    points = jnp.tile(jnp.asarray([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]), (30, 1))
    assert bool(jnp.all(jnp.isfinite(fit_atlas(points, 2, 2).project_all(points))))


@pytest.mark.parametrize(
    ("dim", "degree", "neighbours", "message"),
    [
        (3, 1, None, "below the ambient dimension"),
        (2, 0, None, "degree must be at least 1"),
        (2, 2, 5, "more than 5 neighbours"),
        (2, 4, None, "bring more data"),
    ],
)
def test_misuse_is_refused(dim, degree, neighbours, message):
    with pytest.raises(ValueError, match=message):
        fit_atlas(jnp.zeros((40, 3)), dim, degree, neighbours)


@pytest.mark.parametrize(("dim", "degree"), [(1, 4), (2, 3), (3, 2)])
def test_derivatives_of_monomials_are_those_of_autodiff(x64, key, dim, degree):
    u = jax.random.normal(key, (dim,))
    first, second = monomial_derivatives(monomials(u, degree), dim, degree)
    slope = jax.jacfwd(lambda v: monomials(v, degree))
    np.testing.assert_allclose(first, slope(u).T, atol=1e-12)
    np.testing.assert_allclose(second, jnp.moveaxis(jax.jacfwd(slope)(u), 0, -1), atol=1e-12)
