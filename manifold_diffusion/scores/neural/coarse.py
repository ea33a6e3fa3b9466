"""Models that are coarse by construction: their denoiser is the projection on a k-dimensional set, at every noise.

What is learned is the set: a decoder's image or the zeros of an equation, both manifolds of `geometry`, which can be
projected on, charted and measured. Points cannot be memorised by a projection on a smooth connected set: along the set
the score of such a model is 0, whereas the score of the data points towards them there (claim M11).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot
from manifold_diffusion._types import Key, Point, Points, Scalar
from manifold_diffusion.geometry import Decoded, Implicit, from_equations
from manifold_diffusion.geometry.manifold import AbstractManifold
from manifold_diffusion.scores.neural.network import Constant, Linear, deviation, linear


class CoarseModel(eqx.Module):
    """D(x, sigma) = Pi(x), the nearest point of a manifold, whatever sigma is; `scores.ProjectionScore(manifold)` is
    its score.
    """

    manifold: AbstractManifold

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        return self.manifold.project(x)


class Perceptron(eqx.Module):
    """W_depth .. silu(W_1 x + b_1) .. + b_depth: smooth, and at full precision, because distances are found with it."""

    layers: tuple[Linear, ...]

    def __init__(self, key: Key, inputs: int, outputs: int, width: int, depth: int):
        if min(inputs, outputs, width, depth) < 1:
            raise ValueError(
                f"a network needs positive sizes; got inputs={inputs}, outputs={outputs}, width={width}, depth={depth}"
            )
        sizes = [inputs, *depth * [width], outputs]
        keys = jax.random.split(key, depth + 1)
        self.layers = tuple(linear(each, a, b) for each, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True))

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        for layer in self.layers[:-1]:
            x = jax.nn.silu(dot(layer.weight, x) + layer.bias)
        return dot(self.layers[-1].weight, x) + self.layers[-1].bias


class Encoder(eqx.Module):
    """x -> F((x - centre) / deviation)."""

    network: Perceptron
    centre: Constant
    deviation: Constant

    def __call__(self, x: Point) -> Float[Array, " l"]:
        return self.network((x - self.centre.value.astype(x.dtype)) / self.deviation.value.astype(x.dtype))


class Decoder(eqx.Module):
    """z -> centre + deviation F(z)."""

    network: Perceptron
    centre: Constant
    deviation: Constant

    def __call__(self, z: Float[Array, " l"]) -> Point:
        return self.centre.value.astype(z.dtype) + self.deviation.value.astype(z.dtype) * self.network(z)


class Equations(eqx.Module):
    """x -> deviation F((x - centre) / deviation), in units of length."""

    network: Perceptron
    centre: Constant
    deviation: Constant

    def __call__(self, x: Point) -> Float[Array, " c"]:
        centre, deviation = self.centre.value.astype(x.dtype), self.deviation.value.astype(x.dtype)
        return deviation * self.network((x - centre) / deviation)


def chart_autoencoder(key: Key, latent: AbstractManifold, data: Points, width: int = 64, depth: int = 2) -> CoarseModel:
    """The image of a latent manifold (a sphere, a flat torus, R^k) under a network, with a network for the way back, to
    be trained with `training.Reconstruction`; in the units of the data.

    The latent manifold must have the topology of what the data lie on, or cover it.
    """
    there, back = jax.random.split(key)
    centre, deviation = _units(data)
    ambient_dim = data.shape[1]
    encode = Encoder(Perceptron(there, ambient_dim, latent.ambient_dim, width, depth), centre, deviation)
    decode = Decoder(Perceptron(back, latent.ambient_dim, ambient_dim, width, depth), centre, deviation)
    return CoarseModel(Decoded(latent, encode, decode))


def implicit_network(key: Key, dim: int, data: Points, width: int = 64, depth: int = 2) -> CoarseModel:
    """The zeros of a network h: R^d -> R^{d - k}, to be trained with `training.Projection`; in the units of the data.

    No step towards them is longer than the deviation of the data.
    """
    ambient_dim = data.shape[1]
    if not 0 < dim < ambient_dim:
        raise ValueError(f"zeros of equations have a dimension between 1 and {ambient_dim - 1} here, got {dim}")
    centre, deviation = _units(data)
    network = Perceptron(key, ambient_dim, ambient_dim - dim, width, depth)
    level_set = from_equations(Equations(network, centre, deviation), ambient_dim)
    return CoarseModel(Implicit(level_set, float(deviation.value)))


def _units(data: Points) -> tuple[Constant, Constant]:
    return Constant(jnp.mean(data, axis=0)), Constant(deviation(data))
