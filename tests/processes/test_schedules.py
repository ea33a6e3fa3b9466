"""Schedules and grids. Oracles: equations of the papers written out, and discrete-time products in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import processes

SCHEDULES = {
    "linear": processes.linear(),
    "constant": processes.constant(4.0),
    "cosine": processes.cosine(),
    "tabulated": processes.tabulated(np.cumprod(1 - np.linspace(1e-3, 0.2, 50))),
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("kind", [processes.VariancePreserving, processes.SubVariancePreserving])
def test_drift_and_diffusion_are_those_of_the_paper(schedule, kind, x64):
    """-beta x / 2, with beta for the squared diffusion, or beta (1 - e^{-2B}) (arXiv 2011.13456, eq. 11 and 14)."""
    noising, x = kind(schedule), jnp.array([0.3, -2.0])
    for t in (jnp.asarray(0.011), jnp.asarray(0.631)):
        sde, beta = processes.forward(noising), jax.grad(schedule)(t)
        share = 1.0 if kind is processes.VariancePreserving else -jnp.expm1(-2 * schedule(t))
        np.testing.assert_allclose(sde.drift(x, t), -beta * x / 2, rtol=1e-10)
        np.testing.assert_allclose(sde.diffusion(t) ** 2, beta * share, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", [processes.VariancePreserving, processes.SubVariancePreserving])
def test_noise_begins_at_zero_and_everything_is_finite_there(kind, dtype):
    with jax.enable_x64(dtype == "float64"):
        noising, zero = kind(processes.linear()), jnp.zeros((), dtype)
        assert (noising.alpha(zero), noising.sigma(zero)) == (1, 0)
        sde = processes.forward(noising)
        expected = 0.1 if kind is processes.VariancePreserving else 0.0
        np.testing.assert_allclose(sde.diffusion(zero) ** 2, expected, rtol=1e-6)
        assert sde.diffusion(zero).dtype == dtype


def test_the_cosine_schedule_is_that_of_the_paper(x64):
    """alpha^2(t) = f(t) / f(0) with f(u) = cos^2((u + s) / (1 + s) pi / 2), until alpha is the last one."""
    noising, s = processes.VariancePreserving(processes.cosine(last_alpha=0.01)), 0.008
    f = lambda u: np.cos((u + s) / (1 + s) * np.pi / 2)  # noqa: E731
    np.testing.assert_allclose(noising.alpha(jnp.asarray(1.0)), 0.01, rtol=1e-9)
    end = (np.arccos(0.01 * f(0)) * 2 / np.pi) * (1 + s) - s
    np.testing.assert_allclose(noising.alpha(jnp.asarray(0.3)), f(0.3 * end) / f(0), rtol=1e-12)


def test_a_table_is_met_at_its_times(x64):
    bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    noising = processes.VariancePreserving(processes.tabulated(bars))
    found = jax.vmap(noising.alpha)(jnp.arange(1, 1001) / 1000) ** 2
    np.testing.assert_allclose(found, bars, rtol=1e-12)
    with pytest.raises(ValueError, match="fall from at most 1"):
        processes.tabulated([0.5, 0.9])


@pytest.mark.parametrize(
    "noising", [processes.VarianceExploding(80.0), processes.VariancePreserving(SCHEDULES["linear"])]
)
def test_grids_have_the_levels_they_promise(noising, x64):
    level = jax.vmap(lambda t: processes.noise_level(noising, t))
    ts = processes.logit_grid(noising, 0.99, 1e-4, 20)
    tau = level(ts) ** 2 / (1 + level(ts) ** 2)
    logits = np.log(tau) - np.log1p(-tau)
    np.testing.assert_allclose(np.diff(logits), np.full(20, (logits[-1] - logits[0]) / 20), rtol=1e-6)
    np.testing.assert_allclose(tau[jnp.asarray([0, -1])], [0.99, 1e-4], rtol=1e-9)
    even = processes.uniform_grid(noising, 0.0, 7)
    np.testing.assert_allclose(even, np.linspace(1, 0, 8), atol=1e-15)
    with pytest.raises(ValueError, match="must fall"):
        processes.level_grid(noising, jnp.array([0.1, 1.0]))


def test_the_schedule_of_proofs(x64):
    """Term by term, and its two regimes: growth by a factor, then the constant c1 log T / T."""
    T, c0, c1 = 200, 2.0, 4.0
    rate, betas = c1 * np.log(T) / T, [T**-c0]
    for t in range(1, T):
        betas.append(rate * min(betas[0] * (1 + rate) ** t, 1.0))
    np.testing.assert_allclose(processes.li_yan_betas(T, c0, c1), betas, rtol=1e-12)
    noising = processes.VariancePreserving(processes.linear())
    levels = jax.vmap(lambda t: processes.noise_level(noising, t))(processes.li_yan_grid(noising, T, c0, c1))
    np.testing.assert_allclose(levels[-1] ** 2 / (1 + levels[-1] ** 2), T**-c0, rtol=1e-6)


def test_both_ornstein_uhlenbeck_processes_are_what_they_are_called(x64):
    """dX = -pull X dt + sqrt(2 pull) dW in the time T t."""
    for pull in (1.0, 0.5):
        sde = processes.forward(processes.ornstein_uhlenbeck(3.0, pull))
        np.testing.assert_allclose(sde.drift(jnp.ones(1), jnp.asarray(0.3)), -3 * pull, rtol=1e-12)
        np.testing.assert_allclose(sde.diffusion(jnp.asarray(0.3)) ** 2, 3 * 2 * pull, rtol=1e-12)


@pytest.mark.parametrize(
    "noising", [processes.ornstein_uhlenbeck(1.5), processes.VarianceExploding(4.0)], ids=["preserving", "exploding"]
)
def test_no_law_in_a_ball_is_farther_from_the_prior_than_the_bound_and_a_point_is_as_far(noising, x64):
    """By quadrature on the line: data in one point at R, and in several within."""
    radius, t = 1.7, 0.8
    alpha, sigma = float(noising.alpha(jnp.asarray(t))), float(noising.sigma(jnp.asarray(t)))
    bound = float(processes.prior_variation(noising, radius, t))
    grid = np.linspace(-12 * sigma, 12 * sigma, 40_001)
    density = lambda m: np.exp(-((grid - alpha * m) ** 2) / (2 * sigma**2)) / np.sqrt(2 * np.pi) / sigma  # noqa: E731

    def variation(points, weights):
        law = sum(w * density(m) for m, w in zip(points, weights, strict=True))
        return np.trapezoid(np.abs(law - density(0.0)), grid) / 2

    np.testing.assert_allclose(variation([radius], [1.0]), bound, rtol=1e-6)
    assert variation([radius, 0.4 * radius], [0.7, 0.3]) < bound
    assert variation([radius, -radius], [0.5, 0.5]) < bound


def test_rounds_overlap_by_half_and_end_at_the_last_time():
    ts = jnp.linspace(1.0, 0.0, 9)
    expected = [*range(5), *range(2, 7), *range(4, 9)]
    np.testing.assert_array_equal(processes.overlapping_rounds(ts, 3), ts[jnp.array(expected)])
    np.testing.assert_array_equal(processes.overlapping_rounds(ts, 1), ts)


@pytest.mark.parametrize("rounds", [0, 2, 9])
def test_rounds_that_do_not_divide_the_grid_are_refused(rounds):
    with pytest.raises(ValueError, match=f"{rounds} rounds take a multiple of {rounds + 1} steps, got 8"):
        processes.overlapping_rounds(jnp.linspace(1.0, 0.0, 9), rounds)
