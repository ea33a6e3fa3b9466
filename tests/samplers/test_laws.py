"""Laws of steps and noisings, on every one of the catalogue. Their orders are measured in test_step.py."""

import os
import pathlib
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import measures, processes, samplers, scores
from tests.catalogue import NOISINGS, STEPS

every_noising = pytest.mark.parametrize("make", NOISINGS.values(), ids=NOISINGS)
# An adaptive step takes long to compile, and has quick tests of its own.
every_step = pytest.mark.parametrize(
    "step",
    [
        pytest.param(step, id=name, marks=pytest.mark.slow if name == "AdaptiveFlow" else ())
        for name, step in STEPS.items()
    ],
)
FLOWS = {
    *("euler", "midpoint", "heun", "runge_kutta_4", "exponential_euler", "dpm_solver_2s"),
    *("DPMSolver2M", "AcceleratedFlow", "AdaptiveFlow", "RandomisedMidpoint", "ddim", "EDM"),
}
ENDS_EXACTLY = {
    *("ddpm", "ddim", "euler", "heun", "runge_kutta_4", "dpm_solver_2s", "DPMSolver2M", "EDM", "AdaptiveFlow"),
}
NAMES = {id(step): name for name, step in STEPS.items()}
TABLE = "a table of 50 rates"


def table():
    """A noising whose schedule is an array."""
    return processes.VariancePreserving(processes.tabulated(np.cumprod(1 - np.linspace(1e-3, 0.3, 50))))


class TwoHumps(eqx.Module):
    """The score of N(m, 1/4 I) and N(-m, 1/4 I) in equal parts, m = (1, .., 1) / 2, noised.

    With v the variance of each part it is (m tanh(m.x / v) - x) / v.
    """

    def __call__(self, x, sigma):
        v, m = 0.25 + sigma**2, jnp.full_like(x, 0.5)
        return (m * jnp.tanh(jnp.sum(m * x) / v) - x) / v


def model(step, make, data):
    """The reverse of a noising of the data: the flow for steps that solve flows, else the SDE."""
    name = NAMES[id(step)]
    return processes.reverse(make(), scores.KernelScore(data), eta=0.0 if name in FLOWS else 1.0)


def between(step, make):
    """The step from t = 1/2 to 2/5 as a function of x and standard normal z (draws, d), and of nothing else."""
    eta = 0.0 if NAMES[id(step)] in FLOWS else 1.0

    def advance(x, z):
        # Made inside, where the precision is that of x.
        sde = processes.reverse(make(), TwoHumps(), eta)
        t0, t1 = jnp.asarray(0.5, x.dtype), jnp.asarray(0.4, x.dtype)
        dw = jnp.sqrt(t0 - t1) * z
        return step(sde, x, t0, t1, dw if getattr(step, "draws", None) else dw[0])

    return advance


# Noisings


@every_noising
def test_nothing_is_noised_at_time_zero_and_the_level_grows(make, x64):
    noising, ts = make(), jnp.linspace(0.0, 1.0, 101)
    assert noising.alpha(ts[0]) == 1
    assert noising.sigma(ts[0]) == 0
    levels = jax.vmap(lambda t: processes.noise_level(noising, t))(ts)
    assert np.all(np.diff(levels) > 0)


@every_noising
def test_drift_and_diffusion_keep_the_moments(make, x64):
    """d alpha / dt = f alpha and d sigma^2 / dt = 2 f sigma^2 + g^2, with the left sides by central differences."""
    noising, h = make(), 1e-5
    sde = processes.forward(noising)
    for t in (0.1, 0.5, 0.9):
        f = float(sde.drift(jnp.ones(1), jnp.asarray(t))[0])
        g = float(sde.diffusion(jnp.asarray(t)))
        (a0, s0), (a, s), (a1, s1) = (
            (float(noising.alpha(u)), float(noising.sigma(u))) for u in map(jnp.asarray, (t - h, t, t + h))
        )
        np.testing.assert_allclose((a1 - a0) / (2 * h), f * a, atol=1e-6)
        np.testing.assert_allclose((s1**2 - s0**2) / (2 * h), 2 * f * s**2 + g**2, rtol=1e-6)


@every_noising
@pytest.mark.parametrize("grid", [processes.geometric_grid, processes.karras_grid])
def test_grids_fall_from_one_and_have_the_levels_asked_for(make, grid, x64):
    noising = make()
    ts = grid(noising, 0.01, 12)
    assert ts.shape == (13,)
    assert ts[0] == 1
    assert ts[-1] == 0
    assert np.all(np.diff(ts) < 0)
    np.testing.assert_allclose(processes.noise_level(noising, ts[-2]), 0.01, rtol=1e-9)


