"""Laws of read-outs from scores. Oracles: spheres, whose noised laws are in closed form, and the curvatures of tori."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import evaluation, scores
from manifold_diffusion.geometry import Torus
from tests import oracles

DIRECTION, CONCENTRATION = np.array([0.0, 0.6, 0.8]), 2.0
FOOT = np.array([0.48, 0.6, 0.64])  # of length one
SIGMAS = np.array([0.1, 0.05])


def von_mises_fisher():
    return scores.VonMisesFisherScore(jnp.asarray(DIRECTION), CONCENTRATION)


@functools.cache
def errors():
    """The errors of every read-out at two noise levels and of both orders, on S^2: one program."""
    mean = DIRECTION - (DIRECTION @ FOOT) * FOOT

    def at(score, order, sigma):
        y = jnp.asarray(FOOT, sigma.dtype)
        near, normal = 1.1 * y, jnp.asarray([0.0, 0.0, 1.0], sigma.dtype) + y
        form = evaluation.score_second_form(score, y, sigma, 2, order)
        first = evaluation.score_first_order(score, near, sigma, 2, order)
        bend = evaluation.score_principal_curvatures(score, y, normal, sigma, 2, 0.2, order)
        values, vectors = evaluation.denoiser_spectrum(score, near, sigma, order)
        return {
            "projection": evaluation.extrapolated_denoiser(score, order)(near, sigma) - y,
            "stretch": values[:2] - 1 / 1.1,
            "normal eigenvalue": values[2:],
            "tangent space": jnp.linalg.norm(y @ vectors[:, :2]),
            "second form": form.form + jnp.eye(2, dtype=y.dtype)[:, :, None] * y[None, None, :],
            "mean curvature": first.mean_curvature + 2 * y,
            "log density": first.log_density_gradient - CONCENTRATION * jnp.asarray(mean, y.dtype),
            "principal curvatures": bend.values + 1,
        }

    @eqx.filter_jit
    def both(score, sigmas):
        return [jax.vmap(functools.partial(at, score, order))(sigmas) for order in (1, 2)]

    with jax.enable_x64(True):
        out = both(von_mises_fisher(), jnp.asarray(SIGMAS))
    size = lambda a: np.abs(np.asarray(a)).reshape(len(SIGMAS), -1).max(axis=1)  # noqa: E731
    return {name: [size(each[name]) for each in out] for name in out[0]}


SLOPES = ("projection", "stretch", "normal eigenvalue", "tangent space", "second form", "log density", "mean curvature")


@pytest.mark.parametrize("name", SLOPES)
def test_each_order_removes_two_powers_of_sigma(name):
    """The Jacobian's error has slope 2, claim G11, and each level more gives two."""
    for error, slope in zip(errors()[name], (2, 4), strict=True):
        assert np.log2(error[0] / error[1]) == pytest.approx(slope, abs=0.35)


def test_mean_curvature_is_the_second_form_s_trace():
    """c_1 by differences of noise levels, as against derivatives of Pi: to the same curvature."""
    by_levels, by_derivatives = errors()["mean curvature"], errors()["second form"]
    assert by_levels[1][1] < by_levels[0][1] / 4 < 0.02
    assert by_derivatives[1][1] < 1e-3


def test_curvatures_from_both_sides_lose_the_even_errors():
    assert errors()["principal curvatures"][0][1] < 2e-3
    assert errors()["principal curvatures"][1][1] < 1e-3


