"""Densities along the flow. Oracles: a Gaussian mixture and von Mises-Fisher laws, whose noised densities are known."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, stats

from manifold_diffusion import estimators, measures, samplers
from manifold_diffusion.processes import SDE, VarianceExploding, VariancePreserving, geometric_grid, linear, reverse
from manifold_diffusion.samplers import AdaptiveFlow, FlowLikelihood, FlowLogDensity, VolumeLogDensity, halvings

NOISINGS = {"exploding": VarianceExploding(20.0), "preserving": VariancePreserving(linear())}
POINTS = np.array([[0.3, -0.4], [1.5, 1.0], [-2.0, 0.1], [3.0, -3.0]])


class Mixture(eqx.Module):
    """sum_i w_i N(m_i, v_i I) in the plane: its score and log density at any noise level, in closed form."""

    means: tuple = ((1.0, 0.5), (-1.0, 0.3), (0.2, -1.2))
    variances: tuple = (0.09, 0.25, 0.16)
    weights: tuple = (0.5, 0.3, 0.2)

    def _parts(self, x, sigma):
        means, variances, weights = (jnp.array(a, x.dtype) for a in (self.means, self.variances, self.weights))
        offsets, variances = means - x[None, :], variances + sigma**2
        logs = jnp.log(weights / (2 * jnp.pi * variances)) - jnp.sum(offsets**2, axis=1) / (2 * variances)
        return logs, offsets / variances[:, None]

    def log_density(self, x, sigma):
        return jax.scipy.special.logsumexp(self._parts(x, sigma)[0])

    def __call__(self, x, sigma):
        logs, pulls = self._parts(x, sigma)
        return jnp.sum(jax.nn.softmax(logs)[:, None] * pulls, axis=0)


MIXTURE = Mixture()


def log_prior(noising):
    """log p of x_t at t = 1, exactly."""

    def at(x):
        alpha, sigma = (a(jnp.ones((), x.dtype)) for a in (noising.alpha, noising.sigma))
        return MIXTURE.log_density(x / alpha, sigma / alpha) - len(x) * jnp.log(alpha)

    return at


def density(name, steps, step=samplers.runge_kutta_4, divergence=samplers.exact_divergence):
    """log p_sigma of the mixture by its flow."""
    return FlowLogDensity(NOISINGS[name], MIXTURE, log_prior(NOISINGS[name]), steps, step, divergence)


@pytest.mark.parametrize(
    ("name", "steps", "step"),
    [
        ("exploding", 224, samplers.runge_kutta_4),
        ("preserving", 160, samplers.runge_kutta_4),
        ("exploding", 1, AdaptiveFlow(1e-9, 1e-9)),
    ],
    ids=["exploding, fixed", "preserving, fixed", "exploding, adaptive"],
)
def test_likelihood_of_a_mixture_is_that_in_closed_form(name, steps, step, x64, key):
    flow, x = density(name, steps, step), jnp.asarray(POINTS)
    found = jax.jit(jax.vmap(lambda x: flow(key, x, 0.05)))(x)
    np.testing.assert_allclose(found, jax.vmap(lambda x: MIXTURE.log_density(x, 0.05))(x), atol=1e-6)


def test_the_gradient_of_the_likelihood_is_the_score(x64, key):
    """It goes through the divergence: a third derivative of log p, along a path that depends on x. To the order of the
    step, 4: 1e-6 in the logarithm on the scale 0.1 of the density.
    """
    x, at = jnp.asarray(POINTS), lambda x: density("exploding", 160)(key, x, 0.05)
    score = jax.vmap(lambda x: MIXTURE(x, 0.05))(x)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(at)))(x), score, atol=5e-5)


def test_single_precision_costs_its_rounding(key):
    """Each of 128 steps rounds (x, log p), of the size of the prior's logarithm, about 8."""
    x = jnp.asarray(POINTS, jnp.float32)
    run = jax.jit(jax.vmap(lambda x: density("exploding", 128)(key, x, 0.05)))
    found = run(x)
    assert found.dtype == jnp.float32
    budget = 128 * 8 * float(jnp.finfo(jnp.float32).eps)
    with jax.enable_x64(True):
        exact = jax.vmap(lambda x: MIXTURE.log_density(x, 0.05))(jnp.asarray(POINTS))
    np.testing.assert_allclose(found, exact, atol=budget)


