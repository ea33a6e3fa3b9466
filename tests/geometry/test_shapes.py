"""The well-known shapes against what is known of them, by routes that do not use the package."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from manifold_diffusion import geometry, measures
from tests.oracles import curve_length


def total_curvature(manifold, order):
    """The integral of the Gauss curvature."""
    points, weights = manifold.quadrature(order)

    @jax.jit
    def curvatures(points):
        def one(x):
            chart = manifold.chart(x)
            return geometry.gauss_curvature(chart, chart.coordinates(x))

        return jax.lax.map(one, points, batch_size=1024)

    return float(curvatures(points) @ weights)


def test_the_klein_bottle_has_its_area_and_no_total_curvature(x64):
    bottle = geometry.klein_bottle(2.0, 0.7, grid=24)
    area = integrate.quad(lambda b: 2 * np.pi * 0.7 * np.hypot(2 + 0.7 * np.cos(b), 0.35 * np.sin(b)), 0, 2 * np.pi)[0]
    found = geometry.volume_estimate(bottle, 64)
    np.testing.assert_allclose(found.value, area, rtol=1e-10)
    assert abs(total_curvature(bottle, 32)) < 1e-4


def test_the_klein_bottle_closes_with_one_angle_reversed(x64):
    bottle = geometry.klein_bottle(grid=24)
    a, b = bottle.embedding(jnp.asarray([0.3, 0.5])), bottle.embedding(jnp.asarray([0.3 + 2 * np.pi, -0.5]))
    np.testing.assert_allclose(a, b, atol=1e-12)


def test_the_moebius_band_has_its_area(x64):
    band = geometry.moebius_band(1.5, 0.4, grid=32)
    area = integrate.dblquad(
        lambda v, a: np.sqrt((1.5 + v * np.cos(a / 2)) ** 2 + v * v / 4), 0, 2 * np.pi, -0.4, 0.4, epsabs=1e-10
    )[0]
    np.testing.assert_allclose(geometry.volume_estimate(band, 64).value, area, rtol=1e-8)


def test_the_swiss_roll_is_flat_and_has_its_area(x64):
    roll = geometry.swiss_roll(grid=32)
    primitive = lambda t: (t * np.sqrt(1 + t * t) + np.arcsinh(t)) / 2  # noqa: E731
    area = 21 * (primitive(4.5 * np.pi) - primitive(1.5 * np.pi))
    np.testing.assert_allclose(geometry.volume_estimate(roll, 64).value, area, rtol=1e-10)
    chart = roll.whole()
    curvature = jax.jit(jax.vmap(lambda u: geometry.gauss_curvature(chart, u)))(jnp.asarray([[5.0, 3.0], [13.0, 20.0]]))
    np.testing.assert_allclose(curvature, 0, atol=1e-12)


@pytest.mark.parametrize(("p", "q"), [(2, 3), (3, 2), (3, 5)])
def test_a_torus_knot_lies_on_its_torus_and_winds_p_and_q_times(p, q, x64):
    knot = geometry.torus_knot(p, q, 3.0, 1.0)
    t = np.linspace(0, 2 * np.pi, 4001)
    x = np.asarray(jax.vmap(knot.at)(jnp.asarray(t)))
    np.testing.assert_allclose(np.hypot(np.hypot(x[:, 0], x[:, 1]) - 3, x[:, 2]), 1, atol=1e-12)
    around = np.unwrap(np.arctan2(x[:, 1], x[:, 0]))
    through = np.unwrap(np.arctan2(x[:, 2], np.hypot(x[:, 0], x[:, 1]) - 3))
    np.testing.assert_allclose([around[-1] - around[0], through[-1] - through[0]], [2 * np.pi * p, 2 * np.pi * q])
    at = lambda t: np.stack(  # noqa: E731
        [(3 + np.cos(q * t)) * np.cos(p * t), (3 + np.cos(q * t)) * np.sin(p * t), np.sin(q * t)], -1
    )
    np.testing.assert_allclose(knot.volume(), curve_length(at), rtol=1e-9)
    np.testing.assert_allclose(x[::50], at(t[::50]), atol=1e-12)


def test_the_figure_eight_knot_is_as_written(x64):
    knot, t = geometry.figure_eight_knot(), np.linspace(0, 6, 30)
    ring = 2 + np.cos(2 * t)
    expected = np.stack([ring * np.cos(3 * t), ring * np.sin(3 * t), np.sin(4 * t)], -1)
    np.testing.assert_allclose(jax.vmap(knot.at)(jnp.asarray(t)), expected, atol=1e-12)


def test_a_surface_of_revolution_has_the_curvature_of_its_profile(x64):
    """The catenoid (cosh s, s): K = -cosh(s)^{-4}; and the pseudosphere, K = -1."""

    def curvature(profile, domain, s):
        chart = geometry.surface_of_revolution(profile, domain, grid=24).whole()
        return jax.jit(jax.vmap(lambda v: geometry.gauss_curvature(chart, jnp.stack([v, v]))))(jnp.asarray(s))

    s = np.array([0.2, 0.7, 1.1])
    found = curvature(lambda s: jnp.stack([jnp.cosh(s), s]), (-1.5, 1.5), s)
    np.testing.assert_allclose(found, -(np.cosh(s) ** -4), rtol=1e-9)
    found = curvature(lambda s: jnp.stack([1 / jnp.cosh(s), s - jnp.tanh(s)]), (0.1, 2.0), s)
    np.testing.assert_allclose(found, -1, rtol=1e-9)


def test_a_profile_that_meets_the_axis_is_refused():
    with pytest.raises(ValueError, match=r"not an immersion at u = \(0, 0\)"):
        geometry.surface_of_revolution(lambda s: jnp.stack([jnp.sin(s), jnp.cos(s)]), (0.0, 2.0), grid=16)


@pytest.mark.slow
def test_the_double_torus_has_the_total_curvature_of_genus_two(x64):
    assert abs(total_curvature(geometry.double_torus(), 256) + 4 * np.pi) < 1e-4


@pytest.mark.slow
def test_the_double_torus_has_genus_two(x64):
    """Euler's number -2 by the total curvature; the error is that of the coarser lines."""
    assert abs(total_curvature(geometry.double_torus(), 96) + 4 * np.pi) < 0.05


