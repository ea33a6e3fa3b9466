"""Rotations, rigid motions, frames, subspaces and products: closed forms against scipy and against one another."""

import functools
import inspect
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, stats
from scipy.spatial.transform import Rotation

from manifold_diffusion import geometry
from manifold_diffusion.geometry import (
    Ellipsoid,
    Euclidean,
    Grassmann,
    Product,
    SpecialEuclidean,
    SpecialOrthogonal,
    Sphere,
    Stiefel,
    flat_torus,
    quaternion_from_rotation,
    rotation_from_quaternion,
)
from tests import catalogue_groups as groups
from tests.geometry import test_laws as laws

COUNT = 12


def points_of(name):
    """(COUNT, d) points, by numpy."""
    rng = np.random.default_rng(3)
    if name == "SE(3)":
        rotations = Rotation.random(COUNT, random_state=1).as_matrix().reshape(COUNT, 9)
        return np.concatenate([rotations, rng.standard_normal((COUNT, 3))], axis=1)
    if name == "SE(2)":
        with jax.enable_x64(True):
            return groups.motions(None, range(COUNT))
    if name == "sphere x circle":
        x, y = rng.standard_normal((COUNT, 4)), rng.standard_normal((COUNT, 2))
        return np.concatenate([2 * x / np.linalg.norm(x, axis=1)[:, None], y / np.linalg.norm(y, axis=1)[:, None]], 1)
    frames = np.linalg.qr(rng.standard_normal((COUNT, 5 if name == "Gr(5, 2)" else 4, 2)))[0]
    return (frames if name == "St(4, 2)" else frames @ frames.swapaxes(1, 2)).reshape(COUNT, -1)


MAKE = {
    "SE(3)": lambda: SpecialEuclidean(3),
    "SE(2)": lambda: SpecialEuclidean(2),
    "sphere x circle": lambda: Product(Sphere(3, 2.0), Sphere(1)),
    "Gr(5, 2)": lambda: Grassmann(5, 2),
}
TIMES = 1 + 1e-3 * np.arange(-1, 2)


class Geodesics(NamedTuple):
    """What a manifold says about geodesics from x with velocity v, the first of which does not move."""

    x: np.ndarray
    v: np.ndarray
    ends: np.ndarray
    projector: np.ndarray
    projector_there: np.ndarray
    back: np.ndarray
    distance_slope: np.ndarray
    exp_slope: np.ndarray
    log_volume: np.ndarray
    log_volume_slope: np.ndarray


@functools.cache
def geodesics(name) -> Geodesics:
    """`Geodesics` in float64, at TIMES, velocities up to length 1.5; compiled at once."""
    with jax.enable_x64(True):
        manifold, x = MAKE[name](), jnp.asarray(points_of(name))
        step = jnp.asarray(np.random.default_rng(4).standard_normal(x.shape))
        columns = jax.vmap(manifold.tangent, in_axes=(None, 0), out_axes=1)

        def look(x, step, length):
            P = columns(x, jnp.eye(len(x)))
            v = P @ step
            v = length * v / jnp.linalg.norm(v)
            ends = jax.vmap(lambda t: manifold.exp(x, t * v))(jnp.asarray(TIMES))
            back, pull = jax.vjp(lambda y: manifold.log(x, y), ends[1])
            volume, slope = jax.value_and_grad(manifold.log_exp_volume, argnums=1)(x, v)
            exp_slope = jax.jacfwd(manifold.exp, argnums=1)(x, v)
            return Geodesics(
                x, v, ends, P, columns(ends[1], jnp.eye(len(x))), back, pull(v)[0], exp_slope, volume, slope
            )

        seen = jax.jit(jax.vmap(look))(x, step, jnp.linspace(0.0, 1.5, COUNT))
    return Geodesics(*(np.asarray(values) for values in seen))


every_geodesic = pytest.mark.parametrize("name", MAKE)


