"""The truth table of verdicts, and what their reasons say."""

import math

import pytest

from manifold_diffusion.studies import Check, Statistic, judge
from manifold_diffusion.studies.verdict import expectation


def check(relation="slope", expected=-2.0, tolerance=0.1, **options):
    return Check("curve", "coarse", "distance", relation, expected, tolerance, **options)


@pytest.mark.parametrize(
    ("relation", "low", "high", "ruling"),
    [
        ("slope", -2.05, -1.95, "confirmed"),
        ("slope", -2.1, -1.9, "confirmed"),
        ("slope", -2.0, -2.0, "confirmed"),
        ("slope", -2.11, -1.95, "inconclusive"),
        ("slope", -2.05, -1.89, "inconclusive"),
        ("slope", -2.3, -1.7, "inconclusive"),
        ("slope", -2.3, -2.09, "inconclusive"),
        ("slope", -1.91, -1.7, "inconclusive"),
        ("slope", -2.3, -2.11, "refuted"),
        ("slope", -1.89, -1.5, "refuted"),
        ("mean", -2.05, -1.95, "confirmed"),
        ("mean", -1.95, -1.85, "inconclusive"),
        ("mean", -1.5, -1.4, "refuted"),
        ("slope_at_most", -9.0, -1.9, "confirmed"),
        ("slope_at_most", -9.0, -1.89, "inconclusive"),
        ("slope_at_most", -1.89, -1.0, "refuted"),
        ("slope_at_least", -2.1, 5.0, "confirmed"),
        ("slope_at_least", -2.11, 5.0, "inconclusive"),
        ("slope_at_least", -9.0, -2.11, "refuted"),
        ("at_most", -2.5, -2.2, "confirmed"),
        ("at_most", -2.0, -1.8, "inconclusive"),
        ("at_most", -1.8, -1.7, "refuted"),
        ("at_least", -2.1, 5.0, "confirmed"),
        ("at_least", -2.2, 5.0, "inconclusive"),
        ("at_least", -2.3, -2.2, "refuted"),
        ("slope", -math.inf, math.inf, "inconclusive"),
    ],
)
def test_verdict_is_where_the_whole_interval_lies(relation, low, high, ruling):
    middle = (low + high) / 2 if math.isfinite(low) else -2.0
    assert judge(check(relation, -2.0, 0.1), Statistic(middle, low, high)).verdict == ruling


def test_reason_is_one_sentence_with_the_numbers():
    verdict = judge(check(), Statistic(-2.0123, -2.05, -1.951))
    assert verdict.reason == "The slope -2.012 [-2.05, -1.951] lies inside [-2.1, -1.9]."
    verdict = judge(check("at_least", 0.25, 0.0), Statistic(0.2, 0.2, 0.22))
    assert verdict.reason == "The smallest value 0.2 [0.2, 0.22] lies below 0.25."


def test_smoke_tolerance_counts_at_the_scale_smoke_only():
    wide = check(smoke_tolerance=0.5)
    statistic = Statistic(-1.7, -1.8, -1.6)
    assert judge(wide, statistic, "smoke").verdict == "confirmed"
    assert judge(wide, statistic, "cpu").verdict == "refuted"
    assert judge(check(), statistic, "smoke").verdict == "refuted"


def test_too_many_failures_are_inconclusive_and_few_are_counted():
    inside = Statistic(-2.0, -2.05, -1.95)
    assert judge(check(), inside, cells=20, failures=2).verdict == "confirmed"
    assert "2 of 20 cells failed" in judge(check(), inside, cells=20, failures=2).reason
    many = judge(check(), inside, cells=20, failures=3)
    assert (many.verdict, many.reason[:14]) == ("inconclusive", "Too many cells")
    assert judge(check(), Statistic(0.0, 0.0, 0.0), cells=20, failures=3).verdict == "inconclusive"


@pytest.mark.parametrize("relation", ["at_least", "at_most"])
def test_an_extreme_is_never_confirmed_over_a_failed_cell_but_can_be_refuted(relation):
    sign = 1.0 if relation == "at_least" else -1.0
    good, bad = Statistic(sign, sign, sign), Statistic(-sign, -sign, -sign)
    assert judge(check(relation, 0.0, 0.0), good, cells=20).verdict == "confirmed"
    assert judge(check(relation, 0.0, 0.0), good, cells=20, failures=1).verdict == "inconclusive"
    assert judge(check(relation, 0.0, 0.0), bad, cells=20, failures=1).verdict == "refuted"


def test_no_statistic_is_inconclusive_with_the_trouble_as_reason():
    verdict = judge(check(), None, cells=4, failures=4, trouble="No cell of size 10 gave a finite value")
    assert verdict.verdict == "inconclusive"
    assert verdict.reason == "No cell of size 10 gave a finite value; 4 of 4 cells failed."


def test_non_finite_samples_are_told():
    assert "7 samples were not finite" in judge(check(), Statistic(-2.0, -2.0, -2.0), non_finite=7).reason


@pytest.mark.parametrize(
    ("relation", "text"), [("slope", "−2 ± 0.1"), ("at_most", "≤ −1.9"), ("at_least", "≥ −2.1"), ("mean", "−2 ± 0.1")]
)
def test_expectation_is_short(relation, text):
    assert expectation(check(relation), "cpu") == text
