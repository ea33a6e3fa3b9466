"""Running a study: measure what is missing, judge each claim as soon as its cells are there, write it all down.

A measurement depends on nothing but its key, and its key on the seed, the claim, the experiment, the size and the
replicate, so results do not depend on which other claims or sizes are run, nor on whether the study was interrupted.
"""

import dataclasses
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import jax

from manifold_diffusion._types import Key
from manifold_diffusion.studies.cells import Ledger, cell_values
from manifold_diffusion.studies.claim import Cell, Claim, Experiment, Number, Result, Scale, StudyError, Table
from manifold_diffusion.studies.manifest import (
    claim_row,
    describe,
    now,
    read_json,
    require_same,
    resumed,
    write_bytes,
    write_json,
)
from manifold_diffusion.studies.report import markdown, page
from manifold_diffusion.studies.summary import decide, tables


@dataclasses.dataclass(frozen=True)
class Event:
    """What a study tells while it runs: a claim was started, a measurement was made or found (`cells`), a check was
    judged.

    `done` of `total` measurements of the whole study are there.
    """

    kind: Literal["started", "measured", "judged"]
    claim: Claim
    done: int
    total: int
    cells: tuple[Cell, ...] = ()
    result: Result | None = None


@dataclasses.dataclass(frozen=True)
class Study:
    """A study that is done: its results in the order of the claims and their checks, its cells, what it was."""

    results: tuple[Result, ...]
    cells: tuple[Cell, ...]
    manifest: dict[str, Any]
    rows: tuple[dict[str, Any], ...]

    @property
    def confirmed(self) -> bool:
        """Whether every check was confirmed."""
        return all(result.verdict.verdict == "confirmed" for result in self.results)

    @property
    def tables(self) -> list[Table]:
        """What the claims sum up in tables."""
        return tables(self.results, self.cells)


def verify(
    claims: Sequence[Claim],
    scale: Scale = "cpu",
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    on_event: Callable[[Event], None] | None = None,
    plot: bool = True,
) -> Study:
    """Measure and judge the claims, and write cells, claims, figures, report and manifest to the folder `out` if there
    is one.

    A measurement that raises becomes cells with its error, and the study goes on. KeyboardInterrupt leaves whole cells
    behind. With `resume`, cells that are in `out` are not measured again. StudyError where that folder holds another
    study, or cannot be written.
    """
    _require_runnable(claims, scale)
    folder = None if out is None else Path(out)
    manifest = describe(claims, scale, seed)
    if folder is not None:
        manifest = _prepare(folder, manifest, resume)
    tell = on_event or (lambda event: None)
    with Ledger(claims, folder and folder / "cells.jsonl") as ledger:
        if folder is not None:
            write_json(folder / "manifest.json", manifest)
        results, cells, rows, figures = [], [], [], {}
        for claim, total, before in _progress(claims, scale):
            judged, measured = _verify_claim(claim, scale, seed, ledger, tell, before, total)
            drawn = {}
            if plot and folder is not None:
                try:
                    drawn = _draw(claim, judged, measured, seed)
                except Exception as error:  # a figure is not worth losing a study for
                    manifest["not_drawn"].append(f"{claim.id}: {_one_line(error)}")
            figures[claim.id] = drawn
            results += judged
            cells += measured
            rows += [claim_row(result, manifest, next(iter(drawn), None)) for result in judged]
            if folder is not None:
                for path, image in drawn.items():
                    write_bytes(folder / path, image)
                write_json(folder / "claims.json", rows)
        manifest = {**manifest, "finished": now()}
        if folder is not None:
            write_bytes(folder / "report.md", markdown(results, cells, manifest, figures).encode())
            write_bytes(folder / "report.html", page(results, cells, manifest, figures).encode())
            write_json(folder / "manifest.json", manifest)
    return Study(tuple(results), tuple(cells), manifest, tuple(rows))


def cell_key(seed: int, claim: str, experiment: str, size: Number, replicate: int) -> Key:
    """The key of a measurement: the seed, then the claim, the experiment, the size and the replicate folded in."""
    key = jax.random.key(seed)
    for part in (claim, experiment, repr(float(size))):
        key = jax.random.fold_in(key, zlib.crc32(part.encode()))
    return jax.random.fold_in(key, replicate)