@pytest.mark.slow
@every_geodesic
def test_geodesics_have_normal_acceleration_and_keep_their_speed(name):
    seen, h = geodesics(name), TIMES[1] - TIMES[0]
    before, now, after = seen.ends.swapaxes(0, 1)
    acceleration = (before - 2 * now + after) / h**2
    np.testing.assert_allclose(np.einsum("nij,nj->ni", seen.projector_there, acceleration), 0, atol=1e-5)
    speed = np.linalg.norm(after - before, axis=1) / (2 * h)
    np.testing.assert_allclose(speed, np.linalg.norm(seen.v, axis=1), atol=1e-5)


@every_geodesic
def test_the_logarithm_inverts_the_exponential(name):
    """At v = 0 the derivatives of both are the identity of the tangent space."""
    seen = geodesics(name)
    np.testing.assert_allclose(seen.back, seen.v, atol=1e-13)
    np.testing.assert_allclose(seen.exp_slope[0] @ seen.projector[0], seen.projector[0], atol=1e-13)


@every_geodesic
def test_half_the_squared_distance_grows_along_the_geodesic(name):
    """The gradient of |log_x(y)|^2 / 2 in y is the velocity at y, exp differentiated along v (lemma of Gauss)."""
    seen = geodesics(name)
    velocity = np.einsum("nij,nj->ni", seen.exp_slope, seen.v)
    along = np.einsum("nij,nj->ni", seen.projector_there, seen.distance_slope)
    np.testing.assert_allclose(along, velocity, atol=1e-12)


@every_geodesic
def test_the_volume_of_the_exponential_is_that_of_its_derivative(name):
    """log |det d exp| in orthonormal frames; it is smallest at v = 0."""
    seen = geodesics(name)
    for i in range(COUNT):
        here, there = (np.linalg.svd(P)[0][:, : MAKE[name]().dim] for P in (seen.projector[i], seen.projector_there[i]))
        J = there.T @ seen.exp_slope[i] @ here
        np.testing.assert_allclose(seen.log_volume[i], np.linalg.slogdet(J)[1], atol=1e-12)
    np.testing.assert_allclose(seen.log_volume_slope[0], 0, atol=1e-15)
    assert np.all(np.isfinite(seen.log_volume_slope))


@pytest.mark.slow
def test_complements_of_subspaces_have_the_same_geometry(x64):
    """P -> I - P is an isometry of Gr(5, 2) onto Gr(5, 3)."""
    seen, other = geodesics("Gr(5, 2)"), Grassmann(5, 3)
    eye = np.eye(5).ravel()
    x, y, v = (jnp.asarray(a) for a in (eye - seen.x, eye - seen.ends[:, 1], -seen.v))
    volume, ends = jax.jit(jax.vmap(lambda x, v: (other.log_exp_volume(x, v), other.exp(x, v))))(x, v)
    np.testing.assert_allclose(volume, seen.log_volume, atol=1e-13)
    np.testing.assert_allclose(ends, y, atol=1e-13)
    np.testing.assert_allclose(other.volume(), Grassmann(5, 2).volume(), rtol=1e-13)


@pytest.mark.parametrize("name", ["SE(3)", pytest.param("Gr(5, 2)", marks=pytest.mark.slow)])
def test_geodesics_in_float32(name):
    """There and back within a few roundings of points of size 1."""
    manifold = MAKE[name]()
    x, v = (jnp.asarray(a, jnp.float32) for a in (geodesics(name).x, geodesics(name).v))

    def look(x, v):
        y = manifold.exp(x, v)
        return manifold.log(x, y), manifold.distance(x, y)

    back, length = jax.jit(jax.vmap(look))(x, v)
    assert back.dtype == length.dtype == jnp.float32
    np.testing.assert_allclose(back, v, atol=3e-6)
    np.testing.assert_allclose(length, np.linalg.norm(v, axis=1), atol=3e-6)


# The laws of tests/geometry/test_laws.py, on more manifolds

