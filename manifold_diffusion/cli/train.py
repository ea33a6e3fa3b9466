"""`train`: a neural score model of the data, kept in a folder that is valid at every moment."""

import argparse
import hashlib
import math
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion import evaluation, geometry, training
from manifold_diffusion._files import replace
from manifold_diffusion._types import Key
from manifold_diffusion.cli import models
from manifold_diffusion.cli.console import Console, InputError, number
from manifold_diffusion.cli.generate import find_dim, standardisation
from manifold_diffusion.cli.points import read_points
from manifold_diffusion.studies.training_report import report, write_samples

_COLUMNS = {
    "step": 8,
    "loss": 9,
    "held_out": 9,
    "distance": 9,
    "novelty": 8,
    "memorised": 10,
    "dimension": 10,
    "ratio": 7,
}
_FIRST_LOOK = 100
_LEAST_HELD_OUT = 2


class Split(NamedTuple):
    """Standardised points to train on, and others to watch by."""

    train: np.ndarray
    held_out: np.ndarray
    centre: np.ndarray
    scale: float
    fingerprint: str


def run(options: argparse.Namespace, console: Console) -> int:
    """Read, train, keep, report."""
    start = time.perf_counter()
    folder = Path(options.out)
    key = jax.random.key(options.seed)
    split, notes = _split(options, jax.random.fold_in(key, 0))
    for note in notes:
        console.note(note)
    if options.dim == "auto":
        options.dim = _dim_of(split.train, options, console)
    description = models.describe(options, split.train, split.fingerprint, split.centre, split.scale)
    _check_folder(folder, options.resume)
    data = jnp.asarray(split.train, jnp.float32)
    model, recipe = models.build(description), models.recipe(description)
    watch = _watch(options, split, data, description, jax.random.fold_in(key, 2), console)

    def look(model, step):
        values, new = watch.look(model)
        write_samples(folder, step, new * split.scale + split.centre)
        return _in_units(values, split.scale)

    shown = []

    def show(seen):
        if not shown:
            console.line("  ".join(name.rjust(width) for name, width in _COLUMNS.items()))
        shown.append(seen)
        console.line(_row(seen))
        console.progress(seen.step, options.steps, "training")

    console.progress(0, options.steps, "training")
    try:
        trained = training.fit(
            jax.random.fold_in(key, 3),
            model,
            data,
            recipe,
            options.steps,
            looks=_looks(options.steps, options.looks),
            watch=look,
            stopping=_stopping(options),
            checkpoints=training.Checkpoints(folder, description, console.note),
            resume=options.resume,
            on_look=show,
        )
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(_how_to_go_on(options)) from stop
    console.clear()
    report(folder, trained.history, trained.best_step, np.asarray(split.train) * split.scale + split.centre)
    best = next(seen for seen in trained.history if seen.step == trained.best_step)
    console.document(_summary(options, description, trained, best, time.perf_counter() - start))
    console.line(f"best after {trained.best_step} of {trained.history[-1].step} steps; kept in {folder}")
    console.line(
        f"generate from it: manifold-diffusion generate {options.data} --method neural --checkpoint {folder} ..."
    )
    return 0


def _how_to_go_on(options: argparse.Namespace) -> str:
    arguments = [*options.arguments, *([] if options.resume else ["--resume"])]
    return f"interrupted; go on with: manifold-diffusion {shlex.join(arguments)}"


def _split(options: argparse.Namespace, key: Key) -> tuple[Split, tuple[str, ...]]:
    data = read_points(options.data, options.array, options.coordinates == "latlon", options.drop_bad)
    rows, notes = data.rows, list(data.notes)
    fingerprint = hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()[:16]
    if options.held_out is not None:
        other = read_points(options.held_out, None, options.coordinates == "latlon", options.drop_bad)
        if other.rows.shape[1] != rows.shape[1]:
            raise InputError(f"{options.held_out} has {other.rows.shape[1]} columns, {options.data} {rows.shape[1]}")
        train, held_out = rows, other.rows
    else:
        count = max(_LEAST_HELD_OUT, round(options.hold_out * len(rows)))
        if len(rows) < count + 4:
            raise InputError(f"{options.data} has {len(rows)} points; training takes at least {_LEAST_HELD_OUT + 4}")
        order = np.asarray(jax.random.permutation(key, len(rows)))
        train, held_out = rows[order[count:]], rows[order[:count]]
        notes.append(f"{count} of {len(rows)} points are held out to watch by; --held-out names others")
    centre, scale = standardisation(train)
    return Split((train - centre) / scale, (held_out - centre) / scale, centre, scale, fingerprint), tuple(notes)


