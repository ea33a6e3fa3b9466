"""Reading and writing points: .npy, .npz, .csv and .parquet, with an answer to every kind of bad file."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from manifold_diffusion.cli.console import InputError
from manifold_diffusion.cli.tables import Table, read_csv, read_npy, read_npz, read_parquet

ENDINGS = (".npy", ".npz", ".csv", ".parquet")
_NAMED_ROWS = 5
_LARGEST = 1e100


class Points(NamedTuple):
    """Points that were read, what is remarkable about them, and whether they were latitudes and longitudes."""

    rows: np.ndarray
    notes: tuple[str, ...]
    dropped: int
    latlon: bool


def read_points(file: str | Path, array: str | None = None, latlon: bool = False, drop_bad: bool = False) -> Points:
    """The points of a file as finite float64 rows of at least two columns; InputError if there are none to be had."""
    path = Path(file)
    table = _read(path, array, latlon)
    values = _numbers(path, table)
    values, dropped = _finite(path, table, values, drop_bad)
    if latlon:
        values = on_sphere(path, table, values)
    if values.shape[1] < 2:
        raise InputError(f"{path} has one column; points need at least two coordinates")
    if np.all(values == values[:1]):
        raise InputError(f"{path}: all {len(values)} rows are equal; give points that differ")
    return Points(values, _remarks(path, values, dropped), dropped, latlon)


def _read(path: Path, array: str | None, latlon: bool) -> Table:
    ending = _ending(path)
    if array is not None and ending != ".npz":
        raise InputError(f"--array chooses an array of an .npz file, and {path} is not one; leave it out")
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; name a file")
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty; write points into it")
        readers = {".npy": read_npy, ".parquet": read_parquet}
        if ending == ".npz":
            return read_npz(path, array)
        return read_csv(path, latlon) if ending == ".csv" else readers[ending](path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {(error.strerror or str(error)).lower()}; check the name") from error
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory, or its header is damaged; give fewer points") from error


def _ending(path: Path) -> str:
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"{path}: the ending {path.suffix!r} is not known; use one of {', '.join(ENDINGS)}")
    return path.suffix.lower()


def _numbers(path: Path, table: Table) -> np.ndarray:
    values = table.values
    if values.dtype.kind not in "fiub":
        raise InputError(f"{path} holds {values.dtype} values; points are real numbers")
    if values.ndim == 1:
        raise InputError(f"{path} has one column; points need at least two coordinates")
    if values.ndim != 2:
        flat = f"({values.shape[0]}, {int(np.prod(values.shape[1:]))})" if values.ndim else "(n, d)"
        raise InputError(f"{path} has shape {values.shape}; rows are points, so reshape it to {flat}")
    if 0 in values.shape:
        raise InputError(f"{path} has no {'rows' if len(values) == 0 else 'columns'}; write points into it")
    return values.astype(np.float64)


def _finite(path: Path, table: Table, values: np.ndarray, drop_bad: bool) -> tuple[np.ndarray, int]:
    with np.errstate(invalid="ignore"):
        bad = np.logical_not(np.all(np.abs(values) <= _LARGEST, axis=1))
    count = int(bad.sum())
    if count and not drop_bad:
        rows = np.flatnonzero(bad)
        named = ", ".join(table.name(row) for row in rows[:_NAMED_ROWS].tolist())
        more = f" and {count - _NAMED_ROWS} more" if count > _NAMED_ROWS else ""
        what = "too large" if np.isfinite(values[bad]).all() else "NaN, infinite or missing"
        raise InputError(f"{path}: values are {what} in row{'s' * (count > 1)} {named}{more}; --drop-bad drops them")
    if count == len(values):
        raise InputError(f"{path}: no row is left after dropping {count} with NaN or infinities; give better data")
    table.keep(~bad)
    return values[~bad], count


def on_sphere(path: Path, table: Table, degrees: np.ndarray) -> np.ndarray:
    """(cos lat cos lon, cos lat sin lon, sin lat) of rows (lat, lon) in degrees."""
    if degrees.shape[1] != 2:
        raise InputError(
            f"{path} has {degrees.shape[1]} columns; --coordinates latlon needs latitude and longitude only"
        )
    for column, name, low, high in ((0, "latitude", -90, 90), (1, "longitude", -180, 360)):
        outside = np.flatnonzero((degrees[:, column] < low) | (degrees[:, column] > high)).tolist()
        if outside:
            value = f"{name} {degrees[outside[0], column]:g} in row {table.name(outside[0])}"
            raise InputError(f"{path}: {value} is outside {low} to {high} degrees; columns are latitude, longitude")
    latitude, longitude = np.radians(degrees).T
    return np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=1
    )


def to_degrees(points: np.ndarray) -> np.ndarray:
    """Latitude and longitude in degrees of the directions of the points."""
    x, y, z = points.T
    return np.degrees(np.stack([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)], axis=1))


def _remarks(path: Path, values: np.ndarray, dropped: int) -> tuple[str, ...]:
    notes = [f"{path}: dropped {dropped} rows with NaN or infinities"] if dropped else []
    constant = np.flatnonzero(np.ptp(values, axis=0) == 0)
    if len(constant):
        notes.append(f"{path}: {_columns(constant)} constant; they add nothing")
    repeated = _repeated_columns(np.delete(values, constant, axis=1))
    if repeated:
        notes.append(f"{path}: {repeated} columns repeat another; distances count them twice")
    duplicates = len(values) - len(np.unique(values, axis=0))
    if duplicates:
        notes.append(
            f"{path}: {duplicates} of {len(values)} points repeat another; distances are taken to the distinct ones, "
            "and fresh points are expected to repeat data as often"
        )
    return tuple(notes)


def _columns(indices: np.ndarray) -> str:
    named = ", ".join(str(i + 1) for i in indices[:_NAMED_ROWS])
    more = f" and {len(indices) - _NAMED_ROWS} more" if len(indices) > _NAMED_ROWS else ""
    return f"columns {named}{more} are" if len(indices) > 1 else f"column {named} is"


def _repeated_columns(values: np.ndarray) -> int:
    return values.shape[1] - len(np.unique(values.T, axis=0)) if values.size else 0


def check_output(file: str) -> Path:
    """The path, if a new file with a known ending can be written there."""
    path = Path(file)
    ending = _ending(path)
    if path.exists():
        raise InputError(f"{path} exists; remove it, or name another file")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; make it, or name another file")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"the folder {path.parent} cannot be written to; name another file")
    if ending == ".parquet":
        from manifold_diffusion.cli.tables import pyarrow_parquet

        pyarrow_parquet(path)
    return path


def write_points(path: Path, points: np.ndarray, latlon: bool) -> None:
    """Write the points whole or not at all, as latitude and longitude if `latlon`."""
    values = to_degrees(points) if latlon else points
    names = ["latitude", "longitude"] if latlon else [f"x{i + 1}" for i in range(values.shape[1])]
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        _write(temporary, values, names)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"cannot write {path}: {error.strerror or error}; make room, or name another file") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write(path: Path, values: np.ndarray, names: list[str]) -> None:
    ending = _ending(path)
    if ending == ".npy":
        np.save(path, values, allow_pickle=False)
    elif ending == ".npz":
        np.savez(path, points=values)
    elif ending == ".csv":
        np.savetxt(path, values, fmt="%.17g", delimiter=",", header=",".join(names), comments="")
    else:
        from manifold_diffusion.cli.tables import write_parquet

        write_parquet(path, values, names)
