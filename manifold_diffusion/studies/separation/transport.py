"""S7: in transport distance the memoriser is only as good as its data."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion._types import Key
from manifold_diffusion.evaluation import (
    empirical_transport_bound,
    expected_transport_bound,
    uniform_circular_wasserstein,
    wasserstein,
)
from manifold_diffusion.geometry import Sphere
from manifold_diffusion.measures import Uniform
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Grid, Number, Scale
from manifold_diffusion.studies.separation.coarse import SEPARATION, sample


def _lower_bound(key: Key, size: Number, *, dim: int):
    """The mean distance of fresh points to the data, W1 of the nearest-datum coupling: a lower bound on W1(mu_N,
    mu).
    """
    sphere = Sphere(dim)
    data_key, fresh_key = jax.random.split(key)
    data, fresh = sample(Uniform(sphere), data_key, size), sample(Uniform(sphere), fresh_key, 100_000)
    bound = empirical_transport_bound(np.asarray(data), np.asarray(fresh)).value
    expected = expected_transport_bound(int(size), dim, float(sphere.volume()))
    return {"memoriser": {"bound": bound, "bound / expected": bound / expected}}


def _circle(key: Key, size: Number):
    """Exact W1 between the data and the uniform law on the circle; the mean of 50 draws."""
    return {"memoriser": {"W1": float(jnp.mean(_circular_distances(key, int(size))))}}


@partial(jax.jit, static_argnums=1)
def _circular_distances(key: Key, size: int) -> jax.Array:
    angles = 2 * jnp.pi * jax.random.uniform(key, (50, size))
    return jax.lax.map(uniform_circular_wasserstein, angles)


def _assignment(key: Key, size: Number, *, dim: int):
    """Exact W1 between two independent samples, by optimal assignment."""
    measure = Uniform(Sphere(dim))
    first, second = (np.asarray(sample(measure, k, size)) for k in jax.random.split(key))
    return {"memoriser": {"W1": float(wasserstein(first, second))}}


def _bound_grids(replicates: int) -> dict[Scale, Grid]:
    return {
        "smoke": Grid((1000, 4000), 4),
        "cpu": Grid((1000, 4000, 16_000, 64_000), replicates),
        "gpu": Grid((1000, 4000, 16_000, 64_000, 256_000), 4 * replicates),
    }


# The gaps of a sample on a curve fluctuate most.
_BOUND_REPLICATES = {1: 16, 2: 4, 3: 4}
_PAIR_GRIDS: dict[Scale, Grid] = {
    "smoke": Grid((128, 512), 5),
    "cpu": Grid((256, 512, 1024, 2048), 16),
    "gpu": Grid((256, 512, 1024, 2048, 4096), 20),
}

S7 = Claim(
    id="S7",
    group=SEPARATION,
    title="transport of the memoriser",
    statement=(
        "W1 of N data to their law falls as N^{-1/2} for k = 1 and N^{-1/k} for k >= 3, at least Gamma(1 + "
        "1/k) (N omega_k / vol)^{-1/k}."
    ),
    source=(
        "Dudley, Ann. Math. Statist. 1969; the bound is the mean nearest-neighbour distance of a Poisson "
        "sample (derived)"
    ),
    experiments=(
        *(
            Experiment(f"bound on S^{k}", partial(_lower_bound, dim=k), ("memoriser",), _bound_grids(n))
            for k, n in _BOUND_REPLICATES.items()
        ),
        Experiment(
            "circle",
            _circle,
            ("memoriser",),
            {
                "smoke": Grid((64, 512), 6),
                "cpu": Grid((64, 256, 1024, 4096, 16_384), 16),
                "gpu": Grid((64, 256, 1024, 4096, 16_384), 40),
            },
        ),
        *(Experiment(f"assignment on S^{k}", partial(_assignment, dim=k), ("memoriser",), _PAIR_GRIDS) for k in (3, 4)),
    ),
    checks=(
        *(
            Check(f"bound on S^{k}", "memoriser", "bound", "slope", -1 / k, 0.01, smoke_tolerance=0.1)
            for k in (1, 2, 3)
        ),
        *(
            Check(
                f"bound on S^{k}",
                "memoriser",
                "bound / expected",
                "mean",
                1.0,
                0.01,
                min_size=4000,
                smoke_tolerance=0.05,
            )
            for k in (1, 2, 3)
        ),
        Check("circle", "memoriser", "W1", "slope", -0.5, 0.03, smoke_tolerance=0.15),
        *(Check(f"assignment on S^{k}", "memoriser", "W1", "slope", -1 / k, 0.03, smoke_tolerance=0.1) for k in (3, 4)),
    ),
)
