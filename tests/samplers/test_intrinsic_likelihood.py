"""Densities along a flow on a manifold. Oracles: a conformal flow and mixtures of heat kernels, whose densities are in
closed form, and quadrature."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import geometry
from manifold_diffusion.processes import HeatFlow, VarianceExploding, VariancePreserving, linear
from manifold_diffusion.samplers import IntrinsicLogDensity, TangentDivergence, heun
from manifold_diffusion.scores import HeatKernelScore

MANIFOLDS = {
    "sphere": lambda: geometry.Sphere(2),
    "three-sphere": lambda: geometry.Sphere(3),
    "flat torus": lambda: geometry.flat_torus(1.0, 0.8),
}
TOP = 5.0
"""exp(-lambda 5^2 / 2) <= 4e-6 for lambda >= 1, with which the law there is uniform."""


def places(manifold, count, seed=0):
    """Points of a manifold."""
    z = np.random.default_rng(seed).standard_normal((count, manifold.ambient_dim))
    return jax.jit(jax.vmap(manifold.project))(jnp.asarray(z, dtype=float))


def test_a_conformal_flow_has_the_density_of_poisson():
    """s = c P e / sigma^2 moves the angle t to e by d log tan(t / 2) = c d log sigma: the uniform law of S^2 becomes

        (1 / 4 pi) (a / (cos^2(t / 2) + a^2 sin^2(t / 2)))^2,    a = (sigma_max / sigma)^c,

    by (sin t_0 / sin t) dt_0 / dt. The error of Heun's 128 steps is 2e-4 at most, measured against 256.
    """
    sphere, e, c = geometry.Sphere(2), jnp.array([0.0, 0.6, 0.8]), 0.5
    field = lambda x, sigma: c / sigma**2 * sphere.tangent(x, e)  # noqa: E731
    flow = IntrinsicLogDensity(sphere, HeatFlow(9.0), field, 128, heun)
    t = np.linspace(0, np.pi, 9)
    x = np.cos(t)[:, None] * np.array(e) + np.sin(t)[:, None] * np.array([1.0, 0.0, 0.0])
    found = eqx.filter_jit(jax.vmap(lambda x: flow(x, 0.3)))(jnp.asarray(x, dtype=float))
    a = 10**c
    exact = 2 * np.log(a / (np.cos(t / 2) ** 2 + a**2 * np.sin(t / 2) ** 2)) - np.log(4 * np.pi)
    np.testing.assert_allclose(found, exact, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", MANIFOLDS)
def test_the_density_of_a_mixture_of_heat_kernels_is_that_in_closed_form(name, x64):
    """Steps of order 4: 96 of them leave 2e-4, where the density is not far below its mean."""
    manifold = MANIFOLDS[name]()
    score = HeatKernelScore(manifold, places(manifold, 6))
    flow, x = IntrinsicLogDensity(manifold, VarianceExploding(TOP), score, steps=96), places(manifold, 4, seed=1)
    found, exact = eqx.filter_jit(jax.vmap(lambda x: (flow(x, 0.5), score.log_density(x, 0.5))))(x)
    assert np.ptp(exact) > 0.3
    np.testing.assert_allclose(found, exact, atol=2e-4)


@pytest.mark.slow
def test_the_density_of_any_field_integrates_to_one():
    """A field that is the score of nothing: the flow of Heun's steps still carries the uniform law."""
    sphere = geometry.Sphere(2)

    def field(x, sigma):
        return sphere.tangent(x, jnp.stack([jnp.sin(3 * x[1]), x[0] * x[2], jnp.cos(2 * x[0])])) / (0.2 + sigma)

    flow = IntrinsicLogDensity(sphere, HeatFlow(4.0), field, 128, heun)
    points, weights = sphere.quadrature(32)
    density = jnp.exp(eqx.filter_jit(jax.vmap(lambda x: flow(x, 0.1)))(points))
    assert jnp.ptp(density) > 0.1
    np.testing.assert_allclose(jnp.sum(weights * density), 1, atol=2e-3)


def test_the_divergence_is_that_on_the_manifold(x64, key):
    """div grad x_1 = -2 x_1 on S^2; in R^3 this extension of the field has twice that."""
    sphere = geometry.Sphere(2)
    x = jnp.array([0.6, 0.0, 0.8])
    field = lambda y: jnp.array([1.0, 0.0, 0.0]) - y[0] * y  # noqa: E731
    divergence = eqx.filter_jit(lambda x: TangentDivergence(sphere)(key, field, x))(x)
    np.testing.assert_allclose(divergence, -1.2, rtol=1e-12)


def test_a_noising_that_shrinks_is_refused():
    with pytest.raises(ValueError, match="alpha = 1, got VariancePreserving: use HeatFlow"):
        IntrinsicLogDensity(geometry.Sphere(2), VariancePreserving(linear()), lambda x, sigma: x)
