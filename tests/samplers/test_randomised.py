"""The randomised midpoint method. Oracles: its formulas written out for Gaussian data, and the flow of such data."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from manifold_diffusion import processes, samplers
from tests.samplers.test_step import MEAN, SCORE, VARIANCE, marginal

PRESERVING = processes.VariancePreserving(processes.constant(6.0))
STEP = samplers.RandomisedMidpoint()
FLOW = processes.reverse(PRESERVING, SCORE, 0.0)


def slope(y, tau):
    """s_tau(y) / (2 (1 - tau)^{3/2}) for the data N(MEAN, VARIANCE) noised to sqrt(1 - tau) x + sqrt(tau) z."""
    score = (np.sqrt(1 - tau) * MEAN - y) / ((1 - tau) * VARIANCE + tau)
    return score / (2 * (1 - tau) ** 1.5)


def test_two_steps_are_those_of_the_paper_and_the_partial_term_is_left_behind(x64):
    ts, x, z = np.array([0.8, 0.6, 0.3]), 0.7, np.array([0.4, -1.1])
    taus = [float(PRESERVING.variance(jnp.asarray(t))) for t in ts]
    u, g = x / np.sqrt(1 - taus[0]), slope(x, taus[0])
    for before, after, noise in zip(taus[:-1], taus[1:], z, strict=True):
        tau = before + stats.norm.cdf(noise) * (after - before)
        y = np.sqrt(1 - tau) * (u + (before - tau) * g)
        g = slope(y, tau)
        u = u + (before - after) * g
    dws = jnp.asarray(np.sqrt(-np.diff(ts)) * z)[:, None]
    found = samplers.integrate(STEP, FLOW, jnp.asarray(ts), jnp.array([x]), dws)
    np.testing.assert_allclose(found[0], np.sqrt(1 - taus[-1]) * u, rtol=1e-10)


def test_noisings_of_the_same_levels_give_the_same_points(x64):
    """x / alpha depends on sigma / alpha alone."""
    exploding, levels, dw = processes.VarianceExploding(3.0), jnp.array([2.0, 1.2]), jnp.array([0.1, -0.3])
    ends = []
    for noising in (PRESERVING, exploding):
        t0, t1 = processes.level_grid(noising, levels)
        u = jnp.array([0.7, -1.0])
        x = STEP(processes.reverse(noising, SCORE, 0.0), noising.alpha(t0) * u, t0, t1, jnp.sqrt(t0 - t1) * dw)
        ends.append(x / noising.alpha(t1))
    np.testing.assert_allclose(*ends, rtol=1e-9)


def test_its_error_has_order_three_halves_and_order_two_on_average(x64):
    """The flow of Gaussian data scales x - mean by the standard deviation."""
    (m0, v0), (m1, v1) = (marginal(PRESERVING, jnp.asarray(t)) for t in (0.5, 0.05))
    x = jnp.array([1.3])
    exact = m1 + jnp.sqrt(v1 / v0) * (x - m0)

    @eqx.filter_jit
    def gaps(ts, key):
        dws = jnp.sqrt(-jnp.diff(ts))[None, :, None] * jax.random.normal(key, (4096, len(ts) - 1, 1))
        return jax.vmap(lambda dw: samplers.integrate(STEP, FLOW, ts, x, dw) - exact)(dws)

    found = [np.asarray(gaps(jnp.linspace(0.5, 0.05, n + 1), jax.random.key(n))) for n in (32, 128)]
    spreads, means = ([abs(f(gap)) for gap in found] for f in (np.std, np.mean))
    assert np.log(spreads[0] / spreads[1]) / np.log(4) == pytest.approx(1.5, abs=0.1)
    assert np.log(means[0] / means[1]) / np.log(4) == pytest.approx(2.0, abs=0.15)


def test_a_step_up_draws_from_the_noising_and_forgets(x64):
    t0, t1, x = jnp.asarray(0.2), jnp.asarray(0.5), jnp.array([0.4, -0.9])
    h, z = jnp.sqrt(t1 - t0), jnp.array([1.0, -2.0])
    mean, memory = STEP.advance(FLOW, x, x, t0, t1, 0 * z)
    ratio = PRESERVING.alpha(t1) / PRESERVING.alpha(t0)
    np.testing.assert_allclose(mean, ratio * x, rtol=1e-12)
    np.testing.assert_allclose(memory, STEP.start(FLOW, mean, t1), rtol=1e-12)
    noise = STEP.advance(FLOW, x, x, t0, t1, h * z)[0] - mean
    # Noised further, the law at t0 is that at t1.
    (m0, v0), (m1, v1) = (marginal(PRESERVING, t) for t in (t0, t1))
    np.testing.assert_allclose(noise / z, jnp.sqrt(v1 - ratio**2 * v0), rtol=1e-9)
    np.testing.assert_allclose(ratio * m0, m1, rtol=1e-12)


def test_it_refuses_an_equation_with_noise():
    sde = processes.reverse(PRESERVING, SCORE)
    with pytest.raises(ValueError, match="RandomisedMidpoint solves a flow"):
        STEP(sde, jnp.zeros(1), jnp.asarray(0.5), jnp.asarray(0.4), jnp.zeros(1))
