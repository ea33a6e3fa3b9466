"""A small convolutional U-Net: a network for points that are images."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._types import Key, Point, Scalar
from manifold_diffusion.scores.neural.convolution import Convolution, GroupNorm, convolution, group_norm
from manifold_diffusion.scores.neural.network import Linear, fourier_features, linear


class ImageBlock(eqx.Module):
    """S h + W' silu((1 + a) n(W silu(n(h))) + b), with W, W' convolutions of 3 x 3 pixels, n group normalisation, (a,
    b) = E e linear in the embedded level e, and S the identity, or linear at each pixel where the number of channels
    changes. W' starts at 0.
    """

    inner: Convolution
    outer: Convolution
    embed: Linear
    across: Linear | None
    before: GroupNorm
    between: GroupNorm

    def __init__(self, key: Key, inputs: int, outputs: int, features: int):
        a, b, c = jax.random.split(key, 3)
        self.inner, self.outer = convolution(a, inputs, outputs), convolution(a, outputs, outputs, scale=0.0)
        self.embed = linear(b, features, 2 * outputs)
        self.across = None if inputs == outputs else linear(c, inputs, outputs)
        self.before, self.between = group_norm(inputs), group_norm(outputs)

    def __call__(self, h: Float[Array, "i j c"], e: Float[Array, " f"]) -> Float[Array, "i j o"]:
        scale, shift = jnp.split(self.embed(e)[None, None, :], 2, axis=-1)
        inner = self.between(self.inner(jax.nn.silu(self.before(h))))
        skipped = h if self.across is None else h @ self.across.weight.T + self.across.bias[None, None, :]
        return skipped + self.outer(jax.nn.silu((1 + scale) * inner + shift))


class UNet(eqx.Module):
    """F(x, level) for x an image of `shape` (height, width, channels), flat in C order, as `numpy.ravel` gives it.

    Residual blocks at up to `levels` resolutions, each half as fine as the one before: on the way down the mean of 2 x
    2 pixels, on the way up each pixel four times, joined with what the way down had at that resolution (Ronneberger et
    al., arXiv 1505.04597, fig. 1; the level scales and shifts as in Karras et al., arXiv 2206.00364, app. F.2; no
    attention and no dropout). `channels` at the finest resolution, twice as many at the others, `blocks` a resolution
    and way. Halving ends where a side is odd or below 4, so sides need not be powers of two. The end starts at 0, so
    that a preconditioned model starts at c_skip x.

    Weights and images are computed in the precision of the weights. ValueError where a size is not positive, or
    `shape` has not three sides.
    """

    first: Convolution
    embed: Linear
    down: tuple[tuple[ImageBlock, ...], ...]
    middle: ImageBlock
    up: tuple[tuple[ImageBlock, ...], ...]
    last: Convolution
    normalise: GroupNorm
    shape: tuple[int, ...] = eqx.field(static=True)
    octaves: int = eqx.field(static=True)

    def __init__(
        self,
        key: Key,
        shape: tuple[int, ...],
        channels: int = 32,
        levels: int = 2,
        *,
        blocks: int = 1,
        octaves: int = 8,
    ):
        _require_image(shape, channels, levels, blocks, octaves)
        self.shape, self.octaves = tuple(shape), octaves
        widths = [channels] + [2 * channels] * (_resolutions(shape, levels) - 1)
        features = 2 * channels
        keys = iter(jax.random.split(key, 4 + 2 * blocks * len(widths)))
        self.first = convolution(next(keys), shape[2], channels)
        self.embed = linear(next(keys), 2 * octaves, features)
        self.middle = ImageBlock(next(keys), widths[-1], widths[-1], features)
        self.last = convolution(next(keys), channels, shape[2], scale=0.0)
        self.normalise = group_norm(channels)

        def stage(inputs: int, outputs: int) -> tuple[ImageBlock, ...]:
            sizes = [inputs] + [outputs] * (blocks - 1)
            return tuple(ImageBlock(next(keys), size, outputs, features) for size in sizes)

        self.down = tuple(stage(i, o) for i, o in zip([channels, *widths], widths, strict=False))
        self.up = tuple(stage(i + o, o) for i, o in zip([*widths[1:], widths[-1]], widths, strict=True))[::-1]

    def __call__(self, x: Point, level: Scalar) -> Point:
        kind = self.first.weight.dtype
        h = self.first(x.astype(kind).reshape(self.shape))
        e = jax.nn.silu(self.embed(fourier_features(level.astype(kind), self.octaves)))
        passed = []
        for i, stage in enumerate(self.down):
            h = _through(stage, _halved(h) if i else h, e)
            passed.append(h)
        h = self.middle(h, e)
        for i, stage in enumerate(self.up):
            h = _through(stage, jnp.concatenate([_doubled(h) if i else h, passed.pop()], axis=-1), e)
        return self.last(jax.nn.silu(self.normalise(h))).reshape(x.shape).astype(x.dtype)


def _through(stage: tuple[ImageBlock, ...], h: Float[Array, "i j c"], e: Float[Array, " f"]) -> Float[Array, "i j o"]:
    for block in stage:
        h = block(h, e)
    return h


def _halved(h: Float[Array, "i j c"]) -> Float[Array, "i2 j2 c"]:
    i, j, c = h.shape
    return jnp.mean(h.reshape(i // 2, 2, j // 2, 2, c), axis=(1, 3))


def _doubled(h: Float[Array, "i j c"]) -> Float[Array, "i2 j2 c"]:
    i, j, c = h.shape
    return jnp.broadcast_to(h[:, None, :, None, :], (i, 2, j, 2, c)).reshape(2 * i, 2 * j, c)


def _resolutions(shape: tuple[int, ...], levels: int) -> int:
    """1 + how often both sides can be halved, at most `levels`."""
    (height, width, _), count = shape, 1
    while count < levels and height % 2 == width % 2 == 0 and min(height, width) >= 4:
        height, width, count = height // 2, width // 2, count + 1
    return count


def _require_image(shape: tuple[int, ...], *sizes: int) -> None:
    if len(shape) != 3 or min(*shape, *sizes) < 1:
        raise ValueError(
            f"a U-Net needs an image shape (height, width, channels) and positive sizes; got {tuple(shape)} and {sizes}"
        )
