"""Laws of measures, on every measure of the catalogue, against quadrature and the closed forms of the manifold."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from manifold_diffusion import measures
from manifold_diffusion.geometry import Ellipsoid, Sphere, Torus
from tests.catalogue import MEASURES
from tests.oracles import unit_sphere_area

SIZE = 8000
every_measure = pytest.mark.parametrize("entry", MEASURES.values(), ids=MEASURES)


@functools.cache
def made(entry):
    """The measure in float32; made once, so that what is compiled for it is compiled once."""
    return entry.make()


@functools.cache
def sample(entry):
    """`SIZE` points in float32."""
    return measures.draw(made(entry).sample, jax.random.key(1), SIZE, chunk=SIZE)


@functools.cache
def nodes(entry):
    """Quadrature nodes and the probability of each, (n, d) and (n,), in float64."""
    with jax.enable_x64(True):
        measure = entry.make()
        points, weights = measure.manifold.quadrature(entry.quadrature)
        density = jnp.exp(jax.jit(jax.vmap(lambda x: measure.log_density(x)))(points))
        return np.asarray(points), np.asarray(density * weights)


@every_measure
def test_the_density_integrates_to_one(entry):
    np.testing.assert_allclose(np.sum(nodes(entry)[1]), 1, atol=entry.tolerance)


@every_measure
def test_samples_lie_on_the_manifold(entry):
    x = sample(entry)
    project = jax.jit(jax.vmap(lambda x: made(entry).manifold.project(x)))
    np.testing.assert_allclose(project(x[:500]), x[:500], atol=1e-5)


@every_measure
def test_samples_fill_cells_in_proportion_to_their_mass(entry):
    """Chi-square along the direction in which the density varies and along another; masses by quadrature."""
    assert all(cells(entry, np.asarray(sample(entry), np.float64), nodes(entry)) > 1e-4)


@pytest.mark.slow
@every_measure
def test_a_million_points_fill_cells_in_proportion_to_their_mass(entry):
    with jax.enable_x64(True):
        measure = entry.make()
        points, weights = measure.manifold.quadrature({1: 2**16, 2: 1024}[measure.manifold.dim])
        density = jax.jit(lambda xs: jax.lax.map(lambda x: measure.log_density(x), xs, batch_size=4096))(points)
    mass = np.asarray(jnp.exp(density) * weights, np.float64)
    x = measures.draw(made(entry).sample, jax.random.key(2), 1_000_000)
    assert all(cells(entry, np.asarray(x, np.float64), (np.asarray(points), mass)) > 1e-4)


def cells(entry, x, nodes_and_mass):
    """p-values of chi-square tests on 20 cells of about equal mass, along two directions."""
    points, mass = nodes_and_mass
    across = np.roll(entry.along, 1)
    found = []
    for direction in (np.asarray(entry.along), across / np.linalg.norm(across)):
        height, order = points @ direction, np.argsort(points @ direction)
        edges = np.interp(np.arange(1, 20) / 20, np.cumsum(mass[order]) / mass.sum(), height[order])
        expected = np.bincount(np.searchsorted(edges, height), weights=mass, minlength=20) / mass.sum()
        counts = np.bincount(np.searchsorted(edges, x @ direction), minlength=20)
        found.append(stats.chisquare(counts, len(x) * expected).pvalue)
    return np.array(found)


@every_measure
def test_samples_have_the_means_of_the_density(entry):
    """x and x x^T within 4.5 standard errors of their integrals."""
    points, mass = nodes(entry)
    mass = mass / mass.sum()
    x = np.asarray(sample(entry), np.float64)
    for f in (lambda x: x, lambda x: (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)):
        expected = mass @ f(points)
        error = np.sqrt(mass @ (f(points) - expected) ** 2 / SIZE)
        assert np.all(np.abs(f(x).mean(0) - expected) < 4.5 * error + 1e-5)


@every_measure
def test_a_sample_depends_on_neither_size_nor_chunk(entry):
    """Not on the size, to the last bit; on the chunk to rounding, since another chunk is another compiled program."""
    few, more = (measures.draw(made(entry).sample, jax.random.key(1), size, chunk=8) for size in (11, 17))
    np.testing.assert_array_equal(few, more[:11])
    np.testing.assert_allclose(more, sample(entry)[:17], atol=2e-6)


def test_sample_i_is_made_of_the_ith_key(key):
    """fold_in(key, i), as the interface says, so that others can make the same point."""
    law = MEASURES["smooth on a torus"].make()
    third = jax.jit(lambda key: law.sample(key))(jax.random.fold_in(key, 3))
    np.testing.assert_allclose(measures.draw(law.sample, key, 5)[3], third, atol=1e-6)


@every_measure
def test_keys_decide(entry):
    a, again, b = (measures.draw(made(entry).sample, jax.random.key(seed), 8, chunk=8) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, again)
    assert len(np.unique(np.asarray(a)[:, 0])) == 8
    assert not np.any(np.asarray(a) == np.asarray(b))


@every_measure
def test_log_density_in_float32_stays_near_float64(entry):
    x = sample(entry)[:50]
    rounded = jax.jit(jax.vmap(lambda x: made(entry).log_density(x)))(x)
    assert rounded.dtype == jnp.float32
    with jax.enable_x64(True):
        measure = entry.make()
        exact = jax.jit(jax.vmap(lambda x: measure.log_density(x)))(jnp.asarray(np.asarray(x), jnp.float64))
    np.testing.assert_allclose(rounded, exact, atol=1e-5 * max(1.0, float(np.max(np.abs(exact)))))


def test_a_bound_that_is_too_low_is_an_error_and_not_a_bias(key):
    density = measures.Density(Torus(), lambda x: x[0], 0.5)
    with pytest.raises(eqx.EquinoxRuntimeError, match="raise log_bound"):
        jax.block_until_ready(measures.draw(density.sample, key, 200))


@pytest.mark.slow
def test_von_mises_fisher_has_the_mean_length_of_the_book():
    """E <m, x> = I_{(k+1)/2}(kappa) / I_{(k-1)/2}(kappa) on S^k (Mardia and Jupp 2000, 9.3), also where k > 2."""
    for k, kappa in ((1, 2.0), (6, 20.0)):
        law = measures.VonMisesFisher(np.eye(k + 1)[0], kappa)
        height = np.asarray(measures.draw(law.sample, jax.random.key(k), 4000))[:, 0]
        expected = special.iv((k + 1) / 2, kappa) / special.iv((k - 1) / 2, kappa) if kappa else 0.0
        assert abs(height.mean() - expected) < 4.5 * height.std() / np.sqrt(len(height))


@pytest.mark.parametrize(("k", "kappa"), [(3, 5.0), (6, 20.0)])
def test_the_normaliser_of_von_mises_fisher_above_dimension_two(k, kappa, x64):
    """int exp(kappa cos a) sin(a)^{k-1} da |S^{k-1}|, by quadrature in the polar angle."""
    law = measures.VonMisesFisher(np.eye(k + 1)[0], kappa)
    at_pole = float(law.log_density(jnp.asarray(np.eye(k + 1)[0])))
    mass = integrate.quad(lambda a: np.exp(kappa * (np.cos(a) - 1)) * np.sin(a) ** (k - 1), 0, np.pi, epsrel=1e-12)[0]
    np.testing.assert_allclose(at_pole, -np.log(mass * unit_sphere_area(k - 1)), rtol=1e-9)


def test_the_jump_has_its_ratio():
    law = measures.jump(Ellipsoid((2.0, 1.0)), jnp.array([1.0, 0.0]), ratio=3.0)
    high, low = (float(law.log_density(jnp.array([s, 0.0]))) for s in (2.0, -2.0))
    np.testing.assert_allclose(np.exp(high - low), 3, rtol=1e-5)


def test_misuse_says_what_to_do(key):
    with pytest.raises(ValueError, match="positive size"):
        measures.draw(measures.Uniform(Sphere(2)).sample, key, 0)
    with pytest.raises(ValueError, match="concentration"):
        measures.VonMisesFisher([1.0, 0.0], -1.0)
    with pytest.raises(ValueError, match="strength"):
        measures.kink(Sphere(2), jnp.ones(3), -1.0)