def test_the_score_on_the_manifold_is_half_the_mean_curvature(x64):
    """H = 2 P_N s and grad log rho = P_T s to O(sigma^2), claim G2."""
    of = eqx.filter_jit(lambda score, x, s: evaluation.score_first_order(score, x, s, 2, order=0))
    read = [of(von_mises_fisher(), jnp.asarray(FOOT), jnp.asarray(s)) for s in (0.04, 0.02)]
    errors = [np.linalg.norm(each.mean_curvature + 2 * FOOT) for each in read]
    assert errors[0] < 0.02
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_a_torus_is_read_from_its_population_score():
    """Second form, mean and scalar curvature of both signs, against the principal curvatures in closed form; in
    float32.
    """
    torus = Torus(1.0, 0.5)
    score = scores.population_score(torus, lambda x: 0.5 * x[0], 120, sigma_min=0.055)
    angles = np.array([0.3, 1.9, 2.8])
    ring = np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1)
    points = (1 + 0.5 * np.cos(angles))[:, None] * ring + 0.5 * np.sin(angles)[:, None] * np.array([[0, 0, 1.0]])
    shape = evaluation.score_shape(score, jnp.asarray(points, jnp.float32), 0.06, 2)
    curvatures = [oracles.torus_curvatures(1.0, 0.5)(x) for x in points]
    vectors = np.stack([normal * sum(values) for normal, values in curvatures])
    np.testing.assert_allclose(shape.mean_curvature_vectors, vectors, atol=0.02)
    assert shape.mean_curvature.value == pytest.approx(np.mean(np.linalg.norm(vectors, axis=1)), rel=0.01)
    gauss = np.array([np.prod(values) for _, values in curvatures])
    assert gauss.min() < 0 < gauss.max()
    assert shape.scalar_curvature.value == pytest.approx(2 * gauss.mean(), abs=0.03)
    np.testing.assert_allclose(shape.feet, points, atol=1e-3)
    assert shape.non_finite == 0
    assert shape.second_forms.dtype == np.float32
    for frame, (normal, _) in zip(shape.frames, curvatures, strict=True):
        assert np.max(np.abs(normal @ frame)) < 1e-3


def test_projections_end_where_they_should(x64):
    """On S^2: denoising drifts along by the sum of sigma^2 grad log rho; the ridge stays below its point."""
    score, x, sigmas = von_mises_fisher(), jnp.asarray(1.1 * FOOT), jnp.asarray([0.1, 0.05, 0.02, 0.01, 0.005])
    plain = evaluation.denoising_projection(score, x, sigmas)
    ridge = evaluation.ridge_projection(score, x, sigmas, 2)
    assert abs(np.linalg.norm(plain) - 1) < 1e-4
    assert abs(np.linalg.norm(ridge) - 1) < 1e-4
    drift = CONCENTRATION * (DIRECTION - (DIRECTION @ FOOT) * FOOT) * np.sum(np.square(sigmas))
    np.testing.assert_allclose(plain - FOOT, drift, atol=3e-3)
    assert np.linalg.norm(ridge - FOOT) < np.linalg.norm(drift) / 5


def test_the_normal_part_of_a_memorising_score_does_not_memorise(x64):
    """Claim M12 on 60 points of a circle: denoising ends at a datum, the ridge on the circle where it began."""
    angles = 2 * np.pi * np.arange(60) / 60
    score = scores.KernelScore(jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], 1)))
    between = 2 * np.pi * 7.4 / 60
    x, sigmas = 1.02 * jnp.asarray([np.cos(between), np.sin(between)]), jnp.geomspace(0.1, 0.005, 8)
    copied = evaluation.denoising_projection(score, x, sigmas)
    ridge = evaluation.ridge_projection(score, x, sigmas, 1, frame_level=0.12)
    assert np.linalg.norm(copied - np.array([np.cos(angles[7]), np.sin(angles[7])])) < 1e-6
    assert abs(np.linalg.norm(ridge) - 1) < 3e-3
    assert np.arctan2(ridge[1], ridge[0]) == pytest.approx(between, abs=0.1 * 2 * np.pi / 60)


def test_misuse_is_refused():
    x = jnp.asarray(FOOT, jnp.float32)
    with pytest.raises(ValueError, match="dim must be from 1 to the ambient dimension - 1 = 2, got 3"):
        evaluation.score_tangent_space(von_mises_fisher(), x, 0.1, 3)
    with pytest.raises(ValueError, match="order is a number of noise levels"):
        evaluation.extrapolated_denoiser(von_mises_fisher(), 0)


def test_points_at_which_a_score_fails_are_counted():
    def score(x, sigma):
        return jnp.where(x[0] > 0, jnp.nan, 1.0) * -x / sigma

    points = jnp.asarray([[1.0, 0.0], [-1.0, 0.0], [-1.0, 0.5]])
    shape = evaluation.score_shape(score, points, 0.1, 1)
    assert shape.non_finite == 1
    assert np.isfinite(shape.mean_curvature.value)
