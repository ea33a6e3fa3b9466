"""Objects with one fault out of many, chosen by a number, so that one compiled program serves all of them."""

import jax
import jax.numpy as jnp


def number(faults, fault):
    """That of the fault, as the object holds it; without one, -1."""
    return jnp.asarray(list(faults).index(fault) if fault else -1)


def choose(faults, chosen, changes, right):
    """`changes[fault]()` for the fault of that number, else `right()`; no derivative of the others is taken."""
    numbers, branches = [list(faults).index(fault) for fault in changes], [right, *changes.values()]
    if isinstance(chosen, jax.core.Tracer):
        which = jnp.asarray(numbers) == chosen
        return jax.lax.switch(jnp.where(jnp.any(which), 1 + jnp.argmax(which), 0), branches)
    # A conditional that is not traced would be compiled anew each time.
    return branches[1 + numbers.index(int(chosen)) if int(chosen) in numbers else 0]()
