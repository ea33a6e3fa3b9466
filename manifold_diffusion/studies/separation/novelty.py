"""S6: coarse samples are as far from the training data as fresh data are; memorised ones are not."""

from functools import partial

import jax
import numpy as np

from manifold_diffusion._neighbours import nearest
from manifold_diffusion._types import Key, Points, Queries
from manifold_diffusion.estimators import memorising_diffusion
from manifold_diffusion.geometry import Sphere
from manifold_diffusion.measures import Uniform, draw
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Grid, Number, Scale
from manifold_diffusion.studies.separation.coarse import PAPER, SEPARATION, atlases, noised, sample, switching_level

_METHODS = ("held out", "coarse", "memoriser")


def _nearness(data: Points, points: Queries) -> tuple[float, float]:
    """Median distance to the nearest datum, and the share of points at least three times nearer to it than to the
    next.
    """
    distances = nearest(data, points, 2)[0]
    return float(np.median(distances[:, 0])), float(np.mean(distances[:, 0] <= distances[:, 1] / 3))


def _novelty(key: Key, size: Number, *, dim: int):
    measure = Uniform(Sphere(dim))
    keys = jax.random.split(key, 5)
    data = sample(measure, keys[0], size)
    sets = {
        "held out": sample(measure, keys[1], 4000),
        "coarse": atlases(data, dim, (3,))[3].project_all(noised(keys[2], data, switching_level(data), 4000)),
        "memoriser": draw(memorising_diffusion(steps=32)(keys[3], data), keys[4], 500),
    }
    reference = _nearness(data, sets["held out"])[0]
    outcome = {}
    for name, points in sets.items():
        median, share = _nearness(data, points)
        outcome[name] = {
            "scaled distance": median * size ** (1 / dim),
            "ratio to held out": median / reference,
            "share d1/d2 < 1/3": share,
        }
    return outcome


_DIMS = (1, 2, 3)
_FULL: dict[Scale, Grid] = {"cpu": Grid((1000, 4000), 6), "gpu": Grid((1000, 4000, 16_000, 64_000), 20)}
_SMOKE: dict[Scale, Grid] = {"smoke": Grid((1000,), 4), **_FULL}
_GRIDS = (_FULL, _SMOKE)

S6 = Claim(
    id="S6",
    group=SEPARATION,
    title="novelty",
    statement=(
        "Coarse samples are as far from the data as held-out data, and near-copies are as rare as 3^{-k}; "
        "the memoriser's are copies."
    ),
    source="the null 3^{-k} is the law of d1/d2 under a Poisson sample (derived); " + PAPER,
    experiments=tuple(Experiment(f"S^{k}", partial(_novelty, dim=k), _METHODS, _GRIDS[k == 2]) for k in _DIMS),
    checks=tuple(
        check
        for k in _DIMS
        for check in (
            Check(f"S^{k}", "coarse", "ratio to held out", "mean", 1.0, 0.15),
            Check(f"S^{k}", "held out", "share d1/d2 < 1/3", "mean", 3.0**-k, 0.03),
            Check(f"S^{k}", "coarse", "share d1/d2 < 1/3", "mean", 3.0**-k, 0.03),
            Check(f"S^{k}", "memoriser", "share d1/d2 < 1/3", "mean", 1.0, 0.03),
        )
    ),
    log_y=False,
)
