"""Arrays from files of each format, before anything is asked of their values."""

import csv
import pickle
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from manifold_diffusion.cli.console import InputError

_NUMPY_MAGIC = b"\x93NUMPY"
_ZIP_MAGIC = b"PK"


class Table:
    """An array and, for text, the line of the file that each row came from."""

    def __init__(self, values: np.ndarray, lines: np.ndarray | None = None):
        self.values, self.lines = values, lines
        self._rows = np.arange(1, len(values) + 1) if values.ndim else np.array([], int)

    def name(self, row: int) -> str:
        """The number of a row, counted from 1 as in the file, and its line if the file is text."""
        line = "" if self.lines is None else f" (line {self.lines[row]})"
        return f"{self._rows[row]}{line}"

    def keep(self, chosen: np.ndarray) -> None:
        """Forget the other rows."""
        self._rows = self._rows[chosen]
        self.lines = None if self.lines is None else self.lines[chosen]


def read_npy(path: Path) -> Table:
    """The array of an .npy file; pickled objects are refused."""
    with open(path, "rb") as file:
        if file.read(len(_NUMPY_MAGIC)) != _NUMPY_MAGIC:
            raise InputError(f"{path} is not an .npy file; write it with numpy.save, or rename it")
        file.seek(0)
        return Table(_load(path, file))


def _load(path: Path, file) -> np.ndarray:
    try:
        return np.lib.format.read_array(file, allow_pickle=False)
    except (
        ValueError,
        EOFError,
        SyntaxError,
        TypeError,
        KeyError,
        OverflowError,
        zlib.error,
        zipfile.BadZipFile,
    ) as error:
        if "Object arrays" in str(error):
            raise InputError(f"{path} holds pickled objects, which are not read; save numbers") from error
        raise InputError(f"{path} is truncated or damaged; write it again") from error


def read_npz(path: Path, array: str | None) -> Table:
    """The named array of an .npz file, or its only one."""
    with open(path, "rb") as file:
        if file.read(len(_ZIP_MAGIC)) != _ZIP_MAGIC:
            raise InputError(f"{path} is not an .npz file; write it with numpy.savez, or rename it")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            chosen = _choose(path, names, array)
            with archive.open(f"{chosen}.npy") as member:
                return Table(_load(path, member))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path} is truncated or damaged; write it again") from error


def _choose(path: Path, names: list[str], array: str | None) -> str:
    if not names:
        raise InputError(f"{path} holds no array; write one with numpy.savez")
    if array is None and len(names) > 1:
        raise InputError(f"{path} holds {len(names)} arrays; choose one with --array: {', '.join(names)}")
    if array is not None and array not in names:
        raise InputError(f"{path} has no array {array!r}; it has {', '.join(names)}")
    return names[0] if array is None else array


def read_csv(path: Path, latlon: bool = False) -> Table:
    """Numbers between commas, semicolons, tabs or blanks; a first row that is not all numbers is a header; # comments.

    Empty cells are NaN. With `latlon` and a header that names them, the columns of latitude and longitude are chosen.
    """
    rows = list(_text_rows(path))
    if not rows:
        raise InputError(f"{path} has no rows; write points into it")
    header = [cell.strip() for cell in rows[0][1]] if not all(_is_number(cell) for cell in rows[0][1]) else None
    if header is not None:
        rows = rows[1:]
        if not rows:
            raise InputError(f"{path} has a header and no rows; write points into it")
    columns = _latlon_columns(header) if latlon and header is not None else None
    width = len(rows[0][1]) if header is None else len(header)
    lines, values = [], []
    for number, (line, cells) in enumerate(rows, start=1):
        if len(cells) != width:
            raise InputError(
                f"{path}: row {number} (line {line}) has {len(cells)} columns, not {width}; make them equal"
            )
        chosen = cells if columns is None else [cells[i] for i in columns]
        values.append([_to_number(path, cell, number, line) for cell in chosen])
        lines.append(line)
    return Table(np.array(values, np.float64), np.array(lines))


def _text_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            delimiter = None
            for line, text in enumerate(file, start=1):
                text = text.split("#", 1)[0].strip()
                if not text:
                    continue
                if delimiter is None:
                    delimiter = next((mark for mark in ",;\t" if mark in text), " ")
                cells = text.split() if delimiter == " " else next(csv.reader([text], delimiter=delimiter))
                yield line, cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a text file of numbers; write it as .csv, or rename it") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return not cell.strip()
    return True


def _to_number(path: Path, cell: str, row: int, line: int) -> float:
    try:
        return float(cell) if cell.strip() else float("nan")
    except ValueError as error:
        shown = cell if len(cell) <= 40 else cell[:37] + "..."
        raise InputError(
            f"{path}: {shown!r} in row {row} (line {line}) is not a number; keep columns of numbers"
        ) from error


def _latlon_columns(header: list[str]) -> list[int] | None:
    names = [name.lower() for name in header]
    found = [[i for i, name in enumerate(names) if name.startswith(start)] for start in ("lat", "lon")]
    return [found[0][0], found[1][0]] if all(len(each) == 1 for each in found) else None


def pyarrow_parquet(path: Path):
    """The parquet module of pyarrow, which is an extra."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f"{path}: .parquet files need pyarrow; install it with pip install 'manifold-diffusion[parquet]'"
        ) from error
    return pyarrow.parquet


def read_parquet(path: Path) -> Table:
    """The columns of a .parquet file, which must be numbers; nulls are NaN."""
    parquet = pyarrow_parquet(path)
    import pyarrow

    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, pickle.UnpicklingError) as error:
        raise InputError(f"{path} is not a .parquet file, or it is damaged; write it again") from error
    for field in table.schema:
        kinds = pyarrow.types.is_integer, pyarrow.types.is_floating, pyarrow.types.is_boolean, pyarrow.types.is_decimal
        if not any(kind(field.type) for kind in kinds):
            raise InputError(f"{path}: column {field.name!r} holds {field.type} values; keep columns of numbers")
    if table.num_columns == 0:
        raise InputError(f"{path} has no columns; write points into it")
    columns = [column.cast(pyarrow.float64()).to_numpy() for column in table.columns]
    return Table(np.stack(columns, axis=1).astype(np.float64))


def write_parquet(path: Path, values: np.ndarray, names: list[str]) -> None:
    """One column for each coordinate."""
    parquet = pyarrow_parquet(path)
    import pyarrow

    parquet.write_table(pyarrow.table({name: column for name, column in zip(names, values.T, strict=True)}), path)