MORE = groups.more_manifolds()
LAWS = {
    name: law
    for name, law in vars(laws).items()
    if name.startswith("test_") and "entry" in inspect.signature(law).parameters and "million" not in name
}


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", MORE)
def test_the_laws_hold_on_more_manifolds(name, law):
    parameters = inspect.signature(LAWS[law]).parameters
    if "quadrature" in law or "moments" in law or "total" in law:
        pytest.skip("no quadrature")
    for dtype in ("float64", "float32") if "dtype" in parameters else ("",):
        with jax.enable_x64("x64" in parameters):
            LAWS[law](
                MORE[name], **({"dtype": dtype} if dtype else {}), **({"x64": None} if "x64" in parameters else {})
            )


# Rotations


def rotation_vectors():
    """Axes in all directions with angles from 0 to just under pi."""
    axes = np.random.default_rng(0).standard_normal((40, 3))
    axes[:3] = np.eye(3)
    angles = np.concatenate([[0.0, 1e-7, 1e-4, 3.1415, np.pi - 1e-6], np.linspace(0.01, np.pi - 1e-3, 35)])
    return axes / np.linalg.norm(axes, axis=1)[:, None] * np.random.default_rng(1).permutation(angles)[:, None]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_rotation_charts_are_exact_from_no_turn_to_half_a_turn(dtype):
    """Against scipy, and there and back, to a few roundings."""
    vectors = rotation_vectors()
    with jax.enable_x64(dtype == "float64"):
        chart = SpecialOrthogonal(3).chart(jnp.asarray(Rotation.from_rotvec([0.3, -2, 1]).as_matrix().ravel(), dtype))
        look = jax.vmap(lambda u: (chart.embed(u), chart.coordinates(chart.embed(u))))
        x, back = jax.jit(look)(jnp.asarray(vectors, dtype))
    rounding = np.finfo(dtype).eps
    expected = (Rotation.from_rotvec([0.3, -2, 1]) * Rotation.from_rotvec(vectors)).as_matrix().reshape(-1, 9)
    np.testing.assert_allclose(x, expected, atol=8 * rounding)
    np.testing.assert_allclose(back, vectors, atol=16 * rounding)


def test_rotation_charts_have_derivatives_from_no_turn_to_half_a_turn(x64):
    """That of the logarithm is inverse to that of the exponential; the second at 0 is (E_i E_j + E_j E_i) / 2."""
    chart = SpecialOrthogonal(3).chart(jnp.eye(3).ravel())

    def look(u):
        slope = jax.jacfwd(chart.embed)
        along = jax.jvp(slope, (u,), (jnp.asarray([1.0, 2.0, 3.0]),))[1]
        return jax.jacfwd(chart.coordinates)(chart.embed(u)) @ slope(u), along

    vectors = rotation_vectors()
    inverse, second = jax.jit(jax.vmap(look))(jnp.asarray(vectors))
    # The logarithm ends in a polynomial of degree 23, whose slope has as many roundings as the square of that.
    np.testing.assert_allclose(inverse, np.broadcast_to(np.eye(3), inverse.shape), atol=23**2 * np.finfo(float).eps)
    assert np.all(np.isfinite(second))
    E = np.stack([Rotation.from_rotvec(np.pi / 2 * axis).as_matrix() for axis in np.eye(3)])
    E = (E - E.swapaxes(1, 2)) / 2
    W = np.einsum("i,ijk->jk", [1.0, 2.0, 3.0], E)
    expected = np.stack([(W @ e + e @ W).ravel() / 2 for e in E], axis=1)
    still = np.argmin(np.linalg.norm(vectors, axis=1))
    np.testing.assert_allclose(second[still], expected, atol=1e-14)


