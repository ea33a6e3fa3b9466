"""Laws of the manifolds with a metric of their own, and of the geometry of a metric by autodiff, which is their oracle.

Distances and inner products have oracles of their own in the catalogue. Compiling takes the time, so what a manifold
says is compiled once for all laws: `ask` is for many points, `slopes` for derivatives where formulas divide 0 by 0,
`local` for the geometry of the metric.
"""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, linalg, special, stats

from manifold_diffusion._small_matrices import inverse_positive
from manifold_diffusion.geometry import (
    Hyperboloid,
    PoincareBall,
    PositiveMatrices,
    Torus,
    christoffel,
    intrinsic_christoffel,
    intrinsic_geodesic,
    intrinsic_ricci,
    intrinsic_riemann,
    intrinsic_scalar,
    intrinsic_transport,
    jacobian,
    metric_of,
    metric_tensor,
    riemann_tensor,
    sectional_curvature,
    tangent_frame,
)
from manifold_diffusion.geometry.positive import EXP, LOG, symmetric_function
from tests.catalogue_riemannian import RIEMANNIAN, minkowski, square

POINTS, STEPS = 24, 96
# Points and tangents have entries, conformal factors and condition numbers up to about 10, and all that is computed
# from them takes a few roundings of those.
BUDGET = {"float64": 1e-12, "float32": 64 * float(np.finfo(np.float32).eps)}

# The programs run on a few points.
jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
)

every_manifold = pytest.mark.parametrize("name", RIEMANNIAN)
curved = [name for name in RIEMANNIAN if not name.startswith("log")]
every_curved_manifold = pytest.mark.parametrize("name", curved)
# Of the positive matrices those of size 2 stand for all where compiling takes long.
the_largest_on_demand = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "positive 3 x 3" else name for name in curved]
)
in_each_precision = pytest.mark.parametrize(
    ("name", "dtype"), [*((name, "float64") for name in RIEMANNIAN), *((name, "float32") for name in curved)]
)
hyperbolic = [name for name in curved if RIEMANNIAN[name].curvature]


def assert_close(found, expected, dtype, scale=None):
    """Within the budget of the precision times the largest entry expected."""
    size = np.max(np.abs(expected)) if scale is None else scale
    np.testing.assert_allclose(found, expected, rtol=0, atol=BUDGET[dtype] * size)


def products(manifold, x, left, right):
    """The inner products at x of the columns of two matrices."""
    return jax.vmap(lambda a: jax.vmap(lambda b: manifold.inner(x, a, b), in_axes=1)(right), in_axes=1)(left)


@functools.cache
def inputs(name):
    """Points x, y, z and tangents v, w at x, and the images of x and y under an isometry."""
    entry, rng = RIEMANNIAN[name], np.random.default_rng(7)
    x, y, z = (entry.points(rng, POINTS) for _ in range(3))
    v, w, move = entry.tangents(rng, x), entry.tangents(rng, x), entry.isometry(rng)
    return SimpleNamespace(x=x, y=y, z=z, v=v, w=w, moved_x=move(x), moved_y=move(y))


@functools.cache
def program(name, dtype):
    """(x, y, v) -> all that the manifold says about these, in one precision."""

    def look(manifold, x, y, v):
        return {
            "exp": manifold.exp(x, v),
            "log": manifold.log(x, y),
            "distance": manifold.distance(x, y),
            "carried": manifold.transport(x, y, v),
            "square": manifold.inner(x, v, v),
            "volume": manifold.log_exp_volume(x, v),
            "tangent": manifold.tangent(x, v),
            "frame": manifold.frame(x),
        }

    with jax.enable_x64(True):
        manifold = RIEMANNIAN[name].make()
        batch = jit(jax.vmap(look, in_axes=(None, 0, 0, 0)))

    def ask(x, y, v):
        with jax.enable_x64(True):
            values = batch(manifold, *(jnp.asarray(a, dtype) for a in (x, y, v)))
        assert all(value.dtype == dtype for value in values.values())
        return SimpleNamespace(**{key: np.asarray(value) for key, value in values.items()})

    return ask


