"""Slopes and intervals, against closed forms, scipy and simulated coverage."""

import jax
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from manifold_diffusion.studies import fit_rate, interval
from manifold_diffusion.studies.rate import bands

SIZES = np.array([100.0, 200.0, 400.0, 800.0, 1600.0])


def log_normal(rng, replicates, slope=-1.5, spread=0.3):
    """Errors whose mean is size^slope exactly."""
    noise = rng.normal(size=(len(SIZES), replicates))
    return SIZES[:, None] ** slope * np.exp(spread * noise - spread**2 / 2)


@given(st.floats(-5, 2), st.floats(1e-6, 1e6))
def test_slope_and_constant_of_an_exact_power_are_exact(slope, constant):
    errors = constant * SIZES[:, None] ** slope * np.ones((1, 3))
    fit = fit_rate(SIZES, errors)
    np.testing.assert_allclose([fit.slope, fit.ci_low, fit.ci_high], slope, atol=1e-10)
    np.testing.assert_allclose(fit.constant, constant, rtol=1e-9)
    np.testing.assert_allclose(fit.local_slopes, slope, atol=1e-10)


def test_slope_is_that_of_the_replicate_means(key):
    errors = log_normal(np.random.default_rng(0), 7)
    oracle = scipy.stats.linregress(np.log(SIZES), np.log(errors.mean(axis=1)))
    fit = fit_rate(SIZES, errors, key)
    np.testing.assert_allclose([fit.slope, np.log(fit.constant)], [oracle.slope, oracle.intercept], atol=1e-12)
    assert fit.ci_low < fit.slope < fit.ci_high


def test_without_replicates_the_interval_is_that_of_least_squares():
    errors = log_normal(np.random.default_rng(1), 1)
    oracle = scipy.stats.linregress(np.log(SIZES), np.log(errors[:, 0]))
    half = scipy.stats.t.ppf(0.975, len(SIZES) - 2) * oracle.stderr
    for shaped in (errors, errors[:, 0]):
        fit = fit_rate(SIZES, shaped)
        np.testing.assert_allclose([fit.ci_low, fit.ci_high], [oracle.slope - half, oracle.slope + half], rtol=1e-10)


def test_two_sizes_without_replicates_leave_the_slope_open():
    fit = fit_rate([10, 100], [1.0, 0.1])
    assert fit.slope == pytest.approx(-1.0)
    assert (fit.ci_low, fit.ci_high) == (-np.inf, np.inf)


@pytest.mark.parametrize("replicates", [1, 2, 3, 5])
def test_interval_of_the_slope_covers_the_truth_in_95_of_100_studies(replicates):
    """Of 1000 studies: the coverage has a standard error of .8 %; over 6000 it was 92 % (2 replicates) to 95 % (1)."""
    rng = np.random.default_rng(2)
    fits = [fit_rate(SIZES, log_normal(rng, replicates), resamples=1000) for _ in range(1000)]
    covered = np.mean([fit.ci_low <= -1.5 <= fit.ci_high for fit in fits])
    assert 0.90 <= covered <= 0.98


@pytest.mark.parametrize(("sizes", "replicates"), [(5, 4), (1, 5), (5, 1)])
def test_interval_of_the_mean_covers_the_truth_in_95_of_100_studies(sizes, replicates):
    rng = np.random.default_rng(3)
    found = [interval(1 + 0.3 * rng.normal(size=(sizes, replicates)), "mean", resamples=400) for _ in range(400)]
    covered = np.mean([each.ci_low <= 1 <= each.ci_high for each in found])
    assert 0.91 <= covered <= 0.98


def test_width_of_the_interval_matches_the_spread_of_slopes():
    """The interval is right in size, not only in coverage: half of it is 1.96 standard deviations of the slope."""
    rng = np.random.default_rng(4)
    fits = [fit_rate(SIZES, log_normal(rng, 20), resamples=400) for _ in range(300)]
    half = np.mean([fit.ci_high - fit.ci_low for fit in fits]) / 2
    np.testing.assert_allclose(half, 1.96 * np.std([fit.slope for fit in fits]), rtol=0.12)


def test_same_key_gives_the_same_interval_and_another_key_another():
    errors = log_normal(np.random.default_rng(5), 6)
    first, again, other = (fit_rate(SIZES, errors, jax.random.key(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first.ci_low != other.ci_low
    assert first.slope == other.slope


def test_replicates_may_differ_in_number():
    errors = log_normal(np.random.default_rng(6), 6)
    ragged = [*errors[:4], errors[4, :3]]
    fit = fit_rate(SIZES, ragged)
    oracle = scipy.stats.linregress(np.log(SIZES), np.log([row.mean() for row in ragged]))
    assert fit.slope == pytest.approx(oracle.slope)


@pytest.mark.parametrize(
    ("sizes", "errors", "message"),
    [
        ([10], [[1.0, 2.0]], "two different sizes"),
        ([10, 10], [[1.0], [2.0]], "two different sizes"),
        ([10, 20], [[1.0, 2.0], [0.0, 1.0]], "error must be positive and finite; got 0.0"),
        ([10, 20], [[1.0, 2.0], [-3.0, 1.0]], "got -3.0"),
        ([10, 20], [[1.0, 2.0], [np.nan, 1.0]], "got nan"),
        ([10, 20], [[1.0, 2.0], [np.inf, 1.0]], "got inf"),
        ([0, 20], [[1.0, 2.0], [2.0, 1.0]], "size must be positive"),
        ([10, 20, 30], [[1.0], [2.0]], "one size for each row"),
        ([10, 20], [[1.0, 2.0], [1.0]], "every size needs two replicates"),
        ([], [], "at least one value"),
        ([10, 20], [[1.0], []], "at least one value"),
    ],
)
def test_misuse_of_fit_rate_is_named(sizes, errors, message):
    with pytest.raises(ValueError, match=message):
        fit_rate(sizes, errors)


def test_extremes_are_the_values_seen_and_their_interval_starts_there():
    values = np.random.default_rng(7).normal(size=(4, 6))
    low, high = interval(values, "min"), interval(values, "max")
    assert (low.value, low.ci_low) == (values.min(), values.min())
    assert (high.value, high.ci_high) == (values.max(), values.max())
    assert low.ci_high > low.value
    assert high.ci_low < high.value


def test_mean_of_one_value_has_no_interval():
    assert interval([3.0], "mean") == interval([[3.0]], "mean")
    assert (interval([3.0], "mean").ci_low, interval([3.0], "mean").ci_high) == (-np.inf, np.inf)


def test_mean_weighs_sizes_alike():
    assert interval([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0]], "mean").value == 0.5


def test_interval_refuses_what_is_not_finite():
    with pytest.raises(ValueError, match="finite"):
        interval([[1.0, np.nan]], "mean")


def test_bands_contain_the_mean_and_stay_positive():
    errors = log_normal(np.random.default_rng(8), 3, spread=1.5)
    for (low, high), row in zip(bands(errors), errors, strict=True):
        assert 0 < low <= row.mean() <= high