@pytest.mark.slow
def test_uniform_points_of_a_hypersurface_from_its_equation_alone(key):
    """The ellipsoid of the semi-axes 1, 1.5, 2: the share of its area below a height, by its own quadrature."""
    axes = np.array([1.0, 1.5, 2.0])
    box = [(-1.02 * a, 1.05 * a) for a in axes]
    surface = geometry.from_equations(lambda x: jnp.sum((x / jnp.asarray(axes, x.dtype)) ** 2) - 1, 3, box=box)
    x = np.asarray(measures.draw(surface.uniform, key, 4000), float)
    np.testing.assert_allclose(np.sum((x / axes) ** 2, axis=1), 1, atol=1e-5)
    with jax.enable_x64(True):
        points, weights = (np.asarray(a) for a in geometry.Ellipsoid(axes).quadrature(256))
    for axis in range(3):
        order = np.argsort(points[:, axis])
        edges = np.interp(np.arange(1, 20) / 20, np.cumsum(weights[order]) / weights.sum(), points[order, axis])
        expected = np.bincount(np.searchsorted(edges, points[:, axis]), weights=weights) / weights.sum()
        counts = np.bincount(np.searchsorted(edges, x[:, axis]), minlength=20)
        assert stats.chisquare(counts, len(x) * expected).pvalue > 1e-4


@pytest.mark.slow
def test_lines_that_touch_are_counted_and_too_many_crossings_are_refused(x64):
    sphere = geometry.from_equations(lambda x: jnp.sum(x * x) - 1, 3, box=[(-1.1, 1.15)] * 3)
    points, weights = sphere.quadrature(64)
    np.testing.assert_allclose(jnp.sum(points * points, axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(jnp.sum(weights), 4 * np.pi, rtol=1e-5)
    # Thin enough for both crossings of a line to lie within one of its 256 steps.
    thin = geometry.from_equations(lambda x: (x[0] / 0.001) ** 2 + x[1] ** 2 - 1, 2, box=[(-1.0, 1.1), (-1.1, 1.1)])
    length = 4 * integrate.quad(lambda t: np.hypot(0.001 * np.sin(t), np.cos(t)), 0, np.pi / 2)[0]
    np.testing.assert_allclose(jnp.sum(thin.quadrature(4000)[1]), length, rtol=1e-3)
    few = geometry.from_equations(lambda x: jnp.sum(x * x) - 1, 3, box=[(-1.1, 1.15)] * 3, crossings=1)
    with pytest.raises(ValueError, match="crosses the hypersurface 2 times, more than crossings=1; raise it"):
        few.quadrature(16)
    with pytest.raises(ValueError, match=r"box=\[\(low, high\)"):
        geometry.from_equations(lambda x: jnp.sum(x * x) - 1, 3).volume()
