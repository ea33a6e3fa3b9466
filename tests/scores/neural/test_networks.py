"""Networks and what makes them denoisers."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion.scores import MLP, Preconditioned, ResidualMLP, preconditioned
from manifold_diffusion.scores.neural import Constant, fourier_features, trainable

KINDS = pytest.mark.parametrize("kind", [MLP, ResidualMLP])


def shaken(model, key):
    """The model with random numbers added to the weights that are not 0, and to the last layer's."""
    weights, rest = eqx.partition(model, trainable(model))
    leaves, tree = jax.tree.flatten(weights)
    moved = [a + 0.3 * jax.random.normal(jax.random.fold_in(key, i), a.shape) for i, a in enumerate(leaves)]
    return eqx.combine(jax.tree.unflatten(tree, moved), rest)


def narrowed(a, shape):
    return a[tuple(slice(n) for n in shape)]


@KINDS
def test_a_narrow_network_in_a_wide_one_is_the_narrow_one(kind, key):
    """Weights of the narrow one put into the live part of the wide one: the same function, the same gradients there,
    and gradients of 0 elsewhere."""
    small = shaken(kind(key, 3, 8, 2), key)
    wide = kind(key, 3, 20, 2, live=8)

    def widened(a, b):
        return jnp.zeros_like(b).at[tuple(slice(n) for n in a.shape)].set(a)

    small_arrays, _ = eqx.partition(small, eqx.is_array)
    wide_arrays, rest = eqx.partition(wide, eqx.is_array)
    wide = eqx.combine(jax.tree.map(widened, small_arrays, wide_arrays), rest)
    x, level = jnp.asarray([0.3, -1.0, 0.5]), jnp.asarray(-0.4)

    @eqx.filter_jit
    def look(model):
        return eqx.filter_value_and_grad(lambda m: jnp.sum(m(x, level) * jnp.arange(1.0, 4.0)))(model)

    (value, gradient), (wide_value, wide_gradient) = look(small), look(wide)
    np.testing.assert_allclose(value, wide_value, rtol=2e-5)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(wide_gradient), strict=True):
        np.testing.assert_allclose(a, narrowed(b, a.shape), rtol=1e-3, atol=1e-5)
        assert float(jnp.sum(jnp.abs(b))) == pytest.approx(float(jnp.sum(jnp.abs(narrowed(b, a.shape)))), rel=1e-6)


@KINDS
def test_dead_units_have_no_weights(kind, key):
    network = kind(key, 3, 20, 2, live=8)
    for leaf in jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array)):
        if leaf.ndim:
            outside = leaf.at[tuple(slice(8 if n == 20 else n) for n in leaf.shape)].set(0.0)
            assert not outside.any()


@pytest.mark.parametrize(("sizes", "live"), [((0, 8, 2), None), ((3, 8, 2), 9), ((3, 8, 0), None)])
def test_sizes_that_make_no_network_are_refused(sizes, live, key):
    with pytest.raises(ValueError, match="positive sizes"):
        MLP(key, *sizes, live=live)


def test_fourier_features_are_those_of_octaves():
    w = 0.125 * 2.0 ** np.arange(6)
    level = 1.7
    expected = np.concatenate([np.cos(w * level), np.sin(w * level)])
    np.testing.assert_allclose(fourier_features(jnp.asarray(level), 6), expected, atol=2e-5)


def test_without_a_network_it_is_the_wiener_filter():
    """c_skip x is the exact denoiser of N(centre, s^2 I): (s^2 x + sigma^2 centre) / (s^2 + sigma^2)."""
    centre, s, sigma = jnp.asarray([2.0, -1.0]), 0.7, 0.3
    model = Preconditioned(lambda x, level: jnp.zeros_like(x), centre, s)
    x = jnp.asarray([1.0, 1.0])
    np.testing.assert_allclose(model(x, sigma), (s**2 * x + sigma**2 * centre) / (s**2 + sigma**2), rtol=1e-6)


def test_what_the_network_is_to_give_has_unit_variance(x64):
    """With x ~ N(centre, s^2), F must be ((x - centre) - c_skip (y - centre)) / c_out: of mean 0, and of variance 1
    in closed form at every noise level; so must its input c_in (y - centre)."""
    s = 0.7

    class Keep(eqx.Module):
        def __call__(self, x, level):
            return jnp.ones_like(x)

    for sigma in (1e-3, 0.3, 50.0):
        zero = Preconditioned(lambda x, level: jnp.zeros_like(x), 0.0, s)
        one = Preconditioned(Keep(), 0.0, s)
        c_skip = float(zero(jnp.ones(1), sigma)[0])
        c_out = float(one(jnp.ones(1), sigma)[0]) - c_skip
        # x - c_skip (x + sigma z) has variance (1 - c_skip)^2 s^2 + c_skip^2 sigma^2.
        assert ((1 - c_skip) ** 2 * s**2 + c_skip**2 * sigma**2) / c_out**2 == pytest.approx(1.0, rel=1e-9)


def test_a_model_of_moved_data_is_the_moved_model(key):
    data = jax.random.normal(key, (50, 2)) * jnp.asarray([[1.0, 2.0]])
    network = shaken(MLP(key, 2, 8, 2), key)
    shift, scale = jnp.asarray([5.0, -3.0]), 100.0
    here, there = preconditioned(network, data), preconditioned(network, shift[None, :] + scale * data)
    x = jnp.asarray([0.4, 1.1])
    moved = there(shift + scale * x, scale * 0.2)
    np.testing.assert_allclose(moved, shift + scale * here(x, 0.2), rtol=2e-5)


def test_at_small_noise_nothing_cancels(key):
    """In float32 D - x is right to a rounding of x, even where it is 1e-5 of it."""
    model = preconditioned(shaken(MLP(key, 2, 8, 2), key), jax.random.normal(key, (50, 2)))
    x, sigma = jnp.asarray([0.4, 1.1]), 1e-5
    moved = np.asarray(model(x, sigma) - x)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: a.astype(float) if eqx.is_inexact_array(a) else a, model)
        exact = np.asarray(wide(x.astype(float), sigma) - x.astype(float))
    np.testing.assert_allclose(moved, exact, atol=1.5e-7)


def test_constants_are_not_trained(key):
    model = preconditioned(MLP(key, 2, 8, 2), jax.random.normal(key, (50, 2)))
    spec = trainable(model)
    assert spec.centre is False
    assert spec.deviation is False
    weights, _ = eqx.partition(model, spec)
    assert isinstance(model.centre, Constant)
    assert len(jax.tree.leaves(weights)) == 2 * 3
