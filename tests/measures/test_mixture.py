"""Mixtures, images of measures and Monte Carlo normalisers."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from manifold_diffusion import measures
from manifold_diffusion.geometry import Ellipsoid, Embedded, Hyperboloid, PoincareBall, Sphere, Torus
from tests.oracles import unit_sphere_area

POLE = [0.0, 0.0, 1.0]


def test_weights_are_normalised_and_a_part_of_weight_zero_is_never_drawn(key):
    """Two narrow laws, one of them three times as often, and a wide one that is left out."""
    sphere, small = Sphere(2), 1e-4 * np.eye(2)
    parts = [measures.WrappedNormal(sphere, centre, small) for centre in (POLE, [1.0, 0, 0])]
    law = measures.Mixture([*parts, measures.Uniform(sphere)], [6, 2, 0])
    x = np.asarray(measures.draw(law.sample, key, 4000, chunk=4000))
    near = x[:, 2] > 0.9
    assert np.all(near | (x[:, 0] > 0.9))
    assert abs(near.mean() - 0.75) < 4.5 * np.sqrt(0.75 * 0.25 / 4000)
    value, slope = jax.jit(jax.value_and_grad(lambda x: law.log_density(x)))(jnp.asarray(POLE))
    np.testing.assert_allclose(value, np.log(0.75) - np.log(2 * np.pi * 1e-4), rtol=1e-5)
    assert np.isfinite(slope).all()


def densities(law, xs):
    """The log densities, compiled."""
    return jax.jit(jax.vmap(lambda x: law.log_density(x)))(xs)


def rotation():
    c, s = 0.8, 0.6
    return jnp.asarray([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ jnp.asarray([[1, 0, 0], [0, c, -s], [0, s, c]])


class Turn(eqx.Module):
    matrix: jax.Array

    def __call__(self, x):
        return self.matrix.astype(x.dtype) @ x


def test_a_rotated_law_has_the_density_of_the_law_about_the_rotated_pole(x64, key):
    R = rotation()
    image = measures.PushForward(measures.VonMisesFisher(POLE, 5.0), Turn(R), Turn(R.T))
    expected = measures.VonMisesFisher(R @ jnp.asarray(POLE), 5.0)
    x = jax.vmap(Sphere(2).uniform)(jax.random.split(key, 10))
    np.testing.assert_allclose(densities(image, x), densities(expected, x), rtol=1e-12)


def test_the_stretched_sphere_has_the_area_element_of_the_ellipsoid(x64, key):
    """a theta with theta uniform: 1 / (4 pi prod(a) |theta / a|)."""
    axes = jnp.asarray([1.0, 1.5, 2.0])
    image = measures.PushForward(
        measures.Uniform(Sphere(2)), lambda x: x * axes, lambda y: y / axes, Ellipsoid((1.0, 1.5, 2.0))
    )
    y = jax.vmap(image.sample)(jax.random.split(key, 10))
    expected = 1 / (4 * np.pi * np.prod(axes) * np.linalg.norm(y / axes[None, :] ** 2, axis=1))
    np.testing.assert_allclose(jnp.exp(densities(image, y)), expected, rtol=1e-12)


def test_images_lie_in_spaces_of_other_dimensions(x64, key):
    """An isometric copy in R^5 keeps the density; twice the size halves it for each dimension."""
    frame = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 3)))[0]
    copy = Embedded(Torus(2.0, 1.0), frame, np.zeros(5))
    law = measures.Density(Torus(1.0, 0.5), lambda x: x[0], 1.5, 0.0)
    image = measures.PushForward(law, lambda x: 2 * frame @ x, lambda y: frame.T @ y / 2, copy)
    x = jax.jit(jax.vmap(Torus(1.0, 0.5).uniform))(jax.random.split(key, 5))
    np.testing.assert_allclose(densities(image, 2 * x @ frame.T), x[:, 0] - 2 * np.log(2), rtol=1e-12)


def test_images_between_metrics_that_are_not_of_the_space_around(x64, key):
    """The hyperboloid as the ball: an isometry, under which a wrapped normal law keeps its density."""
    space, ball = Hyperboloid(2, -0.7), PoincareBall(2, -0.7)
    law = measures.WrappedNormal(space, space.project(jnp.asarray([0.0, 0.4, -0.3])), [[0.5, 0.1], [0.1, 0.8]])
    R = 0.7**-0.5

    def to_ball(x):
        return R * x[1:] / (R + x[0])

    def to_hyperboloid(y):
        part = 2 * y / (1 - jnp.sum(y * y) / R**2)
        return jnp.concatenate([jnp.sqrt(R**2 + jnp.sum(part * part))[None], part])

    image = measures.PushForward(law, to_ball, to_hyperboloid, ball)
    x = jax.vmap(law.sample)(jax.random.split(key, 5))
    np.testing.assert_allclose(densities(image, jax.vmap(to_ball)(x)), densities(law, x), rtol=1e-10)


def test_normalisers_by_monte_carlo_are_within_their_errors(key):
    """exp(3 x_0) on S^3: (2 pi)^2 I_1(3) / 3; the errors of 20 estimates against their spread."""
    exact = np.log((2 * np.pi) ** 2 * special.iv(1, 3.0) / 3.0)
    weight = lambda x: 3 * x[0]  # noqa: E731
    found = [measures.normaliser(Sphere(3), weight, jax.random.fold_in(key, i), 1000) for i in range(20)]
    scores = np.array([(float(each.log_value) - exact) / float(each.standard_error) for each in found])
    assert abs(scores.mean()) < 1
    assert 0.6 < scores.std() < 1.5
    law = measures.Density(Sphere(3), weight, 3.0, found[0])
    np.testing.assert_allclose(law.log_normaliser, found[0].log_value)
    flat = measures.normaliser(Sphere(3, 2.0), lambda x: 0 * x[0], key, 10)
    np.testing.assert_allclose(flat.log_value, np.log(8 * unit_sphere_area(3)), rtol=1e-6)
    np.testing.assert_allclose(flat.standard_error, 0, atol=1e-6)


def test_misuse_says_what_to_do():
    uniform = measures.Uniform(Sphere(2))
    with pytest.raises(ValueError, match="weight >= 0 for each"):
        measures.Mixture([uniform], [1.0, 2.0])
    with pytest.raises(ValueError, match="weight >= 0 for each"):
        measures.Mixture([uniform, uniform], [1.0, -2.0])
    with pytest.raises(ValueError, match="share their manifold"):
        measures.Mixture([uniform, measures.Uniform(Sphere(2, 2.0))], [1.0, 1.0])
    with pytest.raises(ValueError, match="pass the manifold"):
        measures.PushForward(uniform, lambda x: x[:2], lambda x: x)
