"""Heat kernels against eigenfunction series summed in decimals, known means, and the laws that make them kernels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from manifold_diffusion import measures
from manifold_diffusion.geometry import (
    Ellipsoid,
    Euclidean,
    Product,
    SpecialOrthogonal,
    Sphere,
    Torus,
    flat_torus,
)
from manifold_diffusion.measures.lineages import log_lineages
from tests.oracles import rotation_heat_kernel, sphere_heat_kernel, unit_sphere_area

RADIUS = 0.5
# Cosines and sines in short decimals, so that points are exact to rounding.
HEIGHTS = np.array([1.0, 0.96, 0.28, -0.8, -1.0])
WIDTHS = np.array([0.0, 0.28, 0.96, 0.6, 0.0])
SIZE = 8000


def at(k, height, width):
    """Points of the sphere of radius `RADIUS` at these cosines and sines from the first axis."""
    return RADIUS * np.stack([height, width] + [0 * height] * (k - 1), axis=-1)


def turned(half_cosine, half_sine):
    """Rotations about the last axis, from the cosine and the sine of half the angle."""
    c, s = half_cosine**2 - half_sine**2, 2 * half_cosine * half_sine
    o = 0 * c
    return np.stack([c, -s, o, s, c, o, o, o, o + 1], axis=-1)


@functools.cache
def kernel(manifold, slope=False):
    """(x, y, t) -> log p, and its gradient, for a row of points x; compiled once."""
    space = SpecialOrthogonal(3) if manifold == "SO(3)" else Sphere(manifold, RADIUS)
    one = lambda x, y, t: measures.log_heat_kernel(space, x, y, t)  # noqa: E731
    return jax.jit(jax.vmap(jax.value_and_grad(one) if slope else one, (0, None, None)))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_kernels_of_low_spheres_are_their_series_of_eigenfunctions(k, x64):
    """From times at which the density spans a thousand orders of magnitude to times at which it is flat; each time lies
    on one or the other side of a change of formula.
    """
    centre, points = jnp.asarray(at(k, np.array(1.0), np.array(0.0))), jnp.asarray(at(k, HEIGHTS, WIDTHS))
    for tau in (0.004, 0.1, 0.7, 0.99, 1.01, 1.49, 1.51, 4.0, 6.2, 6.4, 20.0):
        found = kernel(k)(points, centre, jnp.asarray(tau * RADIUS**2))
        expected = np.array([sphere_heat_kernel(k, u, tau) for u in HEIGHTS]) - k * np.log(RADIUS)
        np.testing.assert_allclose(found, expected, rtol=2e-14, atol=2e-14)


@pytest.mark.parametrize(("k", "tau"), [(4, 3.0), (4, 0.05), (9, 0.3), (4, 0.019), (9, 0.005)])
def test_kernels_of_high_spheres_are_their_series_of_eigenfunctions(k, tau, x64):
    """As mixtures of Beta laws and, below 0.02, as expansions, which end before the antipode."""
    law = measures.HeatKernel(Sphere(k, RADIUS), at(k, np.array(1.0), np.array(0.0)), tau * RADIUS**2)
    found = jax.jit(jax.vmap(lambda x: law.log_density(x)))(jnp.asarray(at(k, HEIGHTS, WIDTHS)))
    expected = np.array([sphere_heat_kernel(k, u, tau) for u in HEIGHTS]) - k * np.log(RADIUS)
    np.testing.assert_allclose(found[:-1], expected[:-1], rtol=2e-14, atol=2e-14)
    np.testing.assert_allclose(found[-1], expected[-1], rtol=2e-14, atol=2e-14 if tau > 0.02 else 0.03 * k**2 * tau)


def test_kernels_of_rotations_are_their_series_of_characters(x64):
    half_cosine, half_sine = np.array([1.0, 0.96, 0.6, 0.28, 0.0]), np.array([0.0, 0.28, 0.8, 0.96, 1.0])
    points = jnp.asarray(turned(half_cosine, half_sine))
    for time in (0.05, 0.9, 5.0, 12.5, 40.0):
        found = kernel("SO(3)")(points, points[0], jnp.asarray(time))
        expected = [rotation_heat_kernel(u, time) for u in half_cosine]
        np.testing.assert_allclose(found, expected, rtol=2e-14, atol=2e-14)


@pytest.mark.parametrize("manifold", [1, 2, 3, "SO(3)"])
def test_single_precision_and_slopes_at_special_points(manifold):
    """log p within a few roundings; its gradient finite everywhere, 0 at the centre and at the antipode."""
    rotations = manifold == "SO(3)"
    points = turned(HEIGHTS, WIDTHS) if rotations else at(manifold, HEIGHTS, WIDTHS)
    x = jnp.asarray(points)
    for time in (0.02 if rotations else 0.004, 0.1, 2.0):
        found, slopes = kernel(manifold, slope=True)(x, x[0], jnp.asarray(time))
        # The half angle of a rotation is taken up to sign.
        exact = [
            rotation_heat_kernel(abs(u), time)
            if rotations
            else sphere_heat_kernel(manifold, u, time / RADIUS**2) - manifold * np.log(RADIUS)
            for u in HEIGHTS
        ]
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, exact, rtol=2e-6, atol=4e-6)
        assert np.isfinite(slopes).all()
        if not rotations:
            np.testing.assert_allclose(slopes[jnp.asarray([0, -1]), 1:], 0, atol=1e-5)


@pytest.mark.parametrize(("k", "tau"), [(4, 0.3), (4, 0.01)])
def test_high_spheres_in_single_precision(k, tau):
    """Two deviations from the centre, and slopes at the poles."""
    theta = 2 * np.sqrt(k * tau)
    points = at(k, np.array([1.0, np.cos(theta), -1.0]), np.array([0.0, np.sin(theta), 0.0]))
    law = measures.HeatKernel(Sphere(k, RADIUS), points[0], tau * RADIUS**2)
    found, slopes = jax.jit(jax.vmap(jax.value_and_grad(lambda x: law.log_density(x))))(jnp.asarray(points))
    expected = np.array([sphere_heat_kernel(k, u / RADIUS, tau) for u in points[:2, 0]]) - k * np.log(RADIUS)
    np.testing.assert_allclose(found[:2], expected, rtol=1e-5, atol=1e-5)
    assert np.isfinite(slopes).all()
    np.testing.assert_allclose(slopes[::2, 1:], 0, atol=1e-3)


def test_two_steps_of_the_heat_flow_are_one(x64):
    """int p_s(x, y) p_t(y, z) dy = p_{s+t}(x, z) on S^2 (Chapman and Kolmogorov), by quadrature."""
    sphere = Sphere(2, RADIUS)
    nodes, weights = sphere.quadrature(48)
    x, z = jnp.asarray(at(2, HEIGHTS, WIDTHS)[1]), jnp.asarray(RADIUS * np.array([0.48, -0.6, 0.64]))
    s, t = 0.2 * RADIUS**2, 0.9 * RADIUS**2
    both = kernel(2)(nodes, x, jnp.asarray(s)) + kernel(2)(nodes, z, jnp.asarray(t))
    expected = kernel(2)(z[None, :], x, jnp.asarray(s + t))[0]
    np.testing.assert_allclose(jnp.log(jnp.sum(weights * jnp.exp(both))), expected, rtol=1e-12)


@pytest.mark.slow
def test_the_kernel_solves_the_heat_equation(x64):
    """dp/dt = (1/2) Laplacian p on S^2, the Laplacian by autodiff of the extension that is constant along rays."""
    sphere, centre = Sphere(2, RADIUS), jnp.asarray(at(2, np.array(1.0), np.array(0.0)))

    def p(x, t):
        return jnp.exp(measures.log_heat_kernel(sphere, sphere.project(x), centre, t))

    @jax.jit
    def sides(x, t):
        return jax.grad(p, 1)(x, t), 0.5 * jnp.trace(jax.hessian(p)(x, t))

    for x in at(2, HEIGHTS, WIDTHS)[1:4]:
        np.testing.assert_allclose(*sides(jnp.asarray(x), 0.4 * RADIUS**2), rtol=1e-8, atol=1e-8)


def test_lineages_are_a_law_and_die_out_one_by_one(x64):
    """The weights add up to one, and dq_m/dt = rate_{m+1} q_{m+1} - rate_m q_m, rate_m = m (m + k - 1) / 2."""
    k, tau, step = 5, 0.3, 1e-5
    q, after, before = (np.exp(log_lineages(k, time))[:12] for time in (tau, tau + step, tau - step))
    rates = np.arange(12) * (np.arange(12) + k - 1) / 2
    np.testing.assert_allclose(np.exp(log_lineages(k, tau)).sum(), 1, rtol=1e-14)
    np.testing.assert_allclose(
        ((after - before) / (2 * step))[:-1], rates[1:] * q[1:] - rates[:-1] * q[:-1], rtol=1e-6, atol=1e-9
    )


@functools.cache
def drawn(k, tau, size=SIZE):
    """The law on S^k and points drawn from it, in units of the radius and with the centre as the first axis."""
    centre = np.concatenate([[0.6], np.zeros(k - 1), [-0.8]])
    law = measures.HeatKernel(Sphere(k, RADIUS), RADIUS * centre, tau * RADIUS**2)
    x = np.asarray(measures.draw(law.sample, jax.random.key(k), size, chunk=min(size, 2**16)), np.float64) / RADIUS
    across = np.linalg.svd(centre[None])[2][1:]
    return np.concatenate([(x @ centre)[:, None], x @ across.T], axis=1)


def angle_shares(k, tau, angles):
    """The share of the law within each angle, from the series of eigenfunctions."""
    grid = np.linspace(0, min(np.pi, 12 * np.sqrt(k * tau)), 161)
    log_p = [sphere_heat_kernel(k, float(np.cos(a)), tau) for a in grid]
    density = np.exp(log_p) * np.sin(grid) ** (k - 1) * unit_sphere_area(k - 1)
    cumulative = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))])
    return np.interp(angles, grid, cumulative / cumulative[-1])


# The circle and S^2 are in the catalogue.
DRAWS = [(3, 0.1), (3, 1.19), (3, 1.21), (4, 0.3)]


@pytest.mark.parametrize(("k", "tau"), DRAWS)
def test_draws_have_the_means_of_the_eigenfunctions(k, tau):
    """E u = e^{-k tau / 2} and E ((k + 1) u^2 - 1) / k = e^{-(k + 1) tau} in the height u, and no direction is
    preferred.
    """
    x = drawn(k, tau)
    u, across = x[:, 0], x[:, 1:]
    for mean, values in (
        (np.exp(-k * tau / 2), u),
        (np.exp(-(k + 1) * tau), ((k + 1) * u**2 - 1) / k),
        *((0.0, column) for column in across.T),
        *((0.0, across[:, i] ** 2 - across[:, i - 1] ** 2) for i in range(1, k)),
    ):
        assert abs(values.mean() - mean) < 4.5 * values.std() / np.sqrt(SIZE) + 1e-6


@pytest.mark.parametrize(("k", "tau"), DRAWS)
def test_draws_have_the_angles_of_the_density(k, tau):
    x = drawn(k, tau)
    shares = angle_shares(k, tau, np.arctan2(np.linalg.norm(x[:, 1:], axis=1), x[:, 0]))
    assert stats.chisquare(np.histogram(shares, bins=20, range=(0, 1))[0]).pvalue > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("k", "tau"), [(1, 0.3), (1, 30.0), (2, 0.1), (2, 3.0), *DRAWS, (4, 0.015), (9, 0.3), (20, 0.019)]
)
def test_a_million_draws_have_the_angles_of_the_density(k, tau):
    x = drawn(k, tau, 1_000_000)
    shares = angle_shares(k, tau, np.arctan2(np.linalg.norm(x[:, 1:], axis=1), x[:, 0]))
    assert stats.chisquare(np.histogram(shares, bins=50, range=(0, 1))[0]).pvalue > 1e-4


@pytest.mark.slow
def test_draws_on_rotations_have_the_means_of_the_characters():
    """E tr(R_0^T R) = 3 e^{-t/2} and E (tr(R_0^T R)^2 - tr(R_0^T R) - 1) = 5 e^{-3t/2}, of degrees one and two."""
    start = turned(np.array(0.6), np.array(0.8))
    law = measures.HeatKernel(SpecialOrthogonal(3), start, 0.8)
    x = np.asarray(measures.draw(law.sample, jax.random.key(0), SIZE, chunk=SIZE), np.float64)
    trace = x @ start
    for mean, values in ((3 * np.exp(-0.4), trace), (5 * np.exp(-1.2), trace**2 - trace - 1)):
        assert abs(values.mean() - mean) < 4.5 * values.std() / np.sqrt(SIZE)


def test_the_kernel_of_a_product_is_the_product_of_kernels(x64):
    """On a flat torus times a line."""
    space = Product(flat_torus(1.0, 0.5), Euclidean(1))
    law = measures.HeatKernel(space, [1.0, 0.0, 0.0, 0.5, 2.0], 0.3)
    x = jnp.asarray([0.28, 0.96, 0.3, -0.4, 3.0])
    circles = sphere_heat_kernel(1, 0.28, 0.3) + sphere_heat_kernel(1, -0.8, 0.3 / 0.25) - np.log(0.5)
    np.testing.assert_allclose(law.log_density(x), circles + stats.norm.logpdf(1.0, scale=0.3**0.5), rtol=1e-13)


def test_the_kernel_of_plane_rotations_is_that_of_their_circle(x64):
    """Half turns included."""
    angles = np.array([0.0, 1.0, np.pi])
    x = jnp.asarray(np.stack([np.cos(angles), -np.sin(angles), np.sin(angles), np.cos(angles)], axis=1))
    circle = jnp.asarray(np.sqrt(2) * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    for a, b in zip(x, circle, strict=True):
        found = measures.log_heat_kernel(SpecialOrthogonal(2), a, x[0], 0.7)
        np.testing.assert_allclose(
            found, measures.log_heat_kernel(Sphere(1, np.sqrt(2)), b, circle[0], 0.7), rtol=1e-12
        )


def test_misuse_says_what_to_do():
    with pytest.raises(ValueError, match="positive time"):
        measures.HeatKernel(Sphere(2), [0.0, 0.0, 1.0], 0.0)
    with pytest.raises(ValueError, match="short_time_heat_kernel"):
        measures.HeatKernel(Torus(), [1.5, 0.0, 0.0], 0.1)
    with pytest.raises(ValueError, match="up to dimension 50"):
        measures.HeatKernel(Sphere(60), np.eye(61)[0], 0.001)
    with pytest.raises(ValueError, match="one time"):
        jax.jit(lambda t: measures.log_heat_kernel(Sphere(4), jnp.eye(5)[0], jnp.eye(5)[1], t))(0.1)


SPECTRA = {
    "circle": lambda: Sphere(1, 1.5),
    "sphere": lambda: Sphere(2),
    "three-sphere": lambda: Sphere(3, 2.0),
    "plane rotations": lambda: SpecialOrthogonal(2),
    "rotations": lambda: SpecialOrthogonal(3),
    "flat torus": lambda: flat_torus(2.0, 0.5),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if "torus" in n or "plane" in n else pytest.mark.slow) for n in SPECTRA]
)
def test_a_heat_kernel_nears_the_uniform_law_at_the_rate_of_the_spectral_gap(name, x64):
    """vol h_t(x, x) - 1 is a sum of e^{-lambda t / 2}, of which the slowest is left at t = 16 / lambda."""
    manifold = SPECTRA[name]()
    x = manifold.project(1.0 + jnp.arange(manifold.ambient_dim))
    gap = measures.spectral_gap(manifold)
    times = jnp.array([16.0, 18.0]) / gap
    logs = jax.jit(jax.vmap(lambda t: measures.log_heat_kernel(manifold, x, x, t)))(times) + jnp.log(manifold.volume())
    first, second = np.log(np.expm1(logs))
    np.testing.assert_allclose(second - first, -1, atol=1e-3)


def test_the_gap_of_what_has_no_closed_form_is_refused():
    with pytest.raises(ValueError, match="spectral gap of Ellipsoid is not known"):
        measures.spectral_gap(Ellipsoid((1.0, 2.0, 3.0)))
