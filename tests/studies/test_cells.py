"""Cells on disk: every float comes back bit for bit, and no crash loses, doubles or half writes a measurement."""

import errno
import json
import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifold_diffusion.studies import Cell, StudyError
from manifold_diffusion.studies.cells import Ledger, cell_values
from tests.studies.toy import claim

METHODS = ("coarse p=1", "memoriser")


def cells(size=10.0, replicate=0, value=0.1, methods=METHODS):
    return [Cell("T1", "curve", method, size, replicate, {"distance": value}, 0.5) for method in methods]


def address(size=10.0, replicate=0):
    return "T1", "curve", size, replicate


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_floats_come_back_bit_for_bit(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("ledger") / "cells.jsonl"
    with Ledger([claim()], path) as ledger:
        for replicate, value in enumerate(values):
            ledger.append(cells(replicate=replicate, value=value))
    with Ledger([claim()], path) as ledger:
        found = [ledger.find(address(replicate=i))[0].values["distance"] for i in range(len(values))]
    assert [value.hex() for value in found] == [value.hex() for value in values]


def test_a_file_cut_at_any_byte_opens_with_the_whole_measurements_before_the_cut(tmp_path, monkeypatch):
    """What a SIGKILL or a full disk can leave, tried for every length of the file."""
    monkeypatch.setattr(os, "fsync", lambda file: None)  # 10 s of waiting for the disk
    path = tmp_path / "cells.jsonl"
    with Ledger([claim()], path) as ledger:
        for replicate in range(3):
            ledger.append(cells(replicate=replicate, value=0.1 * replicate))
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")][1::2]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        kept = sum(end <= length for end in ends)
        with Ledger([claim()], path) as ledger:
            assert [ledger.find(address(replicate=i)) is not None for i in range(3)] == [i < kept for i in range(3)]
            assert path.read_bytes() == whole[: ends[kept - 1] if kept else 0]
            for replicate in range(kept, 3):
                ledger.append(cells(replicate=replicate, value=0.1 * replicate))
        assert path.read_bytes() == whole


def test_garbage_at_the_end_is_cut_off_and_in_the_middle_is_named(tmp_path):
    path = tmp_path / "cells.jsonl"
    with Ledger([claim()], path) as ledger:
        ledger.append(cells())
    whole = path.read_bytes()
    for garbage in (b"\x00" * 40, b"\xff\xfe{]\n", b'{"claim": "T1"}\n', b"[]\n"):
        path.write_bytes(whole + garbage)
        with Ledger([claim()], path) as ledger:
            assert ledger.find(address()) is not None
        assert path.read_bytes() == whole
        path.write_bytes(whole + garbage.rstrip(b"\n") + b"\n" + whole)
        with pytest.raises(StudyError, match="line 3 is not a cell"):
            Ledger([claim()], path)


def test_a_cell_twice_and_a_foreign_method_are_refused(tmp_path):
    path = tmp_path / "cells.jsonl"
    with Ledger([claim()], path) as ledger:
        ledger.append(cells())
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(StudyError, match="twice"):
        Ledger([claim()], path)
    with Ledger([], tmp_path / "other.jsonl") as ledger:
        ledger.append(cells(methods=("coarse p=1", "uniform")))
    with pytest.raises(StudyError, match="other methods"):
        Ledger([claim()], tmp_path / "other.jsonl")


def test_a_ledger_is_open_once(tmp_path):
    path = tmp_path / "cells.jsonl"
    with Ledger([claim()], path), pytest.raises(StudyError, match="another process"):
        Ledger([claim()], path)
    Ledger([claim()], path).close()


def test_a_full_disk_is_one_line_and_leaves_whole_cells(tmp_path, monkeypatch):
    path = tmp_path / "cells.jsonl"
    write = os.write

    def full(file, data):
        write(file, bytes(data)[:20])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Ledger([claim()], path) as ledger:
        ledger.append(cells())
        before = path.read_bytes()
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StudyError, match=r"No space left on device.*--resume"):
            ledger.append(cells(replicate=1))
        monkeypatch.undo()
        assert path.read_bytes() == before
        assert ledger.find(address(replicate=1)) is None


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(StudyError, match=r"absent.cells\.jsonl"):
        Ledger([claim()], tmp_path / "absent" / "cells.jsonl")


def test_values_become_plain_numbers_and_what_is_not_finite_is_named():
    values, trouble = cell_values({"a": np.float32(0.1), "b": math.nan, "c": -math.inf, "n": 3})
    assert values == {"a": float(np.float32(0.1)), "b": None, "c": None, "n": 3}
    assert trouble == "b is nan, c is -inf"
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert cell_values({"a": 1.0})[1] is None
