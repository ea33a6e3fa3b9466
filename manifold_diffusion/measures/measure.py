"""The interface of this folder: a measure on a manifold, and drawing samples."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp

from manifold_diffusion._types import Key, Point, Points, Sampler, Scalar
from manifold_diffusion.geometry import AbstractManifold


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
    """`size` samples, (size, d); sample i is made from fold_in(key, i), so it does not depend on `size` or on `chunk`.

    `chunk` bounds how many are made at a time (and the memory); by default all at once.
    """
    if size < 1:
        raise ValueError(f"draw needs a positive size, got {size}")
    return _draw(sampler, key, size, size if chunk is None else min(chunk, size))


@eqx.filter_jit
def _draw(sampler: Sampler, key: Key, size: int, chunk: int) -> Points:
    def one(i):
        return sampler(jax.random.fold_in(key, i))

    indices = jnp.arange(size)
    return jax.vmap(one)(indices) if chunk >= size else jax.lax.map(one, indices, batch_size=chunk)
