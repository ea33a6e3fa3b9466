"""Losses on a known manifold. Oracles: the score of a mixture of heat kernels, which is their minimiser; a von
Mises-Fisher law; quadrature."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from manifold_diffusion import geometry, measures, processes, samplers, training
from manifold_diffusion.scores import neural

MANIFOLDS = {
    "circle": lambda: geometry.Sphere(1),
    "sphere": lambda: geometry.Sphere(2),
    "three-sphere": lambda: geometry.Sphere(3),
    "flat torus": lambda: geometry.flat_torus(1.0, 0.5),
}
LOSSES = {"denoising": training.IntrinsicDenoising, "implicit": training.IntrinsicImplicit}


def two_places(manifold):
    """Two points, not far from one another."""
    z = jnp.asarray(np.random.default_rng(4).standard_normal((2, manifold.ambient_dim)), dtype=float)
    return jax.vmap(manifold.project)(jnp.stack([z[0], z[0] + 0.5 * z[1]]))


def true_score(manifold, points):
    """The score of the mixture of heat kernels around the points."""

    def log_density(x, sigma):
        logs = jax.vmap(lambda y: measures.log_heat_kernel(manifold, x, y, sigma**2))(points)
        return jax.scipy.special.logsumexp(logs)

    return lambda x, sigma: manifold.tangent(x, jax.grad(log_density)(x, sigma))


QUICK = ("circle", "denoising")
CASES = [
    pytest.param(name, kind, marks=() if (name, kind) == QUICK else pytest.mark.slow, id=f"{name}, {kind}")
    for name in MANIFOLDS
    for kind in LOSSES
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_no_multiple_of_the_true_score_does_better(name, kind, key):
    """The loss of a s is a^2 A - 2 a B + C, and its minimum B / A is at a = 1, to five standard errors of B - A."""
    manifold = MANIFOLDS[name]()
    points = two_places(manifold)
    score, loss = true_score(manifold, points), LOSSES[kind](manifold, training.LogUniform(0.3, 1.0))
    keys = jax.random.split(key, 4096)

    @jax.jit
    @jax.vmap
    def losses(key, which):
        def times(a):
            return loss(lambda x, sigma: a * score(x, sigma), key, points[which])

        return jax.vmap(times)(jnp.array([-1.0, 0.0, 1.0]))

    below, zero, above = np.asarray(losses(keys, jnp.arange(4096) % 2), float).T
    a, b = (above + below) / 2 - zero, (below - above) / 4
    assert a.mean() > 0.1
    assert abs((b - a).mean()) < 5 * (b - a).std() / np.sqrt(len(a))
    assert (b - a).std() / np.sqrt(len(a)) < 0.06 * a.mean()


@pytest.mark.slow
def test_a_trained_score_gives_the_density_of_its_data():
    """4000 draws of a von Mises-Fisher law, whose own noised density is known as a mixture of heat kernels over a
    quadrature. The relative entropy is far below that of the uniform law, 1.2, and the density integrates to 1.
    """
    sphere = geometry.Sphere(2)
    law = measures.VonMisesFisher(jnp.array([0.0, 0.6, 0.8]), 8.0)
    data = measures.draw(law.sample, jax.random.key(0), 4000)
    model = neural.intrinsic_score(jax.random.key(1), sphere, width=64, depth=2, waves=16, finest=0.3)
    loss = training.IntrinsicDenoising(sphere, training.LogUniform(0.05, 3.0))
    recipe = training.Recipe(loss, optax.adam(optax.cosine_decay_schedule(3e-3, 2000)), batch=256, decay=0.99)
    score = training.fit(jax.random.key(2), model, data, recipe, 2000).model
    flow = samplers.IntrinsicLogDensity(sphere, processes.VarianceExploding(3.0), score, 48)
    points, weights = sphere.quadrature(40)
    found = eqx.filter_jit(jax.vmap(lambda x: flow(x, 0.05)))(points)
    exact = jax.vmap(law.log_density)(points)
    np.testing.assert_allclose(jnp.sum(weights * jnp.exp(found)), 1, atol=2e-3)
    assert 0 <= jnp.sum(weights * jnp.exp(exact) * (exact - found)) < 0.02
