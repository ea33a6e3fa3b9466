"""Markov chains of any transition `transition(key, x) -> x`: their end, or thinned states of them.

One chain at a time; many by `jax.vmap` over keys and starts. Transition i of a chain gets fold_in(key, i), so a chain
depends on its key and its start alone, and the states of a trajectory are states of the chain with the same key. x may
be any pytree.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp

from manifold_diffusion._numerics import vary_like
from manifold_diffusion._types import Key

Transition: TypeAlias = Callable[[Key, Any], Any]
"""(key, x) -> x after one transition of a Markov chain; a chain of several is a transition too."""


class _Chain(eqx.Module):
    transition: Transition
    steps: int = eqx.field(static=True)

    def __call__(self, key: Key, x: Any) -> Any:
        return _advance(self.transition, key, x, jnp.zeros((), jnp.int32), self.steps)


class _Trajectory(eqx.Module):
    transition: Transition
    count: int = eqx.field(static=True)
    thin: int = eqx.field(static=True)
    burn_in: int = eqx.field(static=True)

    def __call__(self, key: Key, x: Any) -> Any:
        x = _advance(self.transition, key, x, jnp.zeros((), jnp.int32), self.burn_in)

        def body(x, first):
            x = _advance(self.transition, key, x, first, self.thin)
            return x, x

        return jax.lax.scan(body, x, self.burn_in + self.thin * jnp.arange(self.count, dtype=jnp.int32))[1]


def _advance(transition: Transition, key: Key, x: Any, first: Any, steps: int) -> Any:
    def body(x, i):
        return transition(jax.random.fold_in(key, i), x), None

    return jax.lax.scan(body, vary_like(x, key, transition), first + jnp.arange(steps, dtype=jnp.int32))[0]


def chain(transition: Transition, steps: int) -> Transition:
    """(key, x) -> the state after `steps` transitions from x."""
    _require("steps", steps, 0)
    return _Chain(transition, steps)


def trajectory(transition: Transition, count: int, *, thin: int = 1, burn_in: int = 0) -> Callable[[Key, Any], Any]:
    """(key, x) -> the states after burn_in + thin, burn_in + 2 thin, ... transitions, `count` of them, stacked.

    Memory is that of the states returned: those between are not kept.
    """
    _require("count", count, 1)
    _require("thin", thin, 1)
    _require("burn_in", burn_in, 0)
    return _Trajectory(transition, count, thin, burn_in)


def _require(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
