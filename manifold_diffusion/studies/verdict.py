"""Verdicts: whether the interval of a statistic lies where a claim says.

The band is fixed before anything runs: expected +- tolerance, or one side of it. `confirmed`: the whole interval lies
inside; `refuted`: the whole interval lies outside; `inconclusive` otherwise, and also where too many cells failed. A
cell that failed might have held the largest error of all, so a statement about the smallest or largest value is never
confirmed over failures.
"""

import math

from manifold_diffusion.studies.claim import Check, Ruling, Scale, Statistic, Verdict

MOST_FAILURES = 0.1
"""The largest share of failed cells over which a slope or a mean is still judged."""

NAMES = {
    "slope": "slope",
    "slope_at_most": "slope",
    "slope_at_least": "slope",
    "mean": "mean",
    "at_least": "smallest value",
    "at_most": "largest value",
}


def judge(
    check: Check,
    statistic: Statistic | None,
    scale: Scale = "cpu",
    cells: int = 1,
    failures: int = 0,
    non_finite: int = 0,
    trouble: str = "",
) -> Verdict:
    """The verdict on a check, given its statistic.

    `cells` counts the cells that the grid asks for, `failures` those of them without a finite value, `non_finite` the
    non-finite samples that the measurements reported. Without a statistic the verdict is inconclusive and `trouble` is
    the reason.
    """
    counts = _counts(cells, failures, non_finite)
    if statistic is None:
        return Verdict("inconclusive", f"{trouble or 'nothing was measured'}{counts}.")
    low, high = band(check, scale)
    ruling = _ruling(statistic, low, high)
    sentence = f"{_numbers(check, statistic)} {_place(ruling, low, high)}"
    if failures > MOST_FAILURES * cells:
        return Verdict("inconclusive", f"Too many cells failed to judge: {sentence}{counts}.")
    if failures and check.relation in ("at_least", "at_most") and ruling == "confirmed":
        return Verdict("inconclusive", f"A failed cell could lie outside: {sentence}{counts}.")
    if math.isinf(statistic.ci_high - statistic.ci_low):
        sentence = f"{sentence} (there are too few values for an interval)"
    return Verdict(ruling, f"{sentence[0].upper()}{sentence[1:]}{counts}.")


def band(check: Check, scale: Scale) -> tuple[float, float]:
    """The interval of the line, possibly half infinite, in which the statistic is expected."""
    tolerance = check.tolerance_at(scale)
    low, high = float(check.expected - tolerance), float(check.expected + tolerance)
    if check.relation in ("slope", "mean"):
        return low, high
    return (low, math.inf) if check.relation in ("at_least", "slope_at_least") else (-math.inf, high)


def expectation(check: Check, scale: Scale) -> str:
    """What is expected, in a few characters: "-2 ± 0.05", "≤ 4", "≥ 0.25"."""
    low, high = band(check, scale)
    if math.isinf(low) or math.isinf(high):
        text = f"≤ {high:.4g}" if math.isinf(low) else f"≥ {low:.4g}"
    else:
        text = f"{check.expected:.4g} ± {check.tolerance_at(scale):.4g}"
    return text.replace("-", "−")


def _ruling(statistic: Statistic, low: float, high: float) -> Ruling:
    if low <= statistic.ci_low and statistic.ci_high <= high:
        return "confirmed"
    if statistic.ci_high < low or statistic.ci_low > high:
        return "refuted"
    return "inconclusive"


def _numbers(check: Check, statistic: Statistic) -> str:
    return f"the {NAMES[check.relation]} {statistic.value:.4g} [{statistic.ci_low:.4g}, {statistic.ci_high:.4g}]"


def _place(ruling: Ruling, low: float, high: float) -> str:
    i = ("confirmed", "refuted", "inconclusive").index(ruling)
    if math.isinf(low):
        return f"{('stays at or below', 'lies above', 'reaches across')[i]} {high:.4g}"
    if math.isinf(high):
        return f"{('stays at or above', 'lies below', 'reaches across')[i]} {low:.4g}"
    return f"{('lies inside', 'lies outside', 'reaches across the edge of')[i]} [{low:.4g}, {high:.4g}]"


def _counts(cells: int, failures: int, non_finite: int) -> str:
    parts = [f"{failures} of {cells} cells failed"] if failures else []
    parts += [f"{non_finite} samples were not finite"] if non_finite else []
    return f"; {' and '.join(parts)}" if parts else ""
