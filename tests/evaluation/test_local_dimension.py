"""Dimensions around points: their means, how often their intervals hold, and that the cores are plain JAX functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from manifold_diffusion import evaluation
from manifold_diffusion._neighbours import NeighbourIndex
from tests.evaluation.clouds import product, sphere

ESTIMATORS = (
    evaluation.local_levina_bickel,
    evaluation.local_two_nearest,
    evaluation.local_correlation,
    evaluation.local_participation,
)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("dims", [(1,), (3,), (1, 1)])
def test_intervals_hold_the_dimension_at_nine_of_ten_points(estimator, dims):
    """Neighbourhoods of different centres overlap, so that a fifth of the centres counts as independent."""
    found = [estimator(x, x[:150]) for x in (product(2000, dims, seed) for seed in range(3))]
    held = np.concatenate([(e.ci_low <= sum(dims)) & (sum(dims) <= e.ci_high) for e in found])
    assert held.mean() >= stats.binom.ppf(0.01, len(held) // 5, 0.9) / (len(held) // 5)
    assert np.mean([e.values.mean() for e in found]) == pytest.approx(sum(dims), rel=0.05)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_parts_of_a_sample_have_their_own_dimensions(estimator):
    circle = np.pad(sphere(1500, 1, 0), ((0, 0), (0, 2)))
    ball = sphere(1500, 3, 0) + 5
    found = estimator(np.concatenate([circle, ball]), np.concatenate([circle[:40], ball[:40]]))
    assert np.median(found.values[:40]) == pytest.approx(1, abs=0.3)
    assert np.median(found.values[40:]) == pytest.approx(3, abs=0.4)


def test_the_core_of_levina_bickel_is_unbiased_with_a_gamma_interval():
    """Volumes of balls through neighbours of a Poisson process are sums of exponential variables."""
    volumes = np.random.default_rng(0).exponential(size=(20000, 12)).cumsum(axis=1)
    values = np.asarray(jax.jit(jax.vmap(evaluation.levina_bickel_at))(jnp.asarray(volumes ** (1 / 3))))
    assert values.mean() == pytest.approx(3, rel=0.01)
    assert values.std() == pytest.approx(3 / np.sqrt(12 - 3), rel=0.03)


def test_the_core_of_the_participation_ratio_counts_directions():
    offsets = np.random.default_rng(0).normal(size=(4000, 40, 5))
    values, squares = jax.jit(jax.vmap(evaluation.participation_at))(jnp.asarray(offsets))
    inverses = 1 / np.asarray(values)
    assert inverses.mean() == pytest.approx(1 / 5, rel=0.01)
    # Where there is no bias, what noise passes for it makes the error larger, never smaller.
    assert 1 <= np.sqrt(np.mean(squares)) / inverses.std() <= 2


def test_cores_run_behind_a_search_in_one_program():
    """Indices, distances and values under one jit, as on an accelerator, against the functions for the host."""
    points = jnp.asarray(sphere(500, 2, 0), jnp.float32)

    @jax.jit
    def run(index, centres):
        def one(x):
            rows = index.points[index(x, 21)[1:]]
            distances = jnp.linalg.norm(rows - x[None, :], axis=1)
            return evaluation.levina_bickel_at(distances), evaluation.participation_at(rows - x[None, :])[0], distances

        return jax.vmap(one)(centres)

    by_volume, by_direction, distances = run(NeighbourIndex(points), points)
    expected = evaluation.local_levina_bickel(np.asarray(points))
    np.testing.assert_allclose(by_volume, expected.values, rtol=1e-3)
    expected = evaluation.local_participation(np.asarray(points), neighbours=20)
    np.testing.assert_allclose(by_direction, expected.values, rtol=1e-3)
    whole = jax.jit(evaluation.dimension_from_distances)(distances)
    inverse = 1 / evaluation.levina_bickel(np.asarray(points), order=1).value
    assert 1 / whole == pytest.approx(inverse, rel=0.05)
    assert np.isfinite(jax.jit(jax.grad(evaluation.dimension_from_distances))(distances)).all()


def test_centres_need_not_be_data():
    points, centres = sphere(800, 2, 0), sphere(30, 2, 1)
    assert evaluation.local_levina_bickel(points, centres).values.shape == (30,)
    with pytest.raises(ValueError, match="centres have 2 columns and the points 3"):
        evaluation.local_levina_bickel(points, centres[:, :2])
    with pytest.raises(ValueError, match=r"2 neighbours are too few.*at least 3"):
        evaluation.local_levina_bickel(points, neighbours=2)
