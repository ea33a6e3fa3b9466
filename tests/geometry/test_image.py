"""Manifolds of images: the renderer against integrals and differences, the blob against its closed form, and what
follows from them.
"""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from manifold_diffusion.geometry import (
    Blobs,
    BlurredBlocks,
    BlurredEllipse,
    RenderedShape,
    blurred_bar,
    blurred_corner,
    image_manifold,
    jacobian,
    metric_tensor,
    scalar_curvature,
)
from manifold_diffusion.measures import draw

ALL = ("translation", "rotation", "scale")
CORNER = blurred_corner(8, 2.5, 1)


def rendered(shape, motions=ALL, pixels=16, dimming=0.0):
    return RenderedShape(shape, jnp.asarray(dimming, dtype=float), pixels, motions)


def test_a_blurred_block_is_the_convolution_of_its_indicator(x64):
    """At a few places, against the integral of a normal density over two rectangles."""
    rectangles, blur = [[-2.0, 1.0, 0.5, 3.0], [1.0, 2.0, 0.5, 1.5]], 0.8
    shape = BlurredBlocks(rectangles, blur)
    for p in np.random.default_rng(0).uniform(-3, 3, (5, 2)):

        def density(y, x, p=p):
            return stats.norm.pdf(x, p[0], blur) * stats.norm.pdf(y, p[1], blur)

        expected = sum(integrate.dblquad(density, *rectangle)[0] for rectangle in rectangles)
        np.testing.assert_allclose(shape(jnp.asarray(p)), expected, atol=1e-8)


def test_the_edge_of_an_ellipse_is_where_and_as_wide_as_it_says(x64):
    a, b, blur = 6.0, 3.0, 0.7
    shape = BlurredEllipse((a, b), blur)
    t = jnp.linspace(0, 2 * jnp.pi, 9)
    edge = jnp.stack([a * jnp.cos(t), b * jnp.sin(t)], axis=1)
    np.testing.assert_allclose(jax.jit(jax.vmap(shape.__call__))(edge), 0.5, atol=1e-12)
    grad = jax.jit(jax.grad(shape.__call__))
    slopes = [-grad(jnp.asarray([a, 0.0]))[0], -grad(jnp.asarray([0.0, b]))[1]]
    widths = blur * np.sqrt([a / b, b / a])
    np.testing.assert_allclose(slopes, stats.norm.pdf(0) / widths, rtol=1e-9)


def test_a_shape_moves_right_and_up_turns_to_the_left_and_grows(x64):
    image = np.asarray(rendered(Blobs()).image(jnp.asarray([3.5, 5.5, 0.0, 1.0])))
    assert np.unravel_index(image.argmax(), image.shape) == (2, 11)
    np.testing.assert_allclose(image.max(), 1.0)
    off_centre = rendered(Blobs([[2.0, 0.0]]))
    image = np.asarray(off_centre.image(jnp.asarray([0.5, 0.5, np.pi / 2, 2.0])))
    assert np.unravel_index(image.argmax(), image.shape) == (3, 8)


@pytest.mark.parametrize("shape", [CORNER, BlurredEllipse((5, 2.5)), Blobs([[2, 0], [0, 3]], 1.5, [1, 2])])
def test_derivatives_of_the_renderer_are_those_of_differences(x64, shape):
    f = rendered(shape, dimming=0.7)
    u, h = jnp.asarray([0.7, -0.4, 0.9, 1.1]), 1e-4
    first, second = jax.jit(lambda v: (jax.jacfwd(f)(v), jax.hessian(f)(v)))(u)
    steps = h * np.eye(4)
    ends = [[a * e + b * s for a in (1, -1) for b in (1, -1)] for e in steps for s in (*steps, 0 * h)]
    values = np.asarray(jax.jit(jax.vmap(f))(u[None] + jnp.asarray(ends).reshape(-1, 4))).reshape(4, 5, 4, -1)
    np.testing.assert_allclose(first.T, (values[:, 4, 0] - values[:, 4, 2]) / (2 * h), atol=1e-6)
    twice = np.einsum("eskd,k->des", values[:, :4], [1, -1, -1, 1]) / (4 * h * h)
    np.testing.assert_allclose(second, twice, atol=1e-6)


def test_images_repeat_after_a_turn_and_those_of_a_bar_after_half(x64):
    u = jnp.asarray([0.7, -0.4, 0.9, 1.1])
    for shape, turn in ((CORNER, 2 * jnp.pi), (blurred_bar(8, 3), jnp.pi)):
        f = rendered(shape)
        np.testing.assert_allclose(f(u), f(u.at[2].add(turn)), atol=1e-12)
        assert float(jnp.linalg.norm(f(u) - f(u.at[2].add(turn / 2)))) > 0.5


