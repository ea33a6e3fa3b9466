"""Steps on manifolds and in charts. Oracles: curvatures in closed form, eigenfunctions of the Laplacian, parameters
that are uniform when points are, a flow on the sphere that is solved by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from manifold_diffusion import geometry, measures, samplers
from manifold_diffusion.processes import SDE, HeatFlow, VarianceExploding, forward, reverse
from manifold_diffusion.samplers import euler_maruyama, generate, in_charts, integrate, on_manifold
from tests.catalogue import MANIFOLDS

PATHS = 4000


def retracted(step, manifold):
    """The step with retractions."""
    return on_manifold(step, manifold, "retraction")


def heat(manifold, x0, horizon, steps, make=on_manifold, paths=PATHS):
    """Ends of Brownian motion from x0 for the time `horizon`."""
    ts = jnp.linspace(0.0, 1.0, steps + 1)
    sampler = generate(lambda key: x0, make(euler_maruyama, manifold), forward(HeatFlow(horizon)), ts)
    return np.asarray(measures.draw(sampler, jax.random.key(1), paths), np.float64)


# One step


def normal_nodes(dim, count=6):
    """Gauss-Hermite nodes and weights of the standard normal law of R^dim."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    grid = np.stack(np.meshgrid(*[nodes] * dim, indexing="ij"), -1).reshape(-1, dim)
    return jnp.asarray(grid), jnp.asarray(np.prod(np.meshgrid(*[weights / weights.sum()] * dim), axis=0).ravel())


@eqx.filter_jit
def displacements(step, sde, x, h):
    """Of one step, at the nodes."""
    t = jnp.asarray(0.3)
    return jax.vmap(lambda z: step(sde, x, t, t + h, jnp.sqrt(h) * z))(normal_nodes(len(x))[0]) - x[None, :]


def rates(step, sde, x, h=1e-3):
    """Mean and second moment of a step over its length, from two lengths: up to O(h^2)."""

    def at(h):
        moves, weights = displacements(step, sde, x, jnp.asarray(h)), normal_nodes(len(x))[1]
        return np.asarray(weights @ moves) / h, np.asarray((weights[:, None] * moves).T @ moves) / h

    return [2 * fine - coarse for fine, coarse in zip(at(h / 2), at(h), strict=True)]


@pytest.mark.parametrize(
    ("make", "step"),
    [
        (on_manifold, euler_maruyama),
        (retracted, samplers.stochastic_heun),
        (in_charts, euler_maruyama),
        (in_charts, samplers.stochastic_heun),
    ],
)
def test_a_step_has_the_generator_of_the_equation(x64, make, step):
    """The Laplacian of x is the mean curvature vector: E[x' - x] / h -> b + g^2 H / 2, E[(x' - x)(x' - x)^T] / h ->
    g^2 P."""
    entry, g, a = MANIFOLDS["torus"], 0.7, jnp.array([0.3, -0.5, 0.2])
    manifold = entry.make()
    x = manifold.project(jnp.array([0.5, 0.7, 0.3]))
    sde = SDE(lambda y, t: manifold.tangent(y, a), lambda t: jnp.full_like(t, g))
    normal, curvatures = entry.curvatures(np.asarray(x))
    mean, second = rates(make(step, manifold), sde, x)
    np.testing.assert_allclose(mean, manifold.tangent(x, a) + g**2 / 2 * curvatures.sum() * normal, atol=1e-3)
    np.testing.assert_allclose(second, g**2 * (np.eye(3) - np.outer(normal, normal)), atol=1e-3)


@pytest.mark.parametrize("make", [on_manifold, in_charts])
def test_a_step_follows_the_metric_of_the_manifold(x64, make):
    """On the hyperboloid the Laplacian of x in Minkowski space is k x."""
    manifold = geometry.Hyperboloid(2)
    x = manifold.project(jnp.array([0.0, 0.3, -0.8]))
    mean, _ = rates(make(euler_maruyama, manifold), forward(HeatFlow(1.0)), x)
    np.testing.assert_allclose(mean, x, atol=1e-4)


def test_a_step_in_the_charts_of_points_has_the_generator_too():
    """Charts fitted to 3000 points of the unit sphere, whose mean curvature vector is -2 x."""
    sphere = geometry.Sphere(2)
    atlas = geometry.fit_atlas(measures.draw(sphere.uniform, jax.random.key(7), 3000), 2, 3)
    x = sphere.project(jnp.array([0.6, 0.3, 0.8]))
    mean, second = rates(in_charts(euler_maruyama, atlas), forward(HeatFlow(1.0)), x, 2e-3)
    np.testing.assert_allclose(mean, -x, atol=0.02)
    np.testing.assert_allclose(second, np.eye(3) - np.outer(x, x), atol=0.02)


