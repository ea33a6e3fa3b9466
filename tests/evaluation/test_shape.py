"""The scales of samples whose manifold is known, against closed forms."""

import numpy as np
import pytest

from manifold_diffusion import evaluation
from tests.evaluation.clouds import noise, sphere, torus


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
    assert evaluation.reach(sphere(3000, 2, 0), 2) == pytest.approx(1, abs=0.01)
    assert evaluation.reach(torus(3000, 0.4, 0), 2) == pytest.approx(0.4, rel=0.03)
    circles = [np.pad(sphere(800, 1, seed), ((0, 0), (0, 1)), constant_values=z) for seed, z in ((0, 0.0), (1, 0.2))]
    assert evaluation.reach(np.concatenate(circles), 1) == pytest.approx(0.1, rel=0.1)


def test_the_interval_of_the_reach_holds_its_value_and_grows_with_noise():
    exact, rough = sphere(1500, 2, 0), noise(sphere(1500, 2, 0), 0.01, 1)
    clean, noisy = evaluation.reach_interval(exact, 2), evaluation.reach_interval(rough, 2)
    assert clean.value == evaluation.reach(exact, 2)
    assert clean.low <= clean.value <= clean.high
    assert noisy.high - noisy.low > clean.high - clean.low
    assert noisy.low <= 1