@every_noising
def test_times_invert_noise_levels(make, x64):
    noising = make()
    for level in (1e-6, 0.02, 1.0):
        t = processes.time_of(noising, jnp.asarray(level))
        np.testing.assert_allclose(processes.noise_level(noising, t), level, rtol=1e-9)


# Steps


@every_step
def test_one_point_of_data_is_found_from_anywhere(step, x64):
    """Ending at zero noise, a sampler of a point mass returns the point; some up to the last noise, 1e-4."""
    data = jnp.array([[0.3, -0.7]])
    make = NOISINGS["variance exploding"]
    ts = processes.geometric_grid(make(), 1e-4, 60)
    sampler = samplers.generate(lambda key: 20.0 * jax.random.normal(key, (2,)), step, model(step, make, data), ts)
    x = measures.draw(sampler, jax.random.key(0), 16)
    tolerance = 1e-8 if NAMES[id(step)] in ENDS_EXACTLY else 5e-3
    np.testing.assert_allclose(x, np.broadcast_to(data, x.shape), atol=tolerance)


@every_step
def test_a_step_of_length_zero_stays(step, x64):
    sde = model(step, NOISINGS["variance exploding"], jnp.eye(2))
    x, ts = jnp.array([0.4, 2.0]), jnp.array([0.5, 0.5])
    increments = jnp.zeros((1, 2) if getattr(step, "draws", None) is None else (1, step.draws, 2))
    np.testing.assert_array_equal(samplers.integrate(step, sde, ts, x, increments), x)


# One with a memory, one with two increments, one with a loop of its own, one with a kernel score.
FEW = ["DPMSolver2M", "ddpm_training_free", "ddpm_hessian", "ddpm"]


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in FEW else pytest.mark.slow) for name in STEPS])
def test_a_sample_depends_on_neither_size_nor_chunk(name, key):
    step = STEPS[name]
    sde = model(step, NOISINGS["variance exploding"], jnp.eye(2))
    ts = processes.geometric_grid(NOISINGS["variance exploding"](), 0.1, 8)
    sampler = samplers.generate(lambda key: 20.0 * jax.random.normal(key, (2,)), step, sde, ts)
    whole = measures.draw(sampler, key, 30)
    np.testing.assert_array_equal(measures.draw(sampler, key, 11), whole[:11])
    np.testing.assert_allclose(measures.draw(sampler, key, 30, chunk=8), whole, atol=1e-5)


@every_step
def test_a_step_is_the_same_alone_and_in_a_batch_in_either_precision_compiled_and_not(step, x64):
    """On the line, where shapes are most easily confused; the other laws are in the plane."""
    advance = between(step, NOISINGS["variance preserving"])
    x = jax.random.normal(jax.random.key(0), (50, 1))
    z = jax.random.normal(jax.random.key(1), (50, getattr(step, "draws", None) or 1, 1))
    whole, alone = jax.jit(jax.vmap(advance))(x, z), advance(x[2], z[2])
    with jax.enable_x64(False):
        single = jax.jit(jax.vmap(advance))(x.astype(jnp.float32), z.astype(jnp.float32))
    assert (whole.shape, whole.dtype, single.dtype) == (x.shape, jnp.float64, jnp.float32)
    np.testing.assert_allclose(alone, whole[2], atol=40 * np.finfo(np.float64).eps)
    # Rounding may change the steps inside of one that adapts to a tolerance, here of 1e-5.
    budget = 2e-5 if NAMES[id(step)] == "AdaptiveFlow" else 40 * np.finfo(np.float32).eps
    np.testing.assert_allclose(single, whole, atol=budget)


@every_step
def test_a_step_has_the_derivative_that_differences_show(step, x64):
    advance, h = between(step, NOISINGS["variance preserving"]), 1e-6
    # Its inner steps change with x, by its tolerance, and its default derivative is the reverse one.
    adaptive = NAMES[id(step)] == "AdaptiveFlow"
    x, z = jnp.array([0.3, -0.9]), jnp.array([[0.5, 1.2], [-0.4, 0.1]])[: getattr(step, "draws", None) or 1]

    @jax.jit
    def derivatives(x, z):
        ahead, behind = (jax.vmap(lambda e, h=h: advance(x + h * e, z))(jnp.eye(2)) for h in (h, -h))
        backwards = jax.jacrev(advance)(x, z)
        forwards = backwards if adaptive else jax.jacfwd(advance)(x, z)
        return forwards, backwards, (ahead - behind).T / (2 * h)

    forwards, backwards, differences = derivatives(x, z)
    np.testing.assert_allclose(forwards, differences, atol=1e-3 if adaptive else 1e-8)
    np.testing.assert_allclose(backwards, forwards, atol=1e-12)