@functools.cache
def answers(name, dtype="float64"):
    """`program` on the points and tangents of `inputs`."""
    at = inputs(name)
    return program(name, dtype)(at.x, at.y, at.v)


# Distances, geodesics, transport


@every_manifold
def test_distances_and_lengths_are_those_of_the_definition(name):
    entry, at, here = RIEMANNIAN[name], inputs(name), answers(name)
    np.testing.assert_allclose(here.distance, entry.distance(at.x, at.y), rtol=1e-12)
    np.testing.assert_allclose(here.square, entry.metric(at.x, at.v, at.v), rtol=1e-12)


@in_each_precision
def test_log_and_exp_are_inverse_to_one_another(name, dtype):
    at, here = inputs(name), answers(name, dtype)
    again = program(name, dtype)(at.x, here.exp, here.log)
    assert_close(again.exp, at.y, dtype)
    assert_close(again.log, at.v, dtype)


@in_each_precision
def test_the_distance_is_the_length_of_the_logarithm(name, dtype):
    at, here = inputs(name), answers(name, dtype)
    length = np.sqrt(program(name, dtype)(at.x, at.y, here.log).square)
    assert_close(length, here.distance, dtype)


@in_each_precision
def test_distances_are_symmetric_and_obey_the_triangle_inequality(name, dtype):
    at, ask, here = inputs(name), program(name, dtype), answers(name, dtype)
    assert_close(ask(at.y, at.x, at.v).distance, here.distance, dtype)
    assert np.all(here.distance > 0)
    detour = here.distance + ask(at.y, at.z, at.v).distance
    assert np.all(ask(at.x, at.z, at.v).distance <= detour * (1 + BUDGET[dtype]))


@in_each_precision
def test_isometries_keep_distances(name, dtype):
    at = inputs(name)
    assert_close(program(name, dtype)(at.moved_x, at.moved_y, at.v).distance, answers(name, dtype).distance, dtype)


@in_each_precision
def test_parallel_transport_keeps_inner_products_and_geodesics_straight(name, dtype):
    """The velocity of the geodesic to y arrives as minus the velocity of the geodesic back."""
    at, ask, here = inputs(name), program(name, dtype), answers(name, dtype)
    both, arriving = ask(at.x, at.y, at.w).carried, ask(at.x, at.y, here.log).carried
    metric = RIEMANNIAN[name].metric
    inner = metric(at.y, here.carried.astype(float), both.astype(float))
    assert_close(inner, metric(at.x, at.v, at.w), dtype)
    assert_close(arriving, -ask(at.y, at.x, at.v).log, dtype)


@in_each_precision
def test_frames_are_orthonormal_and_tangents_stay(name, dtype):
    here, at, metric = answers(name, dtype), inputs(name), RIEMANNIAN[name].metric
    columns = np.moveaxis(here.frame.astype(float), 2, 0)
    gram = np.stack([[metric(at.x, e, f) for e in columns] for f in columns])
    assert_close(gram, np.broadcast_to(np.eye(len(columns))[:, :, None], gram.shape), dtype)
    assert_close(here.tangent, at.v, dtype)


@every_curved_manifold
def test_float32_stays_within_its_budget_of_float64(name):
    here, exact = answers(name, "float32"), answers(name)
    assert_close(here.exp, exact.exp, "float32")
    assert_close(here.volume, exact.volume, "float32", scale=1)


@every_curved_manifold
def test_float32_distances_keep_their_digits_however_close_the_points(name):
    """Relative to the distance of the same rounded points in float64, which the oracle knows to eps over its square."""
    at = inputs(name)
    for step in (1e-3, 1e-1):
        x, y = (p.astype(np.float32) for p in (at.x, program(name, "float64")(at.x, at.y, step * at.v).exp))
        exact = program(name, "float64")(x, y, at.v).distance
        np.testing.assert_allclose(program(name, "float32")(x, y, at.v).distance, exact, rtol=2e-6)
        np.testing.assert_allclose(exact, RIEMANNIAN[name].distance(*on_the_set(name, x, y)), rtol=1e-6)


