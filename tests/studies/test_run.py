"""Running a study: keys, order, failures, verdicts, files, and what is refused."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion.studies import Check, Claim, Experiment, Grid, StudyError, cell_key, verify
from tests.studies.toy import CLAIMS, claim, noise, power

ROOT = Path(__file__).parents[2]
INTERFACE = [
    "id",
    "group",
    "source",
    "quantity",
    "relation",
    "expected",
    "tolerance",
    "value",
    "ci_low",
    "ci_high",
    "verdict",
    "reason",
    "method",
    "sizes",
    "replicates",
    "seconds",
    "failures",
    "scale",
    "seed",
    "device",
    "dtype",
    "jax",
    "version",
    "commit",
    "figure",
]


def read_cells(folder):
    return [json.loads(line) for line in (folder / "cells.jsonl").read_text().splitlines()]


def without_times(rows):
    return [{name: value for name, value in row.items() if name not in ("seconds", "commit")} for row in rows]


def values(study):
    return [(c.claim, c.experiment, c.method, c.size, c.replicate, c.values, c.error) for c in study.cells]


def test_slopes_that_hold_are_confirmed_and_those_that_do_not_are_refuted():
    study = verify([claim()], "smoke")
    assert [result.verdict.verdict for result in study.results] == ["confirmed", "refuted", "confirmed"]
    assert study.results[0].statistic.value == pytest.approx(-2, abs=0.2)
    assert len(study.results[0].statistic.local_slopes) == 3
    assert not study.confirmed


def test_results_do_not_depend_on_the_company_of_other_claims_or_sizes():
    alone = verify([claim("T2", sizes=(20, 40))], "smoke")
    among = verify([claim("T1"), claim("T2", sizes=(10, 20, 40, 80))], "smoke")
    found = [value for value in values(among) if value[0] == "T2" and value[3] in (20, 40)]
    assert values(alone) == found


def test_another_seed_gives_other_values():
    assert values(verify([claim()], "smoke", seed=0)) != values(verify([claim()], "smoke", seed=1))


def test_keys_of_cells_differ_in_every_part_and_not_in_the_type_of_the_size():
    def data(*address):
        return tuple(np.asarray(jax.random.key_data(cell_key(*address))).tolist())

    addresses = [(0, "S1", "a", 10, 0), (1, "S1", "a", 10, 0), (0, "S2", "a", 10, 0), (0, "S1", "b", 10, 0)]
    addresses += [(0, "S1", "a", 20, 0), (0, "S1", "a", 10, 1)]
    assert len({data(*address) for address in addresses}) == len(addresses)
    assert data(0, "S1", "a", 10, 0) == data(0, "S1", "a", 10.0, 0)


def test_experiments_run_in_the_precision_that_they_name():
    def measure(key, size):
        return {"coarse": {"bits": float(jnp.finfo(jnp.ones(()).dtype).bits)}}

    grid = {"smoke": Grid((1,), 2)}
    wide = Experiment("wide", measure, ("coarse",), grid)
    narrow = Experiment("narrow", measure, ("coarse",), grid, x64=False)
    checks = tuple(Check(name, "coarse", "bits", "mean", bits, 0) for name, bits in (("wide", 64), ("narrow", 32)))
    study = verify([Claim("T", "toy", "t", "s", "none", (wide, narrow), checks)], "smoke")
    assert study.confirmed
    assert [row["dtype"] for row in study.rows] == ["float64", "float32"]


def test_a_cell_that_raises_becomes_an_error_and_the_study_goes_on():
    def measure(key, size):
        if size == 20:
            raise RuntimeError("no\nconvergence")
        return power(key, size)

    study = verify([claim(measure=measure), claim("T2")], "smoke")
    broken = [cell for cell in study.cells if cell.claim == "T1" and cell.size == 20]
    assert {cell.error for cell in broken} == {"RuntimeError: no convergence"}
    first = study.results[0]
    assert (first.verdict.verdict, first.failures) == ("inconclusive", 5)
    assert "No cell of size 20" in first.verdict.reason
    assert "RuntimeError: no convergence" in first.verdict.reason
    assert study.results[3].verdict.verdict == "confirmed"


def test_a_value_that_is_not_finite_is_a_failure_of_its_quantity_alone(tmp_path):
    def measure(key, size):
        found = power(key, size)
        if noise(key) > 0.05:
            found["coarse p=1"]["distance"] = math.nan
        return found

    study = verify([claim(measure=measure, replicates=20)], "smoke", out=tmp_path / "out", plot=False)
    rows = [row for row in read_cells(tmp_path / "out") if row["values"]["distance"] is None]
    assert rows
    assert all(row["error"] == "distance is nan" for row in rows)
    slope, memoriser, ratio = study.results
    assert slope.failures == len(rows)
    assert (slope.verdict.verdict, slope.verdict.reason[:8]) == ("inconclusive", "Too many")
    assert memoriser.failures == ratio.failures == 0


def test_methods_that_a_measurement_leaves_out_or_invents_are_errors():
    def less(key, size):
        return {"memoriser": power(key, size)["memoriser"]}

    def more(key, size):
        return {**power(key, size), "uniform": {}}

    left_out = [cell.error for cell in verify([claim(measure=less)], "smoke").cells if cell.method == "coarse p=1"]
    assert set(left_out) == {"the measurement did not give this method"}
    assert all("uniform" in cell.error for cell in verify([claim(measure=more)], "smoke").cells)


def test_non_finite_samples_that_a_measurement_counts_are_told():
    def measure(key, size):
        found = power(key, size)
        found["coarse p=1"]["non_finite"] = 2 if size == 20 else 0
        return found

    study = verify([claim(measure=measure)], "smoke")
    assert "10 samples were not finite" in study.results[0].verdict.reason
    assert "not finite" not in study.results[1].verdict.reason


def test_sizes_outside_a_check_are_measured_and_not_judged():
    checks = (Check("curve", "coarse p=1", "distance", "slope", -2, 0.5, min_size=20, max_size=40),)
    study = verify([claim(checks=checks)], "smoke")
    assert study.rows[0]["sizes"] == [20.0, 40.0]
    assert {cell.size for cell in study.cells} == {10, 20, 40, 80}


def test_slope_in_size_over_log_size():
    def measure(key, size):
        return {"coarse p=1": {"distance": size / math.log(size)}, "memoriser": {"distance": 1.0}}

    checks = (Check("curve", "coarse p=1", "distance", "slope", 1, 1e-9, abscissa="size/log(size)"),)
    assert verify([claim(measure=measure, checks=checks)], "smoke").confirmed


def test_a_scale_without_a_grid_is_not_measured():
    whole = claim()
    short = dataclasses.replace(whole.experiments[0], name="short", grids={"cpu": Grid((10, 20), 2)})
    both = dataclasses.replace(
        whole,
        experiments=(*whole.experiments, short),
        checks=(*whole.checks, Check("short", "memoriser", "ratio", "mean", 0.01, 0.1)),
    )
    assert len(verify([both], "smoke").results) == 3
    assert len(verify([both], "cpu").results) == 4
    with pytest.raises(StudyError, match="nothing to check at scale gpu"):
        verify([both], "gpu")


def test_events_tell_what_happens_in_order():
    events = []
    verify([claim(sizes=(10, 20), replicates=2)], "smoke", on_event=events.append)
    assert [event.kind for event in events] == ["started", *["measured"] * 4, *["judged"] * 3]
    assert [event.done for event in events] == [0, 1, 2, 3, 4, 4, 4, 4]
    assert {event.total for event in events} == {4}
    assert all(len(event.cells) == 2 for event in events if event.kind == "measured")
    assert events[-1].result.check.relation == "at_least"


def test_files_are_those_of_the_interface(tmp_path):
    study = verify([claim()], "smoke", out=tmp_path / "out")
    rows = json.loads((tmp_path / "out" / "claims.json").read_text())
    assert rows == list(study.rows)
    assert [list(row) for row in rows] == [INTERFACE] * 3
    assert (tmp_path / "out" / rows[0]["figure"]).read_bytes()[:4] == b"\x89PNG"
    assert len(read_cells(tmp_path / "out")) == 4 * 5 * 2
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == study.manifest
    assert study.manifest["finished"] >= study.manifest["started"]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"cells.jsonl", "claims.json", "manifest.json", "report.md", "report.html", "figures"}


def test_without_a_plot_there_is_no_figure(tmp_path):
    study = verify([claim()], "smoke", out=tmp_path / "out", plot=False)
    assert {row["figure"] for row in study.rows} == {None}
    assert not (tmp_path / "out" / "figures").exists()


def test_intervals_without_end_are_null(tmp_path):
    verify([claim(sizes=(10, 20), replicates=1)], "smoke", out=tmp_path / "out", plot=False)
    row = json.loads((tmp_path / "out" / "claims.json").read_text())[0]
    assert (row["ci_low"], row["ci_high"], row["verdict"]) == (None, None, "inconclusive")
    assert "too few values" in row["reason"]


@pytest.mark.parametrize(
    ("change", "message"), [({"seed": 1}, "with seed 0, not 1"), ({"scale": "cpu"}, "with scale smoke, not cpu")]
)
@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_another_study_is_refused_and_left_alone(tmp_path, change, message, resume):
    out = tmp_path / "out"
    verify([claim()], "smoke", out=out, plot=False)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(StudyError, match=message):
        verify([claim()], **{"scale": "smoke", **change}, out=out, resume=resume, plot=False)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_folder_of_the_same_study_needs_resume(tmp_path):
    verify([claim()], "smoke", out=tmp_path, plot=False)
    with pytest.raises(StudyError, match="--resume"):
        verify([claim()], "smoke", out=tmp_path, plot=False)


def test_resume_takes_more_claims_and_not_fewer(tmp_path):
    verify([claim("T1")], "smoke", out=tmp_path, plot=False)
    both = [claim("T1"), claim("T2")]
    resumed = verify(both, "smoke", out=tmp_path, resume=True, plot=False)
    assert values(resumed) == values(verify(both, "smoke"))
    assert len(resumed.manifest["resumed"]) == 1
    with pytest.raises(StudyError, match="also holds T1"):
        verify([claim("T2")], "smoke", out=tmp_path, resume=True, plot=False)


def test_resume_measures_nothing_twice(tmp_path):
    verify([claim()], "smoke", out=tmp_path, plot=False)

    def never(key, size):
        raise AssertionError

    again = verify([claim(measure=never)], "smoke", out=tmp_path, resume=True, plot=False)
    assert not any(cell.error for cell in again.cells)


def test_a_file_or_a_folder_without_a_manifest_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="cannot use"):
        verify([claim()], "smoke", out=tmp_path / "file")
    (tmp_path / "cells.jsonl").write_text("{}")
    with pytest.raises(StudyError, match=r"no manifest\.json"):
        verify([claim()], "smoke", out=tmp_path, resume=True)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(StudyError, match=r"cannot read .*manifest\.json"):
        verify([claim()], "smoke", out=tmp_path, resume=True)


def test_a_crash_before_the_first_write_is_resumed(tmp_path):
    (tmp_path / "cells.jsonl").write_text("")
    assert verify([claim()], "smoke", out=tmp_path, resume=True, plot=False).cells


def test_one_claim_twice_is_refused():
    with pytest.raises(StudyError, match="T1 T1"):
        verify([claim(), claim()], "smoke")


def test_an_interrupt_leaves_whole_cells_and_resumes_to_the_same(tmp_path):
    calls = []

    def interrupted(key, size):
        calls.append(size)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return power(key, size)

    with pytest.raises(KeyboardInterrupt):
        verify([claim(measure=interrupted)], "smoke", out=tmp_path, plot=False)
    assert len(read_cells(tmp_path)) == 6 * 2
    resumed = verify([claim()], "smoke", out=tmp_path, resume=True, plot=False)
    whole = verify([claim()], "smoke")
    assert without_times(resumed.rows) == without_times(whole.rows)
    assert values(resumed) == values(whole)


def test_killed_at_random_moments_a_study_resumes_to_the_same_claims(tmp_path):
    """SIGKILL, twice into the same folder, then to the end: nothing lost, doubled or different."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tests.studies.toy", str(out)]
    rng = np.random.default_rng()
    held = []
    for _ in range(2):
        before = len(read_cells(out)) if held else 0
        process = subprocess.Popen(command, cwd=ROOT)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            path = out / "cells.jsonl"
            if path.exists() and path.read_bytes().count(b"\n") > before:
                break
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.15))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        held.append((out / "cells.jsonl").read_bytes().count(b"\n"))
    total = 2 * (4 * 5 + 3 * 4)
    assert 0 < held[0] <= held[1] < total
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    whole = verify(CLAIMS, "smoke")
    assert without_times(json.loads((out / "claims.json").read_text())) == without_times(whole.rows)
    rows = read_cells(out)
    addresses = [(row["claim"], row["experiment"], row["method"], row["size"], row["replicate"]) for row in rows]
    assert len(addresses) == len(set(addresses)) == total
    assert [row["values"] for row in rows] == [dict(cell.values) for cell in whole.cells]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checks": (Check("absent", "memoriser", "ratio", "mean", 1, 1),)}, "experiment 'absent'"),
        ({"checks": (Check("curve", "absent", "ratio", "mean", 1, 1),)}, "no method 'absent'"),
        ({"experiments": claim().experiments * 2}, "the same name"),
    ],
)
def test_a_claim_that_contradicts_itself_is_refused_when_it_is_made(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(claim(), **change)


@pytest.mark.parametrize(("sizes", "replicates"), [((), 1), ((10, 10), 1), ((0, 10), 1), ((10,), 0)])
def test_a_grid_without_cells_or_with_cells_twice_is_refused(sizes, replicates):
    with pytest.raises(ValueError, match="a grid needs"):
        Grid(sizes, replicates)
