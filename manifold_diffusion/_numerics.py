"""Numeric helpers that every layer may use: the only leaf module besides the types."""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from manifold_diffusion._types import Key, Point, Scalar

PyTree = TypeVar("PyTree")


def safe_norm(x: Point) -> Scalar:
    """|x|, with gradient 0 at x = 0 instead of NaN."""
    squared = jnp.sum(x * x)
    positive = squared > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)


def known_false(condition) -> bool:
    """Whether a condition on parameters fails; one that is traced is not known yet, and is taken to hold."""
    return not isinstance(condition, Tracer) and not bool(condition)


def chunked_map(f: Callable, xs: PyTree, chunk: int) -> PyTree:
    """`jax.vmap(f)(xs)` in blocks of at most `chunk`, so that memory is O(chunk); f must be traceable."""
    return jax.lax.map(f, xs, batch_size=chunk)


def rejection(key: Key, propose: Callable[[Key], tuple[PyTree, Scalar]]) -> tuple[PyTree, Scalar]:
    """A candidate of `propose(key) -> (candidate, log_ratio)`, accepted with probability exp(log_ratio), and the
    largest log_ratio of all attempts.

    Exact while that is at most 0: log_ratio is the log of the wanted density over its bound, and it is for the caller
    to see to it. A log_ratio that is NaN ends the search and is returned as the largest. Attempt i is made from
    fold_in(key, i).
    """

    def attempt(index):
        place, coin = jax.random.split(jax.random.fold_in(key, index))
        candidate, log_ratio = propose(place)
        refused = jnp.log(jax.random.uniform(coin, dtype=log_ratio.dtype)) >= log_ratio
        return index + 1, candidate, refused, log_ratio

    def again(state):
        index, candidate, refused, log_ratio = attempt(state[0])
        return index, candidate, refused, jnp.maximum(log_ratio, state[3])

    _, candidate, _, worst = jax.lax.while_loop(lambda state: state[2], again, attempt(0))
    return candidate, worst


def vary_like(start: PyTree, *others: Any) -> PyTree:
    """`start`, for a loop that brings it together with the arrays of `others`.

    Under `jax.shard_map` what a loop starts from must vary over the devices if what it ends with does, and constants
    do not. Elsewhere nothing is done.
    """
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return start
    arrays = [a for a in jax.tree.leaves((start, others)) if isinstance(a, jax.Array) and a.size]
    # False everywhere, and dependent on all: which devices a value varies over is found from what it is made of.
    false = functools.reduce(jnp.logical_or, [_first(a) != _first(a) for a in arrays], jnp.asarray(False)) & False
    return jax.tree.map(lambda a: jax.lax.select(jnp.broadcast_to(false, jnp.shape(a)), a, a), start)


def _first(a: Array) -> Array:
    a = jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a
    return a[(0,) * a.ndim]


def dot(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """a @ b at full precision: products that enter a distance must not run in TF32."""
    return jnp.matmul(a, b, precision="highest")


def exp2_negative(w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """2^-w for w >= 0, to a few units in the last place, cut off at the smallest normal number.

    With k the integer nearest to w, 2^-w = 2^(k - w) 2^-k: a polynomial on [-1/2, 1/2] whose exponent bits are lowered
    by k, which k + 1.5 * 2^mantissa has in its low bits. Derived here; inside the kernel score it is twice as fast as
    XLA's exp on a CPU. NaN is cut off like infinity.
    """
    return _exp2_negative(w)


@jax.custom_jvp
def _exp2_negative(w):
    integer, digits, degree = _LAYOUT[jnp.dtype(w.dtype).name]
    bits = jax.lax.bitcast_convert_type
    # Floats that are not negative are ordered as their bits are, and integer minima need no care for NaN.
    cut = bits(jnp.asarray(-np.log2(np.finfo(w.dtype).tiny), w.dtype), integer)
    w = bits(jnp.minimum(bits(w, integer), cut), w.dtype)
    # XLA reassociates sums on a CPU: (w + magic) - magic would be w, so k is rounded before it meets the magic number.
    k = jax.lax.round(w, jax.lax.RoundingMethod.TO_NEAREST_EVEN)
    f = k - w
    value = jnp.zeros_like(f)
    for c in reversed(_exp2_polynomial(degree)):
        value = value * f + c
    exponent = bits(k + jnp.asarray(1.5 * 2.0**digits, w.dtype), integer)
    return bits(bits(value, integer) - jax.lax.shift_left(exponent, jnp.asarray(digits, integer)), w.dtype)


@_exp2_negative.defjvp
def _exp2_negative_jvp(primals, tangents):
    value = _exp2_negative(*primals)
    return value, -math.log(2) * value * tangents[0]


# Per type: the integer with the same bits, the mantissa's digits, the degree at which the polynomial reaches them.
_LAYOUT = {"float32": (jnp.int32, 23, 5), "float64": (jnp.int64, 52, 11)}


@functools.cache
def _exp2_polynomial(degree: int) -> tuple[float, ...]:
    """Coefficients, lowest first, of 2^f = 1 + f q(f) on [-1/2, 1/2], q by interpolation at Chebyshev nodes.

    2^-0 = 1 exactly: a running sum that is multiplied by it many times must not drift.
    """
    log_2 = math.log(2)
    quotient = np.polynomial.Chebyshev.interpolate(
        # The middle node is within rounding of 0, where the quotient is its limit.
        lambda f: np.where(np.abs(f) < 1e-9, log_2, np.expm1(f * log_2) / np.where(f == 0, 1, f)),
        degree - 1,
        domain=[-0.5, 0.5],
    )
    return (1.0, *(float(c) for c in quotient.convert(kind=np.polynomial.Polynomial).coef))


def lowest(w: Float[Array, "n m"]) -> Float[Array, " m"]:
    """The minimum over axis 0 of numbers w >= 0, compared as integers, which needs no care for NaN."""
    integer = _LAYOUT[jnp.dtype(w.dtype).name][0]
    bits = jax.lax.bitcast_convert_type
    return bits(jnp.min(bits(w, integer), axis=0), w.dtype)
