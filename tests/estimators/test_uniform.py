"""Uniform points from data of any density. Oracle: parameters of points that are uniform when the points are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from manifold_diffusion import estimators, measures
from manifold_diffusion.estimators.pace import kinetic_folds, kinetic_time, manifold_reach, slow_function, surroundings
from tests.catalogue import MANIFOLDS

BINS, DRAWS = 10, 1000

CASES = {
    "ellipse": lambda manifold: measures.jump(manifold, jnp.array([0.6, 0.8])),
    "sphere": lambda manifold: measures.VonMisesFisher([0.6, 0.0, 0.8], 1.0),
}


@functools.cache
def data(name):
    law = CASES[name](MANIFOLDS[name].make())
    return measures.draw(law.sample, jax.random.key(3), 1000)


@functools.cache
def sampler(name):
    manifold = MANIFOLDS[name].make()
    return estimators.uniform_on_manifold(manifold.dim, 3)(jax.random.key(0), data(name))


def p_values(name, points):
    """Of chi-square tests of the parameters that are uniform when the points are."""
    x = np.asarray(points, np.float64)
    counts = [np.histogram(share(x), BINS, (0, 1))[0] for share in MANIFOLDS[name].uniform_parameters]
    return [stats.chisquare(count).pvalue for count in counts]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ellipse", "sphere"])
def test_points_are_uniform_where_the_data_are_not(name):
    """3 : 1 on the ellipse, e^2 : 1 on the sphere."""
    assert min(p_values(name, data(name))) < 1e-6
    points = measures.draw(sampler(name), jax.random.key(9), DRAWS)
    assert min(p_values(name, points)) > 0.002
    distances = [abs(MANIFOLDS[name].equation(np.asarray(x, np.float64))) for x in points]
    assert np.mean(distances) < 2e-3
    assert float(sampler(name).mixing.e_folds) >= 5
    assert int(sampler(name).mixing.components) == 1


def test_a_budget_of_steps_is_kept_and_told():
    short = estimators.uniform_on_manifold(1, 3, max_steps=4)(jax.random.key(0), data("ellipse"))
    assert int(short.mixing.steps) == 4
    assert float(short.mixing.e_folds) < 1


def test_components_have_the_share_of_their_volume():
    """Circles of radius 1 and 3, with more data on the small one."""
    rng = np.random.default_rng(0)
    t, s = 2 * np.pi * rng.random(600), 2 * np.pi * rng.random(400)
    two = np.concatenate([np.stack([np.cos(t), np.sin(t)], -1), np.stack([10 + 3 * np.cos(s), 3 * np.sin(s)], -1)])
    fitted = estimators.uniform_on_manifold(1, 3)(jax.random.key(0), jnp.asarray(two, jnp.float32))
    assert int(fitted.mixing.components) == 2
    far = np.mean(np.asarray(measures.draw(fitted, jax.random.key(1), DRAWS))[:, 0] > 5)
    assert far == pytest.approx(0.75, abs=0.03 + 4 * np.sqrt(0.19 / DRAWS))


# What a walk is made of


def test_the_slow_function_is_the_first_eigenfunction():
    """Of an ellipse: cos and sin of the arc length, (2 pi / L)^2, whatever the density of the data. It is found to a
    tenth or so, and only sets the length of the pilot chains, which measure the rest."""
    rows = np.asarray(data("ellipse"), np.float64)
    slow = slow_function(rows, surroundings(rows, 1, 1.0).volumes)
    length = integrate.quad(lambda t: np.hypot(2 * np.sin(t), np.cos(t)), 0, 2 * np.pi)[0]
    assert slow.eigenvalue == pytest.approx((2 * np.pi / length) ** 2, rel=0.2)
    phase = 2 * np.pi * MANIFOLDS["ellipse"].uniform_parameters[0](slow.places)
    design = np.stack([np.ones_like(phase), np.cos(phase), np.sin(phase)], 1)
    residual = slow.values - design @ np.linalg.lstsq(design, slow.values, rcond=None)[0]
    assert np.var(residual) < 0.02 * np.var(slow.values)


@pytest.mark.parametrize(("name", "reach"), [("ellipse", 0.5), ("sphere", 1.0)])
def test_the_reach_is_found_and_scales(name, reach):
    rows = np.asarray(data(name), np.float64)
    found = manifold_reach(rows, MANIFOLDS[name].make().dim)
    # It is the 5 % quantile over points, of which errors of the planes make some too small.
    assert found == pytest.approx(reach, rel=0.08)
    assert manifold_reach(7 * rows, MANIFOLDS[name].make().dim) == pytest.approx(7 * found)


def test_an_outlier_is_left_out_by_a_quantile():
    rows = np.concatenate([np.asarray(data("ellipse"), np.float64), [[9.0, 9.0]]])
    assert len(rows) - 1 not in surroundings(rows, 1, 0.99).rows
    assert len(rows) - 1 in surroundings(rows, 1, 1.0).rows


def test_time_and_folds_are_inverse():
    for folds in (0.02, 1.0, 7.0):
        assert kinetic_folds(kinetic_time(folds)) == pytest.approx(folds)


@pytest.mark.parametrize("options", [{"e_folds": 0}, {"quantile": 1.5}, {"max_steps": 0}])
def test_misuse_is_refused(options):
    with pytest.raises(ValueError, match="got"):
        estimators.uniform_on_manifold(1, 3, **options)


def test_duplicates_are_refused():
    with pytest.raises(ValueError, match="duplicates"):
        surroundings(np.repeat(np.eye(3), 50, axis=0), 1, 1.0)
