"""Optimisation as one compiled loop: states in, states out, nothing recompiled when sizes or steps change.

Step t draws from fold_in(key, t) and example i of it from fold_in(fold_in(key, t), i), so what a state becomes does not
depend on how the steps were divided into calls, nor, up to the order of a sum, on devices.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from manifold_diffusion._types import Key, Points, Scalar
from manifold_diffusion.scores.neural import trainable
from manifold_diffusion.training.loss import Loss


class State(NamedTuple):
    """What training changes: step, the weights, the optimiser's state, and the average of the weights.

    `average` is the exponential moving average with the decay of the recipe, at most (1 + t) / (10 + t) at step t so
    that the start is forgotten.
    """

    step: Int[Array, ""]
    weights: PyTree
    optimiser: Any
    average: PyTree


class Chunk(NamedTuple):
    """What some steps gave: their mean loss, and the first step whose loss was not finite (-1 if there was none).

    No step is made after one whose loss was not finite; the state then is of no more use.
    """

    loss: Scalar
    bad_step: Int[Array, ""]


class Recipe(eqx.Module):
    """How to train: the loss, any optax transformation, examples a step, the decay of the average, and how examples
    are spread over devices (`data_parallel()`; on one by default).

    ValueError where batch or decay make no sense, or the devices do not divide the batch.
    """

    loss: Loss
    optimiser: optax.GradientTransformation = eqx.field(static=True)
    batch: int = eqx.field(static=True, default=128)
    decay: float = eqx.field(static=True, default=0.999)
    sharding: jax.sharding.NamedSharding | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if self.batch < 1 or not 0 <= self.decay < 1:
            raise ValueError(f"batch must be at least 1 and 0 <= decay < 1; got {self.batch} and {self.decay}")
        if self.sharding is not None and self.batch % self.sharding.mesh.size:
            raise ValueError(f"{self.sharding.mesh.size} devices do not divide a batch of {self.batch}; change it")


def data_parallel(devices: Sequence | None = None) -> jax.sharding.NamedSharding:
    """The examples of a batch over these devices (all by default): each computes the gradient of its part, and XLA adds
    them up. The weights are on every device.
    """
    devices = jax.devices() if devices is None else list(devices)
    mesh = jax.make_mesh((len(devices),), ("example",), axis_types=(jax.sharding.AxisType.Auto,), devices=devices)
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("example"))


def initialise(model: PyTree, recipe: Recipe) -> State:
    """The state before the first step."""
    # Copies, because states are donated and a model is its maker's.
    weights = jax.tree.map(jnp.array, eqx.partition(model, trainable(model))[0])
    average = jax.tree.map(jnp.array, weights)
    return State(jnp.asarray(0), weights, recipe.optimiser.init(weights), average)


def assemble(model: PyTree, weights: PyTree) -> PyTree:
    """The model with these weights (`state.weights`, or `state.average`) in place of its own."""
    return eqx.combine(weights, eqx.partition(model, trainable(model))[1])


def advance(
    state: State,
    stop: int | Int[Array, ""],
    key: Key,
    model: PyTree,
    data: Points,
    size: int | Int[Array, ""],
    recipe: Recipe,
) -> tuple[State, Chunk]:
    """The state at step `stop`; the given state is donated and must not be used again.

    Each example is one of the first `size` rows of the data, uniformly with replacement; rows after them are padding.
    `stop` and `size` are arguments of the compiled program: they cost no compilation. With data or model sharded over
    devices the program is too.
    """
    fixed = eqx.partition(model, trainable(model))[1]
    return _advance((key, fixed, data, jnp.asarray(size), jnp.asarray(stop), recipe), state)


@partial(eqx.filter_jit, donate="all-except-first")
def _advance(given, state: State) -> tuple[State, Chunk]:
    key, fixed, data, size, stop, recipe = given
    start = state.step

    def proceed(carry):
        state, _, bad = carry
        return (state.step < stop) & (bad < 0)

    def step(carry):
        state, total, _ = carry
        loss, new = _step(state, key, fixed, data, size, recipe)
        return new, total + loss, jnp.where(jnp.isfinite(loss), -1, state.step)

    zero = jnp.zeros((), data.dtype)
    state, total, bad = jax.lax.while_loop(proceed, step, (state, zero, jnp.asarray(-1)))
    return state, Chunk(total / jnp.maximum(state.step - start, 1), bad)


def _step(state: State, key: Key, fixed: PyTree, data: Points, size, recipe: Recipe) -> tuple[Scalar, State]:
    indices = jnp.arange(recipe.batch)
    if recipe.sharding is not None:
        indices = jax.lax.with_sharding_constraint(indices, recipe.sharding)
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.fold_in(key, state.step)))(indices)
    loss, gradient = jax.value_and_grad(_batch_loss)(state.weights, keys, fixed, data, size, recipe.loss)
    change, optimiser = recipe.optimiser.update(gradient, state.optimiser, state.weights)
    weights = optax.apply_updates(state.weights, change)
    t = state.step.astype(loss.dtype)
    decay = jnp.minimum(recipe.decay, (1 + t) / (10 + t))
    average = optax.incremental_update(weights, state.average, 1 - decay)
    return loss, State(state.step + 1, weights, optimiser, average)


def _batch_loss(weights: PyTree, keys, fixed: PyTree, data: Points, size, loss: Loss) -> Scalar:
    model = eqx.combine(weights, fixed)

    def one(key):
        which, rest = jax.random.split(key)
        # The remainder of 32 random bits: uniform up to size / 2^32, at a third of the cost of randint.
        row = jax.random.bits(which) % size.astype(jnp.uint32)
        return loss(model, rest, data[row])

    return jnp.mean(jax.vmap(one)(keys))
