"""Wrapped normal laws: mass by quadrature in polar coordinates, brute sums over geodesics, and draws."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.spatial.transform import Rotation

from manifold_diffusion import measures
from manifold_diffusion.geometry import (
    Ellipsoid,
    Euclidean,
    Hyperboloid,
    PositiveMatrices,
    SpecialEuclidean,
    SpecialOrthogonal,
    Sphere,
    flat_torus,
    metric_of,
)

CENTRE = np.array([0.6, 0.0, -0.8])


def densities(law, xs):
    """The densities, compiled."""
    return np.exp(np.asarray(jax.jit(jax.vmap(lambda x: law.log_density(x)))(jnp.asarray(xs))))


def polar(order, angles):
    """Gauss-Legendre nodes in [0, pi] with weights, and unit vectors of the plane at equal angles."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    phi = 2 * np.pi * np.arange(angles) / angles
    return np.pi * (nodes + 1) / 2, np.pi * weights / 2, np.stack([np.cos(phi), np.sin(phi)], axis=1)


@pytest.mark.parametrize(
    ("radius", "sigma"),
    [(1.0, [[0.3, 0.1], [0.1, 1.5]]), (1.0, [[20.0, 3.0], [3.0, 5.0]]), (0.5, [[0.01, 0.0], [0.0, 0.02]])],
)
def test_the_density_on_the_sphere_integrates_to_one(radius, sigma, x64):
    """In polar coordinates, in which it is smooth although infinite at the antipode: from one geodesic to fifteen."""
    law = measures.WrappedNormal(Sphere(2, radius), radius * CENTRE, sigma)
    theta, weights, around = polar(100, 128)
    directions = around @ np.asarray(law.frame).T
    points = np.cos(theta)[:, None, None] * CENTRE + np.sin(theta)[:, None, None] * directions
    density = densities(law, radius * points.reshape(-1, 3)).reshape(len(theta), -1)
    mass = np.sum(density.mean(axis=1) * 2 * np.pi * np.sin(theta) * weights) * radius**2
    np.testing.assert_allclose(mass, 1, atol=1e-12)


def test_the_density_on_rotations_integrates_to_one(x64):
    """Over angle and axis: dvol = 16 sqrt 2 sin(w / 2)^2 / 2 dw dn; a law so wide that geodesics go round twice."""
    space = SpecialOrthogonal(3)
    law = measures.WrappedNormal(space, np.eye(3).ravel(), np.diag([4.0, 6.0, 9.0]))
    assert law.windings[0] > 2
    w, weights, around = polar(40, 24)
    height, height_weights = np.polynomial.legendre.leggauss(24)
    around = np.sqrt(1 - height**2)[:, None, None] * around
    axes = np.concatenate([around, np.tile(height[:, None, None], (1, 24, 1))], axis=2)
    # The tangent [a]_x at the identity, as the columns of the frame are, has a in these places.
    vectors = w[:, None, None, None] * np.sqrt(2) * axes @ np.asarray(law.frame)[[7, 2, 3]].T
    points = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(-1, 9)
    density = densities(law, points).reshape(len(w), 24, 24)
    shells = np.einsum("wha,h->w", density, height_weights) * 2 * np.pi / 24
    np.testing.assert_allclose(np.sum(shells * 8 * np.sqrt(2) * np.sin(w / 2) ** 2 * weights), 1, atol=1e-9)


def test_the_density_on_a_flat_torus_is_a_sum_over_a_lattice(x64):
    """With correlated angles, against a brute sum over many more windings; it integrates to one too."""
    radii, sigma = np.array([1.0, 0.5]), np.array([[2.0, 0.6], [0.6, 0.5]])
    space = flat_torus(*radii)
    law = measures.WrappedNormal(space, [1.0, 0.0, 0.5, 0.0], sigma)
    signs = np.asarray(law.frame)[[1, 3], [0, 1]]
    points, weights = space.quadrature(48)
    found = densities(law, points)
    np.testing.assert_allclose(np.sum(found * weights), 1, atol=1e-12)
    angles = np.stack([np.arctan2(points[:, 1], points[:, 0]), np.arctan2(points[:, 3], points[:, 2])], axis=1)
    brute = sum(
        stats.multivariate_normal.pdf((angles + 2 * np.pi * np.array(turns)) * radii * signs, cov=sigma)
        for turns in itertools.product(range(-9, 10), repeat=2)
    )
    np.testing.assert_allclose(found, brute, rtol=1e-12)


