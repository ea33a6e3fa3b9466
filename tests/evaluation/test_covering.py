"""Covering radii against convex hulls, sorted angles, and the law of the largest gap."""

import numpy as np
import pytest
from scipy.spatial import ConvexHull, KDTree

from manifold_diffusion import evaluation
from tests.evaluation.clouds import sphere


def largest_gap(points):
    """Chord from the middle of the largest gap of points on the unit circle to its ends."""
    angles = np.sort(np.arctan2(points[:, 1], points[:, 0]))
    gap = np.diff(np.append(angles, angles[0] + 2 * np.pi)).max()
    return 2 * np.sin(gap / 4)


def largest_cap(points):
    """Chord from the centre of the largest empty cap of the 2-sphere to its rim: caps are facets of the convex hull."""
    heights = -ConvexHull(points).equations[:, 3]
    return np.sqrt(2 - 2 * heights.min())


@pytest.mark.parametrize("seed", range(4))
def test_on_the_circle_it_is_half_the_largest_gap(seed):
    points = sphere(400, 1, seed)
    assert evaluation.covering_radius(points, 1) == pytest.approx(largest_gap(points), rel=5e-3)


@pytest.mark.parametrize("seed", range(2))
def test_on_the_2_sphere_it_is_the_largest_empty_cap(seed):
    points = sphere(800, 2, seed)
    assert evaluation.covering_radius(points, 2) == pytest.approx(largest_cap(points), rel=0.03)


def test_on_the_3_sphere_no_fresh_point_is_much_farther():
    points = sphere(400, 3, 0)
    farthest = KDTree(points).query(sphere(200_000, 3, 1))[0].max()
    assert evaluation.covering_radius(points, 3) == pytest.approx(farthest, rel=0.1)


def test_the_outside_of_an_edge_is_no_gap():
    side = np.linspace(0, 1, 21)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    grid += 1e-6 * np.random.default_rng(0).normal(size=grid.shape)
    assert evaluation.covering_radius(grid, 2) == pytest.approx(0.05 / np.sqrt(2), rel=1e-3)


@pytest.mark.parametrize(("dim", "volume", "exact"), [(1, 2 * np.pi, largest_gap), (2, 4 * np.pi, largest_cap)])
def test_uniform_points_have_the_expected_one(dim, volume, exact):
    found = np.array([exact(sphere(600, dim, seed)) for seed in range(200)])
    expected = evaluation.expected_covering_radius(600, dim, volume)
    assert np.median(found) == pytest.approx(expected.value, rel=0.04)
    assert np.mean((expected.low <= found) & (found <= expected.high)) >= 0.9


def test_dimensions_that_are_too_high_are_refused():
    with pytest.raises(ValueError, match="dimensions 1 to 4, got 5"):
        evaluation.covering_radius(sphere(100, 5, 0), 5)