def on_the_set(name, *points):
    """Rounded points in float64; x_0 of a hyperboloid is not read by the package, but it is by the oracle."""
    lifted = [p.astype(float) for p in points]
    if "hyperboloid" in name:
        for p in lifted:
            p[:, 0] = np.sqrt(-1 / RIEMANNIAN[name].curvature + np.sum(p[:, 1:] ** 2, axis=1))
    return lifted


# Derivatives


@every_curved_manifold
def test_the_volume_of_exp_is_the_determinant_of_its_derivative(name):
    """By differences of order four along the columns of the frame, in the metric at the end."""
    at, ask, here, metric = inputs(name), program(name, "float64"), answers(name), RIEMANNIAN[name].metric

    def ahead(h):
        return [ask(at.x, at.y, at.v + h * here.frame[:, :, i]).exp for i in range(here.frame.shape[2])]

    near, far = (np.subtract(ahead(h), ahead(-h)) / (2 * h) for h in (1e-3, 2e-3))
    columns = (4 * near - far) / 3
    gram = np.array([[metric(here.exp, e, f) for e in columns] for f in columns])
    np.testing.assert_allclose(np.linalg.slogdet(np.moveaxis(gram, 2, 0))[1] / 2, here.volume, atol=1e-9)
    assert np.max(here.volume) > 0.1


@functools.cache
def slopes(name):
    """(frame, values, derivatives in x, y and v) at y = x in float32, in reverse mode: at v = 0 and at another v."""

    def look(manifold, x, v):
        def outcome(x, y, v):
            scalars = jnp.stack([manifold.distance(x, y), manifold.log_exp_volume(x, v)])
            return jnp.concatenate([scalars, manifold.exp(x, v), manifold.log(x, y)])

        values, pull = jax.vjp(outcome, x, x, v)
        return manifold.frame(x), values, jax.vmap(pull)(jnp.eye(len(values), dtype=x.dtype))

    at, manifold = inputs(name), RIEMANNIAN[name].make()
    x, v = (np.stack(p).astype(np.float32) for p in ((special_point(name), *at.x[:2]), (0 * at.v[0],) * 2 + (at.v[1],)))
    return jax.tree.map(np.asarray, jit(jax.vmap(look, in_axes=(None, 0, 0)))(manifold, x, v))


def special_point(name):
    """The origin, or the identity."""
    if "positive" in name:
        return np.eye(square(inputs(name).x).shape[1]).ravel()
    origin = np.zeros(inputs(name).x.shape[1])
    if "hyperboloid" in name:
        origin[0] = (-RIEMANNIAN[name].curvature) ** -0.5
    return origin


@the_largest_on_demand
def test_derivatives_are_right_where_points_meet_and_vectors_vanish(name):
    """There the derivatives of exp and of log are the identity, and distance and volume are level; no NaN anywhere."""
    frame, _, derivatives = slopes(name)
    assert all(np.all(np.isfinite(part)) for part in derivatives)
    d = frame.shape[1]
    of_x, of_y, of_v = (part @ frame for part in derivatives)
    np.testing.assert_array_equal(of_x[:, 0], 0)
    np.testing.assert_array_equal(of_y[:, 0], 0)
    assert_close(of_y[:, 2 + d : 2 + 2 * d], frame, "float32")
    assert_close(of_x[:, 2 + d : 2 + 2 * d], -frame, "float32")
    assert_close(of_v[:2, 2 : 2 + d], frame[:2], "float32")
    assert_close(of_x[:2, 2 : 2 + d], frame[:2], "float32")
    assert_close(of_v[:2, 1], 0, "float32", scale=1)