def measure(claim: Claim, experiment: Experiment, size: Number, replicate: int, seed: int) -> tuple[Cell, ...]:
    """The cells of one measurement, one for each method; an exception becomes their error."""
    start = time.perf_counter()
    try:
        with jax.enable_x64(experiment.x64):
            outcome = dict(experiment.measure(cell_key(seed, claim.id, experiment.name, size, replicate), float(size)))
            values = {method: cell_values(outcome[method]) for method in experiment.methods if method in outcome}
        undeclared = sorted(set(outcome) - set(experiment.methods))
        error = f"measured methods that the experiment does not declare: {undeclared}" if undeclared else None
    except Exception as exception:  # whatever a measurement raises is a result of the study
        values, error = {}, _one_line(exception)
    seconds = time.perf_counter() - start

    def cell(method: str) -> Cell:
        found, trouble = values.get(method, ({}, "the measurement did not give this method"))
        return Cell(claim.id, experiment.name, method, float(size), replicate, found, seconds, error or trouble)

    return tuple(cell(method) for method in experiment.methods)


def _verify_claim(
    claim: Claim, scale: Scale, seed: int, ledger: Ledger, tell: Callable[[Event], None], done: int, total: int
) -> tuple[list[Result], list[Cell]]:
    tell(Event("started", claim, done, total))
    judged, everything = {}, []
    for experiment in (each for each in claim.experiments if scale in each.grids):
        cells = []
        for size, replicate in _grid(experiment, scale):
            found = ledger.find((claim.id, experiment.name, size, replicate))
            if found is None:
                found = measure(claim, experiment, size, replicate, seed)
                ledger.append(found)
            cells += found
            done += 1
            tell(Event("measured", claim, done, total, cells=found))
        for i, check in enumerate(claim.checks):
            if check.experiment == experiment.name:
                judged[i] = decide(claim, check, scale, cells, seed)
                tell(Event("judged", claim, done, total, result=judged[i]))
        everything += cells
    return [judged[i] for i in sorted(judged)], everything


def _draw(claim: Claim, results: Sequence[Result], cells: Sequence[Cell], seed: int) -> dict[str, bytes]:
    """The figures of a claim: {path: PNG file}, the one that goes into claims.json first."""
    from manifold_diffusion.studies.figure import claim_figure, png  # matplotlib takes a third of a second
    from manifold_diffusion.studies.gallery import samples_figure

    drawn = {f"figures/{claim.id}.png": png((claim.figure or claim_figure)(claim, results, cells))}
    if claim.samples is not None:
        points = claim.samples(cell_key(seed, claim.id, "samples", 0.0, 0))
        drawn[f"figures/{claim.id}-samples.png"] = png(samples_figure(points, f"{claim.id}  Samples"))
    return drawn


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _grid(experiment: Experiment, scale: Scale) -> Iterator[tuple[float, int]]:
    grid = experiment.grids[scale]
    return ((float(size), replicate) for size in grid.sizes for replicate in range(grid.replicates))


def _progress(claims: Sequence[Claim], scale: Scale) -> Iterator[tuple[Claim, int, int]]:
    """Each claim, with the number of measurements of the study and of those before it."""
    counts = [
        sum(1 for each in claim.experiments if scale in each.grids for _ in _grid(each, scale)) for claim in claims
    ]
    for i, claim in enumerate(claims):
        yield claim, sum(counts), sum(counts[:i])


def _require_runnable(claims: Sequence[Claim], scale: Scale) -> None:
    ids = [claim.id for claim in claims]
    if len(set(ids)) < len(ids):
        raise StudyError(f"each claim can be verified once; got {' '.join(ids)}")
    for claim in claims:
        if not any(scale in claim.experiment(check.experiment).grids for check in claim.checks):
            raise StudyError(f"claim {claim.id} has nothing to check at scale {scale}; use another scale")


def _prepare(folder: Path, manifest: dict[str, Any], resume: bool) -> dict[str, Any]:
    """Make the folder, or make sure that the study in it can be resumed; the manifest to write."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        started = (folder / "manifest.json").exists()
        path = folder / "cells.jsonl"
        cells = path.exists() and path.stat().st_size > 0
    except OSError as error:
        raise StudyError(f"cannot use {folder} as a folder: {error.strerror}; name another") from error
    if not started and not cells:
        return manifest
    if not started:
        raise StudyError(
            f"{folder} has cells.jsonl but no manifest.json that says what was measured; name another folder"
        )
    old = read_json(folder / "manifest.json")
    require_same(old, manifest, folder)
    if not resume:
        raise StudyError(f"{folder} already holds this study; continue it with --resume, or name another folder")
    return resumed(old, manifest)
