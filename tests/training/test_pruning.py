"""Pruning: what is judged, and what is left out."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import training
from manifold_diffusion.scores.neural import Linear


class Map(eqx.Module):
    """D(y) = W y + b."""

    layer: Linear

    def __call__(self, y, sigma):
        return self.layer(y)


def noise(key):
    return jnp.asarray(0.5)


def test_importance_is_the_mean_square_of_weight_times_gradient(key):
    """For |W y + b - x|^2 with W = diag(a), b = 0, x = 0 and y = sigma z: dl/dW_ij = 2 a_i y_i y_j, whose mean square
    is 4 a_i^2 sigma^4 (3 if i = j else 1)."""
    a = jnp.asarray([1.0, 0.5])
    model = Map(Linear(jnp.diag(a), jnp.zeros(2)))
    loss = training.Denoising(noise, lambda sigma: jnp.asarray(1.0))
    found = training.importance(model, jnp.zeros((3, 2)), loss, key, 20_000)
    expected = np.diag(np.asarray(a)) ** 2 * 4 * np.asarray(a)[:, None] ** 2 * 0.5**4 * 3
    np.testing.assert_allclose(found.layer.weight, expected, rtol=0.1)
    assert float(jnp.sum(found.layer.bias)) == 0.0


def test_the_least_important_weights_are_left_out():
    weight = jnp.arange(1.0, 7.0).reshape(2, 3)
    model = Map(Linear(weight, jnp.asarray([7.0, 8.0])))
    scores = Map(Linear(jnp.asarray([[3.0, 1.0, 2.0], [6.0, 5.0, 4.0]]), jnp.zeros(2)))
    pruned = training.prune(model, eqx.filter(scores, eqx.is_array), 0.5)
    np.testing.assert_array_equal(pruned.layer.weight, [[0.0, 0.0, 0.0], [4.0, 5.0, 6.0]])
    np.testing.assert_array_equal(pruned.layer.bias, [7.0, 8.0])
    whole = training.prune(model, eqx.filter(scores, eqx.is_array), 0.0)
    np.testing.assert_array_equal(whole.layer.weight, weight)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_shares_are_between_none_and_all(share, key):
    model = Map(Linear(jnp.eye(2), jnp.zeros(2)))
    with pytest.raises(ValueError, match="share of weights"):
        training.prune(model, eqx.filter(model, eqx.is_array), share)
