"""Transport distances against POT, closed forms and laws."""

import numpy as np
import ot
import pytest
from scipy import integrate

from manifold_diffusion import evaluation


def uniform_on_circle(n, seed):
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, n)
    return angle, np.stack([np.cos(angle), np.sin(angle)], axis=1)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (7, 7), (50, 50), (40, 65)])
def test_circular_distance_is_that_of_a_linear_programme(n, m):
    a, b = uniform_on_circle(n, 0)[0], uniform_on_circle(m, 1)[0] ** 0.9
    gap = np.abs(np.mod(a[:, None] - b[None, :], 2 * np.pi))
    expected = ot.emd2(np.full(n, 1 / n), np.full(m, 1 / m), np.minimum(gap, 2 * np.pi - gap))
    assert evaluation.circular_wasserstein(a, b) == pytest.approx(expected, abs=1e-12)


def test_circular_distance_does_not_see_a_rotation_of_both():
    a, b = uniform_on_circle(30, 2)[0], uniform_on_circle(31, 3)[0]
    turned = evaluation.circular_wasserstein(a + 2.5, b + 2.5 - 4 * np.pi)
    assert turned == pytest.approx(evaluation.circular_wasserstein(a, b), abs=1e-12)


@pytest.mark.parametrize("n", [1, 4, 1000])
def test_even_points_are_a_quarter_of_their_gap_from_uniform(n):
    angles = 0.3 + 2 * np.pi * np.arange(n) / n
    assert evaluation.circular_wasserstein(angles, np.ones_like) == pytest.approx(2 * np.pi / n / 4, rel=1e-9)


def test_circular_distance_to_a_density_is_the_limit_of_samples_of_it():
    angles = uniform_on_circle(200, 4)[0]
    grid = np.linspace(-np.pi, np.pi, 200_001)
    cumulative = integrate.cumulative_simpson(np.exp(2 * np.cos(grid)), x=grid, initial=0)
    quantiles = np.interp((np.arange(20_000) + 0.5) / 20_000, cumulative / cumulative[-1], grid)
    expected = evaluation.circular_wasserstein(angles, quantiles)
    found = evaluation.circular_wasserstein(angles, lambda t: 7 * np.exp(2 * np.cos(t)))
    assert found == pytest.approx(expected, abs=2e-4)


def test_assignment_is_that_of_a_linear_programme():
    generator = np.random.default_rng(5)
    a, b = generator.normal(size=(40, 3)), generator.normal(size=(40, 3)) + 0.5
    for order in (1.0, 2.0):
        expected = ot.emd2([], [], ot.dist(a, b, "euclidean") ** order) ** (1 / order)
        assert evaluation.wasserstein(a, b, order) == pytest.approx(expected, rel=1e-9)


def test_assignment_refuses_samples_of_unequal_size():
    with pytest.raises(ValueError, match="equal size, got 3 and 4"):
        evaluation.wasserstein(np.zeros((3, 2)), np.zeros((4, 2)))


@pytest.mark.parametrize(("dim", "volume"), [(1, 2 * np.pi), (2, 4 * np.pi), (3, 2 * np.pi**2)])
def test_the_lower_bound_has_its_expected_value(dim, volume):
    generator = np.random.default_rng(dim)

    def sphere(n):
        x = generator.normal(size=(n, dim + 1))
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    bounds = [evaluation.empirical_transport_bound(sphere(4000), sphere(4000)) for _ in range(8)]
    mean, error = np.mean([b.value for b in bounds]), np.mean([b.standard_error for b in bounds])
    expected = evaluation.expected_transport_bound(4000, dim, volume)
    assert mean == pytest.approx(expected, rel=0.01)
    assert 0.3 * error < np.std([b.value for b in bounds]) < 3 * error


def test_the_lower_bound_is_below_the_distance():
    angles, points = uniform_on_circle(300, 8)
    _, fresh = uniform_on_circle(20_000, 9)
    assert evaluation.empirical_transport_bound(points, fresh).value < evaluation.circular_wasserstein(
        angles, np.ones_like
    )


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_ball_volumes_are_integrals_of_their_slices(dim):
    lower = 1.0 if dim == 1 else evaluation.unit_ball_volume(dim - 1)
    expected = lower * integrate.quad(lambda z: (1 - z * z) ** ((dim - 1) / 2), -1, 1)[0]
    assert evaluation.unit_ball_volume(dim) == pytest.approx(expected)
