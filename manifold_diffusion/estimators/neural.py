"""Diffusion models whose score is a neural network: trained before, or trained by the estimator itself."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from manifold_diffusion import training
from manifold_diffusion._types import Denoiser, Estimator, Key, Points, Sampler, Scalar
from manifold_diffusion.estimators.estimator import Prior, gaussian_prior, reverse_diffusion
from manifold_diffusion.scores import from_denoiser
from manifold_diffusion.scores.neural import MLP, preconditioned

# One object for all recipes: a program is compiled anew for another optimiser.
_ADAM = optax.adam(1e-3)


def _perceptron(key: Key, data: Points) -> Denoiser:
    return preconditioned(MLP(key, data.shape[1]), data)


def _recipe(data: Points) -> training.Recipe:
    return training.Recipe(training.karras_denoising(training.deviation(data)), _ADAM)


def neural_diffusion(
    model: Denoiser, *, sigma_min: float | Scalar | None = None, steps: int = 64, prior: Prior = gaussian_prior
) -> Estimator:
    """DDPM steps along a denoiser that is there already, trained here or brought from outside, down to sigma_min, then
    the denoiser.

    The data that the estimator is given say only where to start (`prior`, 20 radii of noise) and, by default, where to
    stop: sigma_min = deviation / 100, `training.deviation` of the data. A score s is brought as `scores.denoiser(s)`.
    """

    def estimate(key: Key, data: Points) -> Sampler:
        del key
        points = jnp.asarray(data, dtype=jnp.result_type(data, jnp.float32))
        level = training.deviation(points) / 100 if sigma_min is None else sigma_min
        return reverse_diffusion(points, from_denoiser(model), level, steps=steps, final_zero=True, prior=prior)

    return estimate


def train_diffusion(
    model: Callable[[Key, Points], Denoiser] = _perceptron,
    recipe: Callable[[Points], training.Recipe] = _recipe,
    training_steps: int = 10_000,
    *,
    sigma_min: float | None = None,
    steps: int = 64,
    prior: Prior = gaussian_prior,
) -> Estimator:
    """Train `model(key, data)` by `recipe(data)` for `training_steps` steps, then `neural_diffusion`.

    By default a preconditioned `MLP`, 128 x 3, by denoising with Adam at 1e-3, batches of 128 and log sigma ~ N(log(.6
    deviation), 1.2^2), which is Karras et al.'s law (arXiv 2206.00364, table 1) for data of any deviation. Recipes that
    share their optimiser object, for data of one shape, are compiled once. The model may memorise: how soon depends on
    the number of data, so audit what it generates. TrainingError where data or loss are not finite.
    """

    def estimate(key: Key, data: Points) -> Sampler:
        points = jnp.asarray(data, dtype=jnp.result_type(data, jnp.float32))
        start, rest = jax.random.split(key)
        trained = training.fit(rest, model(start, points), points, recipe(points), training_steps, looks=1)
        return neural_diffusion(trained.model, sigma_min=sigma_min, steps=steps, prior=prior)(key, points)

    return estimate
