"""Langevin chains and the samplers they correct. Oracles: the log-density whose gradient a score is, the linear
recursion of a chain on flat space, eigenfunctions of the Laplacian, Gaussian data."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from manifold_diffusion.geometry import Sphere
from manifold_diffusion.processes import VarianceExploding, geometric_grid, reverse
from manifold_diffusion.samplers import (
    LangevinStep,
    annealed_langevin,
    chain,
    e_folds,
    euler_maruyama,
    generate,
    langevin,
    langevin_corrector,
    predictor_corrector,
    trajectory,
)
from manifold_diffusion.scores import ProjectionScore, VonMisesFisherScore

CIRCLE = ProjectionScore(Sphere(1))
CHAINS = 2000


class GaussianScore(eqx.Module):
    """The score of N(mean, variance I) noised."""

    mean: float
    variance: float

    def __call__(self, x, sigma):
        return (self.mean - x) / (self.variance + sigma**2)


def log_likelihood(x):
    return -((x[0] - 0.3) ** 2) + jnp.sin(x[1])


@functools.cache
def ends(transition_name):
    """Where many chains from one point of the circle end."""
    transitions = {
        "tempered": langevin(VonMisesFisherScore(jnp.array([0.0, 1.0]), 1.5), 0.1, eta=0.5, steps=120, exponent=1.0),
        "coarse": langevin(CIRCLE, 0.1, eta=0.5, steps=100),
    }
    starts = jnp.tile(jnp.array([[1.0, 0.0]]), (CHAINS, 1))
    keys = jax.random.split(jax.random.key(0), CHAINS)
    return np.asarray(jax.jit(jax.vmap(transitions[transition_name]))(keys, starts))


@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.5])
@pytest.mark.parametrize("likelihood", [None, log_likelihood])
def test_a_step_is_the_euler_step_towards_the_tempered_law(x64, exponent, likelihood):
    """The drift is h grad (sigma^alpha log p_sigma + log L) and the noise has variance 2 h, h = eta sigma^{2-alpha}."""
    score, sigma, eta, x = VonMisesFisherScore(jnp.array([0.6, 0.8]), 2.0), 0.2, 0.3, jnp.array([0.5, 1.1])

    def log_law(y):
        prior = sigma**exponent * score.log_density(y, sigma)
        return prior if likelihood is None else prior + likelihood(y)

    step, h = LangevinStep(score, sigma, eta, exponent, likelihood), eta * sigma ** (2 - exponent)
    np.testing.assert_allclose(step.move(x, jnp.zeros(2)) - x, h * jax.grad(log_law)(x), rtol=1e-9)
    np.testing.assert_allclose(
        jax.jacfwd(lambda z: step.move(x, z))(jnp.zeros(2)), np.sqrt(2 * h) * np.eye(2), atol=1e-14
    )


@pytest.mark.parametrize(("eta", "exponent"), [(0.1, 0.0), (1.0, 1.0), (1.7, 0.5)])
def test_the_normal_variance_is_that_of_the_linear_recursion(x64, eta, exponent):
    """Around a point x -> x + eta (0 - x) + noise: variances are summed to stationarity, without sampling."""
    sigma = 0.1
    step = LangevinStep(GaussianScore(0.0, 0.0), sigma, eta, exponent)
    zero = jnp.zeros(1)
    slope, noise = jax.jacfwd(step.move)(zero, zero)[0, 0], jax.jacfwd(step.move, 1)(zero, zero)[0, 0]
    variance = functools.reduce(lambda v, _: slope**2 * v + noise**2, range(400), 0.0)
    assert variance == pytest.approx(sigma ** (2 - exponent) / (1 - eta / 2), rel=1e-12)


def angular_cdf(score, sigma, exponent):
    """Of the law p_sigma^{sigma^alpha} in the plane, by quadrature over the radius."""
    angles, radii = jnp.linspace(-np.pi, np.pi, 1001), jnp.linspace(0.01, 2.5, 400)

    def log_law(angle, radius):
        return sigma**exponent * score.log_density(radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)]), sigma)

    log_values = jax.jit(jax.vmap(lambda a: jax.vmap(lambda r: log_law(a, r))(radii)))(angles)
    density = np.exp(np.asarray(log_values) - np.max(log_values)) @ np.asarray(radii)
    cumulated = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return lambda x: np.interp(x, np.asarray(angles), cumulated / cumulated[-1])


def test_tempered_langevin_forgets_the_density_and_is_as_thick_as_predicted():
    """The data have density e^{1.5 sin}, 20 : 1; of that sigma^alpha = .1 is left."""
    x = ends("tempered")
    angles = np.arctan2(x[:, 1], x[:, 0])
    law = angular_cdf(VonMisesFisherScore(jnp.array([0.0, 1.0]), 1.5), 0.1, 1.0)
    assert stats.kstest(angles, law).pvalue > 0.001
    assert stats.kstest(angles, stats.uniform(-np.pi, 2 * np.pi).cdf).statistic < 0.1
    thickness = np.sqrt(np.mean((np.linalg.norm(x, axis=1) - 1) ** 2))
    assert thickness == pytest.approx(0.1**0.5 / np.sqrt(0.75), rel=0.1)


def test_a_mode_decays_by_the_e_folds():
    """E cos(angle) is an eigenfunction of the circle: from a point it is e^{-e_folds} at the end."""
    x = ends("coarse")
    cosine = np.mean(x[:, 0] / np.linalg.norm(x, axis=1))
    assert cosine == pytest.approx(np.exp(-float(e_folds(100, 0.5, 0.1, 0.0, 1.0))), abs=4 * np.sqrt(0.5 / CHAINS))


def test_noise_above_the_unit_is_not_tempered(x64):
    plain, tempered = (LangevinStep(GaussianScore(0.5, 1.0), 3.0, 0.2, a) for a in (0.0, 1.0))
    x, z = jnp.array([2.0]), jnp.array([0.7])
    np.testing.assert_array_equal(plain.move(x, z), tempered.move(x, z))


def test_a_trajectory_holds_states_of_the_chain():
    step, key, x = LangevinStep(CIRCLE, 0.1, 0.5, 1.0), jax.random.key(3), jnp.array([0.0, 1.0])
    states = eqx.filter_jit(trajectory(step, 4, thin=3, burn_in=2))(key, x)
    for i, steps in ((0, 5), (3, 14)):
        np.testing.assert_allclose(states[i], eqx.filter_jit(chain(step, steps))(key, x), atol=1e-6)


def test_chains_do_not_depend_on_their_batch():
    run = langevin(CIRCLE, 0.1, eta=0.5, steps=20, exponent=1.0)
    keys, xs = jax.random.split(jax.random.key(1), 6), jnp.tile(jnp.array([[0.6, 0.8]]), (6, 1))
    np.testing.assert_allclose(jax.vmap(run)(keys, xs)[4], run(keys[4], xs[4]), atol=1e-6)


def test_precision_follows_the_point(x64):
    run = langevin(CIRCLE, 0.1, eta=0.5, steps=2, exponent=1.0, log_likelihood=log_likelihood)
    assert run(jax.random.key(0), jnp.ones(2, jnp.float32)).dtype == jnp.float32
    assert run(jax.random.key(0), jnp.ones(2)).dtype == jnp.float64


def test_chains_can_be_differentiated():
    """With respect to the noise level and to the start, by both modes."""
    end = lambda sigma, x: langevin(DATA, sigma, eta=0.5, steps=2, exponent=1.0)(jax.random.key(0), x)  # noqa: E731
    at = (jnp.asarray(0.1), jnp.array([1.0, 0.0]))
    forward, backward = jax.jacfwd(end, (0, 1))(*at), jax.jacrev(end, (0, 1))(*at)
    for one, other in zip(forward, backward, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
        assert np.all(np.isfinite(one))


# Samplers with chains inside

NOISING, DATA = VarianceExploding(5.0), GaussianScore(0.5, 0.3)
TIMES = geometric_grid(NOISING, 0.1, 8)


def prior(key):
    return 0.5 + jnp.sqrt(25.3) * jax.random.normal(key, (2,))


def variance(sampler):
    return np.var(np.asarray(jax.jit(jax.vmap(sampler))(jax.random.split(jax.random.key(5), CHAINS))))


def test_a_corrector_without_steps_changes_nothing():
    sde, key = reverse(NOISING, DATA), jax.random.key(2)
    corrected = predictor_corrector(prior, euler_maruyama, sde, TIMES, langevin_corrector(0.5, steps=0))
    np.testing.assert_array_equal(corrected(key), generate(prior, euler_maruyama, sde, TIMES)(key))


def test_a_corrector_mends_a_coarse_predictor():
    """Eight steps from noise 5 to .1 are too few: the variance comes out wrong, and right after the corrector, whose
    own is 1 / (1 - eta sigma^2 / (2 v)) too large."""
    sde, exact = reverse(NOISING, DATA), 0.3 + 0.1**2
    alone = variance(generate(prior, euler_maruyama, sde, TIMES))
    corrector = langevin_corrector(0.5, steps=100)
    corrected = variance(predictor_corrector(prior, euler_maruyama, sde, TIMES, corrector))
    assert abs(alone / exact - 1) > 0.2
    assert corrected == pytest.approx(exact, rel=0.02 + 4 * np.sqrt(1 / CHAINS))


def test_a_corrector_keeps_away_from_noise_level_zero():
    sde = reverse(NOISING, CIRCLE)
    ts = geometric_grid(NOISING, 0.1, 4, final_zero=True)
    one = predictor_corrector(prior, euler_maruyama, sde, ts, langevin_corrector(0.5))(jax.random.key(0))
    assert np.all(np.isfinite(one))


def test_annealed_langevin_ends_with_the_last_level():
    """From far away to the law at the last noise level, whose variance is that of the recursion."""
    run = annealed_langevin(DATA, jnp.geomspace(5.0, 0.5, 8), eta=0.5, steps=20)
    keys = jax.random.split(jax.random.key(5), CHAINS)
    x = jax.jit(jax.vmap(lambda key: run(jax.random.fold_in(key, 1), prior(key))))(keys)
    share = 0.25 / 0.55
    assert np.var(x) == pytest.approx(0.55 / (1 - 0.5 * share / 2), rel=4 * np.sqrt(1 / CHAINS))
    assert np.mean(x) == pytest.approx(0.5, abs=4 * np.sqrt(0.55 / (2 * CHAINS)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: langevin(CIRCLE, 0.1, eta=2.5, steps=3), "eta"),
        (lambda: langevin(CIRCLE, 0.1, eta=0.5, steps=3, exponent=2.0), "exponent"),
        (lambda: langevin(CIRCLE, -0.1, eta=0.5, steps=3), "noise level"),
        (lambda: langevin(CIRCLE, 0.1, eta=0.5, steps=-1), "steps"),
        (lambda: trajectory(CIRCLE, 0), "count"),
        (lambda: trajectory(CIRCLE, 2, thin=0), "thin"),
        (lambda: annealed_langevin(CIRCLE, jnp.array([0.1, 0.2]), eta=0.5, steps=2), "fall"),
        (lambda: langevin_corrector(0.0), "eta"),
    ],
)
def test_misuse_is_refused_in_one_line(make, words):
    with pytest.raises(ValueError, match=words) as refusal:
        make()
    assert "\n" not in str(refusal.value)
