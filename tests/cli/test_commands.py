"""What the commands give back: documents, tables, exit statuses, the same for the same seed."""

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

import manifold_diffusion
from manifold_diffusion.cli import main
from manifold_diffusion.cli.verify import choose
from manifold_diffusion.studies import Statistic, Table
from tests.evaluation.clouds import sphere
from tests.studies import toy

GENERATE = {"n", "dim", "degree", "sigma_0", "seconds", "non_finite", "method", "seed", "out"}
AUDIT = {"n", "ambient_dim", "dim", "spacing", "noise", "reach", "collapse_scale", "generated"}
GENERATED = {
    "support_distance",
    "novelty_ratio",
    "memorised_fraction",
    "memorised_null",
    "coverage",
    "authentic_pct",
    "verdict",
}


def run(capsys, *arguments):
    status = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.npy"
    np.save(path, sphere(200, 2, 0))
    return path


@pytest.mark.parametrize("method", ["coarse", "memorising", "early-stopped", "inertial"])
def test_generate_writes_points_near_the_manifold(data, tmp_path, capsys, method):
    out = tmp_path / "new.csv"
    options = ("--method", method, "--degree", 2, "--json", "--quiet")
    status, text, err = run(capsys, "generate", data, "--n", 60, "--out", out, *options)
    summary = json.loads(text)
    assert (status, err) == (0, "")
    assert set(summary) == GENERATE
    assert (summary["n"], summary["method"], summary["non_finite"], summary["seed"]) == (60, method, 0, 0)
    assert summary["dim"] == (2 if method in ("coarse", "inertial") else None)
    points = np.loadtxt(out, delimiter=",", skiprows=1)
    assert points.shape == (60, 3)
    assert np.median(np.abs(np.linalg.norm(points, axis=1) - 1)) < (0.15 if method != "coarse" else 0.02)


def test_generate_uniform_says_how_well_it_mixes(data, tmp_path, capsys):
    out = tmp_path / "new.npy"
    options = ("--method", "uniform", "--dim", 2, "--degree", 2, "--json")
    status, text, err = run(capsys, "generate", data, "--n", 40, "--out", out, *options)
    summary = json.loads(text)
    assert status == 0
    assert set(summary) == GENERATE
    assert (summary["dim"], summary["degree"], summary["non_finite"]) == (2, 2, 0)
    assert "e-folds of mixing in" in err
    assert np.median(np.abs(np.linalg.norm(np.load(out), axis=1) - 1)) < 0.02


def test_the_same_seed_gives_the_same_points_however_many(data, tmp_path, capsys, monkeypatch):
    """To the last bit whatever --n is, and to rounding whatever the size of a chunk is."""
    files = [tmp_path / f"{i}.npy" for i in range(4)]
    common = ("--dim", 2, "--degree", 2, "--quiet")
    run(capsys, "generate", data, "--n", 30, "--out", files[0], *common)
    run(capsys, "generate", data, "--n", 50, "--out", files[1], *common)
    run(capsys, "generate", data, "--n", 30, "--out", files[2], *common, "--seed", 1)
    monkeypatch.setattr("manifold_diffusion.cli.generate._LARGEST_CHUNK", 16)
    run(capsys, "generate", data, "--n", 50, "--out", files[3], *common)
    first, longer, other, chunked = (np.load(f) for f in files)
    np.testing.assert_array_equal(longer[:30], first)
    np.testing.assert_allclose(chunked, longer, atol=1e-3)
    assert np.abs(other - first).max() > 0.1


def test_generate_does_not_depend_on_units_or_origin(tmp_path, capsys):
    rows = sphere(300, 2, 0)
    for name, points in (("a", rows), ("b", 1e6 * rows + 5e7)):
        np.save(tmp_path / f"{name}.npy", points)
        new = tmp_path / f"{name}-new.npy"
        run(capsys, "generate", tmp_path / f"{name}.npy", "--n", 20, "--out", new, "--dim", 2, "--degree", 2)
    first, second = np.load(tmp_path / "a-new.npy"), np.load(tmp_path / "b-new.npy")
    np.testing.assert_allclose((second - 5e7) / 1e6, first, atol=1e-3)


