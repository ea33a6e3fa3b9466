"""`verify`: measure claims, show each verdict as soon as it is there, write the study down."""

import argparse
from collections.abc import Sequence

from manifold_diffusion.cli.claims import expectation
from manifold_diffusion.cli.console import Console, InputError, number, table
from manifold_diffusion.studies import Event, Result, Statistic, Study, verify
from manifold_diffusion.studies.catalogue import CLAIMS, GROUPS
from manifold_diffusion.studies.claim import Check, Claim, Scale

_HEAD = ("ID", "QUANTITY", "METHOD", "EXPECTED", "MEASURED", "95% INTERVAL", "VERDICT", "SECONDS")


def run(options: argparse.Namespace, console: Console) -> int:
    """Verify the chosen claims; 0 if all checks were confirmed, else 1."""
    claims = choose(CLAIMS, options.claims)
    if options.resume and options.out is None:
        raise InputError("--resume goes on with the study in --out DIR; name it")
    layout = _Layout(claims, console, options.scale)
    try:
        study = verify(
            claims, options.scale, options.seed, options.out, options.resume, on_event=layout.show, plot=options.plot
        )
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(_how_to_go_on(options)) from stop
    console.clear()
    console.document(list(study.rows))
    layout.finish(study)
    if options.out is not None:
        console.note(f"written to {options.out}")
    return 0 if study.confirmed else 1


def choose(claims: Sequence[Claim], names: Sequence[str]) -> list[Claim]:
    """The claims of these ids and groups, in the order of the catalogue; all of them without names."""
    if not names:
        return list(claims)
    wanted = set()
    for name in names:
        group = GROUPS.get(name.lower(), name)
        found = {
            c.id for c in claims if c.id.lower() == name.lower() or c.group.lower() in (group.lower(), name.lower())
        }
        if not found:
            known = ", ".join([*(c.id for c in claims), *_known_groups(claims)])
            raise InputError(f"no claim or group is called {name!r}; known are {known}")
        wanted |= found
    return [claim for claim in claims if claim.id in wanted]


def _known_groups(claims: Sequence[Claim]) -> list[str]:
    groups = {claim.group for claim in claims}
    return [*(name for name, group in GROUPS.items() if group in groups), *sorted(groups)]


def _how_to_go_on(options: argparse.Namespace) -> str:
    if options.out is None:
        return "interrupted; with --out DIR, what was measured would be kept and --resume would go on"
    names = " ".join(options.claims)
    flags = f"--scale {options.scale} --seed {options.seed} --out {options.out} --resume"
    return f"interrupted; go on with: manifold-diffusion verify {names + ' ' if names else ''}{flags}"


class _Layout:
    """The table of verdicts, with columns as wide as what is known before anything is measured."""

    def __init__(self, claims: Sequence[Claim], console: Console, scale: Scale):
        self._console, self._scale = console, scale
        known = [_expected(claim, check) for claim in claims for check in claim.checks]
        columns = zip(_HEAD[:4], *known, strict=True)
        self._widths = [*(max(map(len, column)) for column in columns), 9, 18, 12, 7]
        console.line(self._line(_HEAD))

    def _line(self, cells: Sequence[str]) -> str:
        return table([cells], self._widths)[0]

    def show(self, event: Event) -> None:
        """A row for a verdict; the bar moves for all else."""
        if event.kind == "started" and self._scale != "smoke":
            import jax

            # Large programs are rarely of use to the next claim, and those of a whole study take gigabytes.
            jax.clear_caches()
        if event.kind == "judged" and event.result is not None:
            self._console.line(self._line(_row(event.result)))
            if event.result.verdict.verdict != "confirmed":
                self._console.note(f"{event.claim.id}: {event.result.verdict.reason}")
        self._console.progress(event.done, event.total, event.claim.id)

    def finish(self, study: Study) -> None:
        """The tables of the claims, and how many checks ended how."""
        for each in study.tables:
            self._console.line(f"\n{each.title}")
            for line in table([each.head, *([_entry(cell) for cell in row] for row in each.rows)]):
                self._console.line(line)
            self._console.line()
        results = study.results
        verdicts = [result.verdict.verdict for result in results]
        counts = [f"{verdicts.count(v)} {v}" for v in ("confirmed", "refuted", "inconclusive") if v in verdicts]
        self._console.line(f"{len(results)} checks: {', '.join(counts)}")


def _expected(claim: Claim, check: Check) -> tuple[str, str, str, str]:
    return claim.id, f"{check.experiment}: {check.quantity}", check.method, expectation(check)


def _row(result: Result) -> tuple[str, ...]:
    statistic = result.statistic
    interval = "-" if statistic is None else _interval(statistic)
    expected = expectation_at(result)
    value = number(statistic.value) if statistic else "-"
    return *expected, value, interval, result.verdict.verdict, f"{result.seconds:.1f}"


def _interval(statistic: Statistic) -> str:
    return f"[{number(statistic.ci_low)}, {number(statistic.ci_high)}]"


def _entry(cell: str | Statistic | None) -> str:
    return f"{number(cell.value)} {_interval(cell)}" if isinstance(cell, Statistic) else cell or "-"


def expectation_at(result: Result) -> tuple[str, str, str, str]:
    """The first four cells of a row, with the tolerance that the scale uses."""
    import dataclasses

    check = dataclasses.replace(result.check, tolerance=result.check.tolerance_at(result.scale))
    return _expected(result.claim, check)
