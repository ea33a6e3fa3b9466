"""Laws of steps and samplers. Oracle: Gaussian data, whose flow, reverse law and posterior are known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import samplers
from manifold_diffusion.processes import SDE, AbstractNoising, VarianceExploding, geometric_grid, karras_grid, reverse
from manifold_diffusion.samplers import ddpm, euler, euler_maruyama, generate, heun, integrate
from manifold_diffusion.scores import KernelScore


class GaussianScore(eqx.Module):
    """The score of N(mean, variance I) noised."""

    mean: float
    variance: float

    def __call__(self, x, sigma):
        return (self.mean - x) / (self.variance + sigma**2)


class Cosine(AbstractNoising):
    """alpha = cos, sigma = sin, up to a bounded noise level."""

    def alpha(self, t):
        return jnp.cos(1.4 * t)

    def sigma(self, t):
        return jnp.sin(1.4 * t)


MEAN, VARIANCE = 0.5, 0.3
SCORE = GaussianScore(MEAN, VARIANCE)
NOISINGS = {"exploding": VarianceExploding(2.0), "cosine": Cosine()}


def marginal(noising, t):
    """Mean and variance of x_t."""
    return noising.alpha(t) * MEAN, noising.alpha(t) ** 2 * VARIANCE + noising.sigma(t) ** 2


def slopes(sizes, errors):
    """Local slopes of log error against log step size."""
    return -np.diff(np.log(errors)) / np.diff(np.log(sizes))


ORDERS = {
    "euler": (euler, 1),
    "heun": (heun, 2),
    "midpoint": (samplers.midpoint, 2),
    "Runge-Kutta 4": (samplers.runge_kutta_4, 4),
    "ddim": (samplers.ddim, 1),
    "exponential": (samplers.exponential_euler, 1),
    "2S": (samplers.dpm_solver_2s, 2),
    "2M": (samplers.DPMSolver2M(), 2),
    "accelerated": (samplers.AcceleratedFlow(), 2),
    "EDM": (samplers.EDM(), 2),
}
# Where the signal does not shrink, the flow of Gaussian data is too simple for the others: 2M has order 3 there.
CASES = [(name, "cosine") for name in ORDERS] + [("euler", "exploding"), ("heun", "exploding")]


@pytest.mark.parametrize(("name", "noising"), CASES)
def test_flow_step_has_its_order(x64, name, noising):
    """The flow of Gaussian data scales (x - mean) by the standard deviation."""
    (step, order), noising = ORDERS[name], NOISINGS[noising]
    sde = reverse(noising, SCORE, eta=0.0)
    x, t1 = jnp.array([1.3, -2.0]), 0.1
    (m0, v0), (m1, v1) = marginal(noising, jnp.array(1.0)), marginal(noising, jnp.array(t1))
    exact = m1 + jnp.sqrt(v1 / v0) * (x - m0)
    sizes = [16, 32, 64, 128, 256]
    errors = [
        jnp.max(jnp.abs(integrate(step, sde, jnp.linspace(1.0, t1, n + 1), x, jnp.zeros((n, 2))) - exact))
        for n in sizes
    ]
    np.testing.assert_allclose(slopes(sizes, errors), order, atol=0.1 * order)


@pytest.mark.parametrize("step", [euler, heun])
def test_flow_steps_refuse_a_reverse_sde(step):
    with pytest.raises(ValueError, match="eta=0"):
        step(reverse(NOISINGS["exploding"], SCORE), jnp.zeros(2), jnp.ones(()), jnp.zeros(()), jnp.zeros(2))


def test_heun_ends_with_an_euler_step():
    sde, x = reverse(NOISINGS["exploding"], SCORE, 0.0), jnp.array([1.0, 2.0])
    t0, t1, dw = jnp.array(0.2), jnp.array(0.0), jnp.zeros(2)
    np.testing.assert_array_equal(heun(sde, x, t0, t1, dw), euler(sde, x, t0, t1, dw))
    assert jnp.all(jnp.isfinite(jax.jacfwd(lambda x: heun(sde, x, t0, t1, dw))(x)))


def reverse_path(step, sde, x, increments, n):
    """The end of n steps whose increments are sums of the fine ones."""
    coarse = increments.reshape(n, -1, increments.shape[-1]).sum(1)
    return integrate(step, sde, jnp.linspace(1.0, 0.2, n + 1), x, coarse)


@pytest.mark.parametrize("noising", NOISINGS.values(), ids=NOISINGS)
def test_euler_maruyama_has_strong_order_one(x64, noising):
    """The noise is additive, so Euler is Milstein. The same Brownian paths, ever coarser, against the finest."""
    sde, fine, paths = reverse(noising, SCORE), 4096, 200
    increments = jnp.sqrt(0.8 / fine) * jax.random.normal(jax.random.key(0), (paths, fine, 1))
    x = jax.random.normal(jax.random.key(1), (paths, 1))
    ends = {
        n: jax.jit(jax.vmap(lambda x, w, n=n: reverse_path(euler_maruyama, sde, x, w, n)))(x, increments)
        for n in (32, 64, 128, 256, fine)
    }
    sizes = [32, 64, 128, 256]
    errors = [jnp.sqrt(jnp.mean((ends[n] - ends[fine]) ** 2)) for n in sizes]
    np.testing.assert_allclose(slopes(sizes, errors), 1.0, atol=0.12)


@pytest.mark.parametrize("noising", NOISINGS.values(), ids=NOISINGS)
def test_euler_maruyama_has_weak_order_one(x64, noising):
    """A step is affine in x and dw, so mean and variance after n steps are exact sums: no sampling error."""
    sde, sizes = reverse(noising, SCORE), [64, 128, 256, 512]
    errors = []
    for n in sizes:
        ts = jnp.linspace(1.0, 0.2, n + 1)

        def moments(state, interval):
            mean, variance = state
            t0, t1 = interval
            one = lambda x, w, t0=t0, t1=t1: euler_maruyama(sde, x[None], t0, t1, w[None])[0]  # noqa: E731
            zero = jnp.zeros(())
            slope, noise = jax.grad(one)(zero, zero), jax.grad(one, 1)(zero, zero)
            return (one(mean, zero), slope**2 * variance + noise**2 * (t0 - t1)), None

        start = tuple(jnp.asarray(a) for a in marginal(noising, jnp.array(1.0)))
        mean, variance = jax.lax.scan(moments, start, (ts[:-1], ts[1:]))[0]
        exact = marginal(noising, jnp.array(0.2))
        errors.append((abs(mean - exact[0]), abs(variance - exact[1])))
    errors = np.array(errors)
    np.testing.assert_allclose(slopes(sizes, errors[:, 1]), 1.0, atol=0.15)
    assert errors[-1].max() < 0.01


@pytest.mark.parametrize("noising", NOISINGS.values(), ids=NOISINGS)
def test_ddpm_is_exact_for_one_point(x64, noising):
    """With data at one point the posterior is exact, whatever the step: from the law at t0 to the law at t1."""
    sde = reverse(noising, GaussianScore(MEAN, 0.0))
    t0, t1, h = jnp.array(0.9), jnp.array(0.3), 0.6
    zero = jnp.zeros(1)
    at = lambda x, z: ddpm(sde, x, t0, t1, jnp.sqrt(h) * z)  # noqa: E731
    slope, noise = jax.jacfwd(at)(zero, zero)[0, 0], jax.jacfwd(at, 1)(zero, zero)[0, 0]
    mean0, mean1 = noising.alpha(t0) * MEAN, noising.alpha(t1) * MEAN
    assert at(mean0[None], zero)[0] == pytest.approx(float(mean1), rel=1e-12)
    assert slope**2 * noising.sigma(t0) ** 2 + noise**2 == pytest.approx(float(noising.sigma(t1) ** 2), rel=1e-12)
    # The posterior of x_{t1} given x_{t0} and x_0, by Bayes from the two Gaussians.
    ratio = noising.alpha(t0) / noising.alpha(t1)
    added = noising.sigma(t0) ** 2 - ratio**2 * noising.sigma(t1) ** 2
    assert noise**2 == pytest.approx(float(1 / (1 / noising.sigma(t1) ** 2 + ratio**2 / added)), rel=1e-10)


def test_ddpm_has_the_posterior_mean_of_gaussian_data(x64):
    """E[x_{t1} | x_{t0}] for jointly Gaussian x_{t1}, x_{t0}: linear in x, whatever the step."""
    noising = NOISINGS["cosine"]
    sde, t0, t1, x = reverse(noising, SCORE), jnp.array(0.8), jnp.array(0.35), jnp.array([1.7])
    (m0, v0), (m1, v1) = marginal(noising, t0), marginal(noising, t1)
    covariance = noising.alpha(t0) / noising.alpha(t1) * v1
    np.testing.assert_allclose(ddpm(sde, x, t0, t1, jnp.zeros(1)), m1 + covariance / v0 * (x - m0), rtol=1e-12)


@pytest.mark.parametrize("noising", NOISINGS.values(), ids=NOISINGS)
def test_ddpm_to_no_noise_returns_the_denoiser_exactly(noising):
    data = jax.random.normal(jax.random.key(0), (50, 3))
    sde, x = reverse(noising, KernelScore(data)), jnp.array([0.1, 0.2, 0.3])
    t0 = jnp.array(0.15)
    np.testing.assert_array_equal(ddpm(sde, x, t0, jnp.zeros(()), jnp.ones(3)), sde.denoise(x, t0))


@pytest.mark.parametrize("step", [euler_maruyama, ddpm, euler, heun])
def test_steps_of_length_zero_stay_and_make_no_nan(step):
    sde = reverse(NOISINGS["exploding"], KernelScore(jnp.eye(3)), 1.0 if step in (euler_maruyama, ddpm) else 0.0)
    x, ts = jnp.array([1.0, 2.0, 0.5]), jnp.array([1.0, 1.0, 0.3, 0.3, 0.0, 0.0])
    dws = jnp.sqrt(jnp.abs(jnp.diff(ts)))[:, None] * jnp.ones((5, 3))
    once, twice = (
        integrate(step, sde, ts[jnp.array([0, 2, 4])], x, dws[jnp.array([1, 3])]),
        integrate(step, sde, ts, x, dws),
    )
    np.testing.assert_allclose(once, twice, rtol=1e-6)
    assert jnp.all(jnp.isfinite(twice))


def test_integrate_runs_forwards_too(x64):
    """dx = -x dt with no noise."""
    sde = SDE(lambda x, t: -x, lambda t: 0 * t)
    end = integrate(euler_maruyama, sde, jnp.linspace(0.0, 1.0, 4001), jnp.ones(1), jnp.ones((4000, 1)))
    assert end[0] == pytest.approx(np.exp(-1), rel=2e-4)


def prior(key):
    return 2.0 * jax.random.normal(key, (2,))


@pytest.mark.parametrize(("step", "eta"), [(euler_maruyama, 1.0), (ddpm, 1.0), (euler, 0.0), (heun, 0.0)])
def test_samples_have_the_law_of_the_data(step, eta):
    noising = VarianceExploding(20.0)
    exact_prior = lambda key: MEAN + jnp.sqrt(VARIANCE + 400.0) * jax.random.normal(key, (2,))  # noqa: E731
    sampler = generate(exact_prior, step, reverse(noising, SCORE, eta), karras_grid(noising, 1e-3, 100))
    x = jax.jit(jax.vmap(sampler))(jax.random.split(jax.random.key(0), 4000))
    assert jnp.mean(x) == pytest.approx(MEAN, abs=4 * np.sqrt(VARIANCE / 8000))
    assert jnp.var(x) == pytest.approx(VARIANCE, rel=0.05 + 4 * np.sqrt(2 / 8000))


def test_memorising_sampler_returns_data_points():
    data = jax.random.normal(jax.random.key(0), (12, 2))
    noising = VarianceExploding(2.0)
    sampler = generate(prior, ddpm, reverse(noising, KernelScore(data)), geometric_grid(noising, 1e-3, 40))
    x = jax.jit(jax.vmap(sampler))(jax.random.split(jax.random.key(1), 200))
    nearest = jnp.min(jnp.linalg.norm(x[:, None, :] - data[None, :, :], axis=-1), axis=1)
    assert jnp.max(nearest) < 1e-3


def test_a_sample_depends_on_its_key_alone():
    data = jax.random.normal(jax.random.key(0), (12, 2))
    noising = VarianceExploding(2.0)
    sampler = generate(prior, ddpm, reverse(noising, KernelScore(data)), geometric_grid(noising, 1e-2, 10))
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(3), i))(jnp.arange(40))
    whole, chunked = jax.vmap(sampler)(keys), jax.lax.map(sampler, keys, batch_size=20)
    np.testing.assert_allclose(whole, chunked, atol=1e-5)
    np.testing.assert_allclose(whole[17], sampler(keys[17]), atol=1e-5)


def test_precision_follows_the_prior(x64):
    noising = VarianceExploding(2.0)
    single = lambda key: jax.random.normal(key, (2,), jnp.float32)  # noqa: E731
    sampler = generate(single, euler, reverse(noising, SCORE, 0.0), geometric_grid(noising, 1e-2, 4))
    assert sampler(jax.random.key(0)).dtype == jnp.float32


class Increments(eqx.Module):
    """A step to its own first two increments."""

    draws: int = eqx.field(static=True, default=2)

    def __call__(self, sde, x, t0, t1, dw):
        return dw[:, 0]


def test_increments_of_a_step_that_takes_several_are_independent():
    sampler = generate(prior, Increments(), reverse(NOISINGS["exploding"], SCORE), jnp.array([1.0, 0.36]))
    x = jax.jit(jax.vmap(sampler))(jax.random.split(jax.random.key(0), 10_000))
    # Four standard errors of a variance of 0.64, sqrt(2 / n) of it.
    np.testing.assert_allclose(np.cov(x.T), 0.64 * np.eye(2), atol=4 * 0.64 * np.sqrt(2 / 10_000))