def test_the_density_on_the_hyperbolic_plane_integrates_to_one(x64):
    """In polar coordinates, out to 9.6 deviations."""
    law = measures.WrappedNormal(Hyperboloid(2, -0.5), [np.sqrt(2.0), 0.0, 0.0], [[0.4, 0.1], [0.1, 0.9]])
    t, weights, around = polar(60, 64)
    s = 3 * t / np.sqrt(2)
    outward = np.concatenate([np.tile(np.cosh(s)[:, None, None], (1, 64, 1)), np.sinh(s)[:, None, None] * around], 2)
    density = densities(law, np.sqrt(2) * outward.reshape(-1, 3)).reshape(len(s), -1)
    mass = np.sum(density.mean(axis=1) * 2 * np.pi * np.sqrt(2) * np.sinh(s) * 3 * weights)
    np.testing.assert_allclose(mass, 1, atol=1e-10)


@pytest.mark.slow
def test_the_density_on_positive_matrices_is_that_of_the_logarithm_over_the_volume(x64):
    """N(log x) over the volume element of the metric pulled back by exp."""
    space, centre, sigma = PositiveMatrices(2), jnp.asarray([2.0, 0.3, 0.3, 1.0]), np.diag([0.3, 0.5, 0.2]) + 0.05
    law = measures.WrappedNormal(space, centre, sigma)
    a = jnp.asarray([0.4, -0.8, 0.5])
    embed = lambda a: space.exp(centre, law.frame @ a)  # noqa: E731
    metric = np.asarray(jax.jit(lambda a: metric_of(space, embed)(a))(a))
    expected = stats.multivariate_normal.logpdf(a, cov=sigma) - 0.5 * np.linalg.slogdet(metric)[1]
    np.testing.assert_allclose(law.log_density(embed(a)), expected, rtol=1e-9)


def test_draws_on_rigid_motions_have_the_right_logarithms(key):
    """Narrow enough not to wrap, so that logarithms are normal with the covariance asked for; and density of a draw."""
    space, sigma = SpecialEuclidean(2), 0.02 * np.array([[2.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 2.0]])
    start = np.array([0.6, -0.8, 0.8, 0.6, 1.0, 2.0])
    law = measures.WrappedNormal(space, start, sigma)
    x = measures.draw(law.sample, key, 4000, chunk=4000)
    x = np.asarray(x, np.float64)
    angle = np.arctan2(0.6 * x[:, 2] - 0.8 * x[:, 0], 0.6 * x[:, 0] + 0.8 * x[:, 2])
    turn = np.sqrt(2) * angle * np.sign(start[0] * law.frame[2, 0])
    logs = np.column_stack([turn, x[:, 4:] - start[4:]])
    white = np.linalg.solve(np.linalg.cholesky(sigma), logs.T)
    assert stats.kstest((white**2).sum(axis=0), stats.chi2(3).cdf).pvalue > 1e-4
    np.testing.assert_allclose(np.cov(white), np.eye(3), atol=4.5 * np.sqrt(2 / 4000))
    np.testing.assert_allclose(densities(law, x[:5]), stats.multivariate_normal.pdf(logs[:5], cov=sigma), rtol=2e-4)


def test_slopes_are_finite_at_the_centre_and_at_the_antipode():
    """The density is infinite at the antipode; what is returned is finite."""
    both = eqx.filter_jit(lambda law, x: jax.vmap(jax.value_and_grad(lambda x: law.log_density(x)))(x))
    for variance in (0.001, 0.4):
        law = measures.WrappedNormal(Sphere(2), [0.0, 0.0, 1.0], variance * np.eye(2))
        values, slopes = both(law, jnp.asarray([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]))
        assert np.isfinite(values).all()
        assert np.isfinite(slopes).all()


def test_misuse_says_what_to_do():
    with pytest.raises(ValueError, match="symmetric, positive"):
        measures.WrappedNormal(Sphere(2), CENTRE, -np.eye(2))
    with pytest.raises(ValueError, match="symmetric, positive"):
        measures.WrappedNormal(Sphere(2), CENTRE, np.eye(3))
    with pytest.raises(ValueError, match="not all geodesics"):
        measures.WrappedNormal(Ellipsoid((1.0, 2.0, 3.0)), [1.0, 0.0, 0.0], np.eye(2))
    with pytest.raises(ValueError, match="geodesics count"):
        measures.WrappedNormal(flat_torus(1.0, 1.0, 1.0), [1.0, 0, 1, 0, 1, 0], 1000 * np.eye(3))
    assert measures.WrappedNormal(Euclidean(2), [0.0, 0.0], np.eye(2)).windings == (0,)
