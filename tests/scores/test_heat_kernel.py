"""The score of data noised by a heat kernel. Oracles: series of eigenfunctions, wrapped normal laws, the circle's flow,
which is monotone and therefore known, and means of eigenfunctions."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from manifold_diffusion import geometry, measures, samplers
from manifold_diffusion.measures import short_time_heat_kernel
from manifold_diffusion.processes import HeatFlow, VarianceExploding, geometric_grid, level_grid, reverse
from manifold_diffusion.samplers import euler_maruyama, generate, integrate, on_manifold
from manifold_diffusion.scores import HeatKernelScore

SPHERE = geometry.Sphere(2)


def cloud(size, seed=1):
    """Points of the sphere, most of them in one half."""
    x = np.random.default_rng(seed).standard_normal((size, 3)) + np.array([0.0, 0.6, 0.8])
    return jnp.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=float)


def density_by_series(x, data, weights, tau):
    """sum_i w_i sum_l (2 l + 1) e^{-l (l + 1) tau / 2} P_l(<x, y_i>) / (4 pi)."""
    degrees = np.arange(60)[:, None]
    waves = (2 * degrees + 1) * np.exp(-degrees * (degrees + 1) * tau / 2)
    return weights @ np.sum(waves * special.eval_legendre(degrees, (data @ x)[None, :]), axis=0) / (4 * np.pi)


def test_the_score_is_the_slope_of_the_density(x64):
    """Against central differences of the series along two tangents; 150 points are three blocks, the last with the
    nearest of them."""
    data, weights = np.asarray(cloud(150)), np.random.default_rng(0).dirichlet(np.ones(150))
    x, sigma, h = np.array([0.48, -0.6, 0.64]), 0.3, 1e-5
    data = data[np.argsort(data @ x)]
    score = HeatKernelScore(SPHERE, data, np.log(weights))
    s, log_p = eqx.filter_jit(lambda x: (score(x, sigma), score.log_density(x, sigma)))(jnp.asarray(x))
    assert abs(np.asarray(s) @ x) < 1e-12

    def along(v, step):
        return np.log(density_by_series(np.cos(step) * x + np.sin(step) * v, data, weights, sigma**2))

    for v in (np.array([0.8, 0.0, -0.6]), np.array([0.36, 0.8, 0.48])):
        np.testing.assert_allclose(np.asarray(s) @ v, (along(v, h) - along(v, -h)) / (2 * h), rtol=1e-6)
    np.testing.assert_allclose(log_p, np.log(density_by_series(x, data, weights, sigma**2)), rtol=1e-9)


def test_the_score_points_to_the_data_at_small_noise():
    """tau s -> log_x(y)."""
    data, x = cloud(1), SPHERE.project(jnp.array([0.3, 0.5, 1.0]))
    slope = 1e-4 * eqx.filter_jit(HeatKernelScore(SPHERE, data))(x, 0.01)
    np.testing.assert_allclose(slope, SPHERE.log(x, data[0]), atol=1e-4)


@pytest.mark.slow
def test_any_kernel_serves(x64):
    """That for short times, of points and of a quadrature, which makes of points a density."""
    kernel = lambda x, y, tau: short_time_heat_kernel(SPHERE, x, y, tau).log_density  # noqa: E731
    x, data = SPHERE.project(jnp.array([0.3, 0.5, 1.0])), cloud(5)
    found = [eqx.filter_jit(HeatKernelScore(SPHERE, data, log_kernel=k))(x, 0.1) for k in (kernel, None)]
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_a_quadrature_makes_the_score_of_a_density(x64):
    """1 + a z, whose second term decays by exp(-tau)."""
    nodes, weights = geometry.Sphere(2).quadrature(24)
    score = HeatKernelScore(SPHERE, nodes, jnp.log(weights * (1 + 0.8 * nodes[:, 2])))
    x, tau = jnp.array([0.6, 0.0, 0.8]), 0.5
    share = 0.8 * np.exp(-tau)
    expected = share / (1 + share * 0.8) * np.array([-0.48, 0.0, 0.36])
    np.testing.assert_allclose(eqx.filter_jit(score)(x, np.sqrt(tau)), expected, atol=1e-10)


@pytest.mark.parametrize(
    "manifold",
    [
        SPHERE,
        pytest.param(geometry.flat_torus(1.0, 0.5), marks=pytest.mark.slow),
        pytest.param(geometry.SpecialOrthogonal(3), marks=pytest.mark.slow),
    ],
    ids=["sphere", "flat torus", "SO(3)"],
)
def test_the_score_is_finite_everywhere_and_as_good_in_single_precision(manifold):
    data = measures.draw(manifold.uniform, jax.random.key(3), 4)
    # At a point of the data, and nowhere near.
    xs = jnp.concatenate([data[:1], measures.draw(manifold.uniform, jax.random.key(4), 5)])
    xs = jnp.concatenate([xs, -data[:1]]) if not isinstance(manifold, geometry.SpecialOrthogonal) else xs

    def scores(data, xs):
        score = HeatKernelScore(manifold, data)
        each = jax.vmap(lambda sigma: jax.vmap(lambda x: score(x, sigma))(xs))
        return np.asarray(jax.jit(each)(jnp.array([0.05, 0.4, 3.0])))

    single = scores(data, xs)
    assert single.dtype == jnp.float32
    with jax.enable_x64(True):
        double = scores(np.asarray(data, np.float64), jnp.asarray(np.asarray(xs), float))
    size = 1 + np.linalg.norm(double, axis=-1, keepdims=True)
    # At the antipode of a point of the data no direction is right.
    np.testing.assert_allclose(single[:, :6] / size[:, :6], double[:, :6] / size[:, :6], atol=2e-4)
    assert np.all(np.isfinite(single))


def test_the_flow_on_a_circle_carries_the_uniform_law_to_that_of_the_data(x64):
    """On a line of any law the flow is monotone: it keeps the mass between itself and a point that rests, here 0."""
    circle, spread = geometry.Sphere(1), 0.7
    data = jnp.array([[np.cos(spread), np.sin(spread)], [np.cos(spread), -np.sin(spread)]])
    top, last = 4.0, 0.3
    sde = reverse(HeatFlow(top**2), HeatKernelScore(circle, data), 0.0)
    start = jnp.linspace(0.2, 3.0, 8)
    ts = level_grid(sde.noising, jnp.geomspace(top, last, 65))
    step = on_manifold(samplers.runge_kutta_4, circle)
    run = jax.jit(jax.vmap(lambda x: integrate(step, sde, ts, x, jnp.zeros((64, 2)))))
    x = np.asarray(run(jnp.stack([jnp.cos(start), jnp.sin(start)], axis=1)))
    end = np.arctan2(x[:, 1], x[:, 0])
    centres = np.array([spread, -spread])[:, None, None] + 2 * np.pi * np.arange(-6, 7)[None, :, None]

    def mass(angle, sigma):
        """Between 0 and the angle, of the wrapped normal laws."""
        below = stats.norm.cdf((angle - centres) / sigma) - stats.norm.cdf((0 - centres) / sigma)
        return below.sum(axis=(0, 1)) / 2

    np.testing.assert_allclose(mass(end, last), mass(np.asarray(start), top), atol=1e-6)


@pytest.mark.slow
def test_the_reverse_equation_has_the_laws_of_the_heat_flow():
    """E[x] = exp(-sigma^2) mean(data) on the way; at the end the points of the data, each as often as its weight."""
    data, weights, paths = cloud(4), np.array([0.1, 0.2, 0.3, 0.4]), 1500
    noising = VarianceExploding(2.5)
    sde = reverse(noising, HeatKernelScore(SPHERE, data, np.log(weights)))
    step, middle = on_manifold(euler_maruyama, SPHERE), 0.5
    down, on = jnp.geomspace(2.5, middle, 33), jnp.geomspace(middle, 0.02, 33)
    above = generate(SPHERE.uniform, step, sde, level_grid(noising, down))
    half = measures.draw(above, jax.random.key(1), paths)
    expected = np.exp(-(middle**2)) * weights @ np.asarray(data)
    error = np.abs(np.asarray(half.mean(axis=0)) - expected)
    assert np.all(error < 4 * np.asarray(half.std(axis=0)) / np.sqrt(paths) + 0.01)

    def below(key, x):
        return generate(lambda _: x, step, sde, level_grid(noising, on))(key)

    ends = jax.jit(jax.vmap(below))(jax.random.split(jax.random.key(2), paths), half)
    distances = np.linalg.norm(np.asarray(ends)[:, None, :] - np.asarray(data)[None, :, :], axis=-1)
    assert np.quantile(distances.min(axis=1), 0.99) < 4 * 0.02
    found = np.bincount(distances.argmin(axis=1), minlength=4)
    assert stats.chisquare(found, weights * paths).pvalue > 0.005


def test_points_of_another_space_are_refused():
    with pytest.raises(ValueError, match="R\\^3"):
        HeatKernelScore(SPHERE, jnp.zeros((5, 2)))


def test_the_grid_of_a_heat_flow_reaches_the_levels_asked_for(x64):
    noising = HeatFlow(4.0)
    ts = geometric_grid(noising, 0.1, 5)
    np.testing.assert_allclose(ts[:-1], np.geomspace(2.0, 0.1, 5) ** 2 / 4, rtol=1e-9)
