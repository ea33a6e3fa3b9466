"""Models that are coarse by construction: what their losses are, and what they lead to."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from manifold_diffusion import scores, training
from manifold_diffusion.geometry import Decoded, Ellipsoid, Implicit, Sphere, from_equations
from manifold_diffusion.scores.neural import CoarseModel, chart_autoencoder, implicit_network


def level(value):
    """Always the same noise level."""
    return lambda key: jnp.asarray(value)


def test_denoising_score_matching_of_a_projection_is_reconstruction(x64):
    """sigma^4 |s(y) + z / sigma|^2 = |Pi(y) - x|^2 for every datum and every noise, for any manifold."""
    data = jax.random.normal(jax.random.key(1), (16, 3))
    model = CoarseModel(Ellipsoid((1.0, 1.5, 2.0)))
    score = scores.ProjectionScore(model.manifold)
    noise, weight = training.LogUniform(0.1, 1.0), lambda sigma: jnp.ones_like(sigma)

    @jax.vmap
    def both(key, x):
        sigma, y, _ = training.noised(noise, key, x)
        z = (y - x) / sigma
        matching = sigma**4 * jnp.sum((score(y, sigma) + z / sigma) ** 2)
        return matching, training.Denoising(noise, weight)(model, key, x)

    matching, reconstruction = jax.jit(both)(jax.random.split(jax.random.key(2), 16), data)
    np.testing.assert_allclose(matching, reconstruction, rtol=1e-10)


class Radial(eqx.Module):
    """z -> r z, with the radius as the only parameter."""

    radius: jax.Array

    def __call__(self, z):
        return self.radius * z


@pytest.mark.parametrize(("clean", "made"), [(0.0, "decoder"), (3.0, "decoder"), (0.0, "equation")])
def test_the_minimiser_is_off_by_half_the_mean_curvature_times_the_noise_variance(x64, clean, made):
    """On S^2, 1 - R = k sigma^2 / 2 / (1 + clean) + O(sigma^4), from the loss of the library, by its exact minimum.

    The loss is quadratic in R, so three values of it give the minimum; noise comes in pairs z, -z.
    """

    def model(radius):
        if made == "decoder":
            return CoarseModel(Decoded(Sphere(2), lambda x: x, Radial(radius)))
        equation = from_equations(lambda x: jnp.sqrt(jnp.sum(x * x)) - radius, 3)
        return CoarseModel(Implicit(equation, 1.0))

    keys = jax.random.split(jax.random.key(0), 40_000)
    x = jax.vmap(Sphere(2).uniform)(keys)

    def biases(sigma):
        if made == "decoder":
            loss = training.Reconstruction(level(sigma), clean)
        else:
            loss = training.Projection(level(sigma), 0.0, 0.0)

        def mean(radius):
            return jnp.mean(jax.vmap(lambda k, x: loss(model(radius), k, x))(keys, x))

        low, middle, high = (mean(r) for r in jnp.asarray([0.9, 1.0, 1.1]))
        return 0.1 * (high - low) / 2 / (high - 2 * middle + low)

    for sigma in (0.05, 0.1):
        expected = 2 * sigma**2 / 2 / (1 + clean)
        # The direction of y / |y| turns by an angle of mean square 2 sigma^2, here with a relative spread of 1/200.
        np.testing.assert_allclose(jax.jit(biases)(sigma), expected, rtol=0.05 + 2 * sigma**2)


def test_only_the_last_step_is_differentiated_and_that_is_nearly_all(x64):
    """The gradient of `Projection` against that of all its steps: equal up to |y - Pi(y)| times the curvature."""
    x, y = jnp.asarray([1.0, 0.0]), jnp.asarray([1.05, 0.08])

    def equations(a):
        return Implicit(from_equations(lambda x: a * x[0] ** 2 + x[1] ** 2 - 1, 2), 1.0)

    def whole(a):
        return jnp.sum((equations(a).descend(y, 12) - x) ** 2)

    def last(a):
        start = jax.lax.stop_gradient(equations(a).descend(y, 11))
        return jnp.sum((equations(a).approach(start, y)[0] - x) ** 2)

    values, slopes = zip(*(jax.jit(jax.value_and_grad(each))(1.3) for each in (last, whole)), strict=True)
    np.testing.assert_allclose(*values, rtol=1e-10)
    np.testing.assert_allclose(*slopes, rtol=0.2)


def circle(key, size):
    """Points of a circle of radius 3 in a plane of R^3, off the origin."""
    t = jax.random.uniform(key, (size,), maxval=2 * np.pi)
    return jnp.stack([5 + 3 * jnp.cos(t), 3 * jnp.sin(t) * 0.8, 1 + 3 * jnp.sin(t) * 0.6], axis=1)


@pytest.mark.parametrize("made", ["decoder", "equations"])
@pytest.mark.slow
def test_a_circle_is_learned_in_the_units_of_its_data(made):
    """40 points: the projection of new noised points is within a hundredth of the radius of the circle."""
    data = circle(jax.random.key(0), 40)
    sigma = training.deviation(data)
    noise = training.LogUniform(0.05 * sigma, 0.5 * sigma)
    if made == "decoder":
        model, loss = chart_autoencoder(jax.random.key(1), Sphere(1), data, 32, 2), training.Reconstruction(noise)
    else:
        model, loss = implicit_network(jax.random.key(1), 1, data, 32, 2), training.Projection(noise)
    recipe = training.Recipe(loss, optax.adam(optax.cosine_decay_schedule(3e-3, 4000)))
    trained = training.fit(jax.random.key(2), model, data, recipe, 4000, looks=1).model
    fresh = circle(jax.random.key(3), 200)
    x = fresh + 0.3 * sigma * jax.random.normal(jax.random.key(4), fresh.shape)
    y = jax.jit(jax.vmap(trained.manifold.project))(x) - jnp.asarray([5.0, 0.0, 1.0])[None, :]
    flat = jnp.stack([y[:, 0], 0.8 * y[:, 1] + 0.6 * y[:, 2], 0.8 * y[:, 2] - 0.6 * y[:, 1]])
    off = jnp.hypot(jnp.hypot(flat[0], flat[1]) - 3, flat[2])
    assert float(jnp.median(off)) < 0.03


def test_losses_say_which_model_they_need():
    data = circle(jax.random.key(0), 10)
    chart = chart_autoencoder(jax.random.key(1), Sphere(1), data, 4, 1)
    zeros = implicit_network(jax.random.key(1), 1, data, 4, 1)
    with pytest.raises(ValueError, match="reconstruction needs a CoarseModel of a Decoded"):
        training.Reconstruction(level(0.1))(zeros, jax.random.key(0), data[0])
    with pytest.raises(ValueError, match="needs a CoarseModel of an Implicit"):
        training.Projection(level(0.1))(chart, jax.random.key(0), data[0])
    with pytest.raises(ValueError, match="between 1 and 2"):
        implicit_network(jax.random.key(1), 3, data)
    with pytest.raises(ValueError, match="positive sizes"):
        chart_autoencoder(jax.random.key(1), Sphere(1), data, width=0)