@the_largest_on_demand
def test_derivatives_are_limits_of_differences(name):
    """Of exp and of the volume of exp, in v, away from 0: reverse mode in float32 against float64."""
    at, ask, (frame, _, (_, _, of_v)) = inputs(name), program(name, "float64"), slopes(name)
    d, h = frame.shape[1], 1e-4
    for i, column in enumerate(frame[2].T):
        ahead, behind = (ask(at.x, at.y, at.v + step * column) for step in (h, -h))
        volume, there = ((a[1] - b[1]) / (2 * h) for a, b in ((ahead.volume, behind.volume), (ahead.exp, behind.exp)))
        assert_close(of_v[2, 1] @ frame[2, :, i], volume, "float32", scale=1)
        assert_close(of_v[2, 2 : 2 + d] @ frame[2, :, i], there, "float32")


# The geometry of the metric


@functools.cache
def local(name):
    """What the metric says in the coordinates of a chart, and what the manifold says in closed form."""

    def look(manifold, x, a, b):
        chart = manifold.chart(x)
        metric, u = metric_of(manifold, chart), chart.coordinates(x)
        J = jacobian(chart, u)
        end, carried = intrinsic_transport(metric, u, a, b, STEPS)
        basis = jacobian(chart, end)
        return {
            "centre": chart.embed(u),
            "v": J @ a,
            "w": J @ b,
            "end": chart.embed(end),
            "carried": basis @ carried,
            "back": chart.coordinates(chart.embed(end)),
            "coordinates": end,
            "metric": metric(end),
            "riemann": intrinsic_riemann(metric, end),
            "basis": basis,
        }

    with jax.enable_x64(True):
        manifold = RIEMANNIAN[name].make()
        # Short enough for balls and cones, on which the coordinates are not all of R^k.
        a, b = 0.2 * np.random.default_rng(2).standard_normal((2, manifold.dim))
        values = jit(look)(manifold, *map(jnp.asarray, (inputs(name).x[0], a, b)))
    return SimpleNamespace(**{key: np.asarray(value) for key, value in values.items()})


@the_largest_on_demand
def test_a_chart_starts_at_its_centre_and_coordinates_invert_it(name):
    here = local(name)
    np.testing.assert_allclose(here.centre, inputs(name).x[0], atol=1e-13)
    np.testing.assert_allclose(here.back, here.coordinates, atol=1e-12)


@the_largest_on_demand
def test_geodesics_and_transport_solve_the_equations_of_the_metric(name):
    """Runge-Kutta's method with the Christoffel symbols of the metric, in coordinates, ends where exp does."""
    here, x, ask = local(name), inputs(name).x, program(name, "float64")
    end = ask(x, x, np.tile(here.v, (POINTS, 1))).exp[0]
    np.testing.assert_allclose(here.end, end, atol=1e-9)
    carried = ask(x, np.tile(end, (POINTS, 1)), np.tile(here.w, (POINTS, 1))).carried[0]
    np.testing.assert_allclose(here.carried, carried, atol=1e-9)


@every_curved_manifold
def test_the_curvature_of_the_metric_is_the_known_one(name):
    """K (g_ad g_bc - g_ac g_bd) where it is constant; for positive matrices <R(A, B) C, D> = tr([A, B] [C, D]) / -4 in
    whitened A, B, C, D, so that sectional curvatures are between -1/2 and 0.
    """
    here = local(name)
    R, g, K = here.riemann, here.metric, RIEMANNIAN[name].curvature
    if K is not None:
        expected = K * (np.einsum("ad,bc->abcd", g, g) - np.einsum("ac,bd->abcd", g, g))
    else:
        L = np.linalg.cholesky(square(here.end))
        A = np.linalg.solve(L, np.linalg.solve(L, square(here.basis.T)).swapaxes(1, 2))
        bracket = np.einsum("aij,bjk->abik", A, A) - np.einsum("bij,ajk->abik", A, A)
        expected = np.einsum("abij,cdji->abcd", bracket, bracket) / -4
        for v, w in np.random.default_rng(3).standard_normal((50, 2, len(g))):
            area = (v @ g @ v) * (w @ g @ w) - (v @ g @ w) ** 2
            assert -area / 2 - 1e-9 <= np.einsum("abcd,a,b,c,d", R, v, w, w, v) <= 1e-9
    np.testing.assert_allclose(R, expected, atol=1e-10 * np.max(np.abs(expected)))


