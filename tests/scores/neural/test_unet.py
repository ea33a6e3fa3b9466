"""Laws of the U-Net: what it computes, whatever the weights. Oracle: numpy, and scipy's correlation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import correlate
from scipy.special import expit

from manifold_diffusion.scores.neural import UNet, fourier_features
from manifold_diffusion.scores.neural.convolution import convolve

SHAPE = (6, 4, 2)


def with_weights(network):
    """The network with no weight at its starting value, so that nothing is hidden behind a 0."""
    weights, rest = eqx.partition(network, eqx.is_inexact_array)
    leaves, tree = jax.tree.flatten(weights)
    generator = np.random.default_rng(7)
    moved = [leaf + 0.2 * generator.normal(size=leaf.shape).astype(leaf.dtype) for leaf in leaves]
    return eqx.combine(jax.tree.unflatten(tree, moved), rest)


def image(seed, shape=SHAPE):
    return jnp.asarray(np.random.default_rng(seed).normal(size=int(np.prod(shape))), float)


def silu(h):
    return h * expit(h)


def convolution(layer, h):
    """sum_c correlate(h_c, w_co) + b_o, zeros beyond the border."""
    weight, bias = np.asarray(layer.weight), np.asarray(layer.bias)
    rows = [
        sum(correlate(h[..., c], weight[..., c, o], mode="constant") for c in range(weight.shape[2]))
        for o in range(weight.shape[3])
    ]
    return np.stack(rows, -1) + bias


def normalisation(layer, h):
    groups = np.moveaxis(h.reshape(*h.shape[:2], layer.groups, -1), 2, 0)
    mean, variance = groups.mean((1, 2, 3), keepdims=True), groups.var((1, 2, 3), keepdims=True)
    return np.moveaxis((groups - mean) / np.sqrt(variance + 1e-5), 0, 2).reshape(h.shape)


def affine(layer, h):
    return h @ np.asarray(layer.weight).T + np.asarray(layer.bias)


def block(layer, h, e):
    scale, shift = np.split(affine(layer.embed, e), 2)
    inner = normalisation(layer.between, convolution(layer.inner, silu(normalisation(layer.before, h))))
    skipped = h if layer.across is None else affine(layer.across, h)
    return skipped + convolution(layer.outer, silu((1 + scale) * inner + shift))


def by_hand(net, x, level):
    """The network of two resolutions in numpy, written from the figure of arXiv 1505.04597."""
    h = convolution(net.first, np.asarray(x).reshape(SHAPE))
    e = silu(affine(net.embed, np.asarray(fourier_features(level, net.octaves))))
    fine = block(net.down[0][0], h, e)
    half = (fine[::2, ::2] + fine[1::2, ::2] + fine[::2, 1::2] + fine[1::2, 1::2]) / 4
    coarse = block(net.down[1][0], half, e)
    h = block(net.up[0][0], np.concatenate([block(net.middle, coarse, e), coarse], -1), e)
    h = block(net.up[1][0], np.concatenate([np.kron(h, np.ones((2, 2, 1))), fine], -1), e)
    return convolution(net.last, silu(normalisation(net.normalise, h))).ravel()


def test_the_values_are_those_of_the_figure(x64):
    net, x, level = with_weights(UNet(jax.random.key(0), SHAPE, 4)), image(0), jnp.asarray(0.4)
    np.testing.assert_allclose(eqx.filter_jit(net)(x, level), by_hand(net, x, level), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "resolutions"),
    [((28, 28, 1), 3), ((12, 6, 3), 2), ((7, 8, 1), 1), ((2, 2, 1), 1)],
)
def test_halving_ends_where_a_side_is_odd_or_small(shape, resolutions):
    net = eqx.filter_eval_shape(lambda: UNet(jax.random.key(0), shape, 8, 4, blocks=2))
    assert len(net.down) == len(net.up) == resolutions
    size = int(np.prod(shape))
    out = eqx.filter_eval_shape(net, jax.ShapeDtypeStruct((size,), jnp.float32), jnp.zeros((), jnp.float32))
    assert out.shape == (size,)


def test_the_derivatives_of_a_convolution_are_those_of_jax(x64):
    """Forwards and backwards, in the image and in the kernel."""
    h, weight, dh, dweight, cotangent = (
        jnp.asarray(np.random.default_rng(i).normal(size=size))
        for i, size in enumerate([(5, 4, 2), (3, 3, 2, 3), (5, 4, 2), (3, 3, 2, 3), (5, 4, 3)])
    )

    def plain(h, weight):
        return jax.lax.conv_general_dilated(
            h[None], weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )[0]

    def both(function):
        value, tangent = jax.jvp(function, (h, weight), (dh, dweight))
        return value, tangent, jax.vjp(function, h, weight)[1](cotangent)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), *jax.jit(lambda: (both(convolve), both(plain)))()
    )


def test_the_convolutions_of_a_gradient_are_in_the_order_that_is_fast_in_loops():
    """And they are two a layer for a whole batch: the batch is a side of images, or what a kernel's gradient sums."""
    batch, inputs, outputs = 16, 2, 3

    def total(weight, h):
        return jnp.sum(jax.vmap(lambda h: convolve(h, weight))(h) ** 2)

    weight, h = jnp.ones((3, 3, inputs, outputs)), jnp.ones((batch, 6, 6, inputs))
    program = jax.make_jaxpr(jax.grad(total, (0, 1)))(weight, h)
    found = [each for each in program.eqns if each.primitive.name == "conv_general_dilated"]
    assert len(found) == 2
    for each in found:
        order = each.params["dimension_numbers"]
        assert (order.lhs_spec, order.rhs_spec, order.out_spec) == ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
        assert each.params["feature_group_count"] == each.params["batch_group_count"] == 1


@pytest.mark.parametrize("wrong", [{"shape": (8, 8)}, {"shape": (8, 0, 1)}, {"levels": 0}])
def test_sizes_that_make_no_image_are_refused(key, wrong):
    with pytest.raises(ValueError, match="image shape"):
        UNet(key, **{"shape": SHAPE, **wrong})