def test_quaternions_are_those_of_scipy(x64):
    """scipy puts the real part last. Identity, half turns about axes and in between, and generic rotations."""
    half_turns = Rotation.from_rotvec(np.pi * np.concatenate([np.eye(3), [[0.6, 0.8, 0], [0.48, 0.6, 0.64]]]))
    rotations = Rotation.concatenate([Rotation.identity(1), half_turns, Rotation.from_rotvec(rotation_vectors())])
    x = jnp.asarray(rotations.as_matrix().reshape(-1, 9))

    def look(x):
        q = quaternion_from_rotation(x)
        return q, rotation_from_quaternion(-3 * q), jax.jacfwd(quaternion_from_rotation)(x)

    q, again, slope = (np.asarray(a) for a in jax.jit(jax.vmap(look))(x))
    expected = np.roll(rotations.as_quat(), 1, axis=1)
    np.testing.assert_allclose(np.abs(np.sum(q * expected, axis=1)), 1.0, atol=1e-14)
    assert np.all(q[:, 0] >= 0)
    np.testing.assert_allclose(again, x, atol=1e-14)
    assert np.all(np.isfinite(slope))


def test_unit_quaternions_cover_the_rotations_twice_and_isometrically(x64, key):
    """Lengths grow by 2 sqrt 2, which the volumes repeat: vol SO(3) = vol S^3(2 sqrt 2) / 2."""
    q = Sphere(3).uniform(key)
    slope = jax.jit(jax.jacfwd(rotation_from_quaternion))(q)
    np.testing.assert_allclose(slope.T @ slope, 8 * (np.eye(4) - np.outer(q, q)), atol=1e-13)
    np.testing.assert_allclose(2 * SpecialOrthogonal(3).volume(), Sphere(3, np.sqrt(8)).volume(), rtol=1e-14)


@pytest.mark.parametrize("n", [2, 3])
def test_the_nearest_rotation_of_any_matrix(x64, n):
    """U diag(1, .., det(U V^T)) V^T of A = U S V^T, also for reflections; and some rotation where it is not unique."""
    matrices = np.random.default_rng(n).standard_normal((30, n, n))
    U, _, V = np.linalg.svd(matrices)
    U[:, :, -1] *= np.linalg.det(U @ V)[:, None]
    project = jax.jit(jax.vmap(SpecialOrthogonal(n).project))
    np.testing.assert_allclose(project(jnp.asarray(matrices.reshape(-1, n * n))).reshape(-1, n, n), U @ V, atol=1e-12)
    special = np.stack([np.zeros((n, n)), np.diag([*[1.0] * (n - 1), -1.0]), np.ones((n, n)), -np.eye(n)])
    found = project(jnp.asarray(special.reshape(-1, n * n)))
    np.testing.assert_allclose([groups.rotation_equation(np.asarray(x)) for x in found], 0, atol=1e-14)


def test_uniform_angles_in_the_plane(x64, key):
    circle = SpecialOrthogonal(2)
    x = np.asarray(jax.jit(jax.vmap(circle.uniform))(jax.random.split(key, 2000)))
    assert stats.kstest(np.arctan2(x[:, 2], x[:, 0]) / (2 * np.pi) + 0.5, "uniform").pvalue > 1e-3
    nodes, weights = circle.quadrature(16)
    np.testing.assert_allclose(jnp.sum(weights), 2 * np.pi * np.sqrt(2), rtol=1e-14)
    np.testing.assert_allclose([groups.rotation_equation(np.asarray(x)) for x in nodes], 0, atol=1e-14)


@pytest.mark.parametrize("n", [2, 3])
def test_rigid_motions_are_a_group_that_acts(x64, n):
    """On (p, 1) a motion acts by the matrix [[R, t], [0, 1]], and composition is the product of those."""
    group, x = SpecialEuclidean(n), points_of(f"SE({n})")
    p = np.random.default_rng(0).standard_normal((COUNT, n))

    def matrices(x):
        found = np.tile(np.eye(n + 1), (len(x), 1, 1))
        found[:, :n, :n], found[:, :n, n] = x[:, : n * n].reshape(-1, n, n), x[:, n * n :]
        return found

    def look(x, y, p):
        return group.compose(x, y), group.inverse(x), group.act(x, p)

    a, b = jnp.asarray(x), jnp.asarray(x[::-1].copy())
    product, inverse, moved = jax.jit(jax.vmap(look))(a, b, jnp.asarray(p))
    np.testing.assert_allclose(matrices(product), matrices(x) @ matrices(x[::-1]), atol=1e-14)
    np.testing.assert_allclose(matrices(inverse), np.linalg.inv(matrices(x)), atol=1e-13)
    homogeneous = np.concatenate([p, np.ones((COUNT, 1))], axis=1)
    np.testing.assert_allclose(moved, np.einsum("nij,nj->ni", matrices(x), homogeneous)[:, :n], atol=1e-14)
    rotations = SpecialOrthogonal(n)
    R, S = a[0, : n * n], b[0, : n * n]
    np.testing.assert_array_equal(rotations.compose(R, S), product[0, : n * n])
    np.testing.assert_array_equal(rotations.inverse(R), inverse[0, : n * n])
    np.testing.assert_allclose(rotations.act(R, jnp.asarray(p[0])) + a[0, n * n :], moved[0], atol=1e-14)


