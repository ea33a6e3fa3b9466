"""`train`, and `generate` from what it keeps: what comes back, resumption, and one line for what is wrong."""

import json

import numpy as np
import pytest

from manifold_diffusion import training
from tests.cli.test_commands import GENERATE, run
from tests.evaluation.clouds import sphere

SMALL = ("--width", 8, "--depth", 1, "--batch", 16, "--looks", 2, "--dim", 2, "--quiet")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "data.npy"
    np.save(path, 5.0 + 3.0 * sphere(60, 2, 0))
    return path


@pytest.fixture(scope="module")
def kept(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept") / "ckpt"
    from manifold_diffusion.cli import main

    assert main([str(a) for a in ("train", data, "--out", folder, "--steps", 40, *SMALL)]) == 0
    return folder


def test_what_train_writes(kept):
    names = {path.name for path in kept.iterdir()}
    assert names == {"last.ckpt", "best.ckpt", "samples", "curves.png", "samples.png", "report.html"}
    assert sorted(path.name for path in (kept / "samples").iterdir()) == ["000000040.npy"]
    head = training.describe(kept)
    assert head["description"]["model"] == "mlp"
    assert [seen["step"] for seen in head["history"]] == [40]


@pytest.mark.slow
def test_an_interrupted_training_is_resumed_to_the_same_end(data, kept, tmp_path, capsys, monkeypatch):
    folder, written = tmp_path / "ckpt", training.Checkpoints.write

    def interrupted(self, *arguments):
        written(self, *arguments)
        raise KeyboardInterrupt

    options = ("--steps", 300, *SMALL, "--out", folder, "--json")
    monkeypatch.setattr(training.Checkpoints, "write", interrupted)
    status, _, err = run(capsys, "train", data, *options)
    assert status == 130
    assert err.startswith("manifold-diffusion: interrupted; go on with: manifold-diffusion train")
    assert "--resume" in err
    monkeypatch.setattr(training.Checkpoints, "write", written)
    status, out, err = run(capsys, "train", data, *options, "--resume")
    assert (status, err) == (0, "")
    summary = json.loads(out)
    assert summary["steps"] == 300
    whole = tmp_path / "whole"
    status, _, _ = run(capsys, "train", data, *options[:-2], whole, "--json")
    assert status == 0
    assert (whole / "best.ckpt").read_bytes() == (folder / "best.ckpt").read_bytes()


def test_generate_from_a_checkpoint(data, kept, tmp_path, capsys):
    out = tmp_path / "new.npy"
    status, text, err = run(
        capsys,
        "generate",
        data,
        "--n",
        50,
        "--out",
        out,
        "--method",
        "neural",
        "--checkpoint",
        kept,
        "--json",
        "--quiet",
    )
    assert (status, err) == (0, "")
    summary = json.loads(text)
    assert set(summary) == GENERATE
    assert (summary["method"], summary["non_finite"], summary["dim"]) == ("neural", 0, None)
    points = np.load(out)
    assert points.shape == (50, 3)
    assert np.abs(points.mean(axis=0) - 5.0).max() < 2.0


def test_normal_only_from_a_checkpoint(data, kept, tmp_path, capsys):
    options = ("--method", "neural", "--checkpoint", kept, "--normal-only", "--dim", 2, "--json", "--quiet")
    status, text, err = run(capsys, "generate", data, "--n", 20, "--out", tmp_path / "new.npy", *options)
    assert (status, err) == (0, "")
    assert json.loads(text)["dim"] == 2


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--method", "neural"), "--method neural needs --checkpoint CKPT"),
        (("--normal-only",), "belong to --method neural"),
        (
            ("--method", "neural", "--checkpoint", "nowhere"),
            "nowhere is no checkpoint folder; name one that `train` wrote",
        ),
    ],
)
def test_what_generate_refuses(options, what, data, tmp_path, capsys):
    status, out, err = run(capsys, "generate", data, "--n", 5, "--out", tmp_path / "new.npy", *options)
    assert (status, out) == (2, "")
    assert what in err
    assert err.count("\n") == 1


def test_points_of_another_dimension_are_refused(kept, tmp_path, capsys):
    other = tmp_path / "other.npy"
    np.save(other, np.random.default_rng(0).normal(size=(30, 4)))
    options = ("--method", "neural", "--checkpoint", kept)
    status, _, err = run(capsys, "generate", other, "--n", 5, "--out", tmp_path / "new.npy", *options)
    assert status == 2
    assert "is a model of points of 3 coordinates" in err


def test_a_model_that_cannot_memorise_is_followed_whole(data, kept, tmp_path, capsys, monkeypatch):
    head = training.describe(kept)
    chart = {**head, "description": {**head["description"], "model": "chart"}}
    monkeypatch.setattr(training, "describe", lambda folder: chart)
    options = ("--method", "neural", "--checkpoint", kept, "--normal-only", "--dim", 2)
    status, out, err = run(capsys, "generate", data, "--n", 5, "--out", tmp_path / "new.npy", *options)
    assert (status, out) == (2, "")
    assert "holds a model 'chart', which cannot memorise; leave out --normal-only" in err


def test_what_train_refuses(data, kept, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("x")
    few = tmp_path / "few.npy"
    np.save(few, np.eye(3))
    bad = tmp_path / "bad.npy"
    np.save(bad, np.array([[0.0, 1.0], [np.nan, 2.0], [1.0, 1.0]]))
    base = ("--steps", 40, *SMALL)
    cases = {
        "holds a training already; go on with it by --resume": ("train", data, "--out", kept, *base),
        "holds no training to resume": ("train", data, "--out", tmp_path / "new", "--resume", *base),
        "is a file; name a folder": ("train", data, "--out", file, *base),
        "was trained with width 8, not 16": ("train", data, "--out", kept, "--resume", *base, "--width", 16),
        "training takes at least 6": ("train", few, "--out", tmp_path / "new", *base),
        "in row 2; --drop-bad drops them": ("train", bad, "--out", tmp_path / "new", *base),
        "no square image; say --image": ("train", data, "--out", tmp_path / "new", *base, "--model", "unet"),
        "expected a number above 0": ("train", data, "--out", tmp_path / "new", *base, "--learning-rate", 0),
    }
    for what, arguments in cases.items():
        status, out, err = run(capsys, *arguments)
        assert (status, out) == (2, ""), arguments
        assert what in err
        assert err.count("\n") == 1


def test_a_loss_that_is_not_finite_ends_it_with_one_line(data, tmp_path, capsys):
    options = ("--steps", 4000, *SMALL, "--out", tmp_path / "ckpt", "--learning-rate", 1e30)
    status, _, err = run(capsys, "train", data, *options)
    assert status == 2
    assert "the loss is not finite at step" in err
    assert "lower the learning rate" in err
    assert err.count("\n") == 1
