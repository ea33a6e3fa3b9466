"""What is special to one manifold: exact Hoelder regularity, isometry, geodesics, and misuse that is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import geometry


def modulus(radius, step):
    """sup_t |fourth difference of the radius with that step|: of order step^b for regularity b < 4, and no smaller."""
    # Random angles: on an equal grid the finest waves would be seen at one phase only.
    t = 2 * np.pi * np.random.default_rng(0).random(20_000)
    values = [np.asarray(radius(jnp.asarray(t + i * step))) for i in range(5)]
    return np.max(np.abs(values[0] - 4 * values[1] + 6 * values[2] - 4 * values[3] + values[4]))


def slope(radius):
    """Of log modulus on log step, over dyadic steps between the curve's size and its finest wave."""
    steps = 2.0 ** -np.arange(4.0, 12.0)
    return np.polyfit(np.log(steps), np.log([modulus(radius, step) for step in steps]), 1)[0]


@pytest.mark.parametrize("exponent", [1.5, 2.0, 2.5, 3.0])
def test_a_hoelder_curve_has_its_regularity_and_no_more(exponent, x64):
    curve = geometry.HoelderCurve(exponent)
    radius = jax.jit(jax.vmap(lambda t: jnp.linalg.norm(curve.at(t))))
    assert abs(slope(radius) - exponent) < 0.05


@pytest.mark.parametrize("axis", [0, 1])
def test_a_hoelder_surface_has_its_regularity_in_both_angles(axis, x64):
    surface = geometry.HoelderSurface(2.5)
    along = jnp.eye(2)[axis]
    radius = jax.jit(jax.vmap(lambda t: surface.radius(jnp.array([0.3, 1.1]) + t * along)))
    assert abs(slope(radius) - 2.5) < 0.05


def test_a_smooth_curve_has_more_than_any_of_these(x64):
    """The instrument itself: on an analytic curve the slope is the order of the difference."""
    assert slope(jax.jit(lambda t: jnp.hypot(2 * jnp.cos(t), jnp.sin(t)))) > 3.9


def test_copies_keep_distances(x64, key):
    torus = geometry.Torus()
    copy = geometry.Embedded(torus, geometry.random_frame(key, 50, 3), jnp.ones(50))
    keys = jax.random.split(key, 20)
    here, there = jax.vmap(torus.uniform)(keys), jax.vmap(copy.uniform)(keys)
    distances = [np.linalg.norm(np.asarray(x[:, None] - x[None]), axis=-1) for x in (here, there)]
    np.testing.assert_allclose(*distances, atol=1e-12)


def test_random_frames_are_orthonormal_and_have_no_preferred_sign(x64):
    frames = jax.vmap(lambda key: geometry.random_frame(key, 5, 2))(jax.random.split(jax.random.key(1), 2000))
    gram = np.asarray(jnp.einsum("nde,ndf->nef", frames, frames))
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(2), gram.shape), atol=1e-12)
    mean, deviation = np.asarray(frames).mean(0), 1 / np.sqrt(5 * 2000)
    assert np.max(np.abs(mean)) < 4.5 * deviation


def test_geodesics_of_the_sphere_go_where_the_logarithm_points(x64, key):
    sphere = geometry.Sphere(3, 2.0)
    x, y = jax.vmap(sphere.uniform)(jax.random.split(key))
    v = sphere.log(x, y)
    np.testing.assert_allclose(sphere.exp(x, v), y, atol=1e-12)
    np.testing.assert_allclose(jnp.linalg.norm(v), sphere.distance(x, y), atol=1e-12)
    np.testing.assert_allclose(sphere.distance(x, y), 2 * jnp.arccos(jnp.dot(x, y) / 4), atol=1e-7)


def test_distances_on_the_sphere_are_exact_for_near_and_antipodal_points():
    """Where arccos loses all digits of float32: the angle 1e-3, and pi."""
    sphere = geometry.Sphere(1)
    x = jnp.array([1.0, 0.0])
    y = jnp.array([np.cos(1e-3), np.sin(1e-3)], jnp.float32)
    np.testing.assert_allclose(sphere.distance(x, y), 1e-3, rtol=1e-5)
    np.testing.assert_allclose(sphere.distance(x, -x), np.pi, rtol=1e-6)
    assert np.isfinite(jax.grad(lambda y: sphere.distance(x, y))(x)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: geometry.Sphere(0), "dimension at least 1"),
        (lambda: geometry.Ellipsoid((1.0, -2.0)), "positive semi-axes"),
        (lambda: geometry.Torus(1.0, 1.5), "minor < major"),
        (lambda: geometry.HoelderCurve(0.9), "above 1"),
        (lambda: geometry.HoelderCurve(1.5, amplitude=3.0), "radius vanish"),
        (lambda: geometry.FourierCurve(np.ones((2, 2)), np.ones((3, 2))), "frequencies"),
        (lambda: geometry.Embedded(geometry.Torus(), 2 * np.eye(5, 3)), "orthonormal"),
        (lambda: geometry.fit_atlas(jnp.ones((5, 3)), 2, 2), "needs 22 points, got 5"),
        (lambda: geometry.fit_atlas(jnp.ones((50, 3)), 3, 2), "below the ambient dimension 3"),
        (lambda: geometry.fit_atlas(jnp.ones((50, 3)), 2, 0), "degree must be at least 1"),
    ],
)
def test_misuse_is_refused_in_a_line_that_says_what_to_do(make, message):
    with pytest.raises(ValueError, match=message) as refused:
        make()
    assert "\n" not in str(refused.value)