def test_the_two_models_of_hyperbolic_space_are_isometric():
    """Distances, geodesics, transport and volume commute with the stereographic projection, written in numpy here."""
    sheet, ball = "3-hyperboloid of curvature -2", "Poincare ball of curvature -2"
    R, at, here = 0.5**0.5, inputs(sheet), answers(sheet)

    def down(x):
        return R * x[:, 1:] / (R + x[:, :1])

    def pushed(x, v):
        return R * (v[:, 1:] / (R + x[:, :1]) - v[:, :1] * x[:, 1:] / (R + x[:, :1]) ** 2)

    there = program(ball, "float64")(down(at.x), down(at.y), pushed(at.x, at.v))
    np.testing.assert_allclose(there.distance, here.distance, rtol=1e-12)
    np.testing.assert_allclose(there.exp, down(here.exp), atol=1e-12)
    np.testing.assert_allclose(there.log, pushed(at.x, here.log), atol=1e-12)
    np.testing.assert_allclose(there.carried, pushed(at.y, here.carried), atol=1e-12)
    np.testing.assert_allclose(there.volume, here.volume, atol=1e-12)
    with jax.enable_x64(True):
        x = jnp.asarray(at.x)
        lower = jit(jax.vmap(Hyperboloid(3, -2.0).to_ball))(x)
        np.testing.assert_allclose(lower, down(at.x), atol=1e-15)
        np.testing.assert_allclose(jit(jax.vmap(PoincareBall(3, -2.0).to_hyperboloid))(lower), at.x, atol=1e-13)


def test_moebius_addition_is_the_translation_of_the_complex_disc(x64):
    """x + y = (x + y) / (1 + conj(x) y), and the gyration is the turn by (1 + x conj(y)) / (1 + conj(x) y)."""
    disc, (x, y, v) = PoincareBall(2), inputs("Poincare disc").x[:3]
    a, b, c = (p[0] + 1j * p[1] for p in (x, y, v))

    def complex_of(p):
        return complex(p[0], p[1])

    both = jit(lambda x, y, v: (disc.add(x, y), disc.gyration(x, y, v)))
    added, turned = both(*map(jnp.asarray, (x, y, v)))
    np.testing.assert_allclose(complex_of(added), (a + b) / (1 + np.conj(a) * b), atol=1e-14)
    turn = (1 + a * np.conj(b)) / (1 + np.conj(a) * b)
    np.testing.assert_allclose(complex_of(turned), turn * c, atol=1e-14)


# Balls


def test_ball_volumes_are_those_of_a_quadrature_in_the_ball(x64):
    """int |S^{k-1}| rho^{k-1} (2 / (1 - rho^2))^k drho up to tanh(r / 2), scaled by R^k."""
    for k, K, radius in ((1, -1.0, 2.0), (2, -1.0, 0.01), (2, -1.0, 3.0), (3, -2.0, 4.0), (6, -0.5, 5.0)):
        R = (-K) ** -0.5

        def shell(rho, k=k):
            return 2 * np.pi ** (k / 2) / special.gamma(k / 2) * rho ** (k - 1) * (2 / (1 - rho**2)) ** k

        expected = R**k * integrate.quad(shell, 0, np.tanh(radius / R / 2), epsabs=0, epsrel=1e-12)[0]
        found = jit(lambda r, k=k, K=K: (Hyperboloid(k, K).ball_volume(r), PoincareBall(k, K).ball_volume(r)))(radius)
        np.testing.assert_allclose(found, expected, rtol=1e-11)


