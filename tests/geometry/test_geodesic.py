"""Geodesics and curvatures against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion.geometry import (
    Ellipsoid,
    Sphere,
    Torus,
    exponential,
    from_embedding,
    from_equations,
    gauss_curvature,
    logarithm,
    principal_curvatures,
    ricci_tensor,
    riemann_tensor,
    scalar_curvature,
    transport,
)
from manifold_diffusion.geometry.manifold import second_fundamental_form, tangent_frame

ends = jax.jit(exponential, static_argnums=3)
carry = jax.jit(transport, static_argnums=4)
logarithms = jax.jit(jax.vmap(logarithm, in_axes=(None, 0, 0)))


def clifford(u):
    """The flat torus of radii 1 and 2 in R^4: lengths on it are those of the plane of (u_0, 2 u_1)."""
    return jnp.stack([jnp.cos(u[0]), jnp.sin(u[0]), 2 * jnp.cos(u[1]), 2 * jnp.sin(u[1])])


def flat():
    return from_embedding(clifford, [(0, 2 * np.pi)] * 2, "wrap")


@pytest.mark.slow
def test_great_circles_are_the_geodesics_of_the_sphere(x64):
    x, v = jnp.asarray([1.0, 0.0, 0.0]), jnp.asarray([0.0, 1.2, 0.9])
    for manifold in (Sphere(2), from_equations(lambda x: jnp.sum(x * x) - 1, 3)):
        found = ends(manifold, x, v, 64)
        np.testing.assert_allclose(found, [np.cos(1.5), 0.8 * np.sin(1.5), 0.6 * np.sin(1.5)], atol=1e-7)


@pytest.mark.slow
def test_lines_are_the_geodesics_of_the_flat_torus(x64):
    manifold, u, a = flat(), jnp.asarray([0.3, 0.5]), jnp.asarray([2.0, -0.7])
    x, v = jax.jvp(clifford, (u,), (a,))
    np.testing.assert_allclose(ends(manifold, x, v, 64), clifford(u + a), atol=1e-6)


@pytest.mark.slow
def test_the_integrator_has_order_four(x64):
    """Local slopes of the error against the number of steps, on an ellipsoid, where nothing is symmetric."""
    manifold = Ellipsoid((1.0, 1.5, 2.0))
    x = manifold.project(jnp.asarray([0.5, 0.8, 1.1]))
    v = manifold.tangent(x, jnp.asarray([1.0, -0.6, 0.2]))
    exact = ends(manifold, x, v, 512)
    errors = [float(jnp.linalg.norm(ends(manifold, x, v, steps) - exact)) for steps in (8, 16, 32)]
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(slopes > 3.6), slopes
    assert np.all(slopes < 4.6), slopes


def test_parallel_transport_turns_by_the_enclosed_curvature(x64):
    """Around an octant of the sphere, whose area is pi/2, a tangent turns by pi/2."""
    sphere, corners = Sphere(2), jnp.eye(3)
    w = jnp.asarray([0.0, 1.0, 0.0])
    x = corners[0]
    for y in (corners[1], corners[2], corners[0]):
        x, w = carry(sphere, x, sphere.log(x, y), w, 64)
    np.testing.assert_allclose(x, corners[0], atol=1e-6)
    np.testing.assert_allclose(w, [0.0, 0.0, 1.0], atol=1e-6)


def test_transport_keeps_angles_and_lengths(x64):
    manifold = Torus(1.0, 0.4)
    x = manifold.project(jnp.asarray([1.0, 0.5, 0.3]))
    v, w = (manifold.tangent(x, jnp.asarray(a)) for a in ([0.5, 0.9, 0.2], [0.1, -0.3, 0.8]))
    y, carried = carry(manifold, x, v, w, 128)
    _, velocity = carry(manifold, x, v, v, 128)
    np.testing.assert_allclose(jnp.dot(carried, velocity), jnp.dot(v, w), atol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(carried), jnp.linalg.norm(w), atol=1e-12)
    np.testing.assert_allclose(manifold.tangent(y, carried), carried, atol=1e-12)


@pytest.mark.slow
def test_logarithms_on_the_sphere_are_those_of_the_closed_form(x64):
    """Near, far and equal points: their length is the angle 2 atan2(|x - y|, |x + y|)."""
    angles = np.array([0.0, 1e-6, 0.1, 1.0, 2.5])
    y = jnp.asarray(np.stack([np.cos(angles), 0.6 * np.sin(angles), 0.8 * np.sin(angles)], axis=1))
    x = jnp.tile(jnp.asarray([[1.0, 0.0, 0.0]]), (5, 1))
    found = logarithms(Sphere(2), x, y)
    np.testing.assert_allclose(found, jax.vmap(Sphere(2).log)(x, y), atol=5e-6)
    np.testing.assert_allclose(jnp.linalg.norm(found, axis=1), angles, rtol=2e-6, atol=1e-12)


@pytest.mark.slow
def test_the_logarithm_inverts_the_exponential(x64, key):
    manifold = Ellipsoid((1.0, 1.5, 2.0))
    x = jax.vmap(manifold.uniform)(jax.random.split(key, 8))
    v = jax.vmap(manifold.tangent)(x, 0.3 * jax.random.normal(key, x.shape))
    y = jax.jit(jax.vmap(lambda x, v: exponential(manifold, x, v)))(x, v)
    np.testing.assert_allclose(logarithms(manifold, x, y), v, atol=1e-8)


def test_nothing_is_nan_where_nothing_moves(x64):
    """A zero tangent stays, and the exponential has the identity for its derivative there."""
    sphere, x = Sphere(2), jnp.asarray([0.0, 0.0, 1.0])
    np.testing.assert_allclose(ends(sphere, x, jnp.zeros(3), 64), x, atol=1e-15)
    slope = jax.jit(jax.jacfwd(lambda v: exponential(sphere, x, sphere.tangent(x, v), 8)))(jnp.zeros(3))
    np.testing.assert_allclose(slope, np.diag([1.0, 1.0, 0.0]), atol=1e-6)


# Curvature


def at(manifold, x):
    chart = manifold.chart(x)
    return chart, chart.coordinates(x)


def test_curvatures_of_the_torus_in_closed_form(x64):
    """cos b / (r (R + r cos b)) for Gauss, 1/r and cos b / (R + r cos b) along the outward normal, with a minus."""
    torus = Torus(1.0, 0.4)
    for a, b in ((0.3, 0.0), (1.0, 2.0), (4.0, 3.0)):
        ring = 1 + 0.4 * np.cos(b)
        x = jnp.asarray([ring * np.cos(a), ring * np.sin(a), 0.4 * np.sin(b)])
        np.testing.assert_allclose(gauss_curvature(*at(torus, x)), np.cos(b) / (0.4 * ring), atol=1e-9)
        expected = np.sort([-1 / 0.4, -np.cos(b) / ring])
        np.testing.assert_allclose(principal_curvatures(*at(torus, x), torus.normal(x)), expected, atol=1e-9)


def test_the_flat_torus_is_flat_and_bent(x64):
    chart, u = at(flat(), clifford(jnp.asarray([1.0, 2.0])))
    np.testing.assert_allclose(gauss_curvature(chart, u), 0.0, atol=1e-10)
    assert float(jnp.sum(second_fundamental_form(chart, u) ** 2)) > 0.1


@pytest.mark.parametrize("dim", [2, 3, pytest.param(4, marks=pytest.mark.slow)])
def test_curvature_tensors_of_spheres(x64, dim):
    """R_abcd = (g_ad g_bc - g_ac g_bd) / r^2, Ric = (k - 1) / r^2, scalar k (k - 1) / r^2."""
    sphere = Sphere(dim, 2.0)
    chart, u = at(sphere, sphere.project(jnp.arange(1.0, dim + 2)))
    eye = np.eye(dim)
    expected = np.einsum("ad,bc->abcd", eye, eye) - np.einsum("ac,bd->abcd", eye, eye)
    np.testing.assert_allclose(riemann_tensor(chart, u), expected / 4, atol=1e-9)
    np.testing.assert_allclose(ricci_tensor(chart, u), (dim - 1) / 4 * eye, atol=1e-9)
    np.testing.assert_allclose(scalar_curvature(chart, u), dim * (dim - 1) / 4, atol=1e-9)
    x = chart.embed(u)
    np.testing.assert_allclose(principal_curvatures(chart, u, x / 2), np.full(dim, -0.5), atol=1e-9)


def test_the_gauss_equation_agrees_with_the_metric_alone(x64):
    """Theorema egregium: Brioschi's formula for orthogonal coordinates, from the metric of a chart of an ellipsoid.

    K = -1/(2 sqrt(EG)) [ d/du (G_u / sqrt(EG)) + d/dv (E_v / sqrt(EG)) ] in the angles of a surface of revolution.
    """
    axes = jnp.asarray([1.0, 1.0, 2.0])

    def place(u):
        return axes * jnp.stack([jnp.cos(u[0]) * jnp.cos(u[1]), jnp.cos(u[0]) * jnp.sin(u[1]), jnp.sin(u[0])])

    band = from_embedding(place, [(-1.2, 1.2), (0.0, 2 * np.pi)], ("edge", "wrap"))
    u = jnp.asarray([0.4, 1.0])

    def metric(u):
        J = jax.jacfwd(place)(u)
        return J.T @ J

    def root(u):
        g = metric(u)
        return jnp.sqrt(g[0, 0] * g[1, 1])

    first = jax.grad(lambda u: jax.grad(lambda w: metric(w)[1, 1])(u)[0] / root(u))(u)[0]
    second = jax.grad(lambda u: jax.grad(lambda w: metric(w)[0, 0])(u)[1] / root(u))(u)[1]
    expected = -(first + second) / (2 * root(u))
    np.testing.assert_allclose(gauss_curvature(*at(band, place(u))), expected, rtol=1e-9)


def test_frames_and_forms_do_not_depend_on_where_the_chart_is_centred(x64):
    torus = Torus(1.0, 0.4)
    x = torus.project(jnp.asarray([0.9, 0.7, 0.2]))
    there = torus.chart(torus.project(x + jnp.asarray([0.1, 0.0, 0.1])))
    here = torus.chart(x)
    u, v = here.coordinates(x), there.coordinates(x)
    np.testing.assert_allclose(scalar_curvature(here, u), scalar_curvature(there, v), atol=1e-9)
    P, Q = (f @ f.T for f in (tangent_frame(here, u), tangent_frame(there, v)))
    np.testing.assert_allclose(P, Q, atol=1e-10)
