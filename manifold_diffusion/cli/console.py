"""The interface of this folder: where output goes, and the error that ends a command with one line."""

import json
import math
import sys
from collections.abc import Sequence
from typing import Any


class InputError(Exception):
    """Bad input: the message names the file, the row or the value, and the remedy, on one line."""


class Console:
    """Results on standard output, notes and a progress bar on standard error."""

    def __init__(self, quiet: bool, as_json: bool):
        self.quiet, self.as_json = quiet, as_json
        self._bar = None

    def note(self, message: str) -> None:
        """A remark on standard error, unless --quiet."""
        if not self.quiet:
            self._above_bar(lambda: print(f"manifold-diffusion: {message}", file=sys.stderr, flush=True))

    def line(self, text: str = "") -> None:
        """A line for people, at once; nothing with --json."""
        if not self.as_json:
            self._above_bar(lambda: print(text, flush=True))

    def document(self, value: Any) -> None:
        """The one document of --json; nothing without it."""
        if self.as_json:
            print(json.dumps(value, indent=2, allow_nan=False), flush=True)

    def progress(self, done: int, total: int, what: str) -> None:
        """Move the bar; there is one on a terminal only, and none with --quiet."""
        if self.quiet or not sys.stderr.isatty():
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=total, file=sys.stderr, leave=False, dynamic_ncols=True)
        self._bar.set_description(what, refresh=False)
        self._bar.n, self._bar.total = done, total
        self._bar.refresh()

    def clear(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _above_bar(self, write) -> None:
        if self._bar is not None:
            self._bar.clear()
        write()
        if self._bar is not None:
            self._bar.refresh()


def table(rows: Sequence[Sequence[str]], widths: Sequence[int] | None = None) -> list[str]:
    """Rows as aligned lines; the last column is not padded."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if widths is None else widths
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def number(value: float | None, digits: int = 4) -> str:
    """A number for people; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}g}"
