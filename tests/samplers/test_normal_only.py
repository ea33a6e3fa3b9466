"""Normal steps. Oracles: matrices, projections in closed form, and a score that returns its data, the perfect
memoriser."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree

from manifold_diffusion import estimators, evaluation, samplers, scores
from manifold_diffusion.geometry import Ellipsoid, Embedded, Sphere

LEVELS = jnp.geomspace(0.3, 0.003, 8)


def bent(dim, ambient, seed=0):
    """A map with a symmetrised Jacobian of known eigenvalues at 0, `dim` of them near 1, and an antisymmetric part."""
    rng = np.random.default_rng(seed)
    values = np.concatenate([np.linspace(1, 0.8, dim), np.linspace(0.3, -0.1, ambient - dim)])
    vectors = np.linalg.qr(rng.normal(size=(ambient, ambient)))[0]
    turn = rng.normal(size=(ambient, ambient))
    matrix = jnp.asarray(vectors @ np.diag(values) @ vectors.T + turn - turn.T)
    return scores.from_denoiser(lambda x, sigma: matrix @ x + 0.5 * x**2), values, vectors


@pytest.mark.parametrize(("dim", "ambient"), [(2, 5), (11, 24)])
def test_the_spectrum_is_that_of_the_symmetric_part(dim, ambient, x64):
    """By all of the Jacobian and, above 16 dimensions, by products with it: there the error is (.3 / .8)^16."""
    score, values, vectors = bent(dim, ambient)
    found = jax.jit(lambda x: samplers.leading_spectrum(score, x, 0.1, dim))(jnp.zeros(ambient))
    accuracy = 1e-12 if ambient <= 16 else 10 * (0.3 / 0.8) ** 16
    np.testing.assert_allclose(found.values, values[:dim], atol=accuracy)
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(dim), atol=1e-13)
    across = found.vectors - vectors[:, :dim] @ (vectors[:, :dim].T @ found.vectors)
    assert np.max(np.abs(across)) < accuracy


def test_a_frame_nearby_saves_products(x64):
    """From the right frame three products lose nothing; from none they would leave (.3 / .8)^3."""
    score, _, vectors = bent(3, 24)
    start = jnp.asarray(vectors[:, :3])
    found = jax.jit(lambda start: samplers.leading_spectrum(score, jnp.zeros(24), 0.1, 3, start).vectors)(start)
    np.testing.assert_allclose(found @ found.T, vectors[:, :3] @ vectors[:, :3].T, atol=1e-12)


@pytest.mark.parametrize(
    "ambient", [pytest.param(3, marks=pytest.mark.slow), 20], ids=["whole Jacobian", "products with it"]
)
def test_normal_steps_of_the_projection_score_project(ambient, x64):
    """With D = Pi the first step already ends at Pi(x), and the others stay."""
    frame = np.linalg.qr(np.random.default_rng(1).normal(size=(ambient, 3)))[0]
    manifold = Embedded(Ellipsoid((1.0, 1.5, 2.0)) if ambient == 3 else Sphere(2), frame)
    score = scores.ProjectionScore(manifold)
    x = jnp.asarray(np.random.default_rng(2).normal(size=(20, ambient)) * 0.1)
    x = x + jnp.asarray(np.array([[0.6, 0.0, 1.2]]) @ frame.T)

    def ends(x):
        return samplers.normal_only(score, x, LEVELS, 2, frame_level=0.3), manifold.project(x)

    found, expected = jax.jit(jax.vmap(ends))(x)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_step_moves_only_across(x64):
    """For a linear denoiser: components along the leading eigenvectors stay, the others go the whole way."""
    matrix, shift = jnp.diag(jnp.array([0.9, 0.8, 0.1, 0.0])), jnp.array([5.0, 6.0, 7.0, 8.0])
    score = scores.from_denoiser(lambda x, sigma: matrix @ x + shift)
    x = jnp.array([1.0, 2.0, 3.0, 4.0])
    end = jax.jit(lambda x: samplers.normal_only(score, x, jnp.ones(1), 2))(x)
    np.testing.assert_allclose(end, [1.0, 2.0, 7.3, 8.0], atol=1e-12)


def test_the_directions_may_come_from_another_score(x64):
    """One whose Jacobian points along z, so that z stays though the score itself would have it move."""
    score = scores.from_denoiser(lambda x, sigma: jnp.diag(jnp.array([0.9, 0.1, 0.0])) @ x)
    frames = scores.from_denoiser(lambda x, sigma: jnp.diag(jnp.array([0.0, 0.1, 0.9])) @ x)
    end = jax.jit(lambda x: samplers.normal_only(score, x, jnp.ones(1), 1, frames=frames))(jnp.ones(3))
    np.testing.assert_allclose(end, [0.9, 0.1, 1.0], atol=1e-12)


def test_directions_are_taken_at_the_frame_level(x64):
    """Of a denoiser whose leading direction is x above the level .2 and y below."""

    def denoise(x, sigma):
        return jnp.where(sigma > 0.2, jnp.array([0.9, 0.0]), jnp.array([0.0, 0.9])) * x

    score = scores.from_denoiser(denoise)

    def end(level):
        return samplers.normal_only(score, jnp.ones(2), jnp.full(1, 0.1), 1, frame_level=level)

    np.testing.assert_allclose(jax.jit(jax.vmap(end))(jnp.array([0.0, 0.3])), [[0.0, 1.0], [1.0, 0.9]], atol=1e-12)


FRAME = np.linalg.qr(np.random.default_rng(3).normal(size=(4, 3)))[0]


def on_sphere(size, seed):
    """Uniform points of the unit sphere in a subspace of R^4."""
    z = np.random.default_rng(seed).normal(size=(size, 3))
    return jnp.asarray(z / np.linalg.norm(z, axis=1, keepdims=True) @ FRAME.T, jnp.float32)


def off_sphere(x):
    """Distances to it."""
    inside = x @ FRAME
    return np.hypot(np.linalg.norm(inside, axis=1) - 1, np.linalg.norm(x - inside @ FRAME.T, axis=1))


@eqx.filter_jit
def draws(sampler, keys):
    return jax.lax.map(sampler, keys, batch_size=500)


def sample(score, data, size=500, **options):
    sampler = estimators.normal_only_diffusion(score, 2, steps=20, normal_steps=8, **options)(jax.random.key(0), data)
    return np.asarray(draws(sampler, jax.random.split(jax.random.key(2), size)))


def test_the_normal_part_of_a_perfect_memoriser_makes_new_points():
    """It ends in the plane of its directions through the nearest datum, d1^2 / 2 off the unit sphere, and an angle of
    the order of d1 between its directions and the tangent plane takes it as far again. All the way the score returns
    the data.
    """
    data = on_sphere(150, 0)
    score = scores.KernelScore(data)
    new = sample(score, data)
    found = evaluation.novelty(data, new, on_sphere(4000, 1), 2)
    assert found.ratio.value > 0.85
    assert abs(found.memorised.value - found.memorised_null.value) < 0.03 + 2 * 0.014
    near = cKDTree(np.asarray(data)).query(new)[0]
    assert np.median(off_sphere(new)) < 2 * np.median(near**2 / 2)
    copies = sample(score, data, sigma_0=2e-6, sigma_min=1e-6)
    assert np.mean(cKDTree(np.asarray(data)).query(copies)[0] < 1e-4) > 0.95


def test_the_defaults_are_two_spacings_and_a_hundredth_of_them():
    """On a square grid of spacing .1, each point twice; the directions of the data are taken at 1.5 spacings."""
    side = np.arange(8) * 0.1
    grid = np.stack([each.ravel() for each in np.meshgrid(side, side)] + [np.zeros(64)], 1).astype(np.float32)
    score = scores.KernelScore(grid)
    data = jnp.asarray(np.concatenate([grid, grid]))
    sampler = estimators.normal_only_diffusion(score, 2, frames="data")(jax.random.key(0), data)
    levels = np.asarray(sampler.levels)
    np.testing.assert_allclose([levels[0], levels[-1], sampler.frame_level], [0.2, 0.002, 0.15], rtol=1e-5)
    assert isinstance(sampler.frames, scores.KernelScore)


def test_misuse_is_refused():
    score = scores.KernelScore(jnp.eye(3))
    with pytest.raises(ValueError, match="dim must be from 1 to the ambient dimension - 1 = 2, got 3"):
        samplers.normal_only(score, jnp.ones(3), jnp.ones(1), 3)
    with pytest.raises(ValueError, match="must be from 1 to the dimension 3, got 4"):
        samplers.leading_spectrum(score, jnp.ones(3), 1.0, 4)
    with pytest.raises(ValueError, match="0 < sigma_min < sigma_0, got 2 and 1"):
        estimators.normal_only_diffusion(score, 1, sigma_0=1.0, sigma_min=2.0)(jax.random.key(0), jnp.eye(3))
