"""Many trainings at once, compiled once: over sizes, seeds and widths.

Data of several sizes are padded to the largest, and networks of several widths have arrays of one shape (`live` units),
so all members run the same program. On CPUs each member is a call of its own, on as many threads as there are cores:
batching members with `jax.vmap` was slower per network there, and one thread cannot use two cores. On accelerators
the members are one `jax.vmap`, sharded over the devices.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from manifold_diffusion._types import Denoiser, Key, Points, Queries
from manifold_diffusion.training.fit import Trained, fit, look_steps, require_finite, require_trainable
from manifold_diffusion.training.history import Seen, Stopping
from manifold_diffusion.training.optimise import Recipe, advance, assemble, initialise


class Member(NamedTuple):
    """One training of an ensemble: its key, its model before training, its data and its recipe."""

    key: Key
    model: Denoiser
    data: Points
    recipe: Recipe


def fit_ensemble(
    members: Sequence[Member],
    steps: int,
    *,
    looks: int | Sequence[int] = 20,
    watch: Callable[[int, Denoiser, int], dict[str, float]] | None = None,
    stopping: Stopping | None = None,
    on_look: Callable[[int, Seen], None] | None = None,
    by: Literal["auto", "threads", "vmap"] = "auto",
    workers: int | None = None,
    rows: int = 0,
) -> list[Trained]:
    """`fit` for every member, in one compiled program; each gives what it would give alone, up to rounding.

    `watch(i, model, step)` and `on_look(i, seen)` are told the member; no two of them run at once. The recipes must
    share their optimiser object and batch, or they are compiled anew. `workers` is the number of threads, by default
    one a core. With `rows` data are padded to so many rows, so that another ensemble can share the program. ValueError
    where there are no members, or their points differ in dimension.
    """
    if not members:
        raise ValueError("an ensemble needs at least one member; got none")
    widths = {member.data.shape[1] for member in members}
    if len(widths) != 1:
        raise ValueError(f"the members of an ensemble need points of one dimension, got {sorted(widths)}")
    if by == "auto":
        by = "threads" if jax.default_backend() == "cpu" else "vmap"
    largest = max(rows, *(len(member.data) for member in members))
    padded = [_padded(member.data, largest) for member in members]
    if by == "vmap":
        return _batched(members, padded, steps, looks, watch, stopping, on_look)

    lock, double = threading.Lock(), jax.config.read("jax_enable_x64")

    def locked(function):
        def call(*arguments):
            with lock:
                return function(*arguments)

        return call

    def one(i: int) -> Trained:
        member = members[i]
        # The switch for double precision is a thread's own, and a new thread starts with the default.
        with jax.enable_x64(double):
            return fit(
                member.key,
                member.model,
                padded[i],
                member.recipe,
                steps,
                size=len(member.data),
                looks=looks,
                watch=None if watch is None else locked(partial(watch, i)),
                stopping=stopping,
                on_look=None if on_look is None else locked(partial(on_look, i)),
            )

    with ThreadPoolExecutor(workers or _cores()) as pool:
        return list(pool.map(one, range(len(members))))


def _cores() -> int:
    """The cores that this process may use, where the system tells; all of them elsewhere."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def _batched(members, padded, steps, looks, watch, stopping, on_look) -> list[Trained]:
    """All members as one vmap; a member that is over is computed on, but no longer looked at."""
    for member, data in zip(members, padded, strict=True):
        require_trainable(data, len(member.data))
    count = len(members)
    place = partial(_over_devices, count=count)
    sizes = jnp.asarray([len(member.data) for member in members])
    keys, data = place(jnp.stack([member.key for member in members])), place(jnp.stack(padded))
    states = place(_stack([initialise(member.model, member.recipe) for member in members]))
    arrays, rest = zip(*[eqx.partition((m.model, m.recipe), eqx.is_array) for m in members], strict=True)
    stacked = place(_stack(arrays))

    @partial(eqx.filter_jit, donate="all-except-first")
    def proceed(given, states):
        stacked, data, sizes, keys, stop = given

        def one(state, arrays, data, size, key):
            model, recipe = eqx.combine(arrays, rest[0])
            return advance(state, stop, key, model, data, size, recipe)

        return jax.vmap(one)(states, stacked, data, sizes, keys)

    histories: list[list[Seen]] = [[] for _ in members]
    best = [(0, None)] * count
    over = [False] * count
    for stop in look_steps(steps, looks):
        if all(over):
            break
        before = int(states.step[0])
        states, chunk = proceed((stacked, data, sizes, keys, jnp.asarray(stop)), states)
        for i, member in enumerate(members):
            if over[i]:
                continue
            require_finite(_member(chunk, i), before)
            average = _member(states.average, i)
            values = {} if watch is None else dict(watch(i, assemble(member.model, average), stop))
            histories[i].append(Seen(stop, float(chunk.loss[i]), values))
            if stopping is None or stopping.best(histories[i]) == len(histories[i]) - 1:
                best[i] = (stop, average)
            over[i] = stopping is not None and stopping.is_over(histories[i])
            if on_look is not None:
                on_look(i, histories[i][-1])
    return [
        Trained(
            assemble(member.model, member_best[1] if member_best[1] is not None else _member(states.average, i)),
            tuple(history),
            _member(states, i),
            member_best[0],
        )
        for i, (member, member_best, history) in enumerate(zip(members, best, histories, strict=True))
    ]


def _padded(data: Points, size: int) -> Queries:
    return jnp.concatenate([data, jnp.zeros((size - len(data), data.shape[1]), data.dtype)])


def _stack(trees: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _member(tree: PyTree, i: int) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[i], tree)


def _over_devices(tree: PyTree, count: int) -> PyTree:
    devices = jax.devices()
    if len(devices) == 1 or count % len(devices):
        return tree
    mesh = jax.make_mesh((len(devices),), ("member",), axis_types=(jax.sharding.AxisType.Auto,))
    where = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("member"))
    return jax.tree.map(lambda leaf: jax.device_put(leaf, where), tree)
