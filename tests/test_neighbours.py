"""Nearest neighbours against brute force, on the host and inside compiled programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion._neighbours import NeighbourIndex, nearest, self_nearest


def _brute_force(points, queries, k):
    gaps = np.linalg.norm(points[None, :, :] - queries[:, None, :], axis=-1)
    order = np.argsort(gaps, axis=1)[:, :k]
    return np.take_along_axis(gaps, order, axis=1), order


@pytest.mark.parametrize("d", [1, 3, 20])
def test_neighbours_are_those_of_brute_force(d):
    rng = np.random.default_rng(d)
    points, queries = rng.normal(size=(300, d)), rng.normal(size=(40, d))
    distances, indices = nearest(points, queries, 7)
    expected, order = _brute_force(points, queries, 7)
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(distances, expected, rtol=1e-12)


def test_far_from_the_origin_high_dimensional_neighbours_stay_exact():
    rng = np.random.default_rng(0)
    points, queries = rng.normal(size=(200, 30)), rng.normal(size=(20, 30))
    _, moved = nearest(points + 1e6, queries + 1e6, 5)
    np.testing.assert_array_equal(moved, _brute_force(points, queries, 5)[1])


@pytest.mark.parametrize("d", [3, 20])
def test_the_index_answers_alike_inside_compiled_programs(d):
    rng = np.random.default_rng(1)
    points, queries = rng.normal(size=(500, d)), rng.normal(size=(8, d))
    index = NeighbourIndex(jnp.asarray(points, jnp.float32))
    expected = _brute_force(points, queries, 4)[1]
    compiled = jax.jit(lambda index, xs: jax.vmap(lambda x: index(x, 4))(xs))
    np.testing.assert_array_equal(compiled(index, jnp.asarray(queries, jnp.float32)), expected)
    np.testing.assert_array_equal(index.search(queries, 4)[1], expected)


def test_a_program_compiled_for_one_data_set_answers_for_another():
    rng = np.random.default_rng(2)
    sets = [jnp.asarray(rng.normal(size=(50, 2)), jnp.float32) for _ in range(3)]
    count = 0

    @jax.jit
    def first(index, x):
        nonlocal count
        count += 1
        return index(x, 1)[0]

    indices = [NeighbourIndex(points) for points in sets]
    for index, points in zip(indices, sets, strict=True):
        assert first(index, points[7]) == 7
    assert count == 1


def test_the_search_carries_no_gradient_and_the_points_do():
    points = jnp.asarray([[0.0, 0.0], [1.0, 0.0]])
    index = NeighbourIndex(points)
    gradient = jax.grad(lambda x: jnp.sum((index.points[index(x, 1)[0]] - x) ** 2))(jnp.asarray([0.25, 0.0]))
    np.testing.assert_allclose(gradient, [0.5, 0.0])


def test_duplicates_have_one_another_as_neighbours_and_not_themselves():
    points = np.asarray([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [3.0, 4.0]])
    distances, indices = self_nearest(points, 2)
    np.testing.assert_array_equal(distances, [[0, 0], [0, 0], [0, 0], [5, 5]])
    assert all(i not in row for i, row in enumerate(indices))


def test_queries_that_are_not_finite_are_far_from_everything():
    distances, _ = nearest(np.eye(3), np.asarray([[np.nan, 0, 0], [1.0, 0, 0]]), 1)
    assert np.isnan(distances[0, 0])
    assert distances[1, 0] == 0


@pytest.mark.parametrize("k", [0, 4])
def test_more_neighbours_than_points_are_refused(k):
    with pytest.raises(ValueError, match="ask for between 1 and 3"):
        nearest(np.eye(3), np.eye(3), k)


def test_points_of_a_subspace_are_searched_in_it_and_told_apart_by_their_own_coordinates():
    """Far from the origin, with copies, and with a direction that is 1e-9 as wide as the others: none is lost."""
    rng = np.random.default_rng(3)
    axes = np.linalg.qr(rng.normal(size=(20, 5)))[0].T
    u = rng.normal(size=(3000, 5)) * np.array([1.0, 1.0, 0.5, 0.3, 1e-9])
    u[:, :4] = np.tile(u[:375, :4], (8, 1))  # in eights that differ in the last direction alone
    points = u @ axes + 3.0
    points[7] = points[11]
    queries = points[::10] + 0.1 * rng.normal(size=(300, 20))
    for at in (queries, points[:40]):
        distances, indices = nearest(points, at, 5)
        dense = np.sort(np.linalg.norm(at[:, None] - points, axis=2), axis=1)[:, :5]
        np.testing.assert_allclose(distances, dense, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(np.linalg.norm(points[indices] - at[:, None], axis=2), distances, atol=1e-15)
    assert nearest(points, points[7:8], 2)[0].max() == 0
    assert nearest(np.ones((30, 6)), np.zeros((1, 6)), 3)[0] == pytest.approx(np.sqrt(6))
