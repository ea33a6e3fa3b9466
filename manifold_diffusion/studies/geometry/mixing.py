"""G7: tempered-score Langevin from a point mass, as a sampler: it reaches the uniform law where plain Langevin has not
begun to move.
"""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion._types import Key, Points
from manifold_diffusion.measures import VonMisesFisher
from manifold_diffusion.samplers import e_folds, langevin
from manifold_diffusion.scores import VonMisesFisherScore
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Grid, Number, Scale
from manifold_diffusion.studies.geometry.laws import GEOMETRY, PAPER

_CONCENTRATION, _ETA, _FOLDS = 1.0, 0.5, 8.0
_CELLS = 64


@eqx.filter_jit
def _run(chain: Callable, keys, starts: Points) -> Points:
    return jax.vmap(chain)(keys, starts)


def cell_masses(points: np.ndarray) -> np.ndarray:
    """Shares of the points in cells of equal area: arcs of the circle, or bands and sectors of S^2 around x_1."""
    d = points.shape[1]
    x = points / np.linalg.norm(points, axis=1, keepdims=True)
    angle = np.arctan2(x[:, 1], x[:, 0] if d == 2 else x[:, 2]) / (2 * np.pi) % 1
    across = _CELLS if d == 2 else 8
    cell = np.minimum((angle * across).astype(int), across - 1)
    if d == 3:
        cell = cell * 8 + np.minimum(((x[:, 0] + 1) * 4).astype(int), 7)
    return np.bincount(cell, minlength=_CELLS) / len(points)


def data_masses(d: int) -> np.ndarray:
    """The masses of those cells under the von Mises-Fisher law around the first axis."""
    fine = 4096
    if d == 2:
        angle = 2 * np.pi * (np.arange(_CELLS * fine) + 0.5) / (_CELLS * fine)
        mass = np.exp(_CONCENTRATION * np.cos(angle)).reshape(_CELLS, fine).sum(axis=1)
    else:
        height = -1 + 2 * (np.arange(8 * fine) + 0.5) / (8 * fine)
        mass = np.tile(np.exp(_CONCENTRATION * height).reshape(8, fine).sum(axis=1), 8)
    return mass / mass.sum()


def sampling_floor(size: int) -> float:
    """The mean total variation between the cells of `size` uniform points and their law."""
    p = 1 / _CELLS
    return float(_CELLS / 2 * np.sqrt(2 / np.pi * p * (1 - p) / size))


def _chains(key: Key, d: int, sigma: float, exponent: float, steps: int, size: int) -> tuple[np.ndarray, float]:
    """The ends of `size` chains from the pole, and how many e-folds of the slowest mode they have made."""
    north = jnp.eye(d)[0]
    law = VonMisesFisher(north, _CONCENTRATION)
    score = VonMisesFisherScore(law.mean_direction, law.concentration)
    chain = langevin(score, sigma, eta=_ETA, steps=steps, exponent=exponent)
    ends = _run(chain, jax.random.split(key, size), jnp.tile(north[None], (size, 1)))
    return np.asarray(ends, np.float64), float(e_folds(steps, _ETA, sigma, exponent, d - 1))


def _describe(ends: np.ndarray, folds: float, sigma: float, exponent: float) -> dict[str, Number]:
    kept = ends[np.isfinite(ends).all(axis=1)]
    masses, floor = cell_masses(kept), sampling_floor(len(kept))
    radii = np.linalg.norm(kept, axis=1)
    uniform, data = (np.abs(masses - p).sum() / 2 for p in (1 / _CELLS, data_masses(ends.shape[1])))
    return {
        "TV to uniform / floor": float(uniform / floor),
        "TV to the data's law / floor": float(data / floor),
        "normal variance / expected": float(np.var(radii) / (sigma ** (2 - exponent) / (1 - _ETA / 2))),
        "e-folds": folds,
        "non_finite": len(ends) - len(kept),
    }


def _same_budget(key: Key, size: Number, *, d: int, sigma: float):
    """As many steps for both: those that give the tempered chain 8 e-folds."""
    steps = round(_FOLDS / (_ETA * sigma * (d - 1)))
    return {
        name: _describe(*_chains(k, d, sigma, exponent, steps, int(size)), sigma, exponent)
        for (name, exponent), k in zip((("tempered", 1.0), ("plain", 0.0)), jax.random.split(key), strict=True)
    }


def _same_mixing(key: Key, size: Number, *, d: int, sigma: float):
    """As many e-folds for both: 1/sigma times as many steps for the plain chain."""
    found = {}
    for (name, exponent), k in zip((("tempered", 1.0), ("plain", 0.0)), jax.random.split(key), strict=True):
        steps = round(_FOLDS / (_ETA * sigma ** (2 - exponent) * (d - 1)))
        found[name] = _describe(*_chains(k, d, sigma, exponent, steps, int(size)), sigma, exponent)
    return found


def _grids(smoke: int, size: int, replicates: int) -> dict[Scale, Grid]:
    return {"smoke": Grid((smoke,), 2), "cpu": Grid((size,), replicates), "gpu": Grid((16 * size,), 10)}


_NAMES = {2: "S^1", 3: "S^2"}
_BUDGET, _MIXING = "{}, the same steps", "{}, the same e-folds"

G7 = Claim(
    id="G7",
    group=GEOMETRY,
    title="uniform sampler",
    statement=(
        "x <- x + eta sigma^2 s + sqrt(2 eta sigma^{2-alpha}) xi from a point mass is uniform up to sampling after a "
        "few e-folds, with normal variance sigma^{2-alpha}/(1-eta/2)."
    ),
    source=PAPER + "; variance and e-folds derived",
    experiments=tuple(
        experiment
        for d, name in _NAMES.items()
        for experiment in (
            Experiment(
                _BUDGET.format(name),
                partial(_same_budget, d=d, sigma=0.01),
                ("tempered", "plain"),
                _grids(2000, 8000, 12),
                x64=False,
            ),
            Experiment(
                _MIXING.format(name),
                partial(_same_mixing, d=d, sigma=0.05),
                ("tempered", "plain"),
                _grids(4000, 4000, 3),
                x64=False,
            ),
        )
    ),
    checks=tuple(
        check
        for name in _NAMES.values()
        for check in (
            Check(_BUDGET.format(name), "tempered", "TV to uniform / floor", "at_most", 2.0, 0.0),
            Check(
                _BUDGET.format(name),
                "tempered",
                "normal variance / expected",
                "mean",
                1.0,
                0.03,
                smoke_tolerance=0.1,
            ),
            Check(_BUDGET.format(name), "tempered", "e-folds", "at_least", 5.0, 0.0),
            Check(_BUDGET.format(name), "plain", "e-folds", "at_most", 0.1, 0.01),
            Check(_BUDGET.format(name), "plain", "TV to the data's law / floor", "at_least", 5.0, 0.0),
            Check(_MIXING.format(name), "tempered", "TV to uniform / floor", "at_most", 2.0, 0.0),
            Check(_MIXING.format(name), "plain", "TV to the data's law / floor", "at_most", 2.0, 0.0),
            Check(_MIXING.format(name), "plain", "TV to uniform / floor", "at_least", 3.0, 0.0),
        )
    ),
    log_y=False,
)
