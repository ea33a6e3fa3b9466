"""Neighbours in a Poisson sample against those in a whole sample."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import ks_2samp

from manifold_diffusion._neighbours import nearest
from manifold_diffusion.geometry import Ellipsoid, Torus
from manifold_diffusion.measures import draw
from manifold_diffusion.measures.poisson import poisson_neighbours


@pytest.mark.parametrize(
    "manifold",
    [
        pytest.param(Ellipsoid((1.0, 1.5, 2.0)), id="ellipsoid"),
        pytest.param(Torus(), id="torus"),
    ],
)
@pytest.mark.slow
def test_distances_to_the_neighbours_have_the_law_of_a_whole_sample(manifold, x64):
    """Queries off the manifold; a new data set for every few queries, so that distances are nearly independent."""
    size, count, sets, each = 4000, 12, 40, 10
    queries = draw(manifold.uniform, jax.random.key(0), sets * each)
    queries = queries + 0.02 * jax.random.normal(jax.random.key(1), queries.shape)
    log_intensity = jnp.log(size / manifold.volume())
    keys = jax.random.split(jax.random.key(2), len(queries))
    found = jax.jit(jax.vmap(lambda k, x: poisson_neighbours(k, manifold, x, log_intensity, count)))(keys, queries)
    assert float(jnp.mean(found.complete)) > 0.98
    local = np.linalg.norm(np.asarray(found.points - queries[:, None, :]), axis=2)
    whole = np.concatenate(
        [
            nearest(draw(manifold.uniform, jax.random.key(100 + i), size), queries[i * each : (i + 1) * each], count)[0]
            for i in range(sets)
        ]
    )
    for j in (0, count - 1):
        assert ks_2samp(local[:, j], whole[:, j]).pvalue > 1e-3


@pytest.mark.slow
def test_neighbours_lie_on_the_manifold_in_order(x64, key):
    manifold = Torus()
    x = manifold.uniform(key) + 0.01
    found = poisson_neighbours(key, manifold, x, 20.0, 30)
    gaps = np.linalg.norm(np.asarray(found.points - x[None, :]), axis=1)
    assert (np.diff(gaps) >= 0).all()
    np.testing.assert_allclose(jax.vmap(manifold.project)(found.points), found.points, atol=1e-12)