# Flows


class Pull(eqx.Module):
    """The gradient flow of the height on the unit sphere: z' = 1 - z^2, at the longitude where it began."""

    eta: float = eqx.field(static=True, default=0.0)

    def drift(self, x, t):
        return jnp.array([0.0, 0.0, 1.0], x.dtype) - x[2] * x

    def diffusion(self, t):
        return jnp.zeros_like(t)


class Remembering(eqx.Module):
    """The method of Adams and Bashforth of order 2."""

    def start(self, sde, x, t0):
        return jnp.zeros_like(x), jnp.asarray(False)

    def __call__(self, sde, x, t0, t1, dw):
        return self.advance(sde, x, self.start(sde, x, t0), t0, t1, dw)[0]

    def advance(self, sde, x, memory, t0, t1, dw):
        before, known = memory
        slope = sde.drift(x, t0)
        return x + (t1 - t0) * jnp.where(known, 1.5 * slope - 0.5 * before, slope), (slope, jnp.asarray(True))


ORDERS = [
    (on_manifold, samplers.euler, 1),
    (on_manifold, Remembering(), 2),
    (on_manifold, samplers.runge_kutta_4, 4),
    (retracted, samplers.heun, 2),
    (retracted, samplers.runge_kutta_4, 4),
    (in_charts, samplers.runge_kutta_4, 4),
]


@pytest.mark.parametrize(("make", "step", "order"), ORDERS)
def test_steps_of_a_flow_keep_their_order(x64, make, step, order):
    moving, x = make(step, geometry.Sphere(2)), jnp.array([0.48, 0.64, -0.6])
    z = np.tanh(np.arctanh(-0.6) + 1)
    exact = np.array([0.6 * np.sqrt(1 - z**2), 0.8 * np.sqrt(1 - z**2), z])
    run, fine = eqx.filter_jit(integrate), 64
    # Steps of length zero stay, so one program serves both.
    grids = [jnp.minimum(jnp.arange(fine + 1) / n, 1.0) for n in (32, fine)]
    errors = [np.linalg.norm(run(moving, Pull(), ts, x, jnp.zeros((fine, 3))) - exact) for ts in grids]
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), order, atol=0.1 * order)


# Brownian motion


def test_the_mean_on_a_sphere_falls_like_exp_minus_t(x64):
    """The coordinates are eigenfunctions of eigenvalue 2; the step errs by t h / 6 of them (derived)."""
    x0, h = jnp.array([0.6, 0.0, 0.8]), 0.04
    x = heat(geometry.Sphere(2), x0, 1.0, 25, paths=20_000)
    error = np.abs(x.mean(axis=0) - np.exp(-1) * np.asarray(x0))
    assert np.all(error < 4 * x.std(axis=0) / np.sqrt(len(x)) + np.exp(-1) * h / 6)


# Time, steps; modes have decayed by e^-5 or more. The geodesic walk is exact however long its steps.
UNIFORM = [
    ("sphere", on_manifold, 8.0, 40),
    ("flat torus", on_manifold, 50.0, 40),
    ("SO(3)", on_manifold, 12.0, 40),
    pytest.param("torus", retracted, 16.0, 800, marks=pytest.mark.slow),
    pytest.param("torus", on_manifold, 16.0, 40, marks=pytest.mark.slow),
    pytest.param("ellipsoid", retracted, 16.0, 400, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "make", "horizon", "steps"), UNIFORM)
def test_brownian_motion_becomes_uniform(x64, name, make, horizon, steps):
    entry = MANIFOLDS[name]
    manifold = entry.make()
    x = heat(manifold, manifold.uniform(jax.random.key(5)), horizon, steps, make, paths=2000)
    for share in entry.uniform_parameters:
        assert stats.kstest(share(x), "uniform").pvalue > 0.005
    assert max(abs(entry.equation(each)) for each in x[:200]) < 1e-12


