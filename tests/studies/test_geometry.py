"""The instruments of group G against other ways to the same numbers, and the group at its smallest scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from manifold_diffusion import geometry, measures, scores
from manifold_diffusion.studies import verify
from manifold_diffusion.studies.geometry import CLAIMS, laws
from manifold_diffusion.studies.geometry.mixing import cell_masses, data_masses, sampling_floor
from manifold_diffusion.studies.geometry.rao_blackwell import conditional_moments, extrinsic_factor
from manifold_diffusion.studies.geometry.stationary import stationary
from manifold_diffusion.studies.geometry.tube import Profile, compare, gibbs, tube

CIRCLE = Profile((1.0, 1.0))


@pytest.mark.parametrize("name", ["curve", "surface"])
def test_the_law_on_a_tube_is_that_of_the_library(name, x64):
    """log p_sigma by the quadrature of the whole manifold, which knows nothing of tubes or meridians."""
    manifold = geometry.Ellipsoid(laws.CURVE.axes) if name == "curve" else geometry.Torus(1.0, 0.5)
    # The density of the study depends on the distance to the axis, where there is one.
    height = (lambda x: x[0]) if name == "curve" else (lambda x: jnp.hypot(x[0], x[1]))
    law = measures.Density(manifold, lambda x: height(x) / 2, 1.0)
    near = tube(laws.PROFILES[name], laws.log_density, 0.1, 0.3, size=64, across=5)
    exact = scores.population_score(manifold, law.log_density, 1024 if name == "curve" else 128)
    points = near.points if name == "curve" else np.insert(near.points, 1, 0.0, axis=-1)
    found = jax.vmap(jax.vmap(lambda x: exact.log_density(x, 0.1)))(jnp.asarray(points))
    np.testing.assert_allclose(near.leading + near.rest, found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["curve", "surface"])
def test_volumes_of_a_tube_are_those_of_weyl(name):
    """2 r length for a plane curve; 2 r area (1 + r^2 K / 3 on average, of which the torus has none) for a surface."""
    near = tube(laws.PROFILES[name], laws.log_density, 0.05, 0.3, size=256, across=400)
    # 400 nodes with equal weights, the ends among them, stand for 399 intervals.
    spread = near.volumes.sum() * 399 / 400
    np.testing.assert_allclose(spread, 0.6 * near.areas.sum(), rtol=1e-10)
    expected = 4 * integrate.quad(lambda t: np.hypot(np.sin(t), 2 * np.cos(t)), 0, np.pi / 2)[0]
    expected = expected if name == "curve" else 4 * np.pi**2 * 0.5
    np.testing.assert_allclose(near.areas.sum(), expected, rtol=1e-12)


def test_a_tube_wider_than_the_reach_is_refused():
    with pytest.raises(ValueError, match="inside the reach"):
        tube(laws.CURVE, laws.log_density, 0.1, 0.6)


def test_without_an_error_the_stationary_law_is_the_density():
    near = tube(laws.CURVE, laws.log_density, 0.02, 0.14, size=64, across=24)
    potential = near.leading + near.rest
    found = stationary(laws.CURVE, near, potential, np.zeros_like)
    np.testing.assert_allclose(found, gibbs(near, potential), rtol=1e-8, atol=1e-14)


def test_a_constant_wind_on_the_circle_has_the_law_of_the_book():
    """dX = (-kappa sin X + c) dt + sqrt(2) dW on the circle, to which the law near it tends: with V = kappa cos x + c x
    its density is e^V times the integral of e^-V over the next turn (Risken, The Fokker-Planck Equation, 11.3).
    """
    kappa, wind, sigma = 1.0, 0.7, 0.01
    near = tube(CIRCLE, lambda x: kappa * x[..., 0], sigma, 7 * sigma, size=256, across=32)
    found = stationary(
        CIRCLE, near, near.leading + near.rest, lambda x: wind * np.stack([-x[..., 1], x[..., 0]], axis=-1)
    )

    def density(x):
        shifted = lambda y: np.exp(kappa * (np.cos(x) - np.cos(y)) + wind * (x - y))  # noqa: E731
        return integrate.quad(shifted, x, x + 2 * np.pi)[0]

    expected = np.array([density(x) for x in near.t])
    assert compare(near, found, expected).total_variation < 2e-4
    assert compare(near, found, np.exp(kappa * np.cos(near.t))).total_variation > 0.05


@pytest.mark.slow
def test_moments_of_the_tangential_target_are_those_of_draws():
    """On S^2, by drawing data and noise and keeping what projects near the angle asked for."""
    sigma, kappa, angle, k = 0.3, 1.0, 1.0, 2
    law = measures.VonMisesFisher(jnp.eye(k + 1)[0], kappa)
    data = np.asarray(measures.draw(law.sample, jax.random.key(0), 400_000), np.float64)
    noised = data + sigma * np.random.default_rng(0).standard_normal(data.shape)
    m = noised / np.linalg.norm(noised, axis=1, keepdims=True)
    kept = np.abs(np.arccos(m[:, 0]) - angle) < 0.02
    data, m = data[kept], m[kept]
    along = np.eye(k + 1)[0] - m[:, :1] * m
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    target = (data - np.sum(data * m, axis=1, keepdims=True) * m) / sigma**2
    mean, variance = conditional_moments(k, sigma, kappa, angle)
    part = np.sum(target * along, axis=1)
    expected = mean * kappa * np.sin(angle)
    assert abs(part.mean() - expected) < 4 * part.std() / np.sqrt(len(part))
    spread = np.sum(target**2, axis=1).mean() - expected**2
    np.testing.assert_allclose(spread, variance, rtol=0.03)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_the_extrinsic_factor_is_one_less_half_the_dimension(k):
    """Whatever the density and the place: with another factor or another Tweedie term it would depend on them."""
    for kappa, angle in ((0.5, 0.4), (2.0, 2.0)):
        assert abs(extrinsic_factor(k, 0.005, kappa, angle) - (1 - k / 2)) < 2e-3


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 3])
def test_cells_have_equal_areas_and_the_masses_of_their_law(d):
    draws = {
        "uniform": np.asarray(measures.draw(geometry.Sphere(d - 1).uniform, jax.random.key(1), 100_000)),
        "data": np.asarray(
            measures.draw(measures.VonMisesFisher(jnp.eye(d)[0], 1.0).sample, jax.random.key(2), 100_000)
        ),
    }
    floor = sampling_floor(100_000)
    for name, masses in (("uniform", np.full(64, 1 / 64)), ("data", data_masses(d))):
        assert np.abs(cell_masses(draws[name]) - masses).sum() / 2 < 1.3 * floor
    assert np.abs(cell_masses(draws["data"]) - 1 / 64).sum() / 2 > 20 * floor


ALL, QUICK = {f"G{i}" for i in range(1, 13)}, {"G10", "G12"}


@pytest.mark.parametrize(
    "ids", [QUICK, pytest.param(ALL - QUICK, marks=pytest.mark.slow)], ids=["no compilation", "the others"]
)
def test_no_claim_is_refuted_and_nearly_all_are_confirmed(ids):
    study = verify([claim for claim in CLAIMS if claim.id in ids], "smoke", 0, None, False, plot=False)
    verdicts = [result.verdict.verdict for result in study.results]
    assert verdicts.count("refuted") == 0
    assert verdicts.count("confirmed") >= 0.9 * len(verdicts)
    assert all(result.failures == 0 for result in study.results)
    assert {result.claim.id for result in study.results} == ids
