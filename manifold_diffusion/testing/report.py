"""What was found of the laws: a table when all hold, and else a complaint about all that do not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from manifold_diffusion.testing.law import ABSENT, Budget, Law, Outcome, Seen, Unseen


@dataclass(frozen=True)
class Finding:
    """What was found of a law in one precision; `error` is the worst, at `place`, of `total`, of which `count` exceed
    `budget` and `not_finite` are no numbers.
    """

    law: Law
    dtype: str
    outcome: Outcome
    error: float = float("nan")
    budget: float = float("nan")
    scale: float = 1.0
    count: int = 0
    total: int = 0
    not_finite: int = 0
    place: str = ""
    words: str = ""

    def __str__(self):
        if self.total == 0:
            return f"{self.dtype}: {self.words}"
        shares = f"{self.count} of {self.total}" + (f", {self.not_finite} not finite" if self.not_finite else "")
        where = (f" at {self.place}" if self.place else "") + (f" ({shares})" if self.total > 1 else "")
        return f"{self.dtype}: error {self.error:.3g}, budget {self._allowed()}{where}" + (
            f"\n{' ' * (len(self.dtype) + 2)}{self.words}" if self.words else ""
        )

    def _allowed(self) -> str:
        if self.law.unit not in ("extent", "one"):
            return f"{self.budget:.3g} ({self.law.unit})"
        eps = self.budget / (self.scale * np.finfo(self.dtype).eps)
        unit = f" x extent {self.scale:.3g}" if self.law.unit == "extent" else ""
        return f"{self.budget:.3g} ({eps:.2g} eps{unit})"


@dataclass(frozen=True)
class Report:
    """What was found of each law of an object, as a table when it is printed."""

    subject: str
    findings: tuple[Finding, ...]

    @property
    def broken(self) -> tuple[str, ...]:
        """The names of the laws that do not hold in some precision."""
        return tuple(dict.fromkeys(f.law.name for f in self.findings if f.outcome == "broken"))

    def __str__(self):
        names = list(dict.fromkeys(f.law.name for f in self.findings if f.total))
        dtypes = list(dict.fromkeys(f.dtype for f in self.findings))
        width = max(map(len, names), default=0) + 2
        head = "".join(f"{dtype + ' error':>16}{'budget':>10}" for dtype in dtypes)
        by = {(f.law.name, f.dtype): f for f in self.findings}
        rows = [name.ljust(width) + "".join(_cells(by.get((name, dtype))) for dtype in dtypes) for name in names]
        return "\n".join([f"{self.subject}: {len(names)} laws", " " * width + head, *rows, *self.unchecked()])

    def unchecked(self) -> list[str]:
        """One line for each reason for which laws were not checked; one for all the methods that are not there."""
        reasons: dict[str, dict[str, None]] = {}
        absent, number = [], set()
        for f in self.findings:
            if f.outcome == "not there" and f.words.startswith(ABSENT):
                absent.append(f.words.removeprefix(ABSENT))
                number.add(f.law.name)
            elif f.outcome in ("not there", "not evaluated", "skipped"):
                reasons.setdefault(f.words, {})[f.law.name] = None
        lines = [f"not checked ({reason}): {', '.join(names)}" for reason, names in reasons.items()]
        if not absent:
            return lines
        laws = f"{len(number)} law{'s' if len(number) > 1 else ''} about {'them' if len(set(absent)) > 1 else 'it'}"
        return [*lines, f"not checked ({ABSENT}{', '.join(dict.fromkeys(absent))}): {laws}"]

    def complaint(self) -> str:
        """All broken laws, each with its statement, its worst place in each precision and its hint."""
        checked = len({f.law.name for f in self.findings if f.outcome in ("holds", "broken")})
        number = len(self.broken)
        lines = [f"{self.subject}: {number} of {checked} laws {'is' if number == 1 else 'are'} broken"]
        for name in self.broken:
            found = [f for f in self.findings if f.law.name == name and f.outcome == "broken"]
            lines += ["", f"{name}: {found[0].law.statement}"]
            lines += ["    " + line for f in found for line in str(f).splitlines()]
            lines += [f"    hint: {found[0].law.hint}"]
        unchecked = self.unchecked()
        return "\n".join(lines + ([""] if unchecked else []) + unchecked)


class BrokenLaws(AssertionError):
    """Laws that do not hold, all of them in one message; `report` has every finding."""

    def __init__(self, report: Report):
        super().__init__(report.complaint())
        self.report = report


def _cells(f: Finding | None) -> str:
    if f is None or not f.total:
        return f"{'-':>16}{'-':>10}"
    return f"{f.error:>16.3g}{f.budget:>10.3g}"


def judged(subject: str, laws: Sequence[Law], seen: Iterable[Seen], budget: Budget, skip: Sequence[str]) -> Report:
    """The report on all the laws in all that was seen; `BrokenLaws` if one is broken."""
    __tracebackhide__ = True  # so that pytest shows the line of the test
    with np.errstate(all="ignore"):
        findings = tuple(_finding(law, each, budget, skip) for each in seen for law in laws)
    report = Report(subject, findings)
    if report.broken:
        raise BrokenLaws(report)
    return report


def _finding(law: Law, seen: Seen, budget: Budget, skip: Sequence[str]) -> Finding:
    blank = Finding(law, seen.dtype, "skipped", words="skipped")
    if law.name in skip:
        return blank
    try:
        found = law.find(seen)
    except Unseen as reason:
        return replace(blank, outcome=reason.outcome, words=reason.words)
    errors = np.asarray(found.errors, np.float64).reshape(-1)
    if not len(errors):
        return replace(blank, outcome="not evaluated", words="nothing to look at")
    scale = seen.extent if law.unit == "extent" else 1.0
    allowed = scale * _budget(law, seen.dtype, budget) + found.slack
    finite = np.isfinite(errors)
    exceed = ~(finite & (errors <= allowed))
    worst = int(np.argmax(errors)) if finite.all() else int(np.argmin(finite))
    words = found.words if isinstance(found.words, str) else found.words[worst]
    return Finding(
        law=law,
        dtype=seen.dtype,
        outcome="broken" if exceed.any() else "holds",
        error=float(errors[worst]),
        budget=allowed,
        scale=scale,
        count=int(exceed.sum()),
        total=len(errors),
        not_finite=int((~finite).sum()),
        place=", ".join(f"{label} = {shown(rows[worst])}" for label, rows in found.places.items()),
        words=words,
    )


def _budget(law: Law, dtype: str, budget: Budget) -> float:
    if isinstance(budget, Mapping):
        return float(budget.get(law.name, law.budget[dtype]))
    relative = law.unit in ("extent", "one") and law.budget[dtype] > 0
    return max(law.budget[dtype], float(budget)) if relative and budget is not None else law.budget[dtype]


def shown(value: Any) -> str:
    """Numbers as one writes them in Python, to six digits; the middle of long vectors is left out."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        return str(value)
    if array.ndim == 0:
        return f"{float(array):.6g}"
    texts = [shown(each) for each in array]
    return f"[{', '.join(texts if len(texts) <= 12 else [*texts[:6], '...', *texts[-3:]])}]"
