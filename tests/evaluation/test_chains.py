"""Diagnostics of chains. Oracles: autoregressive chains, whose autocorrelation and effective size are known."""

import numpy as np
import pytest
from scipy import signal

from manifold_diffusion import evaluation


def autoregressive(phi, chains=8, states=4000, seed=0):
    """x_t = phi x_{t-1} + sqrt(1 - phi^2) xi, started in its stationary law N(0, 1): rho_t = phi^t."""
    rng = np.random.default_rng(seed)
    noise = np.sqrt(1 - phi**2) * rng.standard_normal((chains, states))
    noise[:, 0] = rng.standard_normal(chains)
    return signal.lfilter([1.0], [1.0, -phi], noise, axis=1)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, -0.3])
def test_the_effective_size_of_an_autoregressive_chain(phi):
    """m n (1 - phi) / (1 + phi); the sum that is cut off has a relative error of some sqrt(4 M / (m n)), M the lags."""
    x = autoregressive(phi)
    expected = x.size * (1 - phi) / (1 + phi)
    assert evaluation.effective_sample_size(x) == pytest.approx(expected, rel=0.1)


def test_the_effective_size_is_what_the_mean_is_worth():
    """The variance of means over many repeats is 1 / effective size, the definition."""
    repeats = np.stack([autoregressive(0.7, 4, 500, seed) for seed in range(300)])
    sizes = [evaluation.effective_sample_size(x) for x in repeats]
    assert 1 / repeats.mean(axis=(1, 2)).var() == pytest.approx(np.median(sizes), rel=4 * np.sqrt(2 / 300))


def test_the_effective_size_is_capped_where_states_oppose():
    x = autoregressive(-0.99)
    assert evaluation.effective_sample_size(x) == pytest.approx(x.size * np.log10(x.size))


def test_chains_of_one_law_agree():
    assert evaluation.split_r_hat(autoregressive(0.5)) == pytest.approx(1.0, abs=0.005)


def test_r_hat_of_chains_apart_is_that_of_their_variances():
    """Two values of the mean, far apart: after ranks the halves fill [0, 1/2] and [1/2, 1] of the normal law, whose
    conditional means are +-sqrt(2 / pi): B / n -> (4 / 3)(2 / pi) over four halves, W -> 1 - 2 / pi."""
    x = np.random.default_rng(0).standard_normal((2, 20_000)) + np.array([[0.0], [100.0]])
    within = 1 - 2 / np.pi
    assert evaluation.split_r_hat(x) == pytest.approx(np.sqrt((within + 8 / (3 * np.pi)) / within), rel=0.01)


def test_r_hat_sees_a_drift_and_a_difference_of_scale():
    rng = np.random.default_rng(1)
    drift = rng.standard_normal((4, 1000)) + np.linspace(0, 3, 1000)[None, :]
    scale = rng.standard_normal((4, 1000)) * np.array([1.0, 1.0, 1.0, 4.0])[:, None]
    assert evaluation.split_r_hat(drift) > 1.2
    assert evaluation.split_r_hat(scale) > 1.05


def test_diagnostics_do_not_change_under_monotone_maps():
    """Ranks: heavy tails do no harm."""
    x = autoregressive(0.5, 4, 500)
    assert evaluation.effective_sample_size(np.exp(5 * x)) == pytest.approx(evaluation.effective_sample_size(x))


def test_autocorrelation_is_that_of_the_chain_and_of_the_plain_sum():
    x = autoregressive(0.8)
    np.testing.assert_allclose(evaluation.autocorrelation(x)[:10], 0.8 ** np.arange(10), atol=0.05)
    short = x[:2, :30]
    centred = short - short.mean()
    plain = [np.mean([np.sum(row[: 30 - t] * row[t:]) / (30 - t) for row in centred]) for t in range(30)]
    np.testing.assert_allclose(evaluation.autocorrelation(short), np.array(plain) / short.var(), atol=1e-12)


def test_e_folds_from_pairs():
    x = autoregressive(0.9, 40_000, 11)
    assert evaluation.measured_e_folds(x[:, 0], x[:, 10]) == pytest.approx(-10 * np.log(0.9), abs=0.05)
    assert evaluation.measured_e_folds(x[:, 0], -x[:, 0]) == np.inf


def test_all_at_once():
    x = autoregressive(0.5, 4, 500)
    found = evaluation.diagnose(x)
    assert found == (evaluation.split_r_hat(x), evaluation.effective_sample_size(x), found.autocorrelation_time)
    assert found.autocorrelation_time == pytest.approx(x.size / found.effective_size)


def test_what_cannot_be_judged_is_nan_and_what_is_too_short_refused():
    assert np.isnan(evaluation.split_r_hat(np.ones((4, 100))))
    broken = autoregressive(0.5, 4, 100)
    broken[1, 7] = np.nan
    assert np.isnan(evaluation.split_r_hat(broken))
    assert np.isnan(evaluation.effective_sample_size(broken))
    with pytest.raises(ValueError, match="at least 4 states"):
        evaluation.split_r_hat(np.ones((4, 3)))


def test_arviz_agrees():
    """It divides autocovariances by n and variances by n - 1, here both are by n - 1: a few 1 / n apart."""
    arviz = pytest.importorskip("arviz")
    x = autoregressive(0.6, 5, 801)
    assert evaluation.split_r_hat(x) == pytest.approx(float(arviz.rhat(x, method="rank")), rel=1e-6)
    assert evaluation.effective_sample_size(x) == pytest.approx(float(arviz.ess(x, method="bulk")), rel=2 / 400)
