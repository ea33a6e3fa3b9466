"""The interface of this folder: a measure on a manifold, and drawing samples."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Int

from manifold_diffusion._types import Key, Point, Points, Sampler, Scalar
from manifold_diffusion.geometry import AbstractManifold

_BLOCKS = (64, 1024, 64 * 1024)


class AbstractMeasure(eqx.Module):
    """A probability measure with a density with respect to the Riemannian volume of its manifold."""

    manifold: eqx.AbstractVar[AbstractManifold]

    @abstractmethod
    def sample(self, key: Key) -> Point:
        """One exact draw."""

    @abstractmethod
    def log_density(self, x: Point) -> Scalar:
        """The log density at the point x of the manifold, with respect to Riemannian volume."""


def draw(sampler: Sampler, key: Key, size: int, chunk: int | None = None) -> Points:
    """`size` samples, (size, d); sample i is made from fold_in(key, i): the same, to rounding, whatever the size and
    the chunk.

    Samples are made in blocks of `chunk` (by default of 64, 1024 or 65536, the more the larger the size), so memory
    beyond the result is O(chunk), and one compiled program serves every size. Inside a compiled program all are made at
    once.
    """
    if size < 1:
        raise ValueError(f"draw needs a positive size, got {size}; ask for at least one sample")
    if chunk is not None and chunk < 1:
        raise ValueError(f"draw needs a positive chunk, got {chunk}; leave it out for the default")
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((sampler, key))):
        return jax.vmap(lambda i: sampler(jax.random.fold_in(key, i)))(jnp.arange(size))
    block = chunk or _block_size(size)
    blocks = [_block(sampler, key, jnp.asarray(start), block) for start in range(0, size, block)]
    return jnp.concatenate(blocks)[:size]


def _block_size(size: int) -> int:
    return next((block for block in _BLOCKS if size <= 32 * block), _BLOCKS[-1])


@eqx.filter_jit
def _block(sampler: Sampler, key: Key, start: Int[Array, ""], count: int) -> Points:
    return jax.vmap(lambda i: sampler(jax.random.fold_in(key, i)))(start + jnp.arange(count))