# Half turns and orthogonal subspaces


@pytest.mark.slow
def test_nothing_is_nan_at_half_turns_and_at_orthogonal_subspaces(x64):
    """The distance is that of the cut locus, log leads there, and derivatives are finite."""
    plane, space = np.diag([1.0, 1, 0, 0]), np.diag([1.0, 0, 0])
    cases = [
        (SpecialOrthogonal(3), np.eye(3), [np.diag([-1.0, 1.0, -1.0])], np.array([np.pi])),
        (Grassmann(3, 1), space, [np.diag([0, 0, 1.0])], np.array([np.pi / 2])),
        (Grassmann(4, 2), plane, [np.eye(4) - plane, np.diag([1.0, 0, 0, 1])], np.pi / 2 * np.sqrt([2, 1])),
    ]
    for manifold, x, ys, angles in cases:
        x, ys = jnp.asarray(x.ravel()), jnp.asarray(np.stack(ys).reshape(len(ys), -1))

        def look(y, x=x, manifold=manifold):
            v, slope = manifold.log(x, y), jax.jacfwd(manifold.log, argnums=1)(x, y)
            return v, manifold.exp(x, v), manifold.distance(x, y), slope, jax.grad(manifold.distance)(x, y)

        v, ends, distance, *slopes = jax.jit(jax.vmap(look))(ys)
        np.testing.assert_allclose(distance, np.sqrt(2) * angles, rtol=1e-13)
        np.testing.assert_allclose(jnp.linalg.norm(v, axis=1), np.sqrt(2) * angles, rtol=1e-13)
        np.testing.assert_allclose(ends, ys, atol=1e-13)
        assert all(np.all(np.isfinite(slope)) for slope in slopes)


# Frames and subspaces


