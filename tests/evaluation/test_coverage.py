"""Coverage and the coverage scale against brute force and known laws."""

import numpy as np
import pytest

from manifold_diffusion import evaluation
from tests.evaluation.clouds import sphere


def test_fresh_points_cover_what_the_null_covers(key):
    found = evaluation.coverage(sphere(2000, 2, 0), sphere(2000, 2, 1), key=key)
    assert found.null.value == pytest.approx(0.9, abs=0.04)
    assert found.covered.low <= found.null.high
    assert found.null.low <= found.covered.high
    assert found.points == 1000


def test_half_a_sphere_is_covered_twice_as_densely(key):
    new = sphere(6000, 2, 1)
    found = evaluation.coverage(sphere(2000, 2, 0), new[new[:, 0] > 0], 0.05, key=key)
    expected = 1000 * 0.05**2 / 4
    assert found.null.value == pytest.approx(1 - np.exp(-expected), abs=0.04)
    assert found.covered.value == pytest.approx((1 - np.exp(-2 * expected)) / 2, abs=0.04)


def test_no_points_cover_nothing_and_break_nothing(key):
    found = evaluation.coverage(sphere(50, 2, 0), np.full((4, 3), np.nan), key=key)
    assert found.points == 0
    assert np.isnan(found.covered.value)


@pytest.mark.parametrize("dim", [2, 30])
def test_ball_masses_are_counts(dim):
    points, centres = sphere(400, dim, 0), sphere(9, dim, 1)
    radius = 1.2
    brute = (np.linalg.norm(points[None, :] - centres[:, None], axis=2) <= radius).mean(axis=1)
    np.testing.assert_allclose(evaluation.ball_masses(centres, points, radius), brute)


def test_coverage_scale_is_where_all_ratios_enter_the_band():
    centres, truth, new = sphere(20, 1, 0), sphere(5000, 1, 1), sphere(60, 1, 2)
    scale = evaluation.coverage_scale(centres, truth, new)

    def violations(radius):
        ratios = evaluation.ball_mass_ratios(centres, truth, new, radius)
        return int((~((ratios >= 1 / 4) & (ratios <= 4))).sum())

    assert violations(scale * (1 - 1e-9)) > 0
    assert all(violations(radius) == 0 for radius in np.linspace(scale * (1 + 1e-9), 2, 400))


def test_a_memoriser_covers_down_to_its_spacing_only():
    centres, truth = sphere(40, 1, 0), sphere(40_000, 1, 1)
    scales = [
        np.mean([evaluation.coverage_scale(centres, truth, sphere(n, 1, seed)) for seed in range(4)]) for n in (50, 800)
    ]
    slope = np.log(scales[1] / scales[0]) / np.log(16)
    assert -1.2 < slope < -0.75
