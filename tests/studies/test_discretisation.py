"""The rigs of group D against other ways to the same numbers, and the group at its smallest scale."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from manifold_diffusion import samplers
from manifold_diffusion.evaluation import circular_wasserstein
from manifold_diffusion.processes import reverse
from manifold_diffusion.studies import Check, Claim, Experiment, Grid, verify
from manifold_diffusion.studies.discretisation import CLAIMS
from manifold_diffusion.studies.discretisation.circle import (
    circle,
    circle_error,
    circular_distance,
    exact_coefficients,
)
from manifold_diffusion.studies.discretisation.forward import normal_variation
from manifold_diffusion.studies.discretisation.gaussian import Biased, divergence
from manifold_diffusion.studies.discretisation.mixture import (
    Mixture,
    equation,
    flow_errors,
    kernel_errors,
    mixture,
    noising,
    times,
)
from manifold_diffusion.studies.discretisation.order_table import EVALUATIONS, order_table
from manifold_diffusion.studies.discretisation.random_times import (
    errors_given_times,
    segments,
    variance_moments,
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
    errors = flow_errors(samplers.runge_kutta_4, equation(mixture(), 0.0), mixture(), times(96))
    assert float(errors.total_variation) < 1e-6
    assert float(errors.divergence) < 1e-12


# One Gaussian: everything about a step is known in closed form. `ratio` is of the exact variance to another.


def one():
    """N(0, 0.3), in the precision that is on."""
    return Mixture(jnp.ones(1), jnp.zeros(1), jnp.array([0.3]))


def gaussian_kl(ratio):
    """KL(N(0, ratio) || N(0, 1))."""
    return (ratio - 1 - np.log(ratio)) / 2


def spread(t):
    """Variance of x_t."""
    alpha, sigma = float(noising().alpha(t)), float(noising().sigma(t))
    return alpha**2 * 0.3 + sigma**2


SPREADS = {
    "plain": (samplers.ddpm_plain, lambda V, H: 1.0),
    "training-free": (samplers.ddpm_training_free, lambda V, H: ((1 + V * H) ** 2 + 1) / 2),
}


@pytest.mark.parametrize(("step", "noise"), SPREADS.values(), ids=SPREADS)
def test_divergences_of_gaussian_data_are_those_of_their_variances(step, noise, x64):
    """The training-free step draws twice, and its law is still Gaussian where the score is linear."""
    ts = times(12)
    path, found = 0.0, spread(ts[0])
    for t0, t1 in pairwise(ts):
        a = float(noising().alpha(t0) / noising().alpha(t1))
        V, H = float(noising().sigma(t0)) ** 2 - a**2 * float(noising().sigma(t1)) ** 2, -1 / spread(t0)
        path += gaussian_kl((1 + V * H) / noise(V, H))
        found = ((1 + V * H) ** 2 * found + V * noise(V, H)) / a**2
    errors = kernel_errors(step, equation(one(), 1.0), one(), ts)
    np.testing.assert_allclose(errors.path_divergence, path, rtol=1e-7)
    np.testing.assert_allclose(errors.divergence, gaussian_kl(spread(ts[-1]) / found), rtol=1e-5)


def test_the_divergence_of_a_flow_of_gaussian_data_is_that_of_two_variances(x64):
    """A linear map: by what Euler multiplies."""
    sde, ts = equation(one(), 0.0), times(24)
    end = samplers.integrate(samplers.euler, sde, ts, jnp.ones(1), jnp.zeros((24, 1)))
    ratio = spread(ts[-1]) / (float(end[0]) ** 2 * spread(ts[0]))
    errors = flow_errors(samplers.euler, sde, one(), ts)
    np.testing.assert_allclose(errors.divergence, gaussian_kl(ratio), rtol=1e-8)


# The randomised midpoint method


def variance_given(shares, rounds, start):
    """v at the end of the rounds for data N(0, 0.3), at these shares of each interval, (..., rounds, steps)."""
    taus = np.vectorize(lambda t: float(noising().variance(jnp.asarray(t))))(np.asarray(rounds))
    slope = lambda u, tau: -u / ((1 - tau) * 0.3 + tau) / (2 * (1 - tau))  # noqa: E731
    v = start
    for k, tau in enumerate(taus):
        if k:
            kept = (1 - tau[0]) / (1 - taus[k - 1][-1])
            v = kept * v + tau[0] - kept * taus[k - 1][-1]
        u = 1 / np.sqrt(1 - tau[0])
        g = slope(u, tau[0])
        for i in range(len(tau) - 1):
            at = tau[i] + shares[..., k, i] * (tau[i + 1] - tau[i])
            g = slope(u + (tau[i] - at) * g, at)
            u = u + (tau[i] - tau[i + 1]) * g
        v = u**2 * (1 - tau[-1]) * v
    return v


def test_moments_of_the_variance_are_those_of_draws_of_the_times(x64):
    rounds, draws = segments(16), 40_000
    sde = reverse(noising(), Biased(jnp.asarray(0.3), jnp.zeros(())), 0.0)
    found = variance_moments(samplers.RandomisedMidpoint(), sde, jnp.asarray(0.3), rounds)
    shares = np.random.default_rng(0).random((draws, rounds.shape[0], rounds.shape[1] - 1))
    r = variance_given(shares, rounds, spread(rounds[0, 0])) / spread(rounds[-1, -1])
    for moment, seen in zip(found, (r, r**2), strict=True):
        assert abs(float(moment) - seen.mean()) < 4 * seen.std() / np.sqrt(draws)
    # Which is far more exact than what is measured with it.
    assert 4 * r.std() / np.sqrt(draws) < 0.1 * abs(float(found[0]) - 1)


def test_given_its_times_the_law_of_gaussian_data_has_a_known_variance(x64):
    rounds, keys = segments(16), jax.random.split(jax.random.key(2), 3)
    step, sde = samplers.RandomisedMidpoint(), equation(one(), 0.0)
    found = errors_given_times(jax.random.key(2), step, sde, one(), rounds, 3)
    z = jax.vmap(lambda key: jax.random.normal(key, (rounds.shape[0], rounds.shape[1] - 1, 1)))(keys)[..., 0]
    ratio = spread(rounds[-1, -1]) / variance_given(stats.norm.cdf(z), rounds, spread(rounds[0, 0]))
    np.testing.assert_allclose(found.divergence, gaussian_kl(ratio), rtol=1e-6)


# The circle


def test_the_exact_law_of_the_angle_is_the_integral_of_its_density(x64):
    t = jnp.asarray(0.05)
    alpha, sigma = float(noising().alpha(t)), float(noising().sigma(t))
    angle = np.linspace(-np.pi, np.pi, 400, endpoint=False)
    radius = np.linspace(0, alpha + 9 * sigma, 400)
    x = radius[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    log_density = jax.vmap(lambda x: circle().log_density(x / alpha, sigma / alpha))(jnp.asarray(x.reshape(-1, 2)))
    density = integrate.trapezoid(np.exp(log_density).reshape(400, 400) * radius[:, None], radius, axis=0) / alpha**2
    found = exact_coefficients(equation(circle(), 0.0), t)
    expected = [np.mean(np.cos(k * angle) * density) * 2 * np.pi for k in range(1, 33)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_distance_of_two_laws_is_that_of_their_quantiles():
    """Von Mises' laws of two concentrations, one by 4000 quantiles."""
    orders = np.arange(1, 33)
    first, second = (special.ive(orders, kappa) / special.ive(0, kappa) for kappa in (1.0, 1.5))
    angle = np.linspace(-np.pi, np.pi, 20_001)
    share = integrate.cumulative_trapezoid(np.exp(np.cos(angle)), angle, initial=0.0)
    quantiles = np.interp((np.arange(4000) + 0.5) / 4000 * share[-1], share, angle)
    expected = circular_wasserstein(quantiles, lambda angle: np.exp(1.5 * np.cos(angle)))
    np.testing.assert_allclose(circular_distance(first, second), expected, rtol=1e-4)


