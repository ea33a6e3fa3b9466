"""Checkpoints: a folder that is valid at every moment, whatever interrupts the writing.

    last.ckpt       the whole state, the averaged weights of the best look, and the history
    previous.ckpt   the one before it, in case the disk damages the last
    best.ckpt       the averaged weights of the best look, for whoever wants the model

Each file is one line of JSON (format, version, description of the model, history, shapes, length and SHA-256 of what
follows) and then the arrays as numpy writes them, without pickle. Files are replaced whole.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from manifold_diffusion._files import replace
from manifold_diffusion.scores.neural import trainable
from manifold_diffusion.training.history import History, Seen
from manifold_diffusion.training.optimise import State

FORMAT, VERSION = "manifold-diffusion checkpoint", 1
LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"


class CheckpointError(ValueError):
    """A checkpoint cannot be read, written or used; the message is one line that names the remedy."""


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training in a folder; `description` (plain JSON) says of which model, data and recipe, and
    a training is resumed only with an equal one. `note` is told what was found damaged.
    """

    folder: Path
    description: Mapping[str, Any]
    note: Callable[[str], None] = lambda message: None

    def write(self, state: State, history: History, best: tuple[int, PyTree], improved: bool) -> None:
        """Keep the state, and the best weights if they are new."""
        head = {"description": dict(self.description), "best_step": best[0], "history": [_plain(s) for s in history]}
        if improved:
            self._replace(BEST, _pack({**head, "step": best[0]}, best[1]))
        self._keep_previous()
        self._replace(LAST, _pack({**head, "step": int(state.step)}, (state, best[1])))

    def resume(self, like: State) -> tuple[State, list[Seen], tuple[int, PyTree]] | None:
        """(state, history, (best step, its weights)) of the last whole checkpoint; None where none was ever written.

        `like` is a state with the arrays that are expected. CheckpointError where there are checkpoints and none is
        whole, or they are of another training.
        """
        reasons = []
        for name in (LAST, PREVIOUS):
            path = self.folder / name
            if not path.exists():
                continue
            try:
                head, payload = _open(path)
                _require_equal(head["description"], self.description, path)
                state, best = _unpack(path, head, payload, (like, like.average))
            except _Damaged as damage:
                reasons.append(str(damage))
                self.note(f"{damage}; trying the checkpoint before it")
                continue
            history = [Seen(s["step"], _number(s["loss"]), _numbers(s["values"])) for s in head["history"]]
            return state, history, (head["best_step"], best)
        if reasons:
            raise CheckpointError(f"{'; '.join(reasons)}; train anew into another folder")
        return None

    def _keep_previous(self) -> None:
        last, previous = self.folder / LAST, self.folder / PREVIOUS
        if not last.exists():
            return
        spare = self.folder / f".{PREVIOUS}.{os.getpid()}"
        with contextlib.suppress(OSError):
            spare.unlink(missing_ok=True)
            try:
                os.link(last, spare)
            except OSError:  # a file system without links
                shutil.copyfile(last, spare)
            os.replace(spare, previous)

    def _replace(self, name: str, data: bytes) -> None:
        path = self.folder / name
        try:
            replace(path, data)
        except OSError as error:
            raise CheckpointError(
                f"cannot write {path}: {error.strerror}; what was kept before is whole: make room and resume"
            ) from error


def describe(folder: str | Path) -> Mapping[str, Any]:
    """The head of the checkpoint that `load` would take: its description, step, best_step and history.

    CheckpointError where there is none that is whole.
    """
    return _best(Path(folder))[1]