@pytest.mark.parametrize(("name", "radius"), [("Poincare disc", 2.5), ("3-hyperboloid of curvature -2", 2.0)])
def test_uniform_points_fill_shells_and_sectors_in_proportion_to_their_volume(name, radius):
    """Chi-square of the distance, and of the angle in the plane of two tangents at the centre, on 20000 points in
    float32; both by Minkowski's product.
    """
    manifold, R = RIEMANNIAN[name].make(), (-RIEMANNIAN[name].curvature) ** -0.5
    centre = inputs(name).x[0]
    keys = jax.random.split(jax.random.key(5), 20_000)
    draw = jit(jax.vmap(lambda key: manifold.uniform_in_ball(key, jnp.asarray(centre, jnp.float32), radius)))
    x, c = (np.asarray(p, float) / R for p in (draw(keys), centre[None]))
    if name == "Poincare disc":
        x, c = (
            np.concatenate([1 + np.sum(p * p, axis=1, keepdims=True), 2 * p], axis=1)
            / (1 - np.sum(p * p, axis=1, keepdims=True))
            for p in (x, c)
        )
    r = R * np.arccosh(np.maximum(1, -minkowski(x, c)))
    axes = np.eye(x.shape[1])[1:] + minkowski(np.eye(x.shape[1])[1:], c)[:, None] * c
    first = axes[:1] / np.sqrt(minkowski(axes[0], axes[0]))
    second = axes[1:2] - minkowski(axes[1:2], first) * first
    second = second / np.sqrt(minkowski(second, second))
    edges = np.linspace(0, radius, 4001)
    shells = np.sinh((edges[1:] + edges[:-1]) / 2 / R) ** (manifold.dim - 1)
    share = np.interp(r, edges, np.concatenate([[0], np.cumsum(shells)]) / np.sum(shells))
    angle = np.arctan2(minkowski(x, second), minkowski(x, first)) / (2 * np.pi) + 0.5
    for p in (share, angle):
        assert stats.chisquare(np.histogram(p, bins=40, range=(0, 1))[0]).pvalue > 1e-4


# Positive matrices


@pytest.mark.parametrize(("f", "oracle"), [(EXP, linalg.expm), (LOG, linalg.logm)])
def test_functions_of_symmetric_matrices_have_the_right_derivatives_where_eigenvalues_repeat(f, oracle):
    """To second order, in reverse mode, by blocks: f of [[S, E], [0, S]] holds Df(S)[E], and so on (Higham, Functions
    of Matrices, theorem 3.6).
    """
    rng = np.random.default_rng(4)
    Q = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    E, F, C = rng.standard_normal((3, 3, 3))
    E, F, zero = E + E.T, F + F.T, np.zeros((3, 3))
    values = [(1, 1, 1), (2, 2, 0.5), (1, 1 + 1e-9, 3), (0.2, 1, 5)]
    matrices = np.stack([Q * np.array(each) @ Q.T for each in values])

    def look(S):
        slope = jax.grad(lambda S: jnp.sum(C * symmetric_function(f, S)))
        first, second = jax.jvp(slope, (S,), (jnp.asarray(F),))
        return symmetric_function(f, S), jnp.sum(first * E), jnp.sum(second * E)

    with jax.enable_x64(True):
        found = jit(jax.vmap(look))(jnp.asarray(matrices))
    for S, value, first, second in zip(matrices, *found, strict=True):
        blocks = oracle(np.block([[S, E, F, zero], [zero, S, zero, F], [zero, zero, S, E], [zero, zero, zero, S]]))
        np.testing.assert_allclose(value, blocks[:3, :3], atol=1e-13)
        np.testing.assert_allclose(first, np.sum(C * blocks[:3, 3:6]), atol=1e-12)
        np.testing.assert_allclose(second, np.sum(C * blocks[:3, 9:]), atol=1e-11)


def test_projection_lifts_eigenvalues_and_leaves_positive_matrices_alone():
    """Also in the last digit."""
    matrices = np.stack([np.diag([1.0, -1.0, 2.0]), np.zeros((3, 3)), *square(inputs("positive 3 x 3").x[:4])])
    project = jit(jax.vmap(PositiveMatrices(3).project))
    projected = project(jnp.asarray(matrices.reshape(-1, 9), jnp.float32))
    np.testing.assert_array_equal(projected[2:], inputs("positive 3 x 3").x[:4].astype(np.float32))
    np.testing.assert_allclose(square(np.asarray(projected))[0], np.diag([1, 0, 2]), atol=1e-5)
    assert np.all(np.linalg.eigvalsh(square(np.asarray(projected, float))) > 0)
    np.testing.assert_array_equal(project(projected)[2:], projected[2:])


