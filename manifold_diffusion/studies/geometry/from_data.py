"""G12: dimension, tangent planes and reach, read out of data."""

from functools import partial

import jax
import numpy as np

from manifold_diffusion._neighbours import nearest
from manifold_diffusion._types import Key
from manifold_diffusion.evaluation import dimensions, reach
from manifold_diffusion.geometry import Sphere
from manifold_diffusion.measures import draw
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Grid, Number, Scale
from manifold_diffusion.studies.geometry.laws import GEOMETRY

_NEIGHBOURS, _QUERIES = 20, 1000


def _planes(key: Key, size: Number, *, dim: int):
    """Planes by local PCA through the 20 data nearest to a fresh point: their angle to the tangent space and how far
    the point is from them, as root mean squares.
    """
    data_key, query_key = jax.random.split(key)
    law = Sphere(dim)
    data = np.asarray(draw(law.uniform, data_key, int(size)), np.float64)
    x = np.asarray(draw(law.uniform, query_key, _QUERIES), np.float64)
    patches = data[nearest(data, x, _NEIGHBOURS)[1]]
    centre = patches.mean(axis=1)
    # The normal of the plane; the sphere is a hypersurface.
    normal = np.linalg.svd(patches - centre[:, None])[2][:, -1]
    sine = np.sqrt(np.maximum(1 - np.sum(normal * x, axis=1) ** 2, 0.0))
    offset = np.sum((x - centre) * normal, axis=1)
    return {"local PCA": {"angle": float(np.sqrt(np.mean(sine**2))), "offset": float(np.sqrt(np.mean(offset**2)))}}


def _dimensions(key: Key, size: Number, *, dim: int):
    data = np.asarray(draw(Sphere(dim).uniform, key, int(size)), np.float64)
    found = {each.estimator: {"dimension / k": each.value / dim} for each in dimensions(data)}
    return found | {"reach": {"reach": reach(data, dim)}}


def _grids(sizes: tuple[int, ...], replicates: int) -> dict[Scale, Grid]:
    return {
        "smoke": Grid(tuple(dict.fromkeys((sizes[0], sizes[-1]))), replicates),
        "cpu": Grid(sizes, replicates),
        "gpu": Grid((*sizes, 4 * sizes[-1]), 4 * replicates),
    }


_DIMS = (1, 2, 3)
_ESTIMATORS = ("Levina-Bickel", "TwoNN", "local PCA")

G12 = Claim(
    id="G12",
    group=GEOMETRY,
    title="from data",
    statement=(
        "From N points: tangent planes err by N^{-1/k}, projections on them by N^{-2/k}; the dimension by neighbour "
        "distances and local PCA, and the reach."
    ),
    source="Levina and Bickel 2004; Facco et al. 2017; Aamari and Levrard 2019 (arXiv 1705.00989); rates derived",
    experiments=(
        *(
            Experiment(f"S^{k}", partial(_planes, dim=k), ("local PCA",), _grids((2000, 8000, 32_000), 4))
            for k in _DIMS
        ),
        *(
            Experiment(f"S^{k}, size", partial(_dimensions, dim=k), (*_ESTIMATORS, "reach"), _grids((4000,), 6))
            for k in (1, 2)
        ),
    ),
    checks=(
        *(
            check
            for k in _DIMS
            for check in (
                Check(f"S^{k}", "local PCA", "angle", "slope", -1 / k, 0.05, smoke_tolerance=0.15),
                Check(f"S^{k}", "local PCA", "offset", "slope", -2 / k, 0.05, smoke_tolerance=0.15),
            )
        ),
        *(Check(f"S^{k}, size", m, "dimension / k", "mean", 1.0, 0.05) for k in (1, 2) for m in _ESTIMATORS),
        *(Check(f"S^{k}, size", "reach", "reach", "mean", 1.0, 0.1) for k in (1, 2)),
    ),
)