def test_points_come_with_the_density_that_their_likelihood_finds(x64, key):
    """There and back: the same log p, and the latent is the draw from the prior."""
    noising = NOISINGS["exploding"]
    sde, ts = reverse(noising, MIXTURE, eta=0.0), geometric_grid(noising, 0.1, 256, final_zero=False)
    prior, step = lambda key: 20.0 * jax.random.normal(key, (2,)), samplers.runge_kutta_4

    def round_trip(key):
        x, log_p = samplers.generate_weighted(prior, log_prior(noising), step, sde, ts)(key)
        return x, log_p, *FlowLikelihood(sde, log_prior(noising), ts).encode(key, x)

    keys = jax.random.split(key, 8)
    x, log_p, latent, again = jax.jit(jax.vmap(round_trip))(keys)
    np.testing.assert_allclose(latent, jax.vmap(lambda key: prior(jax.random.split(key)[0]))(keys), atol=1e-5)
    np.testing.assert_allclose(again, log_p, atol=1e-6)
    np.testing.assert_allclose(log_p, jax.vmap(lambda x: MIXTURE.log_density(x, 0.1))(x), atol=1e-6)


def test_any_equation_will_do(x64, key):
    """dx = A x dt makes N(0, I) at t = 1 into N(0, R R^T) at t = 0.2, R the exponential of -0.8 A."""
    A = np.array([[0.3, -1.0, 0.2], [0.5, -0.8, 0.0], [0.1, 0.4, 0.6]])
    sde = SDE(lambda x, t: jnp.asarray(A) @ x, lambda t: 0 * t)
    normal = lambda x: jnp.sum(jax.scipy.stats.norm.logpdf(x))  # noqa: E731
    x, root = jnp.array([0.2, -0.7, 1.0]), linalg.expm(-0.8 * A)
    flow = FlowLikelihood(sde, normal, jnp.linspace(1.0, 0.2, 65))
    found = flow(key, x)
    np.testing.assert_allclose(jax.jit(lambda key, x: flow(key, x))(key, x), found, rtol=1e-12)
    exact = stats.multivariate_normal(np.zeros(3), root @ root.T).logpdf(x)
    np.testing.assert_allclose(found, exact, atol=1e-8)


# Divergences


MATRIX = np.random.default_rng(0).normal(size=(12, 12))
LOW_RANK = 3.0 * np.eye(12)[:, :3] @ np.random.default_rng(1).normal(size=(3, 12))


def estimates(divergence, matrix, key, size=4000):
    """The estimates of the trace of a linear field, by that many keys."""
    at = lambda key: divergence(key, lambda x: jnp.asarray(matrix) @ x, jnp.ones(len(matrix)))  # noqa: E731
    return np.asarray(jax.jit(jax.vmap(at))(jax.random.split(key, size)))


@pytest.mark.parametrize(
    ("divergence", "variance"),
    [
        (samplers.hutchinson(2), lambda S: np.sum(S**2) - np.sum(np.diag(S) ** 2)),
        (samplers.hutchinson(2, "normal"), lambda S: np.sum(S**2)),
        (samplers.hutch_plus_plus(6), None),
        (samplers.hutch_plus_plus(11), None),
    ],
    ids=["signs", "normal", "Hutch++ 6", "Hutch++ 11"],
)
def test_probes_are_unbiased_and_vary_as_they_should(divergence, variance, x64, key):
    found = estimates(divergence, MATRIX, key)
    assert abs(found.mean() - np.trace(MATRIX)) < 3 * found.std() / np.sqrt(len(found))
    if variance is not None:
        # The relative standard error of a variance is sqrt((kurtosis - 1) / n), here about 3 %.
        assert found.var() == pytest.approx(variance((MATRIX + MATRIX.T) / 2), rel=0.12)


def test_hutch_plus_plus_is_exact_where_it_should_be(x64, key):
    """A rank within the sketch, a multiple of the identity, and as many probes as dimensions."""
    for matrix, probes in ((LOW_RANK, 9), (2.5 * np.eye(12), 4), (MATRIX, 12)):
        found = estimates(samplers.hutch_plus_plus(probes), matrix, key, 50)
        np.testing.assert_allclose(found, np.trace(matrix), rtol=1e-9)


def test_hutch_plus_plus_varies_less_where_the_rank_is_nearly_low(x64, key):
    """By the same number of products, as much less as what is left is smaller."""
    matrix = MATRIX @ np.diag([1.0] * 2 + [1e-3] * 10) @ MATRIX.T
    spread = [estimates(make(9), matrix, key, 500).std() for make in (samplers.hutch_plus_plus, samplers.hutchinson)]
    assert spread[0] < spread[1] / 100


def test_the_exact_divergence_of_many_dimensions_is_made_in_pieces(x64, key):
    matrix = np.random.default_rng(3).normal(size=(70, 70))
    np.testing.assert_allclose(estimates(samplers.exact_divergence, matrix, key, 2), np.trace(matrix), rtol=1e-12)


