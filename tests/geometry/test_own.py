"""Manifolds that people bring: parametrisations with edges and seams, equations, and what is said of wrong ones."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.spatial import KDTree

from manifold_diffusion.geometry import (
    Sphere,
    from_embedding,
    from_equations,
    gauss_curvature,
)
from manifold_diffusion.measures import Density, Uniform, draw

TURN = 2 * np.pi


def band(u):
    """The Moebius band of half width .3."""
    half = u[0] / 2
    ring = 1 + u[1] * jnp.cos(half)
    return jnp.stack([ring * jnp.cos(u[0]), ring * jnp.sin(u[0]), u[1] * jnp.sin(half)])


def bottle(u):
    """A Klein bottle in R^4, without self-crossing."""
    a, b = u
    ring = 1 + 0.4 * jnp.cos(b)
    across = 0.4 * jnp.sin(b)
    return jnp.stack([ring * jnp.cos(a), ring * jnp.sin(a), across * jnp.cos(a / 2), across * jnp.sin(a / 2)])


def roll(u):
    """The Swiss roll."""
    return jnp.stack([u[0] * jnp.cos(u[0]) / 5, u[1], u[0] * jnp.sin(u[0]) / 5])


MOEBIUS = [(0.0, TURN), (-0.3, 0.3)], ("glue", "edge")
KLEIN = [(0.0, TURN), (0.0, TURN)], ("glue", "wrap")
ROLL = [(4.0, 12.0), (0.0, 2.0)], "edge"


@pytest.mark.parametrize(("f", "box"), [(band, MOEBIUS), (bottle, KLEIN), (roll, ROLL)], ids=["band", "bottle", "roll"])
def test_no_point_of_a_dense_grid_is_nearer_than_the_projection(x64, key, f, box):
    manifold = from_embedding(f, *box)
    sides = [np.linspace(low, high, 1201) for low, high in box[0]]
    dense = np.asarray(jax.vmap(f)(jnp.stack(jnp.meshgrid(*map(jnp.asarray, sides), indexing="ij"), -1).reshape(-1, 2)))
    points = draw(manifold.uniform, key, 300)
    x = np.asarray(points + 0.08 * jax.random.normal(jax.random.key(1), points.shape))
    projected = np.asarray(jax.jit(jax.vmap(manifold.project))(x))
    nearest = KDTree(dense).query(x)[0]
    assert np.all(np.linalg.norm(x - projected, axis=1) <= nearest + 1e-9)


def test_feet_at_an_edge_are_exact(x64):
    """The nearest point of a flat strip to a point beyond its corner is the corner; beyond a side, on the side."""
    strip = from_embedding(lambda u: jnp.stack([u[0], u[1], 0.0 * u[0]]), [(0, 1), (0, 2)])
    x = jnp.asarray([[1.5, 2.5, 0.3], [1.5, 0.7, -0.2], [0.4, -1.0, 0.0], [0.4, 0.7, 0.9]])
    expected = [[1, 2, 0], [1, 0.7, 0], [0.4, 0, 0], [0.4, 0.7, 0]]
    np.testing.assert_allclose(jax.vmap(strip.project)(x), expected, atol=1e-12)


@pytest.mark.slow
def test_the_seam_of_a_glued_band_cannot_be_seen(x64):
    """Projection, and its derivative, are smooth where the parameter starts anew."""
    manifold = from_embedding(band, *MOEBIUS)
    for side in (-1e-9, 1e-9):
        x = band(jnp.asarray([side, 0.1])) + jnp.asarray([0.0, 0.0, 0.05])
        across = band(jnp.asarray([0.0, 0.1])) + jnp.asarray([0.0, 0.0, 0.05])
        np.testing.assert_allclose(manifold.project(x), manifold.project(across), atol=1e-8)
        P = jax.jacfwd(manifold.project)(manifold.project(x))
        np.testing.assert_allclose(P @ P, P, atol=1e-9)
        np.testing.assert_allclose(np.trace(P), 2, atol=1e-9)


def test_a_closed_surface_has_the_total_curvature_of_its_topology(x64):
    """The Klein bottle has Euler characteristic 0, though its curvature vanishes almost nowhere."""
    manifold = from_embedding(bottle, *KLEIN)
    points, weights = manifold.quadrature(64)

    def curvature(x):
        chart = manifold.chart(x)
        return gauss_curvature(chart, chart.coordinates(x))

    values = jax.jit(lambda xs: jax.lax.map(curvature, xs, batch_size=256))(points)
    np.testing.assert_allclose(jnp.sum(values * weights), 0.0, atol=1e-8)
    assert float(jnp.sum(jnp.abs(values) * weights)) > 1.0


def test_volume_and_uniform_points_of_a_strip_in_closed_form(x64, key):
    """The Swiss roll is flat: area is width times the length of the spiral, and uniform points are uniform in it."""
    manifold = from_embedding(roll, *ROLL)

    def length(t):
        return (t * np.sqrt(1 + t * t) + np.arcsinh(t)) / 10

    np.testing.assert_allclose(manifold.volume(), 2 * (length(12.0) - length(4.0)), rtol=1e-10)
    x = np.asarray(draw(manifold.uniform, key, 20_000))
    share = (length(5 * np.hypot(x[:, 0], x[:, 2])) - length(4.0)) / (length(12.0) - length(4.0))
    for p in (share, x[:, 1] / 2):
        assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_measures_live_on_a_manifold_of_ones_own(x64, key):
    manifold = from_embedding(bottle, *KLEIN)
    measure = Density(manifold, lambda x: x[0], 1.5, order=96)
    points, weights = manifold.quadrature(128)
    mass = weights * jnp.exp(jax.vmap(measure.log_density)(points))
    np.testing.assert_allclose(jnp.sum(mass), 1.0, atol=1e-9)
    x = draw(measure.sample, key, 20_000)
    expected = jnp.sum(mass[:, None] * points, axis=0)
    np.testing.assert_allclose(jnp.mean(x, axis=0), expected, atol=5 * float(jnp.std(x)) / np.sqrt(20_000))
    assert float(Uniform(manifold).log_density(points[0])) == pytest.approx(-np.log(float(manifold.volume())))


def test_modules_may_hold_arrays_and_be_differentiated(x64):
    class Circle(eqx.Module):
        radius: jax.Array

        def __call__(self, u):
            return self.radius * jnp.stack([jnp.cos(u[0]), jnp.sin(u[0])])

    def distance(radius):
        return jnp.linalg.norm(from_embedding(Circle(radius), [(0, TURN)], "wrap").project(jnp.asarray([3.0, 0.0])))

    np.testing.assert_allclose(jax.jit(jax.grad(distance))(2.0), 1.0, atol=1e-9)


def test_a_parametrisation_that_is_wrong_says_where():
    with pytest.raises(ValueError, match=r"not an immersion at u = \(.*, 0\)"):
        from_embedding(oracles_sphere, [(0, TURN), (0.0, np.pi)], ("wrap", "edge"))
    with pytest.raises(ValueError, match="not an immersion"):
        from_embedding(lambda u: jnp.ones(2) + 0 * u, [(0, TURN)], "wrap")
    with pytest.raises(ValueError, match=r"same point: the image meets itself"):
        from_embedding(lambda u: jnp.stack([jnp.sin(u[0]), jnp.sin(2 * u[0])]), [(0, TURN)], "wrap")
    with pytest.raises(ValueError, match=r"does not have the period of coordinate 0"):
        from_embedding(lambda u: jnp.stack([u[0], u[0] ** 2]), [(0, 1)], "wrap")
    with pytest.raises(ValueError, match=r"not finite at u = \(0\)"):
        from_embedding(lambda u: jnp.stack([u[0], jnp.log(u[0])]), [(0, 1)])
    with pytest.raises(ValueError, match="low < high"):
        from_embedding(band, [(1, 0), (0, 1)])
    with pytest.raises(ValueError, match="d > 2"):
        from_embedding(lambda u: u, [(0, 1), (0, 1)])
    with pytest.raises(ValueError, match="for each of 2 coordinates"):
        from_embedding(band, MOEBIUS[0], ("wrap",))


def oracles_sphere(u):
    """Polar coordinates, which fail at the poles."""
    return jnp.stack([jnp.sin(u[1]) * jnp.cos(u[0]), jnp.sin(u[1]) * jnp.sin(u[0]), jnp.cos(u[1])])


# Equations


def test_the_certificate_tells_projections_that_converged_from_others(x64, key):
    sphere = from_equations(lambda x: jnp.sum(x * x) - 1, 3)
    x = 0.5 * jax.random.normal(key, (64, 3)) + jnp.asarray([[1.0, 0.0, 0.0]])
    found = jax.jit(jax.vmap(sphere.certified))(x)
    np.testing.assert_allclose(found.point, jax.vmap(Sphere(2).project)(x), atol=1e-12)
    assert bool(jnp.all(found.converged))
    # At the centre every point is nearest, and the derivative of the equation vanishes.
    assert not bool(sphere.certified(jnp.zeros(3)).converged)
    empty = from_equations(lambda x: jnp.sum(x * x) + 1, 3)
    assert not bool(empty.certified(jnp.ones(3)).converged)


def test_a_certified_point_is_critical_and_an_uncertified_one_is_off(x64):
    """Far inside an ellipsoid, beyond the focal surface, what is certified is still a foot of the point."""
    a = jnp.asarray([1.0, 1.5, 2.0])
    surface = from_equations(lambda x: jnp.sum((x / a) ** 2) - 1, 3)
    x = 0.3 * jax.random.normal(jax.random.key(4), (200, 3))
    found = jax.jit(jax.vmap(surface.certified))(x)
    normal = found.point / a[None, :] ** 2
    across = jnp.cross(found.point - x, normal)
    good = np.asarray(found.converged)
    assert good.mean() > 0.8
    np.testing.assert_allclose(np.asarray(across)[good], 0, atol=1e-9)
    np.testing.assert_allclose(np.asarray(jnp.sum((found.point / a[None, :]) ** 2, axis=1))[good], 1, atol=1e-9)


def test_equations_in_single_precision_are_certified_to_single_precision():
    surface = from_equations(lambda x: x[0] ** 2 + x[1] ** 2 - 1, 3)
    x = jnp.asarray([[1.2, 0.3, 5.0], [0.1, -0.8, 0.0]], jnp.float32)
    found = jax.jit(jax.vmap(surface.certified))(x)
    assert found.point.dtype == jnp.float32
    assert bool(jnp.all(found.converged))
    ring = jnp.linalg.norm(x[:, :2], axis=1, keepdims=True)
    np.testing.assert_allclose(found.point, jnp.concatenate([x[:, :2] / ring, x[:, 2:]], axis=1), atol=1e-6)


def test_equations_that_are_wrong_say_where():
    with pytest.raises(ValueError, match="not regular at"):
        from_equations(lambda x: x[0] ** 2 + x[1] ** 2, 3, inside=jnp.asarray([0.1, 0.0, 0.0]))
    with pytest.raises(ValueError, match="between 1 and 2 numbers"):
        from_equations(lambda x: x, 3)
    with pytest.raises(ValueError, match=r"off the level set|not regular"):
        from_equations(lambda x: jnp.sum(x * x) + 1, 3, inside=jnp.ones(3))
