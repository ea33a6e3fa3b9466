"""The short-time expansion against kernels in closed form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from manifold_diffusion import measures
from manifold_diffusion.geometry import Ellipsoid, Hyperboloid, SpecialOrthogonal, Sphere, Torus
from tests.oracles import rotation_heat_kernel, sphere_heat_kernel

TIMES = np.array([0.025, 0.05, 0.1, 0.2])


@functools.cache
def expansion(manifold):
    """Compiled once for each manifold, which is given as its class and arguments."""
    cls, *arguments = manifold
    return jax.jit(lambda x, y, t: measures.short_time_heat_kernel(cls(*arguments), x, y, t))


@pytest.mark.parametrize("deviations", [0.0, 1.5])
def test_on_the_sphere_the_error_is_of_second_order_and_within_its_estimate(deviations, x64):
    """At a fixed number of deviations sqrt(t), where all that is left out is O(t^2)."""
    start = jnp.asarray([2.0, 0.0, 0.0])
    errors, estimates = [], []
    for tau in TIMES:
        angle = deviations * np.sqrt(tau)
        y = 2 * jnp.asarray([np.cos(angle), np.sin(angle), 0.0])
        found = expansion((Sphere, 2, 2.0))(start, y, 4 * tau)
        exact = sphere_heat_kernel(2, float(np.cos(angle)), tau) - 2 * np.log(2)
        errors.append(abs(float(found.log_density) - exact))
        estimates.append(float(found.error))
    slopes = np.diff(np.log(errors)) / np.log(2)
    assert np.all(np.abs(slopes - 2) < 0.1), slopes
    assert np.all(np.array(errors) < estimates)
    assert np.all(np.array(estimates) < 20 * np.array(errors))


def test_on_rotations_only_other_geodesics_are_missing(x64):
    """Angles w and time t: the kernel is the expansion but for e^{-(2 pi - w)^2 / t + w^2 / t} and smaller."""
    half_cosine, half_sine = 0.8, 0.6
    c, s = 0.28, 0.96
    x, y = jnp.eye(3).ravel(), jnp.asarray([c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0])
    w = 2 * np.arctan2(half_sine, half_cosine)
    for time in (0.1, 0.4, 2.0):
        found = expansion((SpecialOrthogonal, 3))(x, y, time)
        missing = (2 * np.pi - w) / w * np.exp((w**2 - (2 * np.pi - w) ** 2) / time)
        np.testing.assert_allclose(rotation_heat_kernel(0.8, time) - found.log_density, np.log1p(missing), atol=1e-9)


def hyperbolic_plane_kernel(r, t):
    """log of sqrt 2 e^{-t/8} (2 pi t)^{-3/2} int_r^inf s e^{-s^2 / 2t} / sqrt(cosh s - cosh r) ds (McKean 1970)."""

    def integrand(a):
        s = min(r + a * a, 600.0)
        ratio = np.sinh(s) if a == 0 else (np.cosh(s) - np.cosh(r)) / a**2
        return 2 * s * np.exp((r * r - s * s) / (2 * t)) / np.sqrt(ratio)

    integral = integrate.quad(integrand, 0, np.inf, epsabs=0, epsrel=1e-12, limit=200)[0]
    return 0.5 * np.log(2) - t / 8 - 1.5 * np.log(2 * np.pi * t) - r * r / (2 * t) + np.log(integral)


def test_on_the_hyperbolic_plane_the_error_is_of_second_order(x64):
    """With a metric that is not that of the space around."""
    errors = []
    for t in TIMES:
        r = 1.5 * np.sqrt(t)
        y = jnp.asarray([np.cosh(r), 0.0, np.sinh(r)])
        found = expansion((Hyperboloid, 2))(jnp.eye(3)[0], y, t)
        errors.append(abs(float(found.log_density) - hyperbolic_plane_kernel(r, t)))
        assert errors[-1] < found.error
    assert np.all(np.abs(np.diff(np.log(errors)) / np.log(2) - 2) < 0.1)


@pytest.mark.slow
def test_on_hyperbolic_space_it_is_exact(x64):
    """(2 pi t)^{-3/2} r / sinh(r) e^{-t/2 - r^2 / 2t} in dimension 3."""
    r, t = 0.9, 0.3
    x, y = jnp.eye(4)[0], jnp.asarray([np.cosh(r), 0.0, np.sinh(r), 0.0])
    exact = np.log(r / np.sinh(r)) - 1.5 * np.log(2 * np.pi * t) - t / 2 - r * r / (2 * t)
    np.testing.assert_allclose(expansion((Hyperboloid, 3))(x, y, t).log_density, exact, rtol=1e-12)


@pytest.mark.slow
def test_geodesics_are_found_where_they_are_not_known(x64):
    """A round ellipsoid against the sphere."""
    x, y = jnp.asarray([1.0, 0.0, 0.0]), jnp.asarray([0.6, 0.0, 0.8])
    found = expansion((Ellipsoid, (1.0, 1.0, 1.0)))(x, y, 0.1)
    expected = expansion((Sphere, 2))(x, y, 0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_the_expansion_on_a_torus_integrates_to_one(x64):
    """Up to its error, over the part of a torus that is close."""
    space, t = Torus(1.0, 0.5), 0.02
    points, weights = space.quadrature(64)
    x = jnp.asarray([1.5, 0.0, 0.0])
    near = np.linalg.norm(points - x[None, :], axis=1) < 0.9
    found = jax.jit(jax.vmap(lambda y: measures.short_time_heat_kernel(space, x, y, t)))(points[near])
    mass, slack = (np.sum(np.exp(found.log_density) * weights[near] * f) for f in (1, found.error))
    assert abs(mass - 1) < slack
