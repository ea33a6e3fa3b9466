"""Checkpoints: bit-exact resumption, and what becomes of damaged, foreign and unwritable ones."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from manifold_diffusion import training
from tests.training.test_fit import equal, problem

KEY = jax.random.key(5)
DESCRIPTION = {"width": 16}


def keep(folder, description=DESCRIPTION, note=lambda message: None):
    return training.Checkpoints(folder, description, note)


def train(folder, steps, looks, resume=False, **options):
    model, data, recipe = problem()
    stopping = training.EarlyStopping("loss", patience=100)
    return training.fit(
        KEY,
        model,
        data,
        recipe,
        steps,
        looks=looks,
        stopping=stopping,
        checkpoints=keep(folder, **options),
        resume=resume,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(folder, 40, [10, 20, 30])


def same(a, b):
    arrays = lambda t: (t.state, eqx.filter(t.model, eqx.is_array))  # noqa: E731
    return equal(arrays(a), arrays(b)) and a.history == b.history and a.best_step == b.best_step


def test_a_resumed_training_ends_as_one_that_was_not_interrupted(whole, tmp_path):
    train(tmp_path, 20, [10])
    assert same(train(tmp_path, 40, [10, 20, 30], resume=True), whole[1])


def test_a_training_that_is_over_resumes_to_itself(whole):
    assert same(train(whole[0], 40, [10, 20, 30], resume=True), whole[1])


def test_the_best_weights_are_loaded(whole):
    folder, trained = whole
    model, _, _ = problem(seed=0)
    assert equal(eqx.filter(training.load(folder, model), eqx.is_array), eqx.filter(trained.model, eqx.is_array))
    head = training.describe(folder)
    assert head["description"] == DESCRIPTION
    assert head["best_step"] == trained.best_step


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "nonsense"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_used(damage, whole, tmp_path):
    train(tmp_path, 30, [10, 20])
    path = tmp_path / "last.ckpt"
    raw = path.read_bytes()
    flipped = raw[:-100] + bytes([raw[-100] ^ 1]) + raw[-99:]
    path.write_bytes({"cut": raw[: len(raw) // 2], "flip": flipped, "empty": b"", "nonsense": b"{}\n" + raw}[damage])
    notes = []
    assert same(train(tmp_path, 40, [10, 20, 30], resume=True, note=notes.append), whole[1])
    assert len(notes) == 1
    assert "last.ckpt is damaged" in notes[0]


def test_where_none_is_whole_it_says_so(tmp_path):
    train(tmp_path, 20, [10])
    for name in ("last.ckpt", "previous.ckpt", "best.ckpt"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(training.CheckpointError, match=r"damaged.*train anew into another folder"):
        train(tmp_path, 40, [10], resume=True)
    with pytest.raises(training.CheckpointError, match="damaged"):
        training.load(tmp_path, problem()[0])


@pytest.mark.parametrize("spare", ["last.ckpt", "previous.ckpt"])
def test_the_best_weights_survive_their_own_file(spare, tmp_path):
    trained = train(tmp_path, 20, [10])
    for name in ("best.ckpt", "last.ckpt", "previous.ckpt"):
        if name != spare:
            (tmp_path / name).write_bytes(b"x")
    loaded = training.load(tmp_path, problem()[0])
    if spare == "last.ckpt":
        assert equal(eqx.filter(loaded, eqx.is_array), eqx.filter(trained.model, eqx.is_array))
    assert bool(jnp.all(jnp.isfinite(loaded(jnp.ones(2), 0.1))))


def test_another_training_is_not_resumed(tmp_path):
    train(tmp_path, 20, [10])
    with pytest.raises(training.CheckpointError, match="was trained with width 16, not 32"):
        train(tmp_path, 40, [10], resume=True, description={"width": 32})


def test_another_model_is_not_loaded(tmp_path):
    from manifold_diffusion import scores

    train(tmp_path, 20, [10])
    other = scores.Preconditioned(scores.MLP(KEY, 2, 32, 2))
    with pytest.raises(training.CheckpointError, match=r"of another model .*build the model as it was trained"):
        training.load(tmp_path, other)


def test_another_version_is_named(tmp_path):
    train(tmp_path, 20, [10])
    line, _, payload = (tmp_path / "best.ckpt").read_bytes().partition(b"\n")
    (tmp_path / "best.ckpt").write_bytes(json.dumps({**json.loads(line), "version": 99}).encode() + b"\n" + payload)
    with pytest.raises(training.CheckpointError, match="has version 99"):
        training.describe(tmp_path)


def test_a_full_disk_loses_nothing(whole, tmp_path, monkeypatch):
    """The third look cannot be written; the second one is there, and from it training ends as if nothing had been."""
    from manifold_diffusion.training import checkpoint

    write, calls = checkpoint.replace, []

    def full(path, data):
        calls.append(path.name)
        if calls.count("last.ckpt") == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    monkeypatch.setattr(checkpoint, "replace", full)
    with pytest.raises(training.CheckpointError, match="No space left on device; what was kept before is whole"):
        train(tmp_path, 40, [10, 20, 30])
    monkeypatch.setattr(checkpoint, "replace", write)
    assert same(train(tmp_path, 40, [10, 20, 30], resume=True), whole[1])


@pytest.mark.slow
def test_killed_at_any_moment_it_resumes_to_the_same_weights(tmp_path):
    """SIGKILL after random times, over and over, until a run gets to the end."""
    program = textwrap.dedent(
        """
        import pathlib, sys
        from tests.training.test_checkpoint import train
        folder = pathlib.Path(sys.argv[1])
        train(folder, 3000, list(range(10, 3000, 10)), resume=True)
        """
    )
    expected = train(tmp_path / "whole", 3000, list(range(10, 3000, 10)))
    folder, kills = tmp_path / "killed", 0
    for attempt in range(40):
        process = subprocess.Popen([sys.executable, "-c", program, str(folder)])
        deadline = time.monotonic() + 600
        if attempt < 8:
            while not (folder / "last.ckpt").exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(0.05 + 0.13 * attempt)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
        if process.wait() == 0:
            break
    assert kills >= 3
    assert same(train(folder, 3000, list(range(10, 3000, 10)), resume=True), expected)
