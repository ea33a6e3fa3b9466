"""The rigs of group D against other ways to the same numbers, and the group at its smallest scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from manifold_diffusion import samplers
from manifold_diffusion.processes import reverse
from manifold_diffusion.studies import verify
from manifold_diffusion.studies.discretisation import CLAIMS
from manifold_diffusion.studies.discretisation.forward import normal_variation
from manifold_diffusion.studies.discretisation.gaussian import Biased, divergence
from manifold_diffusion.studies.discretisation.mixture import (
    Mixture,
    equation,
    flow_error,
    kernel_errors,
    mixture,
    noising,
    times,
)


def test_a_step_that_is_exact_for_gaussian_data_has_no_error(x64):
    """All three errors of the Hessian step vanish for one Gaussian, but for the grid; the plain step's do not."""
    one = Mixture(jnp.ones(1), jnp.array([0.4]), jnp.array([0.3]))
    exact = kernel_errors(samplers.ddpm_hessian, equation(one, 1.0), one, times(12))
    assert max(abs(float(e)) for e in exact) < 1e-7
    plain = kernel_errors(samplers.ddpm_plain, equation(one, 1.0), one, times(12))
    # Its law is Gaussian: the divergence by the recursion of means and variances.
    assert float(plain.path_divergence) > float(plain.divergence) > 1e-3


def test_the_matrix_of_a_step_gives_the_law_of_its_samples(x64):
    """Total variation between 16 cells, of draws of Euler-Maruyama and of the exact law, is at most that of the rig."""
    law, ts = mixture(), times(12)
    sde = equation(law, 1.0)
    sampler = samplers.generate(lambda key: _draw(law, key, ts[0]), samplers.euler_maruyama, sde, ts)
    x = np.asarray(jax.jit(jax.vmap(sampler))(jax.random.split(jax.random.key(0), 40_000)))[:, 0]
    alpha, level = float(noising().alpha(ts[-1])), float(noising().sigma(ts[-1]))
    edges = np.linspace(-2, 2, 17)
    cells = np.histogram(x, edges)[0] / len(x)
    parts = zip(law.weights, law.means, law.variances, strict=True)
    exact = sum(
        float(w) * np.diff(stats.norm.cdf((edges - alpha * float(m)) / np.sqrt(alpha**2 * float(v) + level**2)))
        for w, m, v in parts
    )
    seen, whole = np.abs(cells - exact).sum() / 2, float(kernel_errors(samplers.euler_maruyama, sde, law, ts)[0])
    noise = 16 / 2 * np.sqrt(2 / np.pi / 16 / len(x))
    assert 0.6 * whole < seen < whole + 2 * noise


def _draw(law, key, t):
    part, place, noise = jax.random.split(key, 3)
    i = jax.random.choice(part, 3, p=law.weights)
    x = law.means[i] + jnp.sqrt(law.variances[i]) * jax.random.normal(place)
    return (noising().alpha(t) * x + noising().sigma(t) * jax.random.normal(noise))[None]


def test_a_flow_of_many_steps_has_the_exact_law(x64):
    assert float(flow_error(samplers.runge_kutta_4, equation(mixture(), 0.0), mixture(), times(96))) < 1e-6


def test_the_divergence_of_one_step_is_that_of_two_normal_laws(x64):
    ts, variance = times(1), jnp.asarray(0.7)
    sde = reverse(noising(), Biased(variance, jnp.zeros(())))
    (a0, s0), (a1, s1) = ((float(sde.noising.alpha(t)), float(sde.noising.sigma(t))) for t in ts)
    spread0, spread1 = (a**2 * 0.7 + s**2 for a, s in ((a0, s0), (a1, s1)))
    a = a0 / a1
    V = s0**2 - a**2 * s1**2
    found = ((1 - V / spread0) / a) ** 2 * spread0 + V / a**2
    expected = (spread1 / found - 1 - np.log(spread1 / found)) / 2
    np.testing.assert_allclose(divergence(samplers.ddpm_plain, sde, variance, ts), expected, rtol=1e-9)


@pytest.mark.parametrize(("mean", "variance"), [(0.3, 0.9), (2.0, 0.5), (0.01, 0.999)])
def test_variation_of_normal_laws_is_their_integral(mean, variance):
    gap = lambda x: abs(stats.norm.pdf(x, mean, np.sqrt(variance)) - stats.norm.pdf(x)) / 2  # noqa: E731
    x = np.linspace(-9, 9, 200_001)
    np.testing.assert_allclose(normal_variation(mean, variance), integrate.trapezoid(gap(x), x), rtol=1e-6)


QUICK = {"D7", "D9"}


@pytest.mark.parametrize(
    "ids",
    [QUICK, pytest.param({claim.id for claim in CLAIMS} - QUICK, marks=pytest.mark.slow)],
    ids=["recursions", "the others"],
)
def test_no_claim_is_refuted_and_nearly_all_are_confirmed(ids):
    study = verify([claim for claim in CLAIMS if claim.id in ids], "smoke", 0, None, False, plot=False)
    verdicts = [result.verdict.verdict for result in study.results]
    assert verdicts.count("refuted") == 0
    assert verdicts.count("confirmed") >= 0.9 * len(verdicts)
    assert all(result.failures == 0 for result in study.results)