def test_a_likelihood_by_probes_is_unbiased(x64, key):
    x, flow = jnp.asarray(POINTS[1]), density("exploding", 128, divergence=samplers.hutchinson(law="normal"))
    found = jax.jit(jax.vmap(lambda key: flow(key, x, 0.1)))(jax.random.split(key, 4000))
    assert abs(found.mean() - MIXTURE.log_density(x, 0.1)) < 3 * found.std() / np.sqrt(4000)
    assert found.std() > 0.1


class OnPlane(eqx.Module):
    """N(0, diag(1, 0.3, 0, .., 0)) in R^12, noised: its denoiser has rank 2."""

    def __call__(self, x, sigma):
        return -x / (jnp.array([1.0, 0.3] + [0.0] * 10) + sigma**2)


@pytest.mark.slow
def test_probes_see_the_dimension_of_the_data(x64, key):
    """A sketch of 2 directions is exact for each key if the trace is that of the denoiser, which a `Reverse` has; the
    same flow as an equation with a drift alone leaves the 10 directions of noise to chance.
    """
    noising = NOISINGS["exploding"]
    sde, ts = reverse(noising, OnPlane(), eta=0.0), geometric_grid(noising, 0.1, 192, final_zero=False)
    deviations = lambda sigma: jnp.sqrt(jnp.array([1.0, 0.3] + [0.0] * 10) + sigma**2)  # noqa: E731
    normal = lambda x, sigma: jnp.sum(jax.scipy.stats.norm.logpdf(x, 0.0, deviations(sigma)))  # noqa: E731
    x, spread = 0.2 * jnp.ones(12), []
    for equation in (sde, SDE(sde.drift, sde.diffusion)):
        flow = FlowLikelihood(equation, lambda x: normal(x, 20.0), ts, divergence=samplers.hutch_plus_plus(6))
        found = jax.jit(jax.vmap(lambda key, flow=flow: flow(key, x)))(jax.random.split(key, 200))
        assert abs(found.mean() - normal(x, 0.1)) < 3 * found.std() / np.sqrt(200) + 1e-6
        spread.append(found.std())
    assert spread[0] < 1e-9
    assert spread[1] > 0.5


# On manifolds

DIRECTION = np.array([0.0, 0.6, 0.8])


class OnSphere(eqx.Module):
    """Von Mises and Fisher's law on S^2, noised: with v = x / sigma^2 + kappa m and r = |v|,

    p_sigma(x) = (2 pi sigma^2)^(-3/2) exp(-(|x|^2 + 1) / (2 sigma^2)) (sinh r / r) / (sinh kappa / kappa),
    D = (coth r - 1 / r) v / r.
    """

    concentration: jax.Array

    def _natural(self, x, sigma):
        v = x / sigma**2 + self.concentration * jnp.asarray(DIRECTION)
        return v, jnp.sqrt(jnp.sum(v**2))

    def log_density(self, x, sigma):
        (_, r), kappa = self._natural(x, sigma), self.concentration
        leading = -1.5 * jnp.log(2 * jnp.pi * sigma**2) - (jnp.sum(x**2) + 1) / (2 * sigma**2)
        return leading + _log_sinh_quotient(r) - _log_sinh_quotient(kappa)

    def denoise(self, x, sigma):
        v, r = self._natural(x, sigma)
        return (1 / jnp.tanh(r) - 1 / r) * v / r

    def __call__(self, x, sigma):
        return (self.denoise(x, sigma) - x) / sigma**2


def _log_sinh_quotient(r):
    return r + jnp.log(-jnp.expm1(-2 * r) / (2 * r))


def on_sphere(concentration, key, size):
    """The law, noised; points of it, and its log density there."""
    law = measures.VonMisesFisher(DIRECTION, concentration)
    x = measures.draw(law.sample, key, size)
    return OnSphere(jnp.asarray(concentration)), x, jax.vmap(law.log_density)(x)


def test_the_density_on_the_sphere_is_found_by_the_flow(x64, key):
    """Von Mises and Fisher's law to 1e-3, and within the error that is told; the prior is the Gaussian of its moments,
    off by O(1 / 100^2).
    """
    score, x, exact = on_sphere(5.0, key, 16)
    mean = (1 / np.tanh(5.0) - 1 / 5.0) * DIRECTION
    deviation = np.sqrt(100.0**2 + (1 - mean @ mean) / 3)
    prior = estimators.GaussianPrior(jnp.asarray(mean), jnp.asarray(deviation))
    flow = FlowLogDensity(VarianceExploding(100.0), score, prior.log_density, 96)
    on_manifold = VolumeLogDensity(lambda x, sigma: flow(key, x, sigma), 2, halvings(0.2, 4), noise=5e-5)
    found = jax.jit(jax.vmap(on_manifold))(x)
    errors = np.abs(found.value - exact)
    assert np.max(errors) < 1e-3
    assert np.all(errors < found.error)
    assert np.max(found.error) < 5e-3