QUICKLY = {"euler_maruyama", "ddpm", "heun", "DPMSolver2M", "dpm_solver_2s", "EDM"}
LESS_USUAL = [
    pytest.param(name, kind, marks=() if (name in QUICKLY) == (kind == TABLE) else pytest.mark.slow)
    for name in STEPS
    for kind in (TABLE, "sub-variance preserving")
]


@pytest.mark.parametrize(("name", "kind"), LESS_USUAL)
def test_one_step_and_steps_of_no_length_to_no_noise_are_finite(name, kind):
    """From t = 1 to 0 in one step, and in three of which one has no length."""
    step, noising = STEPS[name], {**NOISINGS, TABLE: table}[kind]()
    sde = processes.reverse(noising, TwoHumps(), 0.0 if name in FLOWS else 1.0)
    draws = getattr(step, "draws", None)

    @jax.jit
    def end(ts):
        dws = jnp.sqrt(jnp.abs(jnp.diff(ts)))[:, None] * jnp.array([[0.3, -1.1]])
        dws = dws if draws is None else jnp.repeat(dws[:, None], draws, axis=1)
        return samplers.integrate(step, sde, ts, jnp.array([0.4, 1.0]), dws)

    once, thrice = end(jnp.array([1.0, 1.0, 1.0, 0.0])), end(jnp.array([1.0, 0.3, 0.3, 0.0]))
    assert np.all(np.isfinite(once))
    assert np.all(np.isfinite(thrice))
    # Unlike each other, but for the one that makes as many steps of its own as it takes.
    assert name == "AdaptiveFlow" or np.linalg.norm(once - thrice) > 1e-3


@pytest.mark.slow
def test_a_hundred_thousand_steps_are_one_program_and_end_where_they_should(key):
    """The law of the data: steps of 1e-5 neither vanish in float32 nor drift."""
    noising = NOISINGS["variance preserving"]()
    sde = processes.reverse(noising, TwoHumps())
    ts = processes.uniform_grid(noising, 1e-3, 100_000)
    sampler = samplers.generate(lambda key: jax.random.normal(key, (1,)), samplers.euler_maruyama, sde, ts)
    x = np.asarray(measures.draw(sampler, key, 100))[:, 0]
    # Moments of N(1/2, 1/4) and N(-1/2, 1/4) in equal parts: 0, 1/2 and 1/16 + 6/16 + 3/16 = 5/8.
    assert abs(x.mean()) < 4 * np.sqrt(0.5 / 100)
    assert abs(np.mean(x**2) - 0.5) < 4 * np.sqrt((0.625 - 0.25) / 100)


_SHARDED = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import PartitionSpec as P
from manifold_diffusion import processes, samplers, scores
from tests.samplers.test_laws import FLOWS, STEPS, TwoHumps

assert len(jax.devices()) == 4
mesh = jax.make_mesh((4,), ("paths",), axis_types=(jax.sharding.AxisType.Auto,))
noising = processes.VariancePreserving(processes.linear())
ts = processes.geometric_grid(noising, 0.1, 3)
keys = jax.random.split(jax.random.key(0), 8)
kernel = scores.KernelScore(jax.random.normal(jax.random.key(1), (20, 2)))


def agree(name, f):
    sharded = jax.jit(jax.shard_map(jax.vmap(f), mesh=mesh, in_specs=P("paths"), out_specs=P("paths")))(keys)
    assert len(sharded.sharding.device_set) == 4, name
    np.testing.assert_allclose(sharded, jax.jit(jax.vmap(f))(keys), rtol=1e-10, atol=1e-10, err_msg=name)


prior = lambda key: jax.random.normal(key, (2,))
for name in sys.argv[1:]:
    sde = processes.reverse(noising, kernel if name == "ddpm" else TwoHumps(), 0.0 if name in FLOWS else 1.0)
    agree(name, samplers.generate(prior, STEPS[name], sde, ts))
langevin = samplers.langevin(kernel, 0.3, eta=0.3, steps=3)
agree("langevin", lambda key: langevin(key, jnp.zeros(2)))
agree("jacobian", lambda key: jax.jacrev(lambda x: kernel(x, jnp.asarray(0.3)))(prior(key)))
agree("zero", lambda key: samplers.integrate(STEPS["ddpm"], sde, ts, jnp.zeros(2), jax.random.normal(key, (3, 2))))
print("all agree")
"""


@pytest.mark.parametrize(
    "names",
    [
        FEW,
        # diffrax does not run under shard_map while it checks what varies.
        pytest.param(sorted(STEPS.keys() - {*FEW, "AdaptiveFlow"}), marks=pytest.mark.slow),
    ],
    ids=["a few", "the others"],
)
def test_samplers_run_on_several_devices(names):
    """Four devices on one machine, each with its share of the paths: the same numbers."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1",
        "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=4",
    }
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _SHARDED, *names], capture_output=True, text=True, env=environment, cwd=root, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "all agree"
