"""Manifolds that networks make: images of decoders, and zeros of equations that are not to be trusted."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion.geometry import (
    Decoded,
    Ellipsoid,
    Euclidean,
    Implicit,
    Sphere,
    flat_torus,
    from_embedding,
    from_equations,
    gauss_curvature,
)
from tests.catalogue import AXES, MANIFOLDS


def near(count, noise, dtype):
    """Points near the ellipsoid of the catalogue."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((count, 3))
    x = np.asarray(AXES[2]) * z / np.linalg.norm(z, axis=1, keepdims=True)
    return jnp.asarray(x + noise * rng.standard_normal(x.shape), dtype)


@pytest.mark.parametrize("name", ["ellipsoid from a decoder", "ellipsoid by an equation, with bounded steps"])
def test_an_ellipsoid_has_one_projection_however_it_is_made(x64, name):
    """Against the secular equation, from starts and by steps that know nothing of it."""
    x = near(64, 0.15, jnp.float64)
    expected = jax.jit(jax.vmap(Ellipsoid(AXES[2]).project))(x)
    np.testing.assert_allclose(jax.jit(jax.vmap(MANIFOLDS[name].make().project))(x), expected, atol=1e-12)


def graph(z):
    """A graph over the sphere, in R^6."""
    return jnp.concatenate([z, 0.5 * jnp.stack([z[0] * z[1], z[1] * z[2], z[2] * z[0]])])


@pytest.mark.slow
def test_a_graph_over_the_sphere_is_projected_on_as_the_same_graph_in_polar_coordinates(x64):
    def polar(u):
        s = jnp.sin(u[1])
        return graph(jnp.stack([s * jnp.cos(u[0]), s * jnp.sin(u[0]), jnp.cos(u[1])]))

    known = from_embedding(polar, [(0, 2 * np.pi), (0.5, np.pi - 0.5)], ["wrap", "edge"], grid=32)
    crude = Decoded(Sphere(2), lambda x: x[:3] + 0.3 * x[3:], graph)
    u = jnp.asarray(np.random.default_rng(1).uniform((0, 0.9), (6.28, 2.2), (32, 2)))
    x = jax.vmap(polar)(u) + 0.1 * jax.random.normal(jax.random.key(0), (32, 6))
    expected = jax.jit(jax.vmap(known.project))(x)
    np.testing.assert_allclose(jax.jit(jax.vmap(crude.project))(x), expected, atol=1e-10)


@pytest.mark.slow
def test_a_decoded_torus_and_a_decoded_plane_have_the_curvature_of_their_shape(x64):
    """cos b / (r (R + r cos b)) on a torus of revolution; 4 ab / (1 + 4 a^2 u^2 + 4 b^2 v^2)^2 on a paraboloid."""

    def ring(z):
        return jnp.stack([(1 + 0.4 * z[2]) * z[0], (1 + 0.4 * z[2]) * z[1], 0.4 * z[3]])

    def angles(x):
        radius = jnp.sqrt(x[0] ** 2 + x[1] ** 2)
        return jnp.stack([x[0], x[1], radius - 1, x[2]])

    def bowl(z):
        return jnp.stack([z[0], z[1], 0.5 * z[0] ** 2 + 0.25 * z[1] ** 2])

    @eqx.filter_jit
    def curvature(manifold, x):
        chart = manifold.chart(x)
        return gauss_curvature(chart, chart.coordinates(x))

    x = ring(jnp.asarray([0.6, 0.8, -0.28, 0.96]))
    expected = -0.28 / (0.4 * (1 - 0.4 * 0.28))
    np.testing.assert_allclose(curvature(Decoded(flat_torus(1.0, 1.0), angles, ring), x), expected, atol=1e-10)
    x = bowl(jnp.asarray([0.3, -0.7]))
    expected = 0.5 / (1 + 0.3**2 + 0.25 * 0.7**2) ** 2
    np.testing.assert_allclose(curvature(Decoded(Euclidean(2), lambda x: x[:2], bowl), x), expected, atol=1e-10)


def test_what_a_decoder_draws_has_the_volume_of_its_shape(x64):
    manifold = MANIFOLDS["ellipsoid from a decoder"].make()
    np.testing.assert_allclose(manifold.volume(), Ellipsoid(AXES[2]).volume(), rtol=1e-9)


