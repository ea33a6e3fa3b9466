"""Dimension estimators on manifolds whose dimension is known, and how often their intervals hold it."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from manifold_diffusion import evaluation
from tests.evaluation.clouds import noise, sphere

ESTIMATORS = (evaluation.levina_bickel, evaluation.two_nearest, evaluation.local_pca)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_spheres_have_their_dimension(estimator, dim):
    found = estimator(sphere(3000, dim, dim))
    assert found.value == pytest.approx(dim, rel=0.05)
    assert found.ci_low <= found.value <= found.ci_high


@pytest.mark.parametrize("estimator", ESTIMATORS[:2])
def test_intervals_hold_the_dimension_about_as_often_as_they_say(estimator):
    held = [e.ci_low <= 2 <= e.ci_high for e in (estimator(sphere(1000, 2, seed)) for seed in range(60))]
    assert np.mean(held) >= 0.85


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_dimension_depends_neither_on_units_nor_on_the_ambient_space(estimator):
    points = sphere(600, 2, 0)
    frame = np.linalg.qr(np.random.default_rng(1).normal(size=(40, 3)))[0]
    assert estimator(1e-3 * points @ frame.T + 5).value == pytest.approx(estimator(points).value, rel=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_repeated_points_count_once(estimator):
    points = sphere(600, 2, 0)
    assert estimator(np.repeat(points, 3, axis=0)).value == pytest.approx(estimator(points).value, rel=1e-9)


def test_local_pca_sees_the_surface_under_a_clustered_law():
    generator = np.random.default_rng(0)
    points = [np.array([1.0, 0.0, 0.0])]
    for _ in range(3000):
        step = points[generator.integers(len(points))] + 0.02 * generator.uniform() ** 3 * generator.normal(size=3)
        points.append(step / np.linalg.norm(step))
    estimates = evaluation.dimensions(np.array(points))
    assert max(estimates[0].value, estimates[1].value) < 1.7
    assert evaluation.local_pca(np.array(points)).value == 2
    assert evaluation.consensus(estimates, 3) == 2


def test_local_pca_says_nothing_where_there_is_no_gap():
    found = evaluation.local_pca(np.random.default_rng(0).normal(size=(1000, 10)))
    assert np.isnan(found.value)


def test_digits_have_a_dimension_around_eight_at_the_scale_of_neighbours_and_around_twelve_at_none():
    """Without extrapolation the values that are reported for such images; with it, estimators that fail in different
    ways agree.
    """
    data = load_digits().data
    assert 6 <= evaluation.levina_bickel(data, order=0).value <= 9
    assert 7 <= evaluation.two_nearest(data, order=0).value <= 11
    found = [evaluation.levina_bickel(data), evaluation.two_nearest(data), evaluation.participation(data)]
    assert max(e.ci_low for e in found) < 12 < min(e.ci_high for e in found)
    assert 10 <= evaluation.consensus(found, 64) <= 13


def test_the_headline_is_an_estimate_that_rounds_to_the_consensus():
    estimates = [evaluation.Dimension(v, v, v, n) for v, n in ((1.2, "a"), (1.9, "b"), (2.0, "c"))]
    assert evaluation.headline(estimates, 2).estimator == "b"
    assert evaluation.headline(estimates, 5).estimator == "c"


def test_few_points_are_refused_by_name():
    with pytest.raises(ValueError, match=r"1 distinct points are too few.*at least 4"):
        evaluation.levina_bickel(np.ones((9, 3)))


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_entropy_and_collapse_scale_of_a_sphere(dim):
    volume = {1: 2 * np.pi, 2: 4 * np.pi, 3: 2 * np.pi**2}[dim]
    points = sphere(4000, dim, 3)
    assert evaluation.entropy(points, dim) == pytest.approx(np.log(volume), abs=0.05)
    expected = (volume / 4000) ** (1 / dim) / np.sqrt(2 * np.pi * np.e)
    assert evaluation.collapse_scale(points, dim) == pytest.approx(expected, rel=0.05)


def test_spacing_follows_the_poisson_law():
    expected = np.sqrt(np.log(2) * 4 * np.pi / (np.pi * 4000))
    assert evaluation.spacing(sphere(4000, 2, 0)) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("n", "dim", "scale"), [(2000, 1, 0.01), (2000, 2, 0.01), (2000, 2, 0.03)])
def test_noise_and_curvature_are_told_apart(n, dim, scale):
    found = evaluation.noise_level(noise(sphere(n, dim, 0), scale, 1), dim)
    assert found.noise == pytest.approx(scale, rel=0.1)
    assert found.curvature == pytest.approx(1, abs=0.15)


def test_without_noise_little_is_found():
    points = sphere(2000, 2, 0)
    assert evaluation.noise_level(points, 2).noise < 0.02 * evaluation.spacing(points)


def test_reach_sees_curvature_and_bottlenecks():
    assert evaluation.reach(sphere(3000, 2, 0), 2) == pytest.approx(1, abs=0.25)
    circles = [np.pad(sphere(800, 1, seed), ((0, 0), (0, 1)), constant_values=z) for seed, z in ((0, 0.0), (1, 0.2))]
    assert evaluation.reach(np.concatenate(circles), 1) == pytest.approx(0.1, rel=0.1)


def test_a_surface_that_bends_within_a_flat_subspace_is_a_surface():
    frame = np.linalg.qr(np.random.default_rng(1).normal(size=(40, 3)))[0]
    for points in (sphere(100, 2, 0), sphere(2000, 2, 0)):
        assert evaluation.consensus(evaluation.dimensions(points @ frame.T), 40) == 2