def load(folder: str | Path, model: PyTree) -> PyTree:
    """The model with the best averaged weights of the folder; `model` must have been built as the trained one was.

    Where best.ckpt is damaged the best weights kept in last.ckpt or previous.ckpt are taken. CheckpointError where none
    is whole, or the arrays are others.
    """
    path, head, payload = _best(Path(folder))
    weights, fixed = eqx.partition(model, trainable(model))
    if path.name == BEST:
        return eqx.combine(_unpack(path, head, payload, weights), fixed)
    leaves = jax.tree.leaves(weights)
    found = _leaves(payload, head, len(head["leaves"]))[-len(leaves) :]
    _require_shapes(path, [_shape(leaf) for leaf in found], leaves)
    return eqx.combine(jax.tree.unflatten(jax.tree.structure(weights), [jnp.asarray(a) for a in found]), fixed)


class _Damaged(CheckpointError):
    """The file is not what was written."""


def _best(folder: Path) -> tuple[Path, dict[str, Any], bytes]:
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no checkpoint folder; name one that `train` wrote")
    reasons = []
    for path in (folder / BEST, folder / LAST, folder / PREVIOUS):
        if path.exists():
            try:
                return path, *_open(path)
            except _Damaged as damage:
                reasons.append(str(damage))
    raise CheckpointError("; ".join(reasons) or f"{folder} holds no checkpoint; name a folder that `train` wrote")


def _pack(head: Mapping[str, Any], tree: PyTree) -> bytes:
    buffer = io.BytesIO()
    eqx.tree_serialise_leaves(buffer, tree)
    payload = buffer.getvalue()
    whole = {
        "format": FORMAT,
        "version": VERSION,
        **head,
        "leaves": [_shape(leaf) for leaf in jax.tree.leaves(tree)],
        "length": len(payload),
        "sha256": hashlib.sha256(payload).hexdigest(),
    }
    return json.dumps(whole, allow_nan=False).encode() + b"\n" + payload


def _open(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        line, _, payload = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}; name another folder") from error
    try:
        head = json.loads(line)
    except ValueError:
        head = None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise _Damaged(f"{path} is damaged: its first line is not the head of a checkpoint")
    if head.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has version {head.get('version')} of the format, this program reads {VERSION}; use another release"
        )
    if len(payload) != head.get("length"):
        raise _Damaged(f"{path} is damaged: {len(payload)} of {head.get('length')} bytes are there")
    if hashlib.sha256(payload).hexdigest() != head.get("sha256"):
        raise _Damaged(f"{path} is damaged: its checksum is another")
    return head, payload


def _unpack(path: Path, head: Mapping[str, Any], payload: bytes, like: PyTree) -> PyTree:
    _require_shapes(path, head["leaves"], jax.tree.leaves(like))
    return eqx.tree_deserialise_leaves(io.BytesIO(payload), like)


def _leaves(payload: bytes, head: Mapping[str, Any], count: int) -> list[np.ndarray]:
    buffer = io.BytesIO(payload)
    return [np.load(buffer, allow_pickle=False) for _ in range(count)]


def _require_shapes(path: Path, found: list[Any], expected: list[Any]) -> None:
    wanted = [_shape(leaf) for leaf in expected]
    if found != wanted:
        odd = next((pair for pair in zip(found, wanted, strict=False) if pair[0] != pair[1]), None)
        first = (
            f"the first that differs is {odd[0]}, not {odd[1]}" if odd else f"{len(found)} arrays, not {len(wanted)}"
        )
        raise CheckpointError(f"{path} is of another model ({first}); build the model as it was trained")


def _require_equal(found: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    for name in sorted({*found, *wanted}):
        if found.get(name) != wanted.get(name):
            raise CheckpointError(
                f"{path} was trained with {name} {found.get(name)}, not {wanted.get(name)}; "
                "resume it with the same, or name another folder"
            )


def _shape(leaf) -> list[Any]:
    return [list(np.shape(leaf)), str(jnp.asarray(leaf).dtype)]


def _plain(seen: Seen) -> dict[str, Any]:
    values = {name: _finite(value) for name, value in seen.values.items()}
    return {"step": seen.step, "loss": _finite(seen.loss), "values": values}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: _number(value) for name, value in values.items()}