def test_frames_have_charts_projections_and_geodesics(x64):
    """St(4, 2) in one look: equations of the manifold and of its normal space in numpy, distances from the frame's own
    chart; all the laws are for the slow tests.
    """
    manifold, x = Stiefel(4, 2), jnp.asarray(points_of("St(4, 2)"))
    noise = jnp.asarray(0.1 * np.random.default_rng(4).standard_normal(x.shape))
    u = jnp.asarray(np.random.default_rng(5).uniform(-0.5, 0.5, (COUNT, 5)))

    def look(x, noise, u):
        foot, v, chart = manifold.project(x + noise), manifold.tangent(x, 5 * noise), manifold.chart(x)
        point = chart.embed(u)
        ends = jax.vmap(lambda t: manifold.exp(x, t * v))(jnp.asarray(TIMES))
        return foot, v, point, chart.coordinates(point), chart.embed(jnp.zeros(5)), ends, jax.jacfwd(chart.embed)(u)

    seen = (np.asarray(a) for a in jax.jit(jax.vmap(look))(x, noise, u))
    foot, v, point, back, centre, ends, slope = seen
    np.testing.assert_allclose(
        foot, [linalg.polar((a + b).reshape(4, 2))[0].ravel() for a, b in zip(x, noise, strict=True)]
    )
    np.testing.assert_allclose(back, u, atol=1e-13)
    np.testing.assert_allclose(centre, x, atol=1e-14)
    equation = groups.stiefel_equation(4, 2)
    np.testing.assert_allclose([equation(a) for a in (*point, *ends[:, 0], *ends[:, 2])], 0, atol=1e-13)
    X, V, Y = (a.reshape(COUNT, 4, 2) for a in (np.asarray(x), v, point))
    # Tangents are the V with X^T V skew, and normals the X S with S symmetric.
    np.testing.assert_allclose(X.swapaxes(1, 2) @ V + V.swapaxes(1, 2) @ X, 0, atol=1e-13)
    columns = np.moveaxis(slope.reshape(COUNT, 4, 2, 5), -1, 1)
    along = Y.swapaxes(1, 2)[:, None] @ columns
    np.testing.assert_allclose(along + along.swapaxes(2, 3), 0, atol=1e-13)
    assert np.all(np.linalg.matrix_rank(slope) == manifold.dim)
    before, now, after = ends.reshape(COUNT, 3, 4, 2).swapaxes(0, 1)
    bend = (before - 2 * now + after) / (TIMES[1] - TIMES[0]) ** 2
    S = now.swapaxes(1, 2) @ bend
    np.testing.assert_allclose(bend, now @ (S + S.swapaxes(1, 2)) / 2, atol=1e-5)
    speed = np.linalg.norm(after - before, axis=(1, 2)) / (TIMES[2] - TIMES[0])
    np.testing.assert_allclose(speed, np.linalg.norm(v, axis=1), atol=1e-5)


def test_frames_of_one_vector_are_the_sphere(x64):
    stiefel, sphere = Stiefel(3, 1), Sphere(2)
    np.testing.assert_allclose(stiefel.volume(), sphere.volume(), rtol=1e-14)
    np.testing.assert_allclose(stiefel.quadrature(4)[1], sphere.quadrature(4)[1], rtol=1e-14)
    x, v = jnp.asarray([0.6, 0.0, 0.8]), jnp.asarray([0.8, 1.0, -0.6])
    look = jax.jit(
        lambda x, v: (stiefel.exp(x, v) - sphere.exp(x, v), stiefel.project(3 * x + v) - sphere.project(3 * x + v))
    )
    np.testing.assert_allclose(look(x, v), 0, atol=1e-14)


def test_uniform_frames_and_subspaces_in_four_dimensions(key):
    """In Gr(4, 2) the entry P_11, Beta(1, 1), is uniform; for St(4, 2) see `stiefel_parameters`."""
    keys = jax.random.split(key, 5000)
    frames, subspaces = jax.jit(jax.vmap(lambda k: (Stiefel(4, 2).uniform(k), Grassmann(4, 2).uniform(k))))(keys)
    laws = [(share, frames) for share in groups.stiefel_parameters(4)]
    laws += [(groups.twice_the_angle, subspaces), (lambda x: np.clip(x[:, 0], 0, 1), subspaces)]
    for share, x in laws:
        assert stats.kstest(share(np.asarray(x, float)), "uniform").pvalue > 1e-3


def test_volumes_of_frames_and_subspaces_by_their_parameters(x64):
    """Planes of R^4 are pairs of points of S^2; St(n, p) fibres over Gr(n, p) with fibre O(p)."""
    expected = groups.volume_by_angles(groups.isoclinic_projector, groups.SPHERE_BOX * 2) / 2
    np.testing.assert_allclose(Grassmann(4, 2).volume(), expected, rtol=1e-12)
    # |dX|^2 = |A|^2 + |B|^2, and |dP|^2 = 2 |B|^2; the fibre O(2) is two circles of radius sqrt 2.
    fibre, base = 4 * np.pi * np.sqrt(2), expected / 2 ** (4 / 2)
    np.testing.assert_allclose(Stiefel(4, 2).volume(), fibre * base, rtol=1e-12)


