"""Laws of steps and noisings, on every one of the catalogue. Their orders are measured in test_step.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import measures, processes, samplers, scores
from tests.catalogue import NOISINGS, STEPS

every_noising = pytest.mark.parametrize("make", NOISINGS.values(), ids=NOISINGS)
every_step = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
FLOWS = {
    *("euler", "midpoint", "heun", "runge_kutta_4", "exponential_euler", "dpm_solver_2s"),
    *("DPMSolver2M", "AcceleratedFlow", "RandomisedMidpoint", "ddim"),
}
ENDS_EXACTLY = {*("ddpm", "ddim", "euler", "heun", "runge_kutta_4", "dpm_solver_2s", "DPMSolver2M")}
NAMES = {id(step): name for name, step in STEPS.items()}


def model(step, make, data):
    """The reverse of a noising of the data: the flow for steps that solve flows, else the SDE."""
    name = NAMES[id(step)]
    return processes.reverse(make(), scores.KernelScore(data), eta=0.0 if name in FLOWS else 1.0)


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


@every_step
def test_a_sample_depends_on_neither_size_nor_chunk(step, key):
    sde = model(step, NOISINGS["variance exploding"], jnp.eye(2))
    ts = processes.geometric_grid(NOISINGS["variance exploding"](), 0.1, 8)
    sampler = samplers.generate(lambda key: 20.0 * jax.random.normal(key, (2,)), step, sde, ts)
    whole = measures.draw(sampler, key, 30)
    np.testing.assert_array_equal(measures.draw(sampler, key, 11), whole[:11])
    np.testing.assert_allclose(measures.draw(sampler, key, 30, chunk=8), whole, atol=1e-5)