# The round blob


@eqx.filter_jit
def geometry_of(manifold, u):
    chart = manifold.whole()
    return metric_tensor(chart, u), scalar_curvature(chart, u)


SCALES = (1.75, 2.0)


def blob(dimming, **arguments):
    return image_manifold(Blobs(), 24, ("translation", "scale"), shift=1, scales=SCALES, dimming=dimming, **arguments)


@pytest.mark.parametrize("m", [0.0, 1.0, 2.0])
def test_the_geometry_of_a_blob_is_known(x64, m):
    """g = pi s^-2m (dc^2 / 2 + q ds^2), q = m^2 - 2m + 2, whose curvatures are, with the profile s^-m: -m s^(2m - 2) /
    (pi q) in planes along s and -m^2 s^(2m - 2) / (pi q) across it; so 0 for m = 0 and -1 / pi everywhere for m = 1.
    """
    manifold, q = blob(m), m * m - 2 * m + 2
    for u in ([0.3, -0.6, 1.9], [1.0, 1.0, 2.0]):
        g, scalar = geometry_of(manifold, jnp.asarray(u))
        np.testing.assert_allclose(g, np.pi * u[2] ** (-2 * m) * np.diag([0.5, 0.5, q]), atol=1e-11)
        expected = -2 * (2 * m + m * m) * u[2] ** (2 * m - 2) / (np.pi * q)
        np.testing.assert_allclose(scalar, expected, atol=1e-10)


def test_the_volume_and_uniform_images_of_the_hyperbolic_blob(x64, key):
    """The volume element is (pi^3/4)^(1/2) s^-3, so the centre is uniform and s^-2 is."""
    manifold = blob(1.0)
    low, high = SCALES
    expected = np.sqrt(np.pi**3 / 4) * 4 * (low**-2 - high**-2) / 2
    np.testing.assert_allclose(jnp.sum(manifold.quadrature(6)[1]), expected, rtol=1e-9)
    x = np.asarray(draw(manifold.uniform, key, 400)).reshape(400, 24, 24)
    along, mass = np.arange(24) - 11.5, x.sum(axis=(1, 2))
    centre = [x.sum(axis=1) @ along / mass, -x.sum(axis=2) @ along / mass]
    scale = mass / (2 * np.pi)  # the integral of exp(-|p|^2 / 2 s^2) / s is 2 pi s
    shares = [(c + 1) / 2 for c in centre] + [(low**-2 - scale**-2) / (low**-2 - high**-2)]
    for share in shares:
        assert stats.kstest(share, "uniform").pvalue > 1e-3


# Shapes that turn


def differences(g, u, h):
    """First and second derivatives of an array-valued function by central differences of order 6 in each."""
    k, points, weights = len(u), np.arange(-3, 4), np.asarray([-1, 9, -45, 0, 45, -9, 1]) / 60
    offsets = [
        h * a * np.eye(k)[i] + h * b * np.eye(k)[j] for i, j in PAIRS for a, b in itertools.product(points, points)
    ]
    values = np.asarray(g(jnp.asarray(u + np.asarray(offsets)))).reshape(len(PAIRS), 7, 7, k, k)
    first, second = np.zeros((k, k, k)), np.zeros((k, k, k, k))
    for (i, j), table in zip(PAIRS, values, strict=True):
        second[i, j] = second[j, i] = np.einsum("a,b,abij->ij", weights, weights, table) / h**2
        first[i] = np.einsum("a,aij->ij", weights, table[:, 3]) / h
    return values[0, 3, 3], first, second


PAIRS = [(i, j) for i in range(3) for j in range(i, 3)]


def intrinsic_scalar_curvature(g, first, second):
    """From a metric, first[l] = d_l g and second[l, m] = d_l d_m g (do Carmo's sign: positive on spheres):
    R_abcd = (d_b d_c g_ad + d_a d_d g_bc - d_a d_c g_bd - d_b d_d g_ac) / 2 + Gamma_bc.Gamma_ad - Gamma_ac.Gamma_bd,
    lowered Gamma, contracted to g^ac g^bd R_abcd.
    """
    inverse = np.linalg.inv(g)
    lowered = (np.einsum("ijl->ijl", first) + np.einsum("jil->ijl", first) - np.einsum("lij->ijl", first)) / 2
    product = np.einsum("bcl,lm,adm->abcd", lowered, inverse, lowered)
    half = np.einsum("bcad->abcd", second) + np.einsum("adbc->abcd", second)
    tensor = (half - np.einsum("acbd->abcd", second) - np.einsum("bdac->abcd", second)) / 2
    tensor = tensor + product - np.einsum("bacd->abcd", product)
    return np.einsum("ac,bd,abcd->", inverse, inverse, tensor)


