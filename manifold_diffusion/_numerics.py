"""Numeric helpers that every layer may use: the only leaf module besides the types."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._types import Point, Scalar

PyTree = TypeVar("PyTree")


def safe_norm(x: Point) -> Scalar:
    """|x|, with gradient 0 at x = 0 instead of NaN."""
    squared = jnp.sum(x * x)
    positive = squared > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)


def chunked_map(f: Callable, xs: PyTree, chunk: int) -> PyTree:
    """`jax.vmap(f)(xs)` in blocks of at most `chunk`, so that memory is O(chunk); f must be traceable."""
    return jax.lax.map(f, xs, batch_size=chunk)


def dot(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """a @ b at full precision: products that enter a distance must not run in TF32."""
    return jnp.matmul(a, b, precision="highest")
