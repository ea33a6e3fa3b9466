"""The interface of this folder: a network maps (x, level) to R^d, and a model is a network made into a denoiser.

Notation: a *network* F takes a point of unit size and a noise level on a scale of order 1; a *model* D is any callable
(x, sigma) -> E[X_0 | X_0 + sigma Z = x], one point in, one point out; `scores.from_denoiser(model)` is its score.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from manifold_diffusion._types import Key, Point, Points, Scalar
from manifold_diffusion.geometry import Euclidean, Product, Sphere, Torus

Network: TypeAlias = Callable[[Point, Scalar], Point]
"""(x, level) -> F(x, level), with x and level of order 1."""


_LATENTS = (Sphere, Torus, Euclidean, Product)


class Constant(eqx.Module):
    """What belongs to a model and is not trained: an array, or a module of arrays such as a manifold."""

    value: Any = eqx.field(converter=lambda value: value if isinstance(value, eqx.Module) else jnp.asarray(value))


def trainable(model: PyTree) -> PyTree[bool]:
    """True for the floating-point arrays of a model, False for all else, for what is in a `Constant`, and for the radii
    of a latent sphere, torus or product of them; the filter of `eqx.partition`.
    """
    return jax.tree.map(lambda leaf: not _is_constant(leaf) and eqx.is_inexact_array(leaf), model, is_leaf=_is_constant)


def _is_constant(leaf) -> bool:
    return isinstance(leaf, (Constant, *_LATENTS))


def fourier_features(level: Scalar, octaves: int, lowest: float = 0.125) -> Float[Array, " f"]:
    """cos(w_j level), sin(w_j level) for w_j = 2^j lowest, j = 0 .. octaves - 1.

    Fixed rather than drawn at random, so that a model is a function of its weights alone (Fourier features: Tancik et
    al., arXiv 2006.10739). By doubling the angle, since a cosine costs as much as a row of a small network; rounding
    doubles with it, to 2^octaves eps. With level = log(sigma) / 4 a network reaches the manifold half as fast if
    there are frequencies above about 4 (measured): noise levels close by must look alike.
    """
    pairs = [(jnp.cos(lowest * level), jnp.sin(lowest * level))]
    for _ in range(octaves - 1):
        c, s = pairs[-1]
        pairs.append(((c - s) * (c + s), 2 * c * s))
    return jnp.stack([c for c, _ in pairs] + [s for _, s in pairs])


def deviation(data: Points) -> Scalar:
    """The root mean square deviation of the data per coordinate."""
    return jnp.sqrt(jnp.mean(jnp.var(data, axis=0)))


class Linear(eqx.Module):
    """h -> W h + b."""

    weight: Float[Array, "out in"]
    bias: Float[Array, " out"]

    def __call__(self, h: Float[Array, " in"]) -> Float[Array, " out"]:
        return self.weight @ h + self.bias


def linear(key: Key, inputs: int, outputs: int, scale: float = 1.0, live: tuple[int, int] | None = None) -> Linear:
    """Weights N(0, scale^2 / inputs), biases 0; with `live` = (i, o) only the first i inputs and o outputs have
    weights, of variance scale^2 / i.
    """
    i, o = live or (inputs, outputs)
    weight = scale / math.sqrt(i) * jax.random.normal(key, (o, i))
    return Linear(jnp.zeros((outputs, inputs)).at[:o, :i].set(weight), jnp.zeros(outputs))
