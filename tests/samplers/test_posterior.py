"""Posteriors with the plain and the uniform prior side by side. Oracles: quadrature of e^{-v} dmu and e^{-v} dvol."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import scores
from manifold_diffusion.geometry import Torus, blurred_corner, image_manifold
from manifold_diffusion.samplers import chain, gaussian_likelihood, manifold_walk, posterior

CHAINS, CONCENTRATION, MODE = 2000, 2.0, jnp.array([0.0, 1.0])
OPERATORS = {
    "linear": (lambda x: x[:1], jnp.array([0.5]), 0.4),
    "nonlinear": (lambda x: jnp.stack([x[0] * x[1], x[0] ** 2]), jnp.array([0.3, 0.6]), 0.5),
}


@eqx.filter_jit
def ends(step, xs, steps):
    return jax.vmap(chain(step, steps))(jax.random.split(jax.random.key(0), len(xs)), xs)


def expected_height(operator, tempered):
    """E sin(angle) under L e^{kappa sin} or L alone, on a fine grid."""
    angles = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    points = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], -1))
    log_likelihood = gaussian_likelihood(*OPERATORS[operator])
    mass = np.exp(np.asarray(jax.vmap(log_likelihood)(points)) + (0 if tempered else CONCENTRATION) * np.sin(angles))
    return np.sum(mass * np.sin(angles)) / np.sum(mass)


@pytest.mark.parametrize("operator", OPERATORS)
def test_both_posteriors_on_a_circle(operator):
    """The tempered prior keeps sigma^alpha of the log-density and is sigma^{1-alpha/2} thick: O(.03) and O(.03) here,
    where the two posteriors are .4 to .6 apart."""
    score = scores.VonMisesFisherScore(MODE, CONCENTRATION)
    angles = 2 * np.pi * np.arange(CHAINS) / CHAINS
    xs = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], -1), jnp.float32)
    log_likelihood = gaussian_likelihood(*OPERATORS[operator])
    heights = {}
    for exponent, sigma, steps in ((1.0, 0.03, 150), (0.0, 0.15, 200)):
        x = ends(posterior(score, log_likelihood, sigma, exponent=exponent, eta=0.5), xs, steps)
        heights[exponent] = float(np.mean(np.asarray(x[:, 1]) / np.linalg.norm(x, axis=1)))
    assert heights[1.0] == pytest.approx(expected_height(operator, True), abs=0.05 + 4 * 0.7 / np.sqrt(CHAINS))
    assert heights[0.0] == pytest.approx(expected_height(operator, False), abs=0.05 + 4 * 0.7 / np.sqrt(CHAINS))
    assert heights[0.0] - heights[1.0] > 0.2


@pytest.mark.slow
def test_the_uniform_prior_on_a_torus_by_langevin_and_by_the_walk():
    """Both against quadrature: the walk has no bias, the coarse score one of h^2."""
    torus = Torus(1.0, 0.4)
    log_likelihood = gaussian_likelihood(lambda x: x[:2], jnp.array([0.7, 0.2]), 0.5)
    nodes, weights = torus.quadrature(64)
    mass = np.asarray(weights) * np.exp(np.asarray(jax.vmap(log_likelihood)(nodes)))
    expected = np.asarray(nodes).T @ mass / mass.sum()
    xs = jax.jit(jax.vmap(torus.uniform))(jax.random.split(jax.random.key(2), CHAINS))
    coarse = ends(posterior(scores.ProjectionScore(torus), log_likelihood, 0.08, eta=0.8), xs, 300)
    walk = manifold_walk(torus, step=0.2, steps=100, persistence=0.7, bound=0.39, log_density=log_likelihood)
    walked = ends(walk, xs, 1)
    noise = 4 * 0.6 / np.sqrt(CHAINS)
    np.testing.assert_allclose(np.mean(walked, axis=0), expected, atol=noise)
    np.testing.assert_allclose(np.mean(coarse, axis=0), expected, atol=0.03 + noise)


@functools.cache
def images():
    """A corner that may shift: 8 by 8 pixels."""
    return image_manifold(blurred_corner(5.0, 2.0), 8, ("translation",))


@pytest.mark.slow
def test_pixels_that_are_seen_place_an_image():
    """Half of the pixels with noise, against the posterior on a grid of the two shifts, whose volume is that of the
    metric."""
    manifold = images()
    seen = jnp.arange(0, 64, 2)
    truth = manifold.embedding(jnp.array([0.6, -0.4]))
    log_likelihood = gaussian_likelihood(lambda x: x[seen], truth[seen], 0.6)
    nodes, weights = manifold.quadrature(24)
    mass = np.asarray(weights) * np.exp(np.asarray(jax.vmap(log_likelihood)(nodes)))
    shifts = np.asarray(jax.jit(jax.vmap(manifold.parameter))(nodes))
    expected, spread = shifts.T @ mass / mass.sum(), np.sqrt((shifts**2).T @ mass / mass.sum())
    xs = jnp.tile(truth[None, :], (200, 1))
    walk = manifold_walk(manifold, step=0.25, steps=20, persistence=0.6, log_density=log_likelihood)
    found = np.asarray(jax.jit(jax.vmap(manifold.parameter))(ends(walk, xs, 1)))
    np.testing.assert_allclose(found.mean(axis=0), expected, atol=4 * spread.max() / np.sqrt(200))
