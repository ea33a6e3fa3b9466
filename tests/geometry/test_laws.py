"""Laws of geometry, on every manifold of the catalogue, each with an oracle that does not use what it tests.

Points are drawn near the manifold by ambient noise, so that no law of projection rests on the code's own normals, and
derivatives are compared with central differences in float64.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.spatial import cKDTree

from manifold_diffusion.geometry import Ellipsoid, Torus
from manifold_diffusion.geometry import manifold as geometry
from tests.catalogue import MANIFOLDS

POINTS, DRAWN = 16, 20_000
EXACT, ROUNDED = 1e-10, 1e-4


def every(entries):
    """One test for each entry, marked slow where the entry is."""
    cases = [pytest.param(each, marks=pytest.mark.slow) if each.slow else each for each in entries.values()]
    return pytest.mark.parametrize("entry", cases, ids=entries)


every_manifold = every(MANIFOLDS)
every_known_manifold = every(known := {name: entry for name, entry in MANIFOLDS.items() if entry.exact})
every_smooth_manifold = every({name: entry for name, entry in MANIFOLDS.items() if entry.smooth})
every_manifold_with_quadrature = every({name: entry for name, entry in known.items() if entry.quadrature})
in_both_precisions = pytest.mark.parametrize("dtype", ["float64", "float32"])


def keys(count, seed=0):
    return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(jnp.arange(count))


@functools.cache
def drawn(entry):
    """Points drawn from the manifold, in float32: many where they are to be counted, else as many as are looked at."""
    return np.asarray(entry.draw(entry.make(), keys(DRAWN if entry.exact else 4 * POINTS, seed=11)))


@functools.cache
def projection(entry, dtype):
    """(n, d) -> (n, d), compiled once: in batches of 64."""
    with jax.enable_x64(dtype == "float64"):
        manifold = entry.make()
        batch = jax.jit(jax.vmap(lambda x: manifold.project(x)))

    def project(points):
        padded = np.concatenate([points, np.repeat(points[-1:], -len(points) % 64, axis=0)]).astype(dtype)
        with jax.enable_x64(dtype == "float64"):
            found = [np.asarray(batch(jnp.asarray(rows))) for rows in padded.reshape(-1, 64, padded.shape[1])]
        assert all(rows.dtype == dtype for rows in found)
        return np.concatenate(found)[: len(points)]

    return project


def near(entry, count=POINTS, noise=0.3):
    """Points of the manifold plus ambient Gaussian noise of `noise` times the reach, which float32 holds exactly."""
    x = drawn(entry)[:count]
    z = np.random.default_rng(1).standard_normal(x.shape)
    return (x + noise * entry.reach / np.sqrt(x.shape[1]) * z).astype(np.float32)


def size(points):
    return float(np.max(np.abs(points)))


class Observed(NamedTuple):
    """What a manifold says about points x and coordinates u, all at once, because compiling is what takes the time."""

    x: np.ndarray
    projected: np.ndarray
    projected_twice: np.ndarray
    tangent_part: np.ndarray
    projector: np.ndarray
    frame: np.ndarray
    centre: np.ndarray
    u: np.ndarray
    embedded: np.ndarray
    coordinates: np.ndarray
    embedded_projected: np.ndarray


def observed(entry, dtype="float64") -> Observed:
    """`Observed` near the manifold, in one precision; shared by the laws below."""
    return _observed(entry, dtype)


@functools.cache
def _observed(entry, dtype):
    x, project = near(entry).astype(dtype), projection(entry, dtype)
    y = project(x)
    with jax.enable_x64(dtype == "float64"):
        manifold = entry.make()
        u = entry.chart_radius * np.random.default_rng(5).uniform(-1, 1, (len(x), manifold.dim)).astype(dtype)

        def look(y, step, u):
            chart = manifold.chart(y)
            centre, point = chart.coordinates(y), chart.embed(u)
            columns = jax.vmap(manifold.tangent, in_axes=(None, 0), out_axes=1)
            along_and_projector = columns(y, jnp.concatenate([step[None], jnp.eye(len(y), dtype=y.dtype)]))
            frame = geometry.tangent_frame(chart, centre)
            return along_and_projector, frame, chart.embed(centre), point, chart.coordinates(point)

        seen = jax.jit(jax.vmap(look))(jnp.asarray(y), jnp.asarray(x - y), jnp.asarray(u))
        assert all(values.dtype == dtype for values in seen)
    tangents, frame, centre, embedded, back = (np.asarray(values) for values in seen)
    return Observed(
        x=x,
        projected=y,
        projected_twice=project(y),
        tangent_part=tangents[:, :, 0],
        projector=tangents[:, :, 1:],
        frame=frame,
        centre=centre,
        u=u,
        embedded=embedded,
        coordinates=back,
        embedded_projected=project(embedded),
    )


def budget(entry, dtype="float64"):
    """What rounding allows, or the error of the fit where there is one."""
    return max({"float64": EXACT, "float32": ROUNDED}[dtype], entry.tolerance)


# Projection


@every_manifold
@in_both_precisions
def test_projection_is_idempotent(entry, dtype):
    seen = observed(entry, dtype)
    np.testing.assert_allclose(seen.projected_twice, seen.projected, atol=budget(entry, dtype) * size(seen.x))


@every_manifold
@in_both_precisions
def test_projection_moves_along_the_normal(entry, dtype):
    """x - Pi(x) is orthogonal to the tangent space, by `tangent` and by the Jacobian of the chart."""
    seen = observed(entry, dtype)
    step = seen.x - seen.projected
    np.testing.assert_allclose(seen.tangent_part, 0, atol=budget(entry, dtype) * size(seen.x))
    along = np.einsum("ndk,nd->nk", seen.frame, step)
    np.testing.assert_allclose(along, 0, atol=budget(entry, dtype) * size(seen.x))


@every_known_manifold
def test_projected_points_lie_on_the_manifold(entry):
    """By an equation of the manifold that is written in the catalogue, not in the package."""
    y = observed(entry).projected
    np.testing.assert_allclose([entry.equation(point) for point in y], 0, atol=EXACT * size(y))


@every_known_manifold
def test_no_point_of_the_manifold_is_nearer_than_the_projection(entry, x64):
    """Against dense points, for queries near and far: also where other sheets of the manifold are close."""
    dense = np.asarray(entry.dense(entry.make()))
    x = near(entry, 64).astype(float)
    if entry.far:
        x = np.concatenate([x, 0.7 * size(dense) * np.random.default_rng(3).standard_normal(x.shape)])
    distance = np.linalg.norm(x - projection(entry, "float64")(x), axis=1)
    nearest = cKDTree(dense).query(x)[0]
    assert np.all(distance <= nearest + budget(entry) * size(dense)), np.max(distance - nearest)


@every_smooth_manifold
def test_the_projection_has_the_tangent_projector_as_its_derivative(entry):
    """d Pi = P_T on the manifold: projection and tangent are coded apart and have to agree."""
    if not entry.exact:
        pytest.skip("an estimated projection jumps where its neighbours change")
    seen, project, step = observed(entry), projection(entry, "float64"), 1e-4 * entry.reach
    for y, P in zip(seen.projected[:4], seen.projector[:4], strict=True):
        offsets = step * np.eye(len(y))
        derivative = (project(y + offsets) - project(y - offsets)).T / (2 * step)
        np.testing.assert_allclose(derivative, P, atol=1e-6)


# Tangent spaces


@every_manifold
@in_both_precisions
def test_the_tangent_projector_is_an_orthogonal_projector_of_rank_k(entry, dtype):
    P = observed(entry, dtype).projector
    tolerance = {"float64": EXACT, "float32": 1e-5}[dtype]
    np.testing.assert_allclose(P, P.swapaxes(1, 2), atol=tolerance)
    np.testing.assert_allclose(P @ P, P, atol=tolerance)
    np.testing.assert_allclose(np.trace(P, axis1=1, axis2=2), entry.make().dim, atol=tolerance * P.shape[1])


@every_manifold
def test_the_chart_spans_the_tangent_space(entry):
    seen = observed(entry)
    np.testing.assert_allclose(seen.frame @ seen.frame.swapaxes(1, 2), seen.projector, atol=budget(entry))


# Charts


@every_manifold
@in_both_precisions
def test_coordinates_invert_the_embedding(entry, dtype):
    seen = observed(entry, dtype)
    tolerance = {"float64": EXACT, "float32": ROUNDED}[dtype]
    np.testing.assert_allclose(seen.coordinates, seen.u, atol=tolerance * max(entry.chart_radius, size(seen.x)))


@every_manifold
def test_a_chart_contains_its_centre(entry):
    seen = observed(entry)
    np.testing.assert_allclose(seen.centre, seen.projected, atol=budget(entry) * size(seen.x))


@every_manifold
def test_charts_embed_into_the_manifold(entry):
    seen = observed(entry)
    np.testing.assert_allclose(seen.embedded_projected, seen.embedded, atol=budget(entry) * size(seen.x))


# Differential geometry of charts


class Differential(NamedTuple):
    """The geometry at a point that is not the centre of its chart, and what it takes to check it by differences."""

    jacobian: np.ndarray
    metric: np.ndarray
    log_volume: np.ndarray
    christoffel: np.ndarray
    second_fundamental_form: np.ndarray
    mean_curvature: np.ndarray
    mean_curvature_elsewhere: np.ndarray
    frame: np.ndarray
    embed_differences: np.ndarray
    metric_differences: np.ndarray
    jacobian_differences: np.ndarray


@functools.cache
def differential(entry) -> Differential:
    """`Differential` in float64; derivatives "by differences" are central ones, the derivative last."""
    seen = observed(entry)
    with jax.enable_x64(True):
        manifold, step = entry.make(), 1e-5 * entry.chart_radius

        def look(x, u):
            chart = manifold.chart(x)

            def by_differences(f):
                both = [jax.vmap(lambda v, s=s: f(u + s * step * v))(jnp.eye(len(u))) for s in (1, -1)]
                return jnp.moveaxis((both[0] - both[1]) / (2 * step), 0, -1)

            there = manifold.chart(chart.embed(u))
            return Differential(
                jacobian=geometry.jacobian(chart, u),
                metric=geometry.metric_tensor(chart, u),
                log_volume=geometry.log_volume(chart, u),
                christoffel=geometry.christoffel(chart, u),
                second_fundamental_form=geometry.second_fundamental_form(chart, u),
                mean_curvature=geometry.mean_curvature_vector(chart, u),
                mean_curvature_elsewhere=geometry.mean_curvature_vector(there, there.coordinates(chart.embed(u))),
                frame=jnp.hstack([geometry.tangent_frame(chart, u), geometry.normal_frame(chart, u)]),
                embed_differences=by_differences(chart.embed),
                metric_differences=by_differences(lambda u: geometry.metric_tensor(chart, u)),
                jacobian_differences=by_differences(lambda u: geometry.jacobian(chart, u)),
            )

        there = jax.jit(look)(jnp.asarray(seen.projected[0]), jnp.asarray(seen.u[0]))
        return Differential(*(np.asarray(values) for values in there))


@every_smooth_manifold
def test_the_metric_is_the_gram_matrix_of_the_derivatives(entry):
    at = differential(entry)
    J = at.embed_differences
    scale = size(J)
    np.testing.assert_allclose(at.jacobian, J, atol=1e-7 * scale)
    np.testing.assert_allclose(at.metric, J.T @ J, atol=1e-7 * scale**2)
    assert np.all(np.linalg.eigvalsh(at.metric) > 0)
    np.testing.assert_allclose(at.log_volume, 0.5 * np.log(np.linalg.det(J.T @ J)), atol=1e-6)


@every_smooth_manifold
def test_christoffel_symbols_are_those_of_the_metric(entry):
    """Gamma^m_ij = g^ml (d_i g_lj + d_j g_li - d_l g_ij) / 2 with the metric differentiated numerically."""
    at = differential(entry)
    dg = at.metric_differences
    lowered = 0.5 * (np.einsum("lji->lij", dg) + np.einsum("lij->lij", dg) - np.einsum("ijl->lij", dg))
    expected = np.einsum("ml,lij->mij", np.linalg.inv(at.metric), lowered)
    np.testing.assert_allclose(at.christoffel, expected, atol=1e-6 * max(1.0, size(expected)))


@every_smooth_manifold
def test_the_second_fundamental_form_is_the_normal_part_of_the_second_derivative(entry):
    at = differential(entry)
    second, J = np.moveaxis(at.jacobian_differences, 0, -1), at.embed_differences
    II, scale = at.second_fundamental_form, max(1.0, size(at.jacobian_differences))
    normal = np.eye(len(J)) - J @ np.linalg.pinv(J)
    np.testing.assert_allclose(II, second @ normal, atol=1e-6 * scale)
    np.testing.assert_allclose(II, II.swapaxes(0, 1), atol=EXACT * scale)
    np.testing.assert_allclose(II @ at.jacobian, 0, atol=EXACT * scale * size(J))


@every_smooth_manifold
def test_the_normal_frame_completes_the_tangent_frame(entry):
    frame = differential(entry).frame
    np.testing.assert_allclose(frame.T @ frame, np.eye(len(frame)), atol=EXACT)


@every_smooth_manifold
def test_mean_curvature_does_not_depend_on_the_chart(entry):
    """H at a point, from a chart around it and from another one nearby; estimated charts agree up to the fit."""
    at = differential(entry)
    tolerance = max(1e-7, entry.curvature_tolerance) * max(1.0, size(at.mean_curvature))
    np.testing.assert_allclose(at.mean_curvature_elsewhere, at.mean_curvature, atol=tolerance)


@every_smooth_manifold
def test_principal_curvatures_in_closed_form(entry, x64):
    if entry.curvatures is None:
        pytest.skip("no closed form in the catalogue")
    manifold = entry.make()

    @jax.jit
    def shape(x, normal):
        chart = manifold.chart(x)
        return geometry.shape_operator(chart, chart.coordinates(x), normal)

    for x in observed(entry).projected[:4]:
        normal, expected = entry.curvatures(x)
        curvatures = np.sort(np.linalg.eigvals(shape(jnp.asarray(x), jnp.asarray(normal))).real)
        np.testing.assert_allclose(curvatures, np.sort(expected), atol=entry.curvature_tolerance * size(expected))


@every_manifold_with_quadrature
def test_total_curvature_is_topological(entry, x64):
    """Gauss-Bonnet on surfaces, the turning number on plane curves: one number that every point enters."""
    if entry.total_curvature is None:
        pytest.skip("no topological total in the catalogue")
    manifold = entry.make()
    points, weights = manifold.quadrature(entry.quadrature)

    def curvature(x):
        chart = manifold.chart(x)
        u = chart.coordinates(x)
        if manifold.dim == 1:
            return jnp.sqrt(jnp.sum(geometry.mean_curvature_vector(chart, u) ** 2))
        II = geometry.second_fundamental_form(chart, u)
        gauss = jnp.sum(II[0, 0] * II[1, 1]) - jnp.sum(II[0, 1] ** 2)
        return gauss / jnp.exp(2 * geometry.log_volume(chart, u))

    total = jnp.sum(jax.jit(lambda xs: jax.lax.map(curvature, xs, batch_size=1024))(points) * weights)
    np.testing.assert_allclose(total, entry.total_curvature, atol=max(1e-6, entry.quadrature_tolerance))


# Volume, quadrature, reach, uniform laws


@every_known_manifold
def test_volume_in_closed_form(entry, x64):
    if entry.volume is None:
        pytest.skip("no closed form in the catalogue")
    np.testing.assert_allclose(entry.make().volume(), entry.volume(), rtol=1e-9)


@every_manifold_with_quadrature
def test_quadrature_integrates(entry, x64):
    """Its weights add up to the volume, its nodes lie on the manifold, and refining it changes no integral."""
    manifold = entry.make()
    coarse, fine = (manifold.quadrature(order) for order in (entry.quadrature, 2 * entry.quadrature))
    if entry.volume is not None:
        np.testing.assert_allclose(jnp.sum(fine[1]), entry.volume(), rtol=entry.quadrature_tolerance)
    # Nodes at which a chart has faded out weigh nothing.
    assert np.all(np.asarray(fine[1]) >= 0)
    np.testing.assert_allclose([entry.equation(np.asarray(x)) for x in fine[0][::997]], 0, atol=EXACT * size(fine[0]))
    w = np.asarray(jax.random.normal(jax.random.key(2), (manifold.ambient_dim,))) / size(fine[0])
    integrals = [float(np.sum(np.exp(np.asarray(x) @ w) * np.asarray(weight))) for x, weight in (coarse, fine)]
    np.testing.assert_allclose(*integrals, rtol=entry.quadrature_tolerance)


@every_smooth_manifold
def test_the_reach_is_a_bound(entry, x64):
    """dist(y - x, tangent space at x) <= |y - x|^2 / (2 reach) for all x, y on M (Federer 1959, theorem 4.18)."""
    if not (entry.exact and entry.has_reach):
        pytest.skip("its reach is not known")
    manifold = entry.make()
    reach = float(manifold.reach())
    x, P = observed(entry).projected, observed(entry).projector
    y = np.asarray(entry.dense(manifold))[::37]
    chord = y[None] - x[:, None]
    across = np.linalg.norm(chord - np.einsum("nij,nmj->nmi", P, chord), axis=-1)
    # A reach found on a grid comes from pairs that are not too close, and is too large by the square of their distance.
    slack = 1e-9 if entry.reach_is_exact else 1e-3
    assert np.all(across <= np.sum(chord**2, -1) / (2 * reach) * (1 + slack) + 1e-12)
    if entry.reach_is_exact:
        np.testing.assert_allclose(reach, entry.reach, rtol=1e-12)


@every_known_manifold
def test_uniform_points_fill_cells_in_proportion_to_their_volume(entry):
    """Chi-square of a parameter whose exact law on the manifold is in the catalogue, in float32, on 20000 points."""
    x = drawn(entry).astype(float)
    for parameter in entry.uniform_parameters:
        p = parameter(x)
        assert np.all((p > -1e-3) & (p < 1 + 1e-3))
        counts = np.histogram(np.clip(p, 0, 1), bins=40, range=(0, 1))[0]
        assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.slow
@every_known_manifold
def test_a_million_uniform_points_fill_cells_in_proportion_to_their_volume(entry):
    """The same at 10^6 draws, at which a bias of a percent in any of 40 cells shows."""
    if not entry.uniform_parameters:
        pytest.skip("no parameter with a known law")
    manifold = entry.make()
    draws = [entry.draw(manifold, keys(200_000, seed)) for seed in range(100, 105)]
    x = np.concatenate([np.asarray(each, float) for each in draws])
    for parameter in entry.uniform_parameters:
        counts = np.histogram(np.clip(parameter(x), 0, 1), bins=40, range=(0, 1))[0]
        assert stats.chisquare(counts).pvalue > 1e-4


@every_manifold_with_quadrature
def test_uniform_points_have_the_moments_of_the_volume(entry):
    """Means of x, of x x^T and of a cubic against quadrature, within 4.5 standard errors each."""
    x = drawn(entry).astype(float)
    with jax.enable_x64(True):
        nodes, weights = (np.asarray(a) for a in entry.make().quadrature(entry.quadrature))
    weights = weights / weights.sum()
    for f in (lambda x: x, lambda x: (x[:, :, None] * x[:, None, :]).reshape(len(x), -1), lambda x: x**3):
        sample, expected = f(x), weights @ f(nodes)
        error = np.sqrt(weights @ (f(nodes) - expected) ** 2 / len(x))
        assert np.all(np.abs(sample.mean(0) - expected) <= 4.5 * error + 1e-5)


# One point or many, compiled or not, in one precision or the other


@every_known_manifold
def test_a_batch_is_its_points(entry):
    """vmap and jit change nothing beyond rounding."""
    manifold = entry.make()
    seen = observed(entry, "float32")
    single = manifold.project(jnp.asarray(seen.x[1]))
    np.testing.assert_allclose(seen.projected[1], single, atol=ROUNDED * size(seen.x))


@every_manifold
def test_float32_stays_within_its_budget_of_float64(entry):
    """Projection in float32 against float64 on the same points: a few hundred roundings of the extent."""
    exact, rounded = observed(entry), observed(entry, "float32")
    limit = entry.rounding * np.finfo(np.float32).eps * size(exact.projected)
    np.testing.assert_allclose(rounded.projected, exact.projected, atol=limit)


def test_manifolds_are_made_and_differentiated_inside_compiled_programs(x64):
    """d/dR of the distance from (x, 0, 0) to a torus of radii (R, r), x > R + r, is -1."""

    def distance(major):
        x = jnp.asarray([4.0, 0.0, 0.0])
        return jnp.linalg.norm(x - Torus(major, 0.5).project(x))

    np.testing.assert_allclose(jax.jit(jax.grad(distance))(1.0), -1.0, atol=1e-12)
    x = jnp.asarray([0.0, 3.0, 0.0])
    slope = jax.jit(jax.jacfwd(lambda axes: Ellipsoid(axes).project(x)))(jnp.asarray([1.0, 1.2, 1.4]))
    np.testing.assert_allclose(slope, np.diag([0.0, 1.0, 0.0]), atol=1e-10)
