"""Laws of the U-Net: what the architecture promises whatever the weights. Oracle for its values: scipy's correlation."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import correlate
from scipy.special import expit

from manifold_diffusion.scores.neural import UNet, fourier_features

SHAPE = (6, 4, 2)


def with_weights(network, key):
    """The network with no weight at its starting value, so that nothing is hidden behind a 0."""
    weights, rest = eqx.partition(network, eqx.is_inexact_array)
    leaves, tree = jax.tree.flatten(weights)
    keys = jax.random.split(key, len(leaves))
    moved = [leaf + 0.2 * jax.random.normal(k, leaf.shape, leaf.dtype) for leaf, k in zip(leaves, keys, strict=True)]
    return eqx.combine(jax.tree.unflatten(tree, moved), rest)


def image(seed, shape=SHAPE):
    return jnp.asarray(np.random.default_rng(seed).normal(size=int(np.prod(shape))), float)


def silu(h):
    return h * expit(h)


def convolution(conv, h):
    """sum_c correlate(h_c, w_oc) + b_o, zeros beyond the border."""
    weight, bias = np.asarray(conv.weight), np.asarray(conv.bias)
    rows = [sum(correlate(c, w, mode="constant") for c, w in zip(h, each, strict=True)) for each in weight]
    return np.stack(rows) + bias


def normalisation(norm, h):
    groups = h.reshape(norm.groups, -1)
    groups = (groups - groups.mean(1, keepdims=True)) / np.sqrt(groups.var(1, keepdims=True) + norm.eps)
    return groups.reshape(h.shape) * np.asarray(norm.weight)[:, None, None] + np.asarray(norm.bias)[:, None, None]


def block(layer, h, e):
    inner = convolution(layer.inner, silu(normalisation(layer.before, h)))
    inner = inner + (np.asarray(layer.embed.weight) @ e + np.asarray(layer.embed.bias))[:, None, None]
    skipped = h if layer.across is None else convolution(layer.across, h)
    return skipped + convolution(layer.outer, silu(normalisation(layer.between, inner)))


def by_hand(net, x, level):
    """The network of two resolutions in numpy, written from the figure of arXiv 1505.04597."""
    h = convolution(net.first, np.moveaxis(np.asarray(x).reshape(SHAPE), 2, 0))
    features = np.asarray(fourier_features(level, net.octaves))
    e = silu(np.asarray(net.embed.weight) @ features + np.asarray(net.embed.bias))
    fine = block(net.down[0][0], h, e)
    half = (fine[:, ::2, ::2] + fine[:, 1::2, ::2] + fine[:, ::2, 1::2] + fine[:, 1::2, 1::2]) / 4
    coarse = block(net.down[1][0], half, e)
    h = block(net.up[0][0], np.concatenate([block(net.middle, coarse, e), coarse]), e)
    h = block(net.up[1][0], np.concatenate([np.kron(h, np.ones((1, 2, 2))), fine]), e)
    out = convolution(net.last, silu(normalisation(net.normalise, h)))
    return np.moveaxis(out, 0, 2).ravel()


def test_the_values_are_those_of_the_figure(x64):
    net = with_weights(UNet(jax.random.key(0), SHAPE, 4), jax.random.key(1))
    x, level = image(0), jnp.asarray(0.4)
    np.testing.assert_allclose(eqx.filter_jit(net)(x, level), by_hand(net, x, level), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "resolutions"),
    [((8, 8, 1), 3), ((28, 28, 1), 3), ((12, 6, 3), 2), ((7, 8, 1), 1), ((2, 2, 1), 1), ((64, 64, 3), 4)],
)
def test_halving_ends_where_a_side_is_odd_or_small(shape, resolutions):
    net = eqx.filter_eval_shape(lambda: UNet(jax.random.key(0), shape, 8, 4, blocks=2))
    assert len(net.down) == len(net.up) == resolutions
    out = eqx.filter_eval_shape(net, jax.ShapeDtypeStruct((int(np.prod(shape)),), jnp.float32), jnp.zeros(()))
    assert out.shape == (int(np.prod(shape)),)


def test_it_starts_at_zero_and_every_weight_can_learn(key):
    """At the start only the end gets a gradient; one step from it all do."""
    net = UNet(key, SHAPE, 4)
    x, level = image(0), jnp.asarray(0.1)

    @eqx.filter_jit
    def value_and_gradient(net):
        return eqx.filter_value_and_grad(lambda net: jnp.sum((net(x, level) - 1) ** 2))(net)

    assert value_and_gradient(net)[0] == x.size
    gradient = value_and_gradient(with_weights(net, key))[1]
    assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(gradient))


@functools.cache
def lowered():
    net = UNet(jax.random.key(0), (8, 8, 1), 8)

    def loss(weights, rest, xs):
        net = eqx.combine(weights, rest)
        return jnp.sum(jax.vmap(lambda x: net(x, jnp.asarray(0.1)))(xs) ** 2)

    weights, rest = eqx.partition(net, eqx.is_inexact_array)
    step = jax.jit(jax.grad(loss), static_argnums=1)
    return str(jax.make_jaxpr(lambda w, x: step.__wrapped__(w, rest, x))(weights, jnp.ones((16, 64))))


def test_a_batch_is_one_convolution_a_layer():
    """Not one a point: the batch is the leading side of every convolution's input, and no convolution is grouped."""
    text = lowered()
    assert text.count("conv_general_dilated[") > 20
    assert "feature_group_count=16" not in text
    assert "batch_group_count=16" not in text


def test_single_precision_weights_take_double_points(x64):
    with jax.enable_x64(False):
        net = with_weights(UNet(jax.random.key(0), SHAPE, 4), jax.random.key(1))
    out = net(image(0), jnp.asarray(0.1))
    assert out.dtype == jnp.float64
    assert jnp.all(jnp.isfinite(out))


@pytest.mark.parametrize("wrong", [{"shape": (8, 8)}, {"shape": (8, 0, 1)}, {"levels": 0}, {"channels": 0}])
def test_sizes_that_make_no_image_are_refused(key, wrong):
    with pytest.raises(ValueError, match="image shape"):
        UNet(key, **{"shape": SHAPE, **wrong})