@pytest.mark.slow
def test_a_flow_of_many_steps_has_the_exact_angles(x64):
    assert circle_error(samplers.runge_kutta_4, 48) < 1e-7


def test_the_error_of_a_flow_is_that_of_the_angles_it_draws(x64):
    """Euler's in 6 steps, against the density of the exact angle by its coefficients."""
    sde, ts, orders = equation(circle(), 0.0), times(6), np.arange(1, 33)
    angle = stats.vonmises(1.0).rvs(40_000, random_state=np.random.default_rng(0))
    z = np.random.default_rng(1).standard_normal((40_000, 2))
    x = noising().alpha(ts[0]) * np.stack([np.cos(angle), np.sin(angle)], -1) + noising().sigma(ts[0]) * z
    ends = jax.jit(jax.vmap(lambda x: samplers.integrate(samplers.euler, sde, ts, x, jnp.zeros((6, 2)))))(x)
    exact = exact_coefficients(sde, ts[-1])
    density = lambda a: (1 + 2 * np.cos(np.outer(a, orders)) @ exact) / (2 * np.pi)  # noqa: E731
    seen = circular_wasserstein(np.arctan2(ends[:, 1], ends[:, 0]), density)
    assert circle_error(samplers.euler, 6) == pytest.approx(seen, abs=0.02)
    assert seen > 0.1


# The table


def test_the_table_has_the_slope_in_steps_of_each_error():
    def powers(divergence):
        return lambda key, size: {"Euler": {"TV": size**-1.0, "KL": size**divergence}, "nobody": {"TV": size}}

    grid = {"smoke": Grid((8, 16, 32), 1)}
    experiments = (
        Experiment("a", powers(1.0), ("Euler", "nobody"), grid, "d"),
        Experiment("b", powers(-2.0), ("Euler", "nobody"), grid, "T"),
    )
    checks = (Check("b", "Euler", "TV", "slope", -1.0, 0.1),)
    study = verify([Claim("D0", "D", "t", "s", "none", experiments, checks, table=order_table)], "smoke")
    (table,) = study.tables
    assert table.head == (
        "sampler",
        "evaluations a step",
        "TV",
        "KL",
        "path KL",
        "W1 (circle)",
        "strong",
        "weak (sphere)",
    )
    ((name, evaluations, variation, divergence, *others),) = table.rows
    assert (name, evaluations, others) == ("Euler", "1", [None] * 4)
    assert variation == study.results[0].statistic
    assert divergence.value == pytest.approx(-2.0)


def test_every_sampler_of_the_claims_is_in_the_table():
    counted = {m for claim in CLAIMS if claim.table for e in claim.experiments if e.size_name == "T" for m in e.methods}
    assert counted == set(EVALUATIONS)


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