def test_real_data_in_many_dimensions_work_from_end_to_end(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("manifold_diffusion.cli.generate._LARGEST_CHUNK", 64)
    np.save(tmp_path / "digits.npy", load_digits().data[:300])
    new = tmp_path / "new.npz"
    status, text, err = run(capsys, "generate", tmp_path / "digits.npy", "--n", 40, "--out", new, "--json")
    assert status == 0
    assert "constant" in err
    assert json.loads(text)["non_finite"] == 0
    status, text, _ = run(capsys, "audit", tmp_path / "digits.npy", "--generated", new, "--json", "--quiet")
    found = json.loads(text)
    assert status == 0
    assert 5 <= found["dim"]["used"] <= 12
    assert found["generated"]["verdict"] in ("generalises", "inconclusive")


def test_audit_keeps_its_promise(data, tmp_path, capsys):
    np.savez(tmp_path / "new.npz", points=np.load(data)[::2])
    out = tmp_path / "report"
    status, text, err = run(
        capsys, "audit", data, "--generated", tmp_path / "new.npz", "--json", "--quiet", "--out", out
    )
    found = json.loads(text)
    assert (status, err) == (0, "")
    assert set(found) >= AUDIT
    assert set(found["generated"]) >= GENERATED
    assert set(found["generated"]["coverage"]) >= {"radius", "covered", "null"}
    assert set(found["generated"]["support_distance"]) >= {"median", "q99"}
    assert set(found["dim"]) >= {"value", "ci_low", "ci_high", "estimator"}
    assert found["generated"]["verdict"] == "memorised"
    assert json.loads((out / "audit.json").read_text()) == found


def test_audit_is_readable(data, capsys):
    status, text, _ = run(capsys, "audit", data, "--generated", data, "--held-out", data)
    assert status == 0
    assert "dimension" in text
    assert "verdict: " in text


def test_bad_rows_are_dropped_and_counted(tmp_path, capsys):
    rows = sphere(200, 2, 0)
    rows[::50] = np.nan
    np.save(tmp_path / "a.npy", rows)
    status, text, err = run(capsys, "audit", tmp_path / "a.npy", "--drop-bad", "--json")
    assert status == 0
    assert "dropped 4 rows" in err
    assert json.loads(text)["n"] == 196


@pytest.fixture
def catalogue(monkeypatch):
    for module in ("claims", "verify"):
        monkeypatch.setattr(f"manifold_diffusion.cli.{module}.CLAIMS", toy.CLAIMS)
    return toy.CLAIMS


def test_claims_lists_the_catalogue(catalogue, capsys):
    status, text, _ = run(capsys, "claims", "--json")
    rows = json.loads(text)
    assert status == 0
    assert [row["id"] for row in rows] == [claim.id for claim in catalogue]
    assert all(set(row) >= {"id", "group", "statement", "source", "expected", "tolerance"} for row in rows)
    status, text, _ = run(capsys, "claims")
    assert status == 0
    assert len(text.splitlines()) == 1 + len(catalogue)


def test_verify_says_by_its_status_whether_all_is_confirmed(catalogue, capsys):
    for claim in catalogue:
        status, text, _ = run(capsys, "verify", claim.id.lower(), "--scale", "smoke", "--json", "--quiet")
        rows = json.loads(text)
        assert {row["id"] for row in rows} == {claim.id}
        assert status == (0 if all(row["verdict"] == "confirmed" for row in rows) else 1)
    status, text, _ = run(capsys, "verify", "--scale", "smoke", "--quiet")
    assert status == 1
    assert text.splitlines()[-1].startswith(f"{sum(len(c.checks) for c in catalogue)} checks: ")


def test_verify_shows_each_verdict_at_once(catalogue, capsys, monkeypatch):
    import manifold_diffusion.cli.verify as command

    seen, real = [], command.verify

    def spied(*arguments, on_event, **options):
        def tell(event):
            on_event(event)
            if event.kind == "judged":
                seen.append(len(capsys.readouterr().out.splitlines()))

        return real(*arguments, on_event=tell, **options)

    monkeypatch.setattr(command, "verify", spied)
    run(capsys, "verify", "--scale", "smoke", "--quiet")
    assert all(lines >= 1 for lines in seen)
    assert len(seen) == sum(len(c.checks) for c in catalogue)


def test_verify_ends_with_the_tables_of_the_claims(monkeypatch, capsys):
    table = Table("Summed up", ("what", "slope"), (("all", Statistic(-2.0, -2.5, -1.5)), ("some", None)))
    subject = toy.claim(table=lambda results, cells: table)
    monkeypatch.setattr("manifold_diffusion.cli.verify.CLAIMS", (subject,))
    _, text, _ = run(capsys, "verify", "--scale", "smoke", "--quiet")
    assert text.splitlines()[-6:-1] == ["Summed up", "what  slope", "all   -2 [-2.5, -1.5]", "some  -", ""]
    _, text, _ = run(capsys, "verify", "--scale", "smoke", "--quiet", "--json")
    assert len(json.loads(text)) == len(subject.checks)


def test_verify_writes_resumes_and_refuses(catalogue, tmp_path, capsys):
    arguments = ("verify", catalogue[0].id, "--scale", "smoke", "--out", tmp_path / "o", "--no-plot", "--quiet")
    run(capsys, *arguments)
    assert {"cells.jsonl", "claims.json", "manifest.json"} <= {p.name for p in (tmp_path / "o").iterdir()}
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert len(err.splitlines()) == 1
    assert "--resume" in err
    status, _, err = run(capsys, *arguments, "--resume", "--seed", 3)
    assert status == 2
    assert "seed 0, not 3" in err
    assert run(capsys, *arguments, "--resume")[0] in (0, 1)


def test_an_interrupted_study_says_how_to_go_on(catalogue, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("manifold_diffusion.cli.verify.verify", interrupted)
    out = tmp_path / "o"
    status, _, err = run(capsys, "verify", catalogue[0].id, "--scale", "smoke", "--seed", 4, "--out", out)
    assert status == 130
    assert f"verify {catalogue[0].id} --scale smoke --seed 4 --out {out} --resume" in err
    status, _, err = run(capsys, "verify", "--scale", "smoke")
    assert status == 130
    assert "--out DIR" in err


def test_unknown_claims_are_answered_with_the_known_ones(catalogue, capsys):
    status, out, err = run(capsys, "verify", "Z9")
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert all(claim.id in err for claim in catalogue)


def test_claims_are_chosen_by_id_and_group_in_the_order_of_the_catalogue(catalogue):
    last = catalogue[-1]
    assert choose(catalogue, [last.id.lower(), catalogue[0].id, last.id]) == [catalogue[0], last]
    group = [claim for claim in catalogue if claim.group == last.group]
    assert choose(catalogue, [last.group.lower()]) == group
    assert choose(catalogue, []) == list(catalogue)


def test_options_for_all_commands_stand_before_or_behind_it(catalogue, capsys):
    documents = [run(capsys, *arguments)[1] for arguments in (("--json", "claims"), ("claims", "--json"))]
    assert documents[0] == documents[1]
    assert json.loads(documents[0])


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["verify", "--help"], ["generate", "--help"]])
def test_help_and_version_are_answered_before_anything_heavy_is_imported(arguments):
    code = (
        "import sys; from manifold_diffusion.cli import main; "
        f"status = main({arguments!r}); "
        "sys.exit(3 if {'jax', 'numpy', 'scipy'} & set(sys.modules) else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("usage: manifold-diffusion", f"manifold-diffusion {manifold_diffusion.__version__}"))


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "manifold_diffusion", "audit", "nothing.npy"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("manifold-diffusion: error: cannot read nothing.npy: no such file")


def test_a_reader_that_stops_is_no_error():
    code = "import sys; from manifold_diffusion.cli import main; sys.exit(main(['--help']))"
    done = subprocess.run(
        f'{sys.executable} -c "{code}" | true', shell=True, capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr
