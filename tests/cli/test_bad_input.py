"""Every kind of bad input is answered with exit status 2 and one line, and never with a traceback."""

import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from manifold_diffusion.cli import main
from tests.evaluation.clouds import sphere

GOOD = sphere(40, 2, 0)


def refused(capsys, *arguments):
    """The line that the command ends with."""
    assert main([str(a) for a in arguments]) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == 1, err
    assert lines[0].startswith("manifold-diffusion: error: ")
    return lines[0]


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _zip_of(name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


class _Evil:
    def __reduce__(self):
        return os.abort, ()


def _with(row, column, value):
    rows = GOOD.copy()
    rows[row, column] = value
    return rows


FILES = {
    "empty npy": ("a.npy", b"", "is empty"),
    "empty csv": ("a.csv", b"", "is empty"),
    "only comments": ("a.csv", b"# nothing\n\n", "no rows"),
    "only a header": ("a.csv", b"x,y\n", "header and no rows"),
    "no rows": ("a.npy", _npy(np.zeros((0, 3))), "no rows"),
    "no columns": ("a.npy", _npy(np.zeros((3, 0))), "no columns"),
    "truncated npy": ("a.npy", _npy(GOOD)[:200], "truncated or damaged"),
    "truncated header": ("a.npy", _npy(GOOD)[:30], "truncated or damaged"),
    "truncated npz": ("a.npz", _npz(x=GOOD)[:300], "truncated or damaged"),
    "truncated in npz": ("a.npz", _zip_of("x.npy", _npy(GOOD)[:200]), "truncated or damaged"),
    "huge header": ("a.npy", _npy(GOOD).replace(b"(40, 3), }", b"(4" + b"0" * 14 + b", 3), }"), "damaged"),
    "text as npy": ("a.npy", b"1,2\n3,4\n", "not an .npy file"),
    "npz as npy": ("a.npy", _npz(x=GOOD), "not an .npy file"),
    "text as npz": ("a.npz", b"1,2\n3,4\n", "not an .npz file"),
    "empty npz": ("a.npz", _npz(), "no array"),
    "npy as csv": ("a.csv", _npy(GOOD), "not a text file|is not a number|header"),
    "text as parquet": ("a.parquet", b"1,2\n3,4\n", "not a .parquet file"),
    "pickle": ("a.npy", pickle.dumps(_Evil()), "not an .npy file"),
    "pickled objects": ("a.npy", _npy(np.array([[1, "a"]], object)), "pickled objects"),
    "pickled objects in npz": ("a.npz", _npz(x=np.array([[1, None]], object)), "pickled objects"),
    "unknown ending": ("a.txt", b"1,2\n", r"ending '.txt' is not known; use one of .npy, .npz, .csv, .parquet"),
    "no ending": ("a", b"1,2\n", "is not known"),
    "several arrays": ("a.npz", _npz(x=GOOD, y=GOOD), "choose one with --array: x, y"),
    "complex": ("a.npy", _npy(GOOD + 1j), "complex128 values"),
    "text array": ("a.npy", _npy(np.array([["a", "b"]])), "values; points are real numbers"),
    "dates": ("a.npy", _npy(np.zeros((4, 2), "datetime64[s]")), "datetime64"),
    "one number": ("a.npy", _npy(np.float64(3)), "has shape"),
    "one column": ("a.npy", _npy(np.arange(9.0)), "one column"),
    "one column, flat": ("a.npy", _npy(np.arange(9.0)[:, None]), "one column"),
    "one column csv": ("a.csv", b"1\n2\n3\n", "one column"),
    "images": ("a.npy", _npy(np.zeros((5, 8, 8))), r"shape \(5, 8, 8\).*reshape it to \(5, 64\)"),
    "NaN": ("a.npy", _npy(_with(6, 1, np.nan)), "NaN, infinite or missing in row 7; --drop-bad"),
    "infinity": ("a.npy", _npy(_with(0, 0, np.inf)), "in row 1;"),
    "too large": ("a.npy", _npy(_with(0, 0, 1e200)), "too large in row 1;"),
    "many NaN": ("a.npy", _npy(np.full((9, 2), np.nan)), "rows 1, 2, 3, 4, 5 and 4 more"),
    "NaN in csv": ("a.csv", b"x,y\n# a\n1,2\nnan,4\n5,6\n", r"row 2 \(line 4\)"),
    "empty cell": ("a.csv", b"1,2\n3,\n5,6\n", r"missing in row 2 \(line 2\)"),
    "text in csv": ("a.csv", b"1,2\n3,spam\n", r"'spam' in row 2 \(line 2\) is not a number"),
    "ragged": ("a.csv", b"x,y\n1,2\n3,4,5\n", r"row 2 \(line 3\) has 3 columns, not 2"),
    "not text": ("a.csv", bytes(range(128, 256)), "not a text file"),
    "all equal": ("a.npy", _npy(np.ones((30, 3))), "all 30 rows are equal"),
    "one point": ("a.npy", _npy(np.ones((1, 3))), "rows are equal"),
    "too few": ("a.npy", _npy(GOOD[:3]), "3 distinct points"),
    "too few for its dimension": ("a.npy", _npy(GOOD[:5]), "5 distinct points.*at least 6"),
}


@pytest.mark.parametrize("command", ["audit", "generate"])
@pytest.mark.parametrize("case", FILES)
def test_files(case, command, tmp_path, capsys):
    name, content, message = FILES[case]
    (tmp_path / name).write_bytes(content)
    out = ["--n", 3, "--out", tmp_path / "new.npy"] if command == "generate" else []
    line = refused(capsys, command, tmp_path / name, *out)
    assert name in line
    import re

    assert re.search(message, line), line
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.npy"
    np.save(path, GOOD)
    return path


def test_missing_files_and_folders_in_their_place(tmp_path, good, capsys):
    assert "no such file" in refused(capsys, "audit", tmp_path / "none.npy")
    assert "no such file" in refused(capsys, "audit", good, "--generated", tmp_path / "none.csv")
    (tmp_path / "folder.npy").mkdir()
    assert "is a folder" in refused(capsys, "audit", tmp_path / "folder.npy")


def test_arrays_that_are_not_there(tmp_path, good, capsys):
    np.savez(tmp_path / "a.npz", x=GOOD, y=GOOD)
    assert "no array 'z'; it has x, y" in refused(capsys, "audit", tmp_path / "a.npz", "--array", "z")
    assert "--array chooses an array of an .npz file" in refused(capsys, "audit", good, "--array", "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("91,0\n1,2\n", "latitude 91 in row 1 (line 1) is outside -90 to 90"),
        ("# c\nlat,lon\n1,2\n3,-181\n", "longitude -181 in row 2 (line 4) is outside -180 to 360"),
        ("1,2,3\n4,5,6\n", "has 3 columns; --coordinates latlon needs latitude and longitude"),
    ],
)
def test_degrees_out_of_range(tmp_path, capsys, text, message):
    (tmp_path / "a.csv").write_text(text)
    assert message in refused(capsys, "audit", tmp_path / "a.csv", "--coordinates", "latlon")


def test_rows_are_named_as_in_the_file_also_when_others_were_dropped(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("nan,0\n1,2\n95,3\n")
    line = refused(capsys, "audit", tmp_path / "a.csv", "--coordinates", "latlon", "--drop-bad")
    assert "latitude 95 in row 3 (line 3)" in line


def test_nothing_is_left_after_dropping(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.full((4, 2), np.nan))
    assert "no row is left" in refused(capsys, "audit", tmp_path / "a.npy", "--drop-bad")


def test_generated_points_of_another_width(tmp_path, good, capsys):
    np.save(tmp_path / "new.npy", np.random.default_rng(0).normal(size=(20, 2)))
    assert "2 columns and the data 3" in refused(capsys, "audit", good, "--generated", tmp_path / "new.npy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dim", "3"], "--dim 3 is not below the ambient dimension 3"),
        (["--dim", "0"], "argument --dim: expected a whole number"),
        (["--dim", "two"], "argument --dim: expected a whole number"),
        (["--degree", "-1"], "argument --degree: expected a whole number"),
        (["--degree", "40"], "--degree 40 in dimension 2 needs"),
        (["--method", "magic"], "'magic'.*coarse.*memorising.*early-stopped.*inertial.*uniform"),
        (["--seed", "x"], "argument --seed"),
        (["--seed", "-1"], "argument --seed"),
        (["--n", "0"], "argument --n"),
        (["--n", "1e3"], "argument --n: expected a whole number from 1 to 1000000000, got '1e3'"),
    ],
)
def test_values_of_options(good, tmp_path, capsys, options, message):
    import re

    line = refused(capsys, "generate", good, "--n", 5, "--out", tmp_path / "new.npy", *options)
    assert re.search(message, line), line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["trian"], "'trian'.*claims.*verify.*generate.*audit"),
        (["audit"], "required: DATA"),
        (["audit", "a.npy", "--generate", "b.npy"], "unrecognized arguments"),
        (["generate", "a.npy", "--n", "3"], "required: --out"),
        (["verify", "--scale", "huge"], "'huge'.*smoke.*cpu.*gpu"),
        (["verify", "--resume"], "name it"),
    ],
)
def test_usage(capsys, arguments, message):
    import re

    line = refused(capsys, *arguments)
    assert re.search(message, line), line


@pytest.mark.parametrize("out", ["new.xyz", "missing/new.npy", "good.npy"])
def test_outputs_that_cannot_be(tmp_path, good, capsys, out):
    line = refused(capsys, "generate", good, "--n", 5, "--out", tmp_path / out)
    assert out.split("/")[0].split(".")[0] in line
    np.testing.assert_array_equal(np.load(good), GOOD)


def test_a_full_disk_leaves_no_half_file(tmp_path, good, capsys, monkeypatch):
    def full(path, *_, **__):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert main(["generate", str(good), "--n", "5", "--out", str(tmp_path / "new.npy"), "--method", "memorising"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("manifold-diffusion: error: cannot write")
    assert "No space left on device; make room" in line
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good.npy"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_standard_output_is_an_error_of_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "manifold_diffusion", "claims"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("manifold-diffusion: error: cannot write the output: No space left")
    assert "Traceback" not in done.stderr


def test_an_audit_folder_of_other_arguments_is_refused(tmp_path, good, capsys):
    assert main(["audit", str(good), "--out", str(tmp_path / "o"), "--quiet"]) == 0
    assert main(["audit", str(good), "--out", str(tmp_path / "o"), "--quiet"]) == 0
    capsys.readouterr()
    assert "other arguments" in refused(capsys, "audit", good, "--out", tmp_path / "o", "--seed", 1)
    assert "is a file" in refused(capsys, "audit", good, "--out", good)


def test_parquet_without_pyarrow_names_the_extra(tmp_path, good, capsys, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'manifold-diffusion[parquet]'" in refused(capsys, "audit", tmp_path / "a.parquet")
    line = refused(capsys, "generate", good, "--n", 2, "--out", tmp_path / "b.parquet")
    assert "pip install 'manifold-diffusion[parquet]'" in line