def _dim_of(rows: np.ndarray, options: argparse.Namespace, console: Console) -> int:
    dim, notes = find_dim(evaluation.distinct(rows).points, options)
    for note in notes:
        console.note(note)
    return dim


def _check_folder(folder: Path, resume: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder")
    kept = [name for name in ("last.ckpt", "previous.ckpt", "best.ckpt") if (folder / name).exists()]
    if kept and not resume:
        raise InputError(f"{folder} holds a training already; go on with it by --resume, or name another folder")
    if resume and not kept:
        raise InputError(f"{folder} holds no training to resume; leave --resume out to begin one")
    try:
        replace(folder / ".writable", b"")
        (folder / ".writable").unlink()
    except OSError as error:
        raise InputError(f"cannot write into {folder}: {error.strerror}; name another folder") from error


def _watch(options, split: Split, data, description, key: Key, console: Console) -> evaluation.LearningWatch:
    return evaluation.LearningWatch(
        data,
        jnp.asarray(split.held_out, jnp.float32),
        lambda model: models.sampler(model, data, description),
        key,
        _manifold(split.train, options.dim, key, console),
    )


def _manifold(rows: np.ndarray, dim: int, key: Key, console: Console) -> geometry.EstimatedAtlas | None:
    """The atlas of the data, to measure distances by; None where the points do not suffice for one."""
    distinct = evaluation.distinct(rows).points
    try:
        degree = evaluation.choose_degree(distinct, dim, key=key).degree
        neighbours = min(geometry.default_neighbours(dim, degree), len(distinct))
        return geometry.fit_atlas(jnp.asarray(distinct, jnp.float32), dim, degree, neighbours)
    except ValueError as error:
        console.note(f"no distance to the manifold is shown: {error}")
        return None


def _looks(steps: int, count: int) -> list[int]:
    """Geometrically growing numbers of steps: much is learned early."""
    first = min(_FIRST_LOOK, steps)
    return sorted({round(float(step)) for step in np.geomspace(first, steps, count)} | {steps})


def _stopping(options: argparse.Namespace) -> training.EarlyStopping | None:
    if options.stop_on == "none":
        return None
    quantity, aim = options.stop_on.replace("-", "_"), "largest" if options.stop_on == "novelty" else "smallest"
    return training.EarlyStopping(quantity, aim, options.patience or options.looks + 1)


def _in_units(values: Mapping[str, float], scale: float) -> dict[str, float]:
    """Distances in the units of the data; all else has none."""
    return {name: value * scale if name == "distance" else value for name, value in values.items()}


def _row(seen: training.Seen) -> str:
    values = {"step": seen.step, "loss": seen.loss, **seen.values}
    cells = {name: values.get(name, math.nan) for name in _COLUMNS}
    return "  ".join(
        (str(cells[name]) if name == "step" else number(cells[name])).rjust(width) for name, width in _COLUMNS.items()
    )


def _summary(options, description, trained: training.Trained, best: training.Seen, seconds: float) -> dict[str, Any]:
    values = {
        name: value if math.isfinite(value) else None for name, value in {"loss": best.loss, **best.values}.items()
    }
    return {
        "model": description["model"],
        "n": description["size"],
        "dim": options.dim,
        "steps": trained.history[-1].step,
        "best_step": trained.best_step,
        **values,
        "seconds": round(seconds, 3),
        "seed": options.seed,
        "out": options.out,
    }
