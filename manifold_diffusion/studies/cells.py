"""Cells on disk: one JSON line per (claim, experiment, method, size, replicate), appended as soon as it is measured.

The rows of one measurement (all its methods) are one write, flushed to the disk before the study goes on, so a crash
can only tear the end of the file: a last line that is not whole, or a last measurement without all its methods, is cut
off when the file is opened again and measured anew. Floats are written with `repr`, which reads back bit for bit. The
file is locked while it is open, so that two processes cannot measure the same cells into it.
"""

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from manifold_diffusion.studies.claim import Cell, Claim, StudyError

try:
    import fcntl
except ImportError:  # Windows, where the file is not locked
    fcntl = None

Address: TypeAlias = tuple[str, str, float, int]
"""(claim, experiment, size, replicate): one measurement, which gives a cell for each method."""

FIELDS = {field.name for field in dataclasses.fields(Cell)}


class Ledger:
    """The cells of a study by the measurement they come from, in a file if it has a path, else in memory."""

    def __init__(self, claims: Iterable[Claim], path: Path | None = None):
        self._methods = {(claim.id, each.name): each.methods for claim in claims for each in claim.experiments}
        self._cells: dict[Address, tuple[Cell, ...]] = {}
        self._file = None if path is None else CellFile(path)
        if self._file is not None:
            try:
                self._load(self._file)
            except BaseException:
                self.close()
                raise

    def find(self, address: Address) -> tuple[Cell, ...] | None:
        """The cells of this measurement, None if it has not been made."""
        return self._cells.get(address)

    def append(self, cells: Sequence[Cell]) -> None:
        """Keep the cells of one measurement; once this returns they outlive a crash."""
        if self._file is not None:
            self._file.append(cells)
        self._cells[_address(cells[0])] = tuple(cells)

    def close(self) -> None:
        """Unlock the file, if there is one."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load(self, file: "CellFile") -> None:
        for cell in file.cells:
            group = self._cells.get(_address(cell), ())
            if cell.method in [other.method for other in group]:
                raise StudyError(f"{file.path} has a cell twice: {_name(cell)}; use another folder")
            self._cells[_address(cell)] = (*group, cell)
        last = _address(file.cells[-1]) if file.cells else None
        for address, group in list(self._cells.items()):
            found, declared = {cell.method for cell in group}, set(self._methods.get(address[:2], ()))
            if not declared or found == declared:
                continue
            if address != last or not found < declared:
                name = _name(group[0])
                raise StudyError(f"{file.path}: {name} has other methods than {sorted(declared)}; use another folder")
            file.drop(len(self._cells.pop(address)))


class CellFile:
    """The open, locked file: the whole cells that it held when opened, its torn end cut off, and what is added."""

    def __init__(self, path: Path):
        self.path = path
        self._file = _open(path)
        try:
            with open(path, "rb") as file:
                self._lines = file.read().splitlines(keepends=True)
            self.cells = self._parse()
            self.drop(0)
        except BaseException:
            self.close()
            raise

    def append(self, cells: Sequence[Cell]) -> None:
        """Write the cells at the end, all or none, and wait for the disk."""
        end = os.fstat(self._file).st_size
        rest = memoryview("".join(_line(cell) for cell in cells).encode())
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, end)
            message = f"cannot write {self.path}: {error.strerror}; what was measured is kept, continue with --resume"
            raise StudyError(message) from error

    def drop(self, count: int) -> None:
        """Cut off the last `count` of the cells that the file was opened with."""
        self.cells = self.cells[: len(self.cells) - count]
        os.ftruncate(self._file, sum(len(line) for line in self._lines[: len(self.cells)]))

    def close(self) -> None:
        """Unlock the file."""
        os.close(self._file)

    def _parse(self) -> list[Cell]:
        cells = []
        for number, line in enumerate(self._lines, start=1):
            try:
                cells.append(_parse(line))
            except ValueError as error:
                if number < len(self._lines):
                    message = f"{self.path}, line {number} is not a cell ({error}); use another folder"
                    raise StudyError(message) from error
        return cells


def cell_values(values: Mapping[str, Any]) -> tuple[dict[str, float | int | None], str | None]:
    """Plain numbers that JSON can hold: what is not finite becomes None, and the second value says which they were."""
    plain = {name: value if isinstance(value, int) else float(value) for name, value in values.items()}
    bad = [f"{name} is {value}" for name, value in plain.items() if not math.isfinite(value)]
    finite = {name: value if math.isfinite(value) else None for name, value in plain.items()}
    return finite, ", ".join(bad) or None


def _open(path: Path) -> int:
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror}; name another folder") from error
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(file)
            raise StudyError(
                f"another process is measuring into {path}; wait for it, or name another folder"
            ) from error
        except OSError:
            pass  # a file system without locks
    return file


def _line(cell: Cell) -> str:
    return json.dumps(dataclasses.asdict(cell), allow_nan=False) + "\n"


def _parse(line: bytes) -> Cell:
    row = json.loads(line)
    if not line.endswith(b"\n") or not isinstance(row, dict) or set(row) != FIELDS:
        raise ValueError("it lacks fields or its end")
    return Cell(**row)


def _address(cell: Cell) -> Address:
    return cell.claim, cell.experiment, float(cell.size), cell.replicate


def _name(cell: Cell) -> str:
    return f"{cell.claim}/{cell.experiment}, {cell.method}, size {cell.size:g}, replicate {cell.replicate}"
