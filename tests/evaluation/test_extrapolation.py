"""The laws of neighbour terms, the fit against least squares, and its errors against repeated samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion._neighbours import self_nearest
from manifold_diffusion.evaluation import extrapolation
from tests.evaluation.clouds import sphere


def test_terms_of_a_poisson_process_are_independent_and_exponential():
    volumes = np.random.default_rng(0).exponential(size=(40000, 6)).cumsum(axis=1)
    terms = extrapolation.log_ratio_terms(volumes**0.25)
    np.testing.assert_allclose(terms.mean(axis=0), 0.25, rtol=0.02)
    np.testing.assert_allclose(np.cov(terms.T), np.eye(5) / 16, atol=2e-3)


def test_the_bias_of_curvature_is_that_of_the_expansion():
    """Chords on the 4-sphere: density r^3 (1 - r^2/4), in a ball r^4 (1 - r^2/6), so E y_j = 1/4 + E T_j^2 / 48."""
    radii = np.sort(_chords(np.random.default_rng(0), (200000, 8)) * 0.6, axis=1)
    terms, squares = extrapolation.log_ratio_terms(radii), radii[:, :-1] ** 2
    slopes = (terms.mean(axis=0) - 0.25) / squares.mean(axis=0)
    assert np.average(slopes, weights=squares.mean(axis=0) ** 2) == pytest.approx(1 / 48, rel=0.15)


def _chords(generator, shape):
    """Scaled so that the largest is one: u uniform, r solves r^4 (1 - 0.36 r^2 / 6) / (1 - 0.06) = u, by Newton."""
    u = generator.uniform(size=shape)
    r = u**0.25
    for _ in range(30):
        r -= (r**4 * (1 - 0.06 * r**2) / 0.94 - u) / ((4 * r**3 - 0.36 * r**5) / 0.94)
    return r


def test_squared_cosines_have_the_trace_of_the_squared_second_moment():
    scales = np.array([1.0, 2.0, 3.0])
    offsets = 7 + np.random.default_rng(0).normal(size=(40000, 8, 3)) * scales
    found = extrapolation.squared_cosines(offsets).mean(axis=0)
    differences = np.diff(np.random.default_rng(1).normal(size=(400000, 2, 3)) * scales, axis=1)[:, 0]
    units = differences / np.linalg.norm(differences, axis=1, keepdims=True)
    moment = units.T @ units / len(units)
    np.testing.assert_allclose(found, np.sum(moment**2), rtol=0.02)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_fit_is_least_squares(order):
    generator = np.random.default_rng(0)
    terms, squares = generator.normal(size=(50, 9)), np.sort(generator.uniform(size=(50, 9)), axis=1)
    weights = generator.uniform(0.5, 2, size=9)
    found, influences = extrapolation.fit(terms, squares, weights, order)
    design = np.vander(squares.mean(axis=0), order + 1, increasing=True)
    root = np.sqrt(weights)
    expected = np.linalg.lstsq(design * root[:, None], terms.mean(axis=0) * root, rcond=None)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(influences.sum(axis=0), 0, atol=1e-9)
    compiled = jax.jit(lambda y, s, w: extrapolation.fit(y, s, w, order)[0])
    inside = compiled(jnp.asarray(terms), jnp.asarray(squares), jnp.asarray(weights))
    np.testing.assert_allclose(inside, expected, rtol=2e-2, atol=2e-3)


def test_errors_over_blocks_are_those_of_repeated_samples():
    """Neighbourhoods that overlap make the error larger than that of independent terms."""
    values, errors, independent = [], [], []
    for seed in range(120):
        points = sphere(500, 2, seed)
        distances = self_nearest(points, 10)[0]
        terms = extrapolation.log_ratio_terms(distances)
        value, influences = extrapolation.fit(terms, distances[:, :-1] ** 2, np.ones(9), 1)
        values.append(value[0])
        errors.append(extrapolation.block_error(influences[:, 0], extrapolation.spatial_blocks(points)))
        independent.append(influences[:, 0].std() / np.sqrt(500))
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)
    assert np.mean(independent) < 0.93 * np.std(values)


@pytest.mark.parametrize(("n", "count"), [(5, 2), (40, 10), (1000, 32)])
def test_blocks_are_as_many_as_promised_and_of_equal_size(n, count):
    sizes = np.bincount(extrapolation.spatial_blocks(sphere(n, 2, 0)))
    assert len(sizes) == count
    assert sizes.max() <= 2 * sizes.min() + 1


def test_blocks_do_not_depend_on_the_frame():
    points = sphere(300, 2, 0)
    frame = np.linalg.qr(np.random.default_rng(1).normal(size=(10, 3)))[0]
    turned = extrapolation.spatial_blocks(3 * points @ frame.T + 2)
    np.testing.assert_array_equal(extrapolation.spatial_blocks(points), turned)