@pytest.mark.parametrize(
    ("manifold", "x", "y"),
    [
        (SpecialOrthogonal(3), np.eye(3), Rotation.from_rotvec([0.1, 0.2, -2]).as_matrix()),
        (Stiefel(4, 2), np.eye(4)[:, :2], np.array([[np.cos(1), 0], [0, 1], [np.sin(1), 0], [0, 0]])),
        (Grassmann(3, 1), np.diag([1.0, 0, 0]), np.outer([np.cos(1), np.sin(1), 0], [np.cos(1), np.sin(1), 0])),
    ],
    ids=["SO(3)", "St(4, 2)", "Gr(3, 1)"],
)
def test_the_reach_is_attained(x64, manifold, x, y):
    """Federer's quotient |x - y|^2 / (2 dist(y - x, tangent space)) is the reach for pairs that differ in one plane."""
    x, chord = jnp.asarray(x.ravel()), jnp.asarray((y - x).ravel())
    across = chord - manifold.tangent(x, chord)
    quotient = jnp.sum(chord * chord) / (2 * jnp.linalg.norm(across))
    np.testing.assert_allclose(quotient, manifold.reach(), rtol=1e-13)


# Curvature


def stiefel_scalar_curvature(n, p):
    """|H|^2 - |II|^2 with II(V, W) = -X (V^T W + W^T V) / 2, over an orthonormal basis of tangents, by numpy."""
    basis = []
    for i in range(n):
        for j in range(p):
            V = np.zeros((n, p))
            V[i, j] = 1.0
            if i < j:
                V[j, i] = -1.0
            if i < j or i >= p:
                basis.append(V / np.linalg.norm(V))
    forms = [[(V.T @ W + W.T @ V) / 2 for W in basis] for V in basis]
    H = sum(forms[a][a] for a in range(len(basis)))
    return np.sum(H**2) - sum(np.sum(form**2) for row in forms for form in row)


@pytest.mark.parametrize(
    ("manifold", "x", "expected"),
    [
        (SpecialOrthogonal(3), np.eye(3), 6 / 8),
        pytest.param(Stiefel(4, 2), np.eye(4)[:, :2], stiefel_scalar_curvature(4, 2), marks=pytest.mark.slow),
        pytest.param(Grassmann(4, 2), np.diag([1.0, 1, 0, 0]), 4 * (4 - 2) / 2, marks=pytest.mark.slow),
        pytest.param(SpecialEuclidean(2), np.array([1.0, 0, 0, 1, 2, 3]), 0.0, marks=pytest.mark.slow),
    ],
    ids=["SO(3)", "St(4, 2)", "Gr(4, 2)", "SE(2)"],
)
def test_scalar_curvatures_in_closed_form(x64, manifold, x, expected):
    """SO(3) is half of a sphere of radius sqrt 8; Gr(n, p) is Einstein with Ric = (n - 2) g / 2 in this metric."""

    def look(x, u):
        return geometry.scalar_curvature(manifold.chart(x), u)

    u = 0.3 * jnp.cos(jnp.arange(manifold.dim))
    np.testing.assert_allclose(jax.jit(look)(jnp.asarray(x.ravel()), u), expected, atol=1e-10)


def test_sectional_curvatures_of_subspaces(x64):
    """(|B C^T - C B^T|^2 + |B^T C - C^T B|^2) / 4 for |B| = |C| = 1, <B, C> = 0: between 0 and 1 in this metric."""
    manifold, x = Grassmann(4, 2), jnp.asarray(np.diag([1.0, 1, 0, 0]).ravel())

    def look(x):
        chart = manifold.chart(x)
        return geometry.riemann_tensor(chart, jnp.zeros(4)), geometry.tangent_frame(chart, jnp.zeros(4))

    R, frame = (np.asarray(a) for a in jax.jit(look)(x))
    blocks = np.sqrt(2) * frame.T.reshape(4, 4, 4)[:, 2:, :2]
    for a, B in enumerate(blocks):
        for b, C in enumerate(blocks):
            outer, inner = B @ C.T - C @ B.T, B.T @ C - C.T @ B
            np.testing.assert_allclose(R[a, b, b, a], (np.sum(outer**2) + np.sum(inner**2)) / 4, atol=1e-10)