@pytest.mark.parametrize("name", ["SO(3)", "torus"])
def test_no_state_of_a_long_walk_is_off_the_manifold(x64, name):
    entry = MANIFOLDS[name]
    manifold = entry.make()
    step = on_manifold(euler_maruyama, manifold, "geodesic" if name == "SO(3)" else "retraction")
    x, zero, h = manifold.uniform(jax.random.key(5)), jnp.zeros(()), jnp.asarray(0.1)
    noise = jnp.sqrt(h) * jax.random.normal(jax.random.key(2), (10_000, len(x)))
    sde = forward(HeatFlow(1.0))

    def body(x, dw):
        x = step(sde, x, zero, h, dw)
        return x, x

    states = np.asarray(jax.jit(lambda x: jax.lax.scan(body, x, noise)[1])(x))
    assert max(abs(entry.equation(each)) for each in states[::7]) < 1e-12


@pytest.mark.slow
def test_brownian_motion_runs_on_an_atlas_of_points():
    """E[x_t] = exp(-t) x_0, up to a step of 0.01 and the error of the fit."""
    sphere = geometry.Sphere(2)
    atlas = geometry.fit_atlas(measures.draw(sphere.uniform, jax.random.key(7), 3000), 2, 3)
    x0 = jnp.array([0.6, 0.0, 0.8])
    x = heat(atlas, x0, 0.5, 50, in_charts)
    error = np.abs(x.mean(axis=0) - np.exp(-0.5) * np.asarray(x0))
    assert np.all(error < 4 * x.std(axis=0) / np.sqrt(len(x)) + 0.005)
    # The sphere leaves a cubic graph by |u|^4 / 8 and more; one step in a hundred is longer than this.
    longest = 0.1 * np.sqrt(2 * np.log(100))
    assert np.quantile(np.abs(np.linalg.norm(x, axis=1) - 1), 0.99) < 2 * longest**4 / 8


# What every step owes


@pytest.mark.parametrize(
    ("make", "step", "manifold", "x"),
    [
        (on_manifold, samplers.stochastic_heun, geometry.Sphere(2), 1.0),
        (retracted, euler_maruyama, geometry.Torus(), 1.5),
        (in_charts, euler_maruyama, geometry.Torus(), 1.5),
    ],
)
def test_derivatives_are_finite_also_where_nothing_moves(make, step, manifold, x):
    step, sde = make(step, manifold), forward(HeatFlow(1.0))
    x, t = jnp.array([x, 0.0, 0.0]), jnp.asarray(0.5)
    slopes = jax.jit(jax.jacfwd(lambda x, t1, dw: step(sde, x, t, t1, dw), (0, 1, 2)))(x, t + 0.1, jnp.zeros(3))
    assert all(jnp.all(jnp.isfinite(slope)) for slope in slopes)
    # The tangents of the increment come through, and nothing across.
    np.testing.assert_allclose(slopes[2], np.diag([0.0, 1.0, 1.0]), atol=1e-5)


@pytest.mark.parametrize("make", [on_manifold, in_charts])
def test_a_sample_depends_on_its_key_alone_and_keeps_its_precision(make):
    sphere = geometry.Sphere(2)
    step, ts = make(euler_maruyama, sphere), jnp.linspace(0.0, 1.0, 6)
    sampler = generate(sphere.uniform, step, forward(VarianceExploding(1.0)), ts)
    keys, one = jax.random.split(jax.random.key(0), 5), eqx.filter_jit(sampler)
    whole = jax.jit(jax.vmap(sampler))(keys)
    assert whole.dtype == jnp.float32
    np.testing.assert_allclose(whole, jnp.stack([one(key) for key in keys]), atol=1e-5)


MISUSE = {
    "metric": lambda: retracted(euler_maruyama, geometry.Hyperboloid(2)),
    "geodesic, retraction": lambda: on_manifold(euler_maruyama, geometry.Sphere(2), "jump"),
    "got ddpm": lambda: on_manifold(samplers.ddpm, geometry.Sphere(2)),
    "got DPMSolver2M": lambda: in_charts(samplers.DPMSolver2M(), geometry.Sphere(2)),
    "remembers": lambda: in_charts(Remembering(), geometry.Sphere(2)),
    "eta=1.0": lambda: on_manifold(samplers.heun, geometry.Sphere(2))(
        reverse(HeatFlow(1.0), lambda x, sigma: -x), *(jnp.ones(a) for a in (3, (), (), 3))
    ),
    "horizon": lambda: HeatFlow(0.0),
}


@pytest.mark.parametrize("words", MISUSE)
def test_misuse_is_refused(words):
    with pytest.raises(ValueError, match=words):
        MISUSE[words]()
