"""`audit`: what the manifold of the data looks like, and whether generated points are new, faithful and covering."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from manifold_diffusion import __version__, evaluation
from manifold_diffusion.cli.console import Console, InputError, number, table
from manifold_diffusion.cli.points import Points, read_points
from manifold_diffusion.studies.manifest import read_json, write_json


def run(options: argparse.Namespace, console: Console) -> int:
    """Read, audit, show, write."""
    arguments = _arguments(options)
    folder = _checked_folder(options.out, arguments)
    data = _read(options, options.data)
    generated, held_out = (None if f is None else _read(options, f) for f in (options.generated, options.held_out))
    for sample in (data, generated, held_out):
        for note in sample.notes if sample else ():
            console.note(note)
    try:
        found = evaluation.audit(
            data.rows,
            generated and generated.rows,
            held_out and held_out.rows,
            key=jax.random.key(options.seed),
        ).as_dict()
    except ValueError as error:
        raise InputError(f"{options.data}: {error}") from error
    if folder is not None:
        write_json(folder / "audit.json", found)
        write_json(folder / "manifest.json", arguments)
        console.note(f"written to {folder}")
    console.document(found)
    for line in _lines(found):
        console.line(line)
    return 0


def _files(options: argparse.Namespace) -> dict[str, str | None]:
    return {"data": options.data, "generated": options.generated, "held_out": options.held_out}


def _read(options: argparse.Namespace, file: str) -> Points:
    array = options.array if file == options.data or file.lower().endswith(".npz") else None
    return read_points(file, array, options.coordinates == "latlon", options.drop_bad)


def _arguments(options: argparse.Namespace) -> dict[str, Any]:
    names = ("array", "coordinates", "drop_bad", "seed")
    return {**_files(options), **{name: getattr(options, name) for name in names}, "version": __version__}


def _checked_folder(out: str | None, arguments: Mapping[str, Any]) -> Path | None:
    if out is None:
        return None
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder")
    old = read_json(folder / "manifest.json") if (folder / "manifest.json").exists() else None
    if old is not None and old != dict(arguments):
        raise InputError(f"{folder} was written with other arguments; name another folder")
    return folder


def _lines(found: Mapping[str, Any]) -> list[str]:
    dim = found["dim"]
    rows = [
        ("points", f"{found['n']} in dimension {found['ambient_dim']}", f"{found['duplicates']} repeat another"),
        ("dimension", str(dim["used"]), "as whole number, used for all that follows"),
        *(("", _with_interval(e["value"], (e["ci_low"], e["ci_high"])), f"by {e['estimator']}") for e in dim["all"]),
        ("spacing", number(found["spacing"]), "median distance to the nearest neighbour"),
        ("noise", number(found["noise"]), "standard deviation off the manifold, per direction"),
        ("curvature", number(found["curvature"]), "root mean square"),
        ("reach", number(found["reach"]), "smallest radius of a tangent ball, 5 % quantile"),
        ("collapse scale", number(found["collapse_scale"]), "noise level below which a score sees single points"),
    ]
    new = found["generated"]
    return table(rows) if new is None else [*table(rows), "", *_generated_lines(new)]


def _generated_lines(new: Mapping[str, Any]) -> list[str]:
    support, covered = new["support_distance"], new["coverage"]
    rows = [
        ("GENERATED", "MEASURED", "FRESH POINTS"),
        (
            "points",
            str(new["n"]),
            f"{new['non_finite']} not finite, {new['repeats']} repeats, {new['copies']} copies of data",
        ),
        ("distance to manifold, median", number(support["median"]), number(support["null_median"])),
        ("distance to manifold, q99", number(support["q99"]), number(support["null_q99"])),
        (
            f"beyond {number(support['limit'])}",
            _with_interval(support["beyond"], support["beyond_ci"]),
            number(support["beyond_null"]),
        ),
        ("novelty ratio", _with_interval(new["novelty_ratio"], new["novelty_ratio_ci"]), "1"),
        (
            "memorised fraction",
            _with_interval(new["memorised_fraction"], new["memorised_fraction_ci"]),
            _with_interval(new["memorised_null"], new["memorised_null_ci"])
            + f", in theory {number(new['memorised_expected'])}",
        ),
        (
            "authentic %",
            number(new["authentic_pct"]),
            f"{number(new['authentic_null_pct'])}, in theory {number(new['authentic_expected_pct'])}",
        ),
        (
            f"covered within {number(covered['radius'])}",
            _with_interval(covered["covered"], covered["covered_ci"]),
            _with_interval(covered["null"], covered["null_ci"]),
        ),
    ]
    return [*table(rows), "", f"verdict: {new['verdict']} ({new['reason']})"]


def _with_interval(value: float | None, ends) -> str:
    low, high = (number(end) for end in ends)
    return number(value) if value is None else f"{number(value)} [{low}, {high}]"