# Products


def test_products_are_done_by_parts(x64, key):
    """Volume, reach, quadrature of a product of curves; the flat torus is one."""
    curves = Product(Sphere(1, 2.0), Ellipsoid((2.0, 1.0)))
    (x, a), (y, b) = Sphere(1, 2.0).quadrature(8), Ellipsoid((2.0, 1.0)).quadrature(8)
    points, weights = curves.quadrature(8)
    np.testing.assert_allclose(jnp.sum(weights), jnp.sum(a) * jnp.sum(b), rtol=1e-14)
    np.testing.assert_allclose(points.reshape(8, 8, 4)[3, 5], np.concatenate([x[3], y[5]]), atol=1e-15)
    np.testing.assert_allclose(weights.reshape(8, 8), np.outer(a, b), rtol=1e-14)
    np.testing.assert_allclose(curves.reach(), 0.5, rtol=1e-12)
    torus = flat_torus(1.0, 1.0, 0.5)
    np.testing.assert_allclose(torus.volume(), (2 * np.pi) ** 3 / 2, rtol=1e-14)
    assert (torus.dim, torus.ambient_dim) == (3, 6)
    assert torus.uniform(key).shape == (6,)


def test_products_are_made_inside_compiled_programs(x64):
    """d volume / d radius of a flat torus."""
    slope = jax.jit(jax.grad(lambda r: flat_torus(r, 2.0).volume()))(1.0)
    np.testing.assert_allclose(slope, 8 * np.pi**2, rtol=1e-14)


def test_what_a_part_does_not_know_the_product_says_in_one_line():
    solid = Product(Euclidean(2), Ellipsoid((2.0, 1.0)))
    x = jnp.ones(4)
    with pytest.raises(ValueError, match="exp of a product needs exp of every part, and Ellipsoid has none"):
        solid.exp(x, x)
    with pytest.raises(ValueError, match="volume of a product needs volume of every part, and Euclidean has none"):
        solid.volume()
    with pytest.raises(ValueError, match="dimensions up to 2, got 3"):
        solid.quadrature(4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Euclidean(0), "at least 1"),
        (lambda: Product(Euclidean(1)), "two parts or more, got 1"),
        (lambda: flat_torus(1.0), "two radii or more, got 1"),
        (lambda: SpecialOrthogonal(4), "n = 2 and 3, got 4"),
        (lambda: SpecialEuclidean(1), "n = 2 and 3, got 1"),
        (lambda: SpecialOrthogonal(3).quadrature(4), "covers n = 2"),
        (lambda: Stiefel(2, 2), "1 <= p < n, got n=2, p=2"),
        (lambda: Stiefel(3, 2).quadrature(4), "covers p = 1, got p=2"),
        (lambda: Grassmann(3, 0), "1 <= p < n, got n=3, p=0"),
        (lambda: Grassmann(4, 2).quadrature(4), "dimensions 1 and 2, got 4"),
    ],
)
def test_misuse_is_refused_in_one_line(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.slow
def test_logarithms_of_the_sphere_are_smooth_where_the_points_meet():
    """The second derivative of log_x along a direction, in float32 at a tiny distance, is what it is in float64."""
    sphere = Sphere(2)

    @jax.jit
    def second(y, w):
        log = lambda t: sphere.log(jnp.asarray([0.0, 0.6, 0.8], y.dtype), y + t * w)  # noqa: E731
        slope = lambda t: jax.jvp(log, (t,), (jnp.ones_like(t),))[1]  # noqa: E731
        zero = jnp.zeros((), y.dtype)
        return jax.jvp(slope, (zero,), (jnp.ones_like(zero),))[1]

    y, w = np.array([1e-6, 0.6, 0.8], np.float32), np.array([1.0, 0.5, -0.25], np.float32)
    found = second(jnp.asarray(y), jnp.asarray(w))
    with jax.enable_x64(True):
        expected = second(jnp.asarray(y, float), jnp.asarray(w, float))
    np.testing.assert_allclose(found, expected, atol=1e-5)
