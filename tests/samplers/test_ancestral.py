"""Steps that draw from the law of the step before. Oracles: Gaussian data, whose posterior is known, and identities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import processes, samplers
from tests.samplers.test_step import SCORE, VARIANCE

PRESERVING = processes.VariancePreserving(processes.constant(6.0))
EXPLODING = processes.VarianceExploding(3.0)
both = pytest.mark.parametrize("noising", [PRESERVING, EXPLODING], ids=["preserving", "exploding"])


def law(step, sde, x, t0, t1):
    """Mean and standard deviation of a step that is affine in its noise, in one dimension."""
    h = jnp.sqrt(t0 - t1)
    mean = step(sde, x, t0, t1, jnp.zeros(1))
    return float(mean[0]), float((step(sde, x, t0, t1, h[None]) - mean)[0])


def posterior(noising, t0, t1, x):
    """Mean and deviation of x_{t1} given x_{t0} = x, for data N(1/2, VARIANCE): by conditioning a bivariate normal."""
    alphas, sigmas = (np.array([float(f(t)) for t in (t1, t0)]) for f in (noising.alpha, noising.sigma))
    spread = alphas**2 * VARIANCE + sigmas**2
    joint = alphas[1] / alphas[0] * spread[0]
    slope = joint / spread[1]
    return alphas[0] / 2 + slope * (x - alphas[1] / 2), np.sqrt(spread[0] - slope * joint)


@both
def test_the_step_with_the_hessian_is_exact_for_gaussian_data(noising, x64):
    sde, t0, t1 = processes.reverse(noising, SCORE), jnp.asarray(0.8), jnp.asarray(0.3)
    found = law(samplers.ddpm_hessian, sde, jnp.array([0.7]), t0, t1)
    np.testing.assert_allclose(found, posterior(noising, t0, t1, 0.7), rtol=1e-10)


@both
def test_all_have_the_exact_mean_and_their_variance_to_its_order(noising, x64):
    """The error of the deviation, relative, falls as V for the plain step and V^2 for the accelerated one."""
    sde, t0 = processes.reverse(noising, SCORE), jnp.asarray(0.5)
    errors = {step: [] for step in (samplers.ddpm_plain, samplers.ddpm_accelerated)}
    for h in (0.02, 0.01):
        mean, deviation = posterior(noising, t0, t0 - h, 0.7)
        for step, found in errors.items():
            m, s = law(step, sde, jnp.array([0.7]), t0, t0 - h)
            np.testing.assert_allclose(m, mean, rtol=1e-9)
            found.append(abs(s / deviation - 1))
    orders = [np.log2(found[0] / found[1]) for found in errors.values()]
    np.testing.assert_allclose(orders, [1, 2], atol=0.15)


def test_the_plain_step_is_that_of_the_paper(x64):
    """(x + (1 - a) s + sqrt(1 - a) z) / sqrt(a) for variance-preserving noising."""
    t0, t1, x, z = jnp.asarray(0.6), jnp.asarray(0.5), jnp.array([0.3, -1.0]), jnp.array([0.2, 0.9])
    a = (PRESERVING.alpha(t0) / PRESERVING.alpha(t1)) ** 2
    sde = processes.reverse(PRESERVING, SCORE)
    expected = (x + (1 - a) * sde.score_at(x, t0) + jnp.sqrt(1 - a) * z) / jnp.sqrt(a)
    found = samplers.ddpm_plain(sde, x, t0, t1, jnp.sqrt(t0 - t1) * z)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@both
def test_ddim_with_all_the_noise_is_ddpm_and_first_steps_of_the_solver_are_both(noising, x64):
    t0, t1, x, dw = jnp.asarray(0.6), jnp.asarray(0.2), jnp.array([0.3, -1.0]), jnp.array([0.2, 0.9])
    sde, flow, solver = (
        processes.reverse(noising, SCORE),
        processes.reverse(noising, SCORE, 0.0),
        samplers.DPMSolver2M(),
    )
    np.testing.assert_allclose(samplers.ddim(sde, x, t0, t1, dw), samplers.ddpm(sde, x, t0, t1, dw), rtol=1e-12)
    np.testing.assert_allclose(solver(sde, x, t0, t1, dw), samplers.ddpm(sde, x, t0, t1, dw), rtol=1e-12)
    np.testing.assert_allclose(solver(flow, x, t0, t1, dw), samplers.ddim(flow, x, t0, t1, dw), rtol=1e-12)


def test_the_training_free_step_has_the_covariance_of_the_accelerated_one(x64):
    """For a score that is linear, by its matrix: ((I + V H)(I + V H)^T + I) / 2, as (I + V H / 2)^2 to second order."""
    t0, t1, x = jnp.asarray(0.6), jnp.asarray(0.59), jnp.array([0.4])
    sde = processes.reverse(PRESERVING, SCORE)
    step = samplers.ddpm_training_free
    at = lambda z: step(sde, x, t0, t1, jnp.sqrt(t0 - t1) * z)[0]  # noqa: E731
    root = jax.jacfwd(at)(jnp.zeros((2, 1))).ravel()
    deviation = law(samplers.ddpm_accelerated, sde, x, t0, t1)[1]
    np.testing.assert_allclose(np.linalg.norm(root), deviation, rtol=1e-3)
    # The plain step is farther away than that.
    assert abs(law(samplers.ddpm_plain, sde, x, t0, t1)[1] / deviation - 1) > 1e-2


def test_a_solver_for_two_cases_refuses_those_between():
    with pytest.raises(ValueError, match="use 0 or 1, or the step ddim"):
        samplers.DPMSolver2M()(
            processes.reverse(PRESERVING, SCORE, 0.5), jnp.zeros(1), jnp.ones(()), jnp.zeros(()), jnp.zeros(1)
        )