# Metrics of one's own


def test_the_intrinsic_geometry_of_an_embedded_surface_is_that_of_its_second_fundamental_form(x64):
    """Gauss's theorem, in the code: derivatives of the metric against the normal part of the second derivatives."""
    chart = Torus(1.0, 0.4).chart(Torus(1.0, 0.4).project(jnp.asarray([0.9, 0.5, 0.3])))
    u = jnp.asarray([0.2, -0.3])

    @jit
    def look(chart, u):
        def metric(u):
            return metric_tensor(chart, u)

        # J W = frame.
        W = inverse_positive(metric(u)) @ jacobian(chart, u).T @ tangent_frame(chart, u)
        return (
            intrinsic_christoffel(metric, u),
            christoffel(chart, u),
            jnp.einsum("abcd,ai,bj,ck,dl->ijkl", intrinsic_riemann(metric, u), *[W] * 4),
            riemann_tensor(chart, u),
        )

    found = look(chart, u)
    for intrinsic, extrinsic in zip(found[::2], found[1::2], strict=True):
        np.testing.assert_allclose(intrinsic, extrinsic, atol=1e-11)


def test_normal_laws_with_fishers_metric_are_a_hyperbolic_plane_of_curvature_minus_one_half(x64):
    """g = diag(1, 2) / sigma^2 in (mu, sigma); its geodesics are half ellipses around mu on the boundary."""

    def metric(u):
        return jnp.diag(jnp.asarray([1.0, 2.0])) / u[1] ** 2

    @jit
    def look(u, v, w):
        curvatures = sectional_curvature(metric, u, v, w), intrinsic_ricci(metric, u), intrinsic_scalar(metric, u)
        return *curvatures, *intrinsic_geodesic(metric, u, v)

    u, v, w = jnp.asarray([[0.3, 0.8], [0.5, 0.4], [-0.2, 1.0]])
    sectional, ricci, scalar, end, velocity = look(u, v, w)
    np.testing.assert_allclose(sectional, -0.5, atol=1e-12)
    np.testing.assert_allclose(ricci, -0.5 * metric(u), atol=1e-12)
    np.testing.assert_allclose(scalar, -1, atol=1e-12)
    np.testing.assert_allclose(velocity @ metric(end) @ velocity, v @ metric(u) @ v, atol=1e-8)
    centre = u[0] + 2 * u[1] * v[1] / v[0]
    np.testing.assert_allclose(
        (end[0] - centre) ** 2 + 2 * end[1] ** 2, (u[0] - centre) ** 2 + 2 * u[1] ** 2, atol=1e-8
    )


def test_a_map_into_a_manifold_pulls_its_metric_back(x64):
    """Diagonal matrices are flat in the logarithms of their entries."""
    metric = metric_of(PositiveMatrices(2), lambda u: jnp.diag(jnp.exp(u)).ravel())
    np.testing.assert_allclose(jit(metric)(jnp.asarray([0.3, -1.0])), np.eye(2), atol=1e-14)


# The programs


def test_no_program_calls_a_library():
    """Two batched LAPACK calls that run at the same time can wait for each other for ever on two cores."""

    def everything(x):
        manifold = PositiveMatrices(3)
        metric = metric_of(manifold, manifold.chart(x))
        return jax.grad(manifold.distance)(x, x), manifold.frame(x), intrinsic_christoffel(metric, jnp.zeros(6))

    assert "lapack" not in jax.jit(jax.vmap(everything)).lower(jnp.ones((64, 9))).as_text()


def test_wrong_parameters_are_refused():
    for make in (Hyperboloid, PoincareBall):
        with pytest.raises(ValueError, match="dimension at least 1"):
            make(0)
        with pytest.raises(ValueError, match="negative curvature"):
            make(2, 1.0)
    with pytest.raises(ValueError, match="at least one row"):
        PositiveMatrices(0)
