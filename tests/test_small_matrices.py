"""The written-out linear algebra of small matrices against LAPACK, and that charts call no library for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from manifold_diffusion._small_matrices import (
    arctangent_quotient,
    arctangent_quotient_of,
    cholesky_rows,
    cholesky_solve,
    complement_columns,
    exponential_less_identity,
    inverse_positive,
    orthonormal_columns,
    polar_factor,
    projector_frame,
    sine_quotient,
    solve_accretive,
    solve_positive,
    spectral_projector,
    symmetric_eigen,
)
from manifold_diffusion.evaluation.generated_law import hypersurface_frame
from manifold_diffusion.geometry import (
    Ellipsoid,
    Grassmann,
    SpecialOrthogonal,
    Stiefel,
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


def test_accretive_systems_are_solved(x64):
    """A = S + K, S positive definite and K skew and large: no pivot is exchanged and none is needed."""
    for k in (1, 3, 9):
        root, skew = np.random.default_rng(k).standard_normal((2, k, k))
        matrix, right = root @ root.T + np.eye(k) + 10 * (skew - skew.T), np.ones((k, 2))
        found = jax.jit(solve_accretive)(jnp.asarray(matrix), jnp.asarray(right))
        np.testing.assert_allclose(found, np.linalg.solve(matrix, right), atol=1e-13)


def test_the_exponential_keeps_the_accuracy_of_small_matrices(x64):
    skew = np.random.default_rng(0).standard_normal((4, 4))
    skew = (skew - skew.T) / np.linalg.norm(skew - skew.T)
    exponential = jax.jit(exponential_less_identity)
    for size in (1e-9, 1.0, 8.0):
        series = size * skew + size**2 / 2 * skew @ skew  # the next term is below rounding for the smallest
        expected = series if size < 1e-6 else linalg.expm(size * skew) - np.eye(4)
        np.testing.assert_allclose(exponential(jnp.asarray(size * skew)), expected, atol=2e-15 * size)


def test_quotients_are_those_of_the_sine_and_the_arctangent(x64):
    t = np.concatenate([[0.0, 1e-9, 1e-3], np.linspace(0.01, 20, 999)])
    np.testing.assert_allclose(sine_quotient(jnp.asarray(t * t)), np.sinc(t / np.pi), atol=4e-16)
    r = np.linspace(1e-3, 1, 999)
    np.testing.assert_allclose(arctangent_quotient(jnp.asarray(r * r)), np.arctan(r) / r, atol=1e-15)
    np.testing.assert_allclose(
        arctangent_quotient_of(jnp.diag(r[::500] ** 2)), np.diag(np.arctan(r) / r)[::500, ::500], atol=1e-15
    )
    # sin(t)/t = 1 - s/6 + s^2/120 - .., at 0 and where the series ends.
    slopes = jax.jit(jax.vmap(jax.jacfwd(jax.grad(sine_quotient))))(jnp.asarray([0.0, 1.0]))
    np.testing.assert_allclose(slopes, [1 / 60, (-3 * np.cos(1) + 2 * np.sin(1)) / 4], atol=1e-14)


def spectra(n, count=50):
    """Symmetric matrices with eigenvalues that are generic, repeated, graded over eight decades, and zero."""
    rng = np.random.default_rng(n)
    q = np.linalg.qr(rng.standard_normal((3, count, n, n)))[0]
    values = [rng.standard_normal((count, n)), rng.integers(0, 3, (count, n)), 10.0 ** rng.uniform(-8, 0, (count, n))]
    found = np.concatenate([(q[i] * values[i][:, None, :]) @ q[i].swapaxes(1, 2) for i in range(3)])
    return np.concatenate([found, np.zeros((1, n, n)), np.eye(n)[None]])


@pytest.mark.parametrize(
    ("n", "dtype"), [(1, "float64"), (4, "float32"), (5, "float64"), (8, "float64"), (17, "float64")]
)
def test_eigenvectors_are_exact_to_rounding_whatever_the_spectrum(n, dtype):
    matrices = spectra(n).astype(dtype)
    with jax.enable_x64(dtype == "float64"):
        values, vectors = (np.asarray(a, float) for a in jax.jit(jax.vmap(symmetric_eigen))(jnp.asarray(matrices)))
    rounding, matrices = 8 * n * np.finfo(dtype).eps, matrices.astype(float)
    np.testing.assert_allclose(values, np.linalg.eigvalsh((matrices + matrices.swapaxes(1, 2)) / 2), atol=rounding)
    np.testing.assert_allclose(
        vectors.swapaxes(1, 2) @ vectors, np.broadcast_to(np.eye(n), vectors.shape), atol=rounding
    )
    np.testing.assert_allclose(matrices @ vectors, vectors * values[:, None, :], atol=rounding)


def test_symmetric_functions_of_equal_eigenvalues_have_a_derivative(x64):
    """The gradient of tr exp(A) is exp(A)."""
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    matrix = jnp.asarray((q * np.array([1.0, 1.0, 1.0, -0.5])) @ q.T)
    slope = jax.jit(jax.grad(lambda A: jnp.sum(jnp.exp(symmetric_eigen(A)[0]))))(matrix)
    np.testing.assert_allclose(slope, linalg.expm(np.asarray(matrix)), atol=1e-13)


def test_projectors_have_derivatives_of_first_and_second_order_where_eigenvalues_coincide(x64):
    """<W, P(S + t D)> against central differences of eigenvectors of LAPACK, in forward and in reverse mode."""
    rng = np.random.default_rng(0)
    q, W, D = np.linalg.qr(rng.standard_normal((5, 5)))[0], *rng.standard_normal((2, 5, 5))
    S, D = (q * np.array([2.0, 2.0, 2.0, 0.5, 0.5])) @ q.T, D + D.T

    def by_lapack(t):
        top = np.linalg.eigh(S + t * D)[1][:, -3:]
        return np.sum(W * (top @ top.T))

    def look(S, D):
        product = lambda S: jnp.sum(jnp.asarray(W) * spectral_projector(S, 3))  # noqa: E731
        along = lambda t: product(S + t * D)  # noqa: E731
        slope = jax.grad(product)
        turn = jax.jvp(slope, (S,), (D,))[1]
        return (
            product(S),
            jax.jvp(along, (0.0,), (1.0,))[1],
            jnp.sum(slope(S) * D),
            jax.hessian(along)(0.0),
            jnp.sum(turn * D),
        )

    value, forward, reverse, second, mixed = jax.jit(look)(jnp.asarray(S), jnp.asarray(D))
    h = 1e-3
    low, mid, high = by_lapack(-h), by_lapack(0), by_lapack(h)
    wide = [by_lapack(-2 * h), by_lapack(2 * h)]
    first_difference = (8 * (high - low) - (wide[1] - wide[0])) / (12 * h)
    second_difference = (16 * (high + low) - (wide[0] + wide[1]) - 30 * mid) / (12 * h * h)
    np.testing.assert_allclose(value, mid, atol=1e-13)
    np.testing.assert_allclose([forward, reverse], first_difference, atol=1e-8)
    np.testing.assert_allclose([second, mixed], second_difference, atol=1e-6)


def test_projectors_and_their_frames_are_finite_where_nothing_is_determined(x64):
    slope = jax.jit(jax.jacrev(lambda S: spectral_projector(S, 2)))(jnp.eye(4))
    np.testing.assert_allclose(slope, 0, atol=1e-15)
    P = jnp.diag(jnp.asarray([1.0, 0.0, 1.0]))
    D = jnp.asarray([[0.0, 1.0, 0.0], [1.0, 0.0, 2.0], [0.0, 2.0, 0.0]])
    frame, change = jax.jit(lambda P, D: jax.jvp(lambda P: projector_frame(P, 2), (P,), (D,)))(P, D)
    np.testing.assert_allclose(frame[:, :2] @ frame[:, :2].T, P, atol=1e-15)
    moved = change[:, :2] @ frame[:, :2].T
    np.testing.assert_allclose(moved + moved.T, D, atol=1e-14)


def test_polar_factors_are_nearest_and_orthonormal_also_where_the_matrix_is_singular(x64):
    factor = jax.jit(jax.vmap(polar_factor))
    matrices = np.random.default_rng(0).standard_normal((20, 4, 2)) * np.geomspace(1e-6, 1, 20)[:, None, None]
    matrices[:10, :, 1] = matrices[:10, :, 0] + 1e-4 * matrices[:10, :, 1]
    found = factor(jnp.asarray(matrices))
    np.testing.assert_allclose(found, [linalg.polar(matrix)[0] for matrix in matrices], atol=1e-10)
    singular = np.zeros((3, 4, 2))
    singular[1, 0, 0], singular[2] = 1.0, 1.0
    q = factor(jnp.asarray(singular))
    np.testing.assert_allclose(q.swapaxes(1, 2) @ q, np.broadcast_to(np.eye(2), (3, 2, 2)), atol=1e-14)


@pytest.mark.parametrize("manifold", [SpecialOrthogonal(3), Stiefel(4, 2), Grassmann(4, 2)], ids=repr)
def test_manifolds_of_matrices_make_no_library_call(manifold):
    def everything(x, v):
        y, chart = manifold.project(x), manifold.chart(x)
        ends = manifold.exp(x, v)
        return y, chart.embed(chart.coordinates(x)), ends, manifold.log(x, y) if hasattr(manifold, "log") else y

    points = jnp.ones((8, manifold.ambient_dim))
    assert "lapack" not in jax.jit(jax.vmap(everything)).lower(points, points).as_text()
