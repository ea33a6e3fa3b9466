"""Training a model: chunks of compiled steps, a look after each, the best and the last state kept."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from manifold_diffusion._types import Denoiser, Key, Points
from manifold_diffusion.training.checkpoint import Checkpoints
from manifold_diffusion.training.history import Seen, Stopping, Watch
from manifold_diffusion.training.optimise import Recipe, State, advance, assemble, initialise


class TrainingError(ValueError):
    """Training cannot go on; the message is one line that names the remedy."""


class Trained(NamedTuple):
    """A model with its averaged weights (of the best look, if there was a rule for it), what was seen, and the last
    state, from which `fit` goes on.
    """

    model: PyTree
    history: tuple[Seen, ...]
    state: State
    best_step: int


def fit(
    key: Key,
    model: Denoiser,
    data: Points,
    recipe: Recipe,
    steps: int,
    *,
    size: int | None = None,
    looks: int | Sequence[int] = 20,
    watch: Watch | None = None,
    stopping: Stopping | None = None,
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
    on_look: Callable[[Seen], None] | None = None,
) -> Trained:
    """Train a model for `steps` steps on the first `size` rows of the data (all of them by default).

    `looks` is the number of looks, evenly spaced, or the steps after which to look: there the loss so far is recorded,
    the watcher called, `checkpoints` written, and `stopping` asked. With `resume` it goes on from the last checkpoint
    that is whole, and ends with the same weights, bit for bit on one device, as if it had not been interrupted.
    TrainingError where the data or a loss are not finite; what was kept before stays.
    """
    size = len(data) if size is None else size
    require_trainable(data, size)
    steps_to_look = look_steps(steps, looks)
    state, history, best = initialise(model, recipe), [], None
    if resume and checkpoints is not None:
        found = checkpoints.resume(state)
        if found is not None:
            state, history, best = found
    if best is None:
        best = (int(state.step), _copy(state.average))
    for stop in steps_to_look:
        if stop <= int(state.step) or (history and stopping is not None and stopping.is_over(history)):
            continue
        before = int(state.step)
        state, chunk = advance(state, stop, key, model, data, size, recipe)
        require_finite(chunk, before)
        values = dict(watch(assemble(model, state.average), stop)) if watch is not None else {}
        history.append(Seen(stop, float(chunk.loss), values))
        improved = stopping is None or stopping.best(history) == len(history) - 1
        if improved:
            best = (stop, _copy(state.average))
        if checkpoints is not None:
            checkpoints.write(state, history, best, improved)
        if on_look is not None:
            on_look(history[-1])
    return Trained(assemble(model, best[1]), tuple(history), state, best[0])


def _copy(tree: PyTree) -> PyTree:
    # The arrays of a state are given away with it.
    return jax.tree.map(jnp.array, tree)


def look_steps(steps: int, looks: int | Sequence[int]) -> list[int]:
    """The steps after which to look, the last of them included."""
    if steps < 1:
        raise ValueError(f"training takes at least one step, got {steps}")
    if isinstance(looks, int):
        if looks < 1:
            raise ValueError(f"training takes at least one look, got {looks}")
        looks = [round(steps * (i + 1) / looks) for i in range(looks)]
    return sorted({step for step in looks if 1 <= step < steps} | {steps})


def require_trainable(data: Points, size: int) -> None:
    """ValueError unless `size` is a number of rows, TrainingError where one of them is not finite."""
    if not 1 <= size <= len(data):
        raise ValueError(f"size must be between 1 and the {len(data)} rows of the data, got {size}")
    bad = np.flatnonzero(~np.isfinite(np.asarray(data[:size])).all(axis=1))
    if len(bad):
        raise TrainingError(f"row {bad[0]} of the data is not finite ({len(bad)} rows are not); leave them out")


def require_finite(chunk, before: int) -> None:
    """TrainingError where the loss of some step of the chunk was not finite."""
    if int(chunk.bad_step) >= 0:
        raise TrainingError(
            f"the loss is not finite at step {int(chunk.bad_step)}; lower the learning rate or clip the gradient "
            f"(optax.clip_by_global_norm), and go on from step {before}, the last that was kept"
        )
