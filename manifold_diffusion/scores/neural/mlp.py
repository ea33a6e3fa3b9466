"""Multilayer perceptrons, plain and residual, with Fourier features of the noise level.

Both can be made narrower than they are stored: with `live` < `width` the other units have weights 0 in and out. They
give 0, since silu(0) = 0, and their gradients are 0, so an optimiser that leaves a zero gradient at rest (all of
optax's, weight decay included) leaves them at 0: networks of several widths then have arrays of one shape and share one
compiled program.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._types import Key, Point, Scalar
from manifold_diffusion.scores.neural.network import Constant, Linear, fourier_features, linear


class MLP(eqx.Module):
    """F(x, level) = W_out h_depth + b, h_0 = (x, fourier(level)), h_i = silu(W_i h_{i-1} + b_i).

    `width` units in each of `depth` hidden layers; W_out starts at 0, so that a preconditioned model starts at c_skip
    x. F is in R^outputs, by default where x is. ValueError where a size is not positive.
    """

    layers: tuple[Linear, ...]
    octaves: int = eqx.field(static=True)

    def __init__(
        self,
        key: Key,
        dim: int,
        width: int = 128,
        depth: int = 3,
        *,
        live: int | None = None,
        octaves: int = 4,
        outputs: int | None = None,
    ):
        live, outputs = _checked(dim, width, depth, live), dim if outputs is None else outputs
        keys = jax.random.split(key, depth)
        first = linear(keys[0], dim + 2 * octaves, width, live=(dim + 2 * octaves, live))
        hidden = [linear(each, width, width, live=(live, live)) for each in keys[1:]]
        self.layers = (first, *hidden, Linear(jnp.zeros((outputs, width)), jnp.zeros(outputs)))
        self.octaves = octaves

    def __call__(self, x: Point, level: Scalar) -> Float[Array, " o"]:
        h = jnp.concatenate([x, fourier_features(level, self.octaves)])
        for layer in self.layers[:-1]:
            h = jax.nn.silu(layer(h))
        return self.layers[-1](h)


class Block(eqx.Module):
    """h + W' silu(W n(h) + b + E e) + b', n(h) = h over its root mean square among live units, e the features of the
    level.
    """

    inner: Linear
    embed: Linear
    outer: Linear
    live: Constant

    def __call__(self, h: Float[Array, " w"], e: Float[Array, " f"]) -> Float[Array, " w"]:
        size = jax.lax.rsqrt(jnp.sum(h * h) / self.live.value.astype(h.dtype) + 1e-6)
        return h + self.outer(jax.nn.silu(self.inner(h * size) + self.embed(e)))


class ResidualMLP(eqx.Module):
    """h_0 = W x + b, h_i = h_{i-1} + a block of it, F = W_out h_depth + b; W_out and the ends of the blocks start at 0.

    Better than `MLP` from about four layers on, because gradients pass the blocks unchanged.
    """

    first: Linear
    blocks: tuple[Block, ...]
    last: Linear
    octaves: int = eqx.field(static=True)

    def __init__(
        self,
        key: Key,
        dim: int,
        width: int = 128,
        depth: int = 4,
        *,
        live: int | None = None,
        octaves: int = 4,
        outputs: int | None = None,
    ):
        live, outputs = _checked(dim, width, depth, live), dim if outputs is None else outputs
        keys = jax.random.split(key, 2 * depth + 1)
        nothing = Linear(jnp.zeros((width, width)), jnp.zeros(width))
        self.first = linear(keys[0], dim, width, live=(dim, live))
        self.blocks = tuple(
            Block(
                linear(a, width, width, live=(live, live)),
                linear(b, 2 * octaves, width, live=(2 * octaves, live)),
                nothing,
                Constant(float(live)),
            )
            for a, b in zip(keys[1::2], keys[2::2], strict=True)
        )
        self.last = Linear(jnp.zeros((outputs, width)), jnp.zeros(outputs))
        self.octaves = octaves

    def __call__(self, x: Point, level: Scalar) -> Float[Array, " o"]:
        e, h = fourier_features(level, self.octaves), self.first(x)
        for block in self.blocks:
            h = block(h, e)
        return self.last(h)


def _checked(dim: int, width: int, depth: int, live: int | None) -> int:
    live = width if live is None else live
    if min(dim, width, depth, live) < 1 or live > width:
        raise ValueError(
            f"a network needs positive sizes and at most `width` live units; "
            f"got dim={dim}, width={width}, depth={depth}, live={live}"
        )
    return live