@pytest.mark.parametrize("count", [3, 4, 6])
def test_the_error_of_an_extrapolation_covers_it(count, x64, key):
    """At 400 random points each, with levels up to 1.4 times the scale of the density, where the series does not yet
    converge. What the error is made of may vanish at a point, though not all of it at once.
    """

    @jax.jit
    def at(law, level, x):
        # The closed form cancels terms of the size of sigma^-2.
        levels = halvings(level, count)
        rounding = 4 * jnp.finfo(x.dtype).eps / levels[-1] ** 2
        return jax.vmap(VolumeLogDensity(law.log_density, 2, levels, rounding))(x)

    for concentration, levels in ((0.5, (0.5, 0.3, 0.1)), (5.0, (0.5, 0.3, 0.1)), (30.0, (0.25, 0.1, 0.04))):
        law, x, exact = on_sphere(concentration, key, 400)
        found = [at(law, level, x) for level in levels]
        errors = np.stack([np.abs(each.value - exact) / each.error for each in found])
        assert np.mean(errors <= 1) > 0.99, (concentration, levels)
        assert np.max(errors) < 2, (concentration, levels)
        # And it says something: the smallest levels are known well.
        assert np.max(found[-1].error) < 0.06


def test_what_has_no_limit_has_a_large_error(x64):
    """Off the sphere, and with the wrong dimension."""
    law = OnSphere(jnp.asarray(5.0))
    x = jnp.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.05]])
    right, wrong = (jax.jit(jax.vmap(VolumeLogDensity(law.log_density, dim, halvings(0.1))))(x) for dim in (2, 1))
    assert right.error[0] < 1e-4
    assert right.error[1] > 0.1
    assert wrong.error[0] > 0.1


def test_noise_in_the_values_is_counted(x64):
    """Errors of 1e-3 with all signs, on a law with nothing to extrapolate: the worst are as large as they can be."""
    levels = halvings(0.1, 5)
    signs = jnp.array(list(itertools.product((-1.0, 1.0), repeat=5)))

    def flat(signs):
        noised = lambda x, sigma: 1e-3 * jnp.sum(jnp.where(levels == sigma, signs, 0.0))  # noqa: E731
        return VolumeLogDensity(noised, 2, levels, noise=1e-3)(jnp.zeros(2))

    found = jax.jit(jax.vmap(flat))(signs)
    assert np.all(np.abs(found.value) <= found.error)
    assert 6e-3 < np.max(np.abs(found.value)) < 8.3e-3


def test_bits_of_bytes():
    """The uniform law on [0, 1]^d needs 8 bits for a byte, whatever the scale of the data."""
    assert samplers.bits_per_dimension(jnp.zeros(()), 7, 1 / 256) == pytest.approx(8.0)
    assert samplers.bits_per_dimension(-7 * jnp.log(2.0), 7, 2 / 256) == pytest.approx(8.0)


def test_misuse_is_explained_in_one_line(key):
    noising, x = NOISINGS["exploding"], jnp.zeros(2)
    flow, grid = reverse(noising, MIXTURE, eta=0.0), geometric_grid(noising, 0.1, 4)
    with pytest.raises(ValueError, match=r"^a likelihood follows the flow, got eta=1.0: .*$"):
        FlowLikelihood(reverse(noising, MIXTURE), log_prior(noising), grid[:-1])
    for ts in (grid, grid[:-1][::-1]):
        with pytest.raises(ValueError, match=r"^times must fall and end above 0, .*final_zero=False$"):
            FlowLikelihood(flow, log_prior(noising), ts)
    for step in (samplers.ddim, samplers.dpm_solver_2s, samplers.exponential_euler, samplers.ddpm):
        # Without the type checks of the tests, as users run it.
        unchecked = FlowLikelihood(flow, log_prior(noising), grid[:-1], step.__wrapped__)
        with pytest.raises(ValueError, match=r"^this step needs more than the drift, .* euler, midpoint, heun, .*"):
            unchecked(key, x)
    with pytest.raises(ValueError, match=r"^the number of probes must be at least 3, got 2$"):
        samplers.hutch_plus_plus(2)
    with pytest.raises(ValueError, match=r'^the law of the probes must be "rademacher" or "normal", got .*$'):
        samplers.hutchinson.__wrapped__(1, "sphere")
    with pytest.raises(ValueError, match=r"^an extrapolation with an error takes 3 noise levels or more, got 2$"):
        VolumeLogDensity(MIXTURE.log_density, 2, halvings(0.1, 2))
    with pytest.raises(ValueError, match=r"^noise levels must fall and be positive, .*$"):
        VolumeLogDensity(MIXTURE.log_density, 2, halvings(0.1)[::-1])