def test_the_intrinsic_curvature_oracle_knows_the_sphere(x64):
    """S^3 of radius 2 in polar coordinates, g = 4 diag(1, sin^2 a, sin^2 a sin^2 b): scalar curvature 6 / 4."""

    def metric(u):
        a, b = np.sin(u[:, 0]) ** 2, np.sin(u[:, 1]) ** 2
        return 4 * np.einsum("in,ij->nij", np.stack([np.ones_like(a), a, a * b]), np.eye(3))

    found = intrinsic_scalar_curvature(*differences(lambda u: metric(np.asarray(u)), np.asarray([1.0, 0.8, 0.3]), 0.02))
    np.testing.assert_allclose(found, 6 / 4, rtol=1e-6)


def test_curvature_of_a_turning_shape_is_that_of_its_metric(x64):
    """The Gauss equation against the metric alone, whose derivatives are differences."""
    manifold = image_manifold(CORNER, 16, ALL[:2], grid=(3, 3, 8))
    u = jnp.asarray([0.7, -0.4, 0.9])
    metric = jax.jit(jax.vmap(lambda v: metric_tensor(manifold.whole(), v)))
    extrinsic = geometry_of(manifold, u)[1]
    intrinsic = intrinsic_scalar_curvature(*differences(metric, np.asarray(u), 0.02))
    np.testing.assert_allclose(extrinsic, intrinsic, rtol=1e-6)
    assert abs(float(extrinsic)) > 1e-3


@pytest.mark.slow
def test_the_parameters_of_noisy_images_are_found_to_the_bound_of_cramer_and_rao(x64, key):
    """All motions at once: the errors, in units of the noise and standardised by the metric, are standard normal."""
    manifold = image_manifold(CORNER, 16, shift=1, scales=(0.9, 1.1), grid=(3, 3, 12, 2))
    noise, size = 0.01, 24
    place, blur = jax.random.split(key)
    span = manifold.upper - manifold.lower
    u = manifold.lower[None, :] + span[None, :] * jax.random.uniform(place, (size, 4), minval=0.1, maxval=0.9)

    @jax.jit
    def errors(u, z):
        """Along the manifold, in units of the noise."""
        found = manifold.parameter(manifold.embedding(u) + noise * z)
        return jacobian(manifold.whole(), u) @ manifold.shortest(found - u) / noise

    moved = jnp.stack([errors(*pair) for pair in zip(u, jax.random.normal(blur, (size, 256)), strict=True)])
    total = float(jnp.sum(moved**2))
    assert stats.chi2.cdf(total, 4 * size) == pytest.approx(0.5, abs=0.499)


def test_shapes_that_a_motion_leaves_as_they_are_are_refused():
    with pytest.raises(ValueError, match=r"not an immersion at u = \(.*\)"):
        image_manifold(Blobs(widths=2), 16, ALL[:2])
    with pytest.raises(ValueError, match="not an immersion"):
        image_manifold(BlurredEllipse((4, 4)), 16, ("rotation",))
    with pytest.raises(ValueError, match="the image meets itself"):
        image_manifold(blurred_bar(8, 3), 16, ("rotation",), symmetry=1)
    assert image_manifold(blurred_bar(8, 3), 16, ("rotation",)).dim == 1


def test_a_shape_of_ones_own_is_any_function_of_a_place(key):
    """In single precision, as users have it."""
    manifold = image_manifold(lambda p: jnp.exp(-(p[0] ** 2) / 8 - p[1] ** 2 / 2 + p[0] / 4), 16, ("rotation",))
    x = manifold.embedding(jnp.asarray([1.2]))
    assert x.dtype == jnp.float32
    assert manifold.ambient_dim == 256
    np.testing.assert_allclose(manifold.parameter(x), [1.2], atol=1e-5)
    np.testing.assert_allclose(manifold.project(x), x, atol=1e-5)


def test_wrong_arguments_say_what_to_do():
    for arguments, message in (
        ({"motions": ()}, "each once"),
        ({"motions": ("scale", "scale")}, "each once"),
        ({"scales": (1.0, 0.5)}, "0 < smallest < largest"),
        ({"pixels": 1}, "at least 2 pixels"),
    ):
        with pytest.raises(ValueError, match=message):
            image_manifold(Blobs(), **arguments)
    with pytest.raises(ValueError, match="one number"):
        image_manifold(lambda p: p)
    with pytest.raises(ValueError, match="widths of blobs must be positive"):
        Blobs(widths=-1)
