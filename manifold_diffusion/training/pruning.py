"""One-shot pruning: leaving out the weights of a trained network that matter least, without training again.

To return the data a network has to be larger than to know their law: fewer weights hold less of the data (arXiv
2511.03202). Which weights matter is judged at small noise, where the two differ.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from manifold_diffusion._types import Denoiser, Key, Points
from manifold_diffusion.scores.neural import trainable
from manifold_diffusion.training.loss import Loss
from manifold_diffusion.training.optimise import assemble


@eqx.filter_jit
def importance(model: Denoiser, data: Points, loss: Loss, key: Key, draws: int = 4096) -> PyTree:
    """w^2 E (dl/dw)^2 for each weight w, over `draws` examples l of the loss: twice the first-order estimate of what
    the loss rises by when w is left out (the diagonal of the empirical Fisher information; LeCun et al., Optimal Brain
    Damage, 1989, with that for the Hessian).

    The law of the noise levels is that of the loss: `LogUniform(low, high)` with both below the spacing of the data
    judges by what the network does there.
    """
    weights, fixed = eqx.partition(model, trainable(model))

    def squares(total, i):
        which, rest = jax.random.split(jax.random.fold_in(key, i))
        x = data[jax.random.randint(which, (), 0, len(data))]
        gradient = jax.grad(lambda w: loss(eqx.combine(w, fixed), rest, x))(weights)
        return jax.tree.map(lambda a, g: a + g * g, total, gradient), None

    zero = jax.tree.map(jnp.zeros_like, weights)
    total, _ = jax.lax.scan(squares, zero, jnp.arange(draws))
    return jax.tree.map(lambda w, a: w * w * a / draws, weights, total)


def prune(model: Denoiser, scores: PyTree, share: float) -> Denoiser:
    """The model with the `share` of its weights that have the lowest scores set to 0, over all layers alike; biases and
    other vectors are kept.

    ValueError for a share outside [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"the share of weights to leave out must be from 0 to below 1, got {share}")
    weights, _ = eqx.partition(model, trainable(model))
    matrices = [s.ravel() for w, s in zip(jax.tree.leaves(weights), jax.tree.leaves(scores), strict=True) if w.ndim > 1]
    ranked = jnp.sort(jnp.concatenate(matrices))
    count = int(share * len(ranked))
    least = ranked[count - 1] if count else -jnp.inf
    return assemble(model, jax.tree.map(partial(_cut, least=least), weights, scores))


def _cut(weight, score, least):
    return weight if weight.ndim < 2 else jnp.where(score <= least, 0.0, weight)
