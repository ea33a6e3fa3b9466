"""The stochastic sampler of Karras et al. Oracles: Heun's method, and moments of Gaussian data step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import samplers
from manifold_diffusion.processes import VarianceExploding, VariancePreserving, geometric_grid, linear, reverse
from tests.samplers.test_step import MEAN, SCORE, VARIANCE

EXPLODING = VarianceExploding(20.0)


def test_without_churn_it_is_heun(x64):
    sde, x, dw = reverse(EXPLODING, SCORE, 0.0), jnp.array([3.0, -2.0]), jnp.ones(2)
    for t0, t1 in ((0.5, 0.2), (0.2, 0.0)):
        times = jnp.asarray(t0), jnp.asarray(t1)
        np.testing.assert_allclose(
            samplers.EDM()(sde, x, *times, dw), samplers.heun(sde, x, *times, dw), rtol=1e-12, atol=1e-14
        )


def test_noise_is_added_between_two_levels_and_before_the_flow(x64):
    """The step with churn is the step without from (1 + gamma) sigma, of x with the noise added: the paper's lines."""
    step, plain = samplers.EDM(0.2, least=1.0, most=8.0, inflation=1.1), samplers.EDM()
    sde, x, z = reverse(EXPLODING, SCORE, 0.0), jnp.array([3.0, -2.0]), jnp.array([0.4, -1.3])
    for t0, inside in ((0.2, True), (0.04, False), (0.5, False)):
        t1, sigma = jnp.asarray(t0 / 2), 20.0 * t0
        found = step(sde, x, jnp.asarray(t0), t1, jnp.sqrt(t0 - t1) * z)
        raised = 1.2 * sigma if inside else sigma
        noised = x + 1.1 * np.sqrt(raised**2 - sigma**2) * z
        expected = plain(sde, noised, jnp.asarray(raised / 20.0), t1, z)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "noising",
    [pytest.param(EXPLODING, marks=pytest.mark.slow), VariancePreserving(linear())],
    ids=["exploding", "preserving"],
)
def test_with_churn_the_law_of_gaussian_data_is_met_at_order_two(noising, x64):
    """A step is affine, so means and variances are exact; S_churn is kept while the number of steps grows."""
    sde, errors, sizes = reverse(noising, SCORE, 0.0), [], (32, 64, 128)
    for n in sizes:
        step, ts = samplers.EDM(4.0 / n), geometric_grid(noising, 0.01, n, final_zero=False)

        def moments(state, interval, step=step):
            mean, variance = state
            t0, t1 = interval
            at = lambda x, w: step(sde, x[None], t0, t1, w[None])[0]  # noqa: E731
            zero, one, h = jnp.zeros(()), jnp.ones(()), jnp.sqrt(t0 - t1)
            slope, kick = at(one, zero) - at(zero, zero), at(zero, h) - at(zero, zero)
            return (at(mean, zero), slope**2 * variance + kick**2), None

        alpha, sigma = noising.alpha(ts[0]), noising.sigma(ts[0])
        start = alpha * MEAN, alpha**2 * VARIANCE + sigma**2
        variance = jax.lax.scan(moments, start, (ts[:-1], ts[1:]))[0][1]
        errors.append(abs(float(variance) - VARIANCE - 1e-4))
    np.testing.assert_allclose(np.diff(np.log(errors)) / np.diff(np.log(sizes)), -2, atol=0.25)


def test_too_much_churn_is_refused():
    with pytest.raises(ValueError, match="S_churn over the steps"):
        samplers.EDM(0.5)
