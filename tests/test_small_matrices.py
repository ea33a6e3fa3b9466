"""The written-out linear algebra of small matrices against LAPACK, and that charts call no library for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion._small_matrices import (
    cholesky_rows,
    cholesky_solve,
    complement_columns,
    inverse_positive,
    orthonormal_columns,
    solve_positive,
)
from manifold_diffusion.evaluation.generated_law import hypersurface_frame
from manifold_diffusion.geometry import (
    Ellipsoid,
    Torus,
    christoffel,
    mean_curvature_vector,
    normal_frame,
    shape_operator,
    tangent_frame,
)

SHAPES = [(2, 1), (3, 2), (5, 5), (40, 4), (12, 8), (12, 9)]


@pytest.mark.parametrize(("d", "k"), SHAPES)
def test_orthonormal_columns_are_the_unique_factor_with_a_positive_diagonal(x64, key, d, k):
    matrix = jax.random.normal(key, (d, k))
    q = orthonormal_columns(matrix)
    oracle, r = np.linalg.qr(matrix)
    np.testing.assert_allclose(q, oracle * np.sign(np.diagonal(r)), atol=1e-13)


@pytest.mark.parametrize(("d", "k"), SHAPES)
def test_complement_completes_the_columns_to_an_orthogonal_matrix(x64, key, d, k):
    matrix = jax.random.normal(key, (d, k))
    whole = jnp.concatenate([orthonormal_columns(matrix), complement_columns(matrix)], axis=1)
    np.testing.assert_allclose(whole.T @ whole, np.eye(d), atol=1e-13)


def test_columns_stay_orthonormal_where_the_matrix_is_singular(x64):
    for matrix in (jnp.zeros((4, 2)), jnp.ones((4, 2)), jnp.eye(4)[:, 1:3], -jnp.eye(4)[:, :2] * 1e-160):
        q = orthonormal_columns(matrix)
        np.testing.assert_allclose(q.T @ q, np.eye(2), atol=1e-14)


def test_orthonormal_columns_lose_nothing_to_bad_condition():
    matrix = jnp.asarray([[1.0, 1.0], [1e-4, 0.0], [0.0, 1e-4]], jnp.float32)
    q = orthonormal_columns(matrix)
    np.testing.assert_allclose(q.T @ q, np.eye(2), atol=8 * np.finfo(np.float32).eps)


def test_orthonormal_columns_have_the_derivative_of_the_factorisation(x64, key):
    matrix, direction = jax.random.normal(key, (2, 4, 2))
    _, slope = jax.jvp(orthonormal_columns, (matrix,), (direction,))
    h = 1e-6
    difference = (orthonormal_columns(matrix + h * direction) - orthonormal_columns(matrix - h * direction)) / (2 * h)
    np.testing.assert_allclose(slope, difference, atol=1e-8)


@pytest.mark.parametrize("k", [1, 2, 4, 9])
def test_positive_systems_are_solved(x64, key, k):
    root = jax.random.normal(key, (k, k))
    matrix, right = root @ root.T + jnp.eye(k), jnp.ones((k, 3))
    np.testing.assert_allclose(solve_positive(matrix, right), np.linalg.solve(matrix, right), atol=1e-12)
    np.testing.assert_allclose(inverse_positive(matrix), np.linalg.inv(matrix), atol=1e-12)
    np.testing.assert_allclose(
        cholesky_solve(cholesky_rows(matrix), right[:, 0]), np.linalg.solve(matrix, right[:, 0]), atol=1e-12
    )


def test_indefinite_systems_are_nan():
    assert bool(jnp.all(jnp.isnan(solve_positive(jnp.asarray([[1.0, 2.0], [2.0, 1.0]]), jnp.ones((2, 1))))))


def test_the_geometry_of_a_chart_makes_no_library_call(key):
    """Two batched LAPACK calls that run at the same time can wait for each other for ever on two cores."""

    def everything(x):
        manifold = Ellipsoid((1.0, 1.2, 1.4))
        chart = manifold.chart(manifold.project(x))
        u = jnp.zeros(2)
        normal = normal_frame(chart, u)[:, 0]
        return (
            tangent_frame(chart, u),
            christoffel(chart, u),
            mean_curvature_vector(chart, u),
            shape_operator(chart, u, normal),
            hypersurface_frame(Torus(1.0, 0.5), Torus(1.0, 0.5).project(x)),
        )

    text = jax.jit(jax.vmap(everything)).lower(jnp.ones((64, 3))).as_text()
    assert "lapack" not in text
    assert "lapack" in jax.jit(jax.vmap(jnp.linalg.qr)).lower(jnp.ones((64, 3, 2))).as_text()
