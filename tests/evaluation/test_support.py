"""Distances to manifolds and between samples."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import directed_hausdorff

from manifold_diffusion import evaluation, geometry
from tests.evaluation.clouds import noise, sphere


def test_distances_to_a_sphere_are_differences_of_radii():
    points = noise(sphere(5000, 2, 0), 0.1, 1).astype(np.float32)
    exact = np.abs(np.linalg.norm(points, axis=1) - 1)
    found = evaluation.support_distance(geometry.Sphere(2), points)
    expected = exact.mean(), np.median(exact), np.quantile(exact, 0.99), exact.max()
    np.testing.assert_allclose(found[:4], expected, rtol=1e-4)
    assert found.non_finite == 0


def test_points_that_are_not_finite_are_counted_not_masked():
    points = sphere(10, 2, 0).astype(np.float32)
    points[3] = np.nan
    found = evaluation.support_distance(geometry.Sphere(2), points)
    assert found.non_finite == 1
    assert found.max < 1e-6
    nothing = evaluation.support_distance(geometry.Sphere(2), np.full((2, 3), np.inf, np.float32))
    assert nothing.non_finite == 2
    assert np.isnan(nothing.mean)


def test_an_estimated_manifold_is_one_like_any_other():
    atlas = geometry.fit_atlas(jnp.asarray(sphere(2000, 2, 0)), 2, 3)
    points = noise(sphere(500, 2, 1), 0.05, 2).astype(np.float32)
    true, estimated = (evaluation.support_distance(m, points) for m in (geometry.Sphere(2), atlas))
    assert estimated.median == pytest.approx(true.median, rel=0.02)


def test_hausdorff_is_that_of_scipy():
    a, b = sphere(200, 2, 0), sphere(150, 2, 1)[:, :] + 0.1
    found = evaluation.hausdorff(a, b)
    assert found.a_to_b == pytest.approx(directed_hausdorff(a, b)[0])
    assert found.b_to_a == pytest.approx(directed_hausdorff(b, a)[0])