class Immature(eqx.Module):
    """A random network R^6 -> R^4, moved off 0."""

    weights: tuple[jax.Array, ...]
    scale: jax.Array
    shift: jax.Array

    def __call__(self, x):
        for W in self.weights[:-1]:
            x = jnp.tanh(W @ x)
        return self.scale * (self.weights[-1] @ x) + self.shift


def immature(seed, scale, shift):
    """One of them."""
    keys = jax.random.split(jax.random.key(seed), 2)
    sizes = [(16, 6), (4, 16)]
    weights = tuple(jax.random.normal(k, s) / np.sqrt(s[1]) for k, s in zip(keys, sizes, strict=True))
    return Immature(weights, jnp.asarray(scale), jnp.asarray(shift))


@eqx.filter_jit
def certified(equations, x):
    """The certificates of a batch, and how far |h| is from 0 there."""
    found = jax.vmap(Implicit(from_equations(equations, 6), 0.5).certified)(x)
    return found, jnp.sqrt(jnp.sum(jax.vmap(equations)(found.point) ** 2, axis=1))


@pytest.mark.slow
def test_projections_on_an_immature_network_stay_near_and_say_whether_they_arrived():
    """With zeros about, without any within reach of the network, and with a derivative that vanishes in float32."""
    x = 2 * jax.random.normal(jax.random.key(1), (32, 6))
    for scale, shift in ((1.0, 0.0), (1e-3, 1.0), (1e-20, 1.0), (0.0, 1.0)):
        found, off = (jax.tree.map(np.asarray, each) for each in certified(immature(0, scale, shift), x))
        assert np.isfinite(found.point).all()
        assert np.linalg.norm(found.point - np.asarray(x), axis=1).max() <= 0.5 * 4 * 13
        if shift:
            assert not found.converged.any()
        else:
            assert found.converged.mean() > 0.5
            assert off[found.converged].max() < 1e-4


def test_gauss_newton_steps_are_differentiable_and_find_the_nearest_point(x64):
    """On the circle of radius r, d/dr of the foot is the normal; on an ellipse a step multiplies the error by the
    distance times the curvature.
    """

    @jax.jit
    def feet(radius):
        circle = Implicit(from_equations(lambda x: jnp.sqrt(jnp.sum(x * x)) - radius, 2), 1.0)
        ellipse = Implicit(from_equations(lambda x: x[0] ** 2 / 4 + x[1] ** 2 - 1, 2), 1.0)
        x = jnp.asarray([1.6, 0.8])
        return circle.descend(jnp.asarray([1.1, 0.3]), 4), jnp.stack([ellipse.descend(x, steps) for steps in (2, 4, 6)])

    normal = np.asarray([1.1, 0.3]) / np.hypot(1.1, 0.3)
    foot, ends = feet(1.0)
    np.testing.assert_allclose(foot, normal, atol=1e-12)
    np.testing.assert_allclose(jax.jacrev(lambda r: feet(r)[0])(1.0), normal, atol=1e-10)
    x = np.asarray([1.6, 0.8])
    exact = np.asarray(Ellipsoid([2.0, 1.0]).project(jnp.asarray(x)))
    errors = np.linalg.norm(np.asarray(ends) - exact, axis=1)
    curvature = 2 / (exact[0] ** 2 / 4 + 4 * exact[1] ** 2) ** 1.5
    np.testing.assert_allclose(errors[2] / errors[1], (np.linalg.norm(x - exact) * curvature) ** 2, rtol=0.2)


def test_maps_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match=r"decode must map \(3,\) to \(d,\) with d > 2"):
        Decoded(Sphere(2), lambda x: x, lambda z: z[:2])
    with pytest.raises(ValueError, match=r"encode must map \(3,\) to \(3,\)"):
        Decoded(Sphere(2), lambda x: x[:2], lambda z: z)
    with pytest.raises(ValueError, match="radius of a round"):
        Decoded(Sphere(2), lambda x: x, lambda z: z, radius=0.0)
    with pytest.raises(ValueError, match="positive radius"):
        Implicit(from_equations(lambda x: jnp.sum(x * x) - 1, 3), 0.0)
