"""Convolutions of images, written so that XLA's CPU compiler has a fast program for them and for their gradients inside
a loop too.

That compiler takes its fast routines for convolutions whose sides are in one canonical order (images b01f, kernels
01io), and brings others into that order outside of loops only: in the loops of training and sampling the gradient of
`eqx.nn.Conv2d` takes the naive one (measured: 185 ms, not 4, for two layers of 16 channels on 128 images of 8 x 8). The
derivative below is the usual one with its sides in such an order that its *transpose*, which is what a gradient runs,
is canonical.
"""

import math
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._types import Key

Image: TypeAlias = Float[Array, "i j c"]
Kernel: TypeAlias = Float[Array, "a b c o"]


class Convolution(eqx.Module):
    """(W * h)_ijo = sum_abc W_abco h_{i+a-r, j+b-r, c} + bias_o, kernels of side 2 r + 1, zeros beyond the border."""

    weight: Kernel
    bias: Float[Array, " o"]

    def __call__(self, h: Image) -> Float[Array, "i j o"]:
        return convolve(h, self.weight) + self.bias[None, None, :]


def convolution(key: Key, inputs: int, outputs: int, side: int = 3, scale: float = 1.0) -> Convolution:
    """Weights N(0, scale^2 / (inputs side^2)), biases 0."""
    deviation = scale / math.sqrt(inputs * side**2)
    return Convolution(deviation * jax.random.normal(key, (side, side, inputs, outputs)), jnp.zeros(outputs))


@jax.custom_jvp
def convolve(h: Image, weight: Kernel) -> Float[Array, "i j o"]:
    """The convolution of an image (i, j, channels), without bias; differentiable forwards and backwards."""
    return _convolve(h[None], weight, ("NHWC", "HWIO", "NHWC"))[0]


@convolve.defjvp
def _derivative(primals, tangents):
    (h, weight), (dh, dweight) = primals, tangents
    along_h = _convolve(dh[None], weight.transpose(0, 1, 3, 2), ("NHWC", "HWOI", "NHWC"))[0]
    along_weight = _convolve(h.transpose(2, 0, 1)[..., None], dweight.transpose(2, 0, 1, 3), ("CHWN", "IHWO", "HWNC"))[
        :, :, 0
    ]
    return convolve(h, weight), along_h + along_weight


def _convolve(h, weight, order):
    return jax.lax.conv_general_dilated(h, weight, (1, 1), "SAME", dimension_numbers=order)


class GroupNorm(eqx.Module):
    """(h - m) / sqrt(v + 1e-5), m and v the mean and variance over all pixels and the channels of a group (Wu and He,
    arXiv 1803.08494); no running state, the image is normalised by itself.
    """

    groups: int = eqx.field(static=True)

    def __call__(self, h: Image) -> Image:
        whole = h.reshape(h.shape[0] * h.shape[1], self.groups, -1)
        offset = whole - jnp.mean(whole, axis=(0, 2), keepdims=True)
        variance = jnp.mean(offset * offset, axis=(0, 2), keepdims=True)
        return (offset * jax.lax.rsqrt(variance + 1e-5)).reshape(h.shape)


def group_norm(channels: int) -> GroupNorm:
    """Groups of at least four channels, at most 32 of them, as far as the channels can be divided so."""
    return GroupNorm(next(g for g in range(min(32, max(1, channels // 4)), 0, -1) if channels % g == 0))
