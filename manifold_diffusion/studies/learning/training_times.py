"""M9: when a network in training reaches the manifold, and when it begins to memorise.

Times are counted in steps. A network is looked at after geometrically growing numbers of steps; between two looks a
crossing is interpolated in log(steps).
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np

from manifold_diffusion import training
from manifold_diffusion._neighbours import nearest
from manifold_diffusion._types import Key
from manifold_diffusion.studies.claim import Cell, Check, Claim, Experiment, Grid, Number, Result, Values
from manifold_diffusion.studies.learning.networks import (
    DIM,
    LEARNING,
    distances,
    generated,
    memorised_share,
    network,
    points,
    recipe,
    surface,
)
from manifold_diffusion.studies.palette import INK, dress, new_figure, tick_sizes
from manifold_diffusion.training import Seen

if TYPE_CHECKING:
    import matplotlib.figure

SOURCE = "When Scores Learn Geometry, arXiv 2509.24912; the training times are measurements"
_SURFACES = ("sphere", "ellipsoid")
_NEAR, _SAMPLES, _FRESH = 0.03, 2048, 4096
_ROWS, _MOST_STEPS, _WHOLE = 128, 150_000, 64
_NULL = 3.0**-DIM


def looks(most: int, first: int = 200, ratio: float = 1.12) -> list[int]:
    """Geometrically growing numbers of steps."""
    count = math.ceil(math.log(most / first) / math.log(ratio))
    return sorted({round(first * ratio**i) for i in range(count)} | {most})


def crossing(history: Sequence[Seen], quantity: str, level: float, falling: bool = False) -> float:
    """The number of steps at which the quantity first reaches the level, interpolated in log(steps); NaN if never."""
    before = None
    for seen in history:
        value = seen.values[quantity]
        if value <= level if falling else value >= level:
            if before is None:
                return float(seen.step)
            share = (level - before.values[quantity]) / (value - before.values[quantity])
            return float(before.step * (seen.step / before.step) ** share)
        before = seen
    return math.nan


def histories(key: Key, size: int, most: int, until: float, samples: int = _SAMPLES) -> dict[str, tuple[Seen, ...]]:
    """A network on `size` points of each surface, looked at until it is on it and the memorised share is `until`."""
    manifolds = [surface(name) for name in _SURFACES]
    keys = [jax.random.split(jax.random.fold_in(key, i), 5) for i in range(len(manifolds))]
    data = [points(m, k[0], size) for m, k in zip(manifolds, keys, strict=True)]
    fresh = [np.asarray(points(m, k[1], _FRESH)) for m, k in zip(manifolds, keys, strict=True)]
    scales = [np.median(nearest(np.asarray(d), f, 1)[0]) for d, f in zip(data, fresh, strict=True)]
    members = [training.Member(k[2], network(k[3], d), d, recipe(d)) for k, d in zip(keys, data, strict=True)]

    def watch(i, model, step):
        new = generated(model, data[i], keys[i][4], samples)
        distance, share = float(np.median(distances(manifolds[i], new))), memorised_share(np.asarray(data[i]), new)
        return {
            "distance": distance,
            "share": share,
            "novelty": float(np.median(nearest(np.asarray(data[i]), new, 1)[0]) / scales[i]),
            "seen": float(share >= until and distance <= _NEAR),
        }

    # One number of padded rows, so that the networks of all sizes share one program.
    trained = training.fit_ensemble(
        members, most, looks=looks(most), watch=watch, stopping=training.Until("seen", 1.0), rows=_ROWS
    )
    return {name: each.history for name, each in zip(_SURFACES, trained, strict=True)}


def times(history: Sequence[Seen]) -> Values:
    """The times of a network; NaN where it was not trained so long."""
    geometry = crossing(history, "distance", _NEAR, falling=True)
    onset = crossing(history, "share", _NULL + 0.1 * (1 - _NULL))
    found = {
        "t_geom": geometry,
        "t_on": onset,
        "t_on / t_geom": onset / geometry,
        "t_mem": crossing(history, "share", (1 + _NULL) / 2),
        "t_novelty": crossing(history, "novelty", 0.75, falling=True),
    }
    return {name: value for name, value in found.items() if not (name == "t_mem" and math.isnan(value))}


def _measure(key: Key, size: Number):
    # Half of memorisation takes too long at the largest sizes, where the onset is what is asked for.
    until = (1 + _NULL) / 2 if size <= _WHOLE else _NULL + 0.1 * (1 - _NULL)
    return {name: times(history) for name, history in histories(key, int(size), _MOST_STEPS, until).items()}


def _measure_arrival(key: Key, size: Number):
    """t_geom alone, which takes little time and so can be repeated often."""
    found = histories(key, int(size), _MOST_STEPS, 0.0, samples=512)
    return {name: {"t_geom": times(history)["t_geom"]} for name, history in found.items()}


def _checks(name: str) -> tuple[Check, ...]:
    return (
        Check("arrival", name, "t_geom", "slope", 0.0, 0.1, smoke_tolerance=0.3),
        Check("training", name, "t_on", "slope_at_least", 1.0, 0.0),
        Check("training", name, "t_mem", "slope_at_least", 1.0, 0.0, max_size=_WHOLE),
        Check("training", name, "t_on / t_geom", "at_least", 4.0, 0.0, min_size=64, max_size=64, smoke_tolerance=4.0),
        Check("training", name, "t_on / t_geom", "at_least", 15.0, 0.0, min_size=128, max_size=128),
    )


_LINES = {
    "t_geom": ("on the manifold", "#0072B2"),
    "t_novelty": ("novelty below .75", "#E69F00"),
    "t_on": ("memorisation begins", "#D55E00"),
    "t_mem": ("half memorised", "#7A2E00"),
}
"""What the figure shows: each time in words, and its colour."""


def _figure(claim: Claim, results: Sequence[Result], cells: Sequence[Cell]) -> "matplotlib.figure.Figure":
    """The times against N on each surface: points are networks, lines run through their geometric means."""
    figure = new_figure(10.5, 4.4)
    for i, name in enumerate(_SURFACES):
        axes = figure.add_subplot(1, 2, i + 1)
        for quantity, (label, hue) in _LINES.items():
            about = [c for c in cells if c.method == name and c.experiment == "training"]
            found = [(c.size, c.values.get(quantity)) for c in about]
            known = [(size, value) for size, value in found if value is not None]
            sizes = sorted({size for size, _ in known})
            means = [np.exp(np.mean([np.log(v) for s, v in known if s == size])) for size in sizes]
            axes.plot(*zip(*known, strict=True), "o", color=hue, markersize=4, alpha=0.5)
            axes.plot(sizes, means, "-", color=hue, linewidth=1.8, label=label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        dress(axes, name, "N", "steps")
        tick_sizes(axes, sorted({cell.size for cell in cells}))
        axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    figure.suptitle(f"{claim.id}  {claim.title}", fontsize=12, color=INK, x=0.01, ha="left")
    return figure


M9 = Claim(
    id="M9",
    group=LEARNING,
    title="training times",
    statement=(
        "A network reaches the manifold after a number of steps that does not depend on N; it begins to memorise after "
        "a number that grows faster than N."
    ),
    source=SOURCE,
    experiments=(
        Experiment(
            "arrival",
            _measure_arrival,
            _SURFACES,
            {
                "smoke": Grid((16, 64), 2),
                "cpu": Grid((8, 16, 32, 64, 128), 8),
                "gpu": Grid((8, 16, 32, 64, 128, 256), 20),
            },
            x64=False,
        ),
        Experiment(
            "training",
            _measure,
            _SURFACES,
            {
                "smoke": Grid((16, 64), 1),
                "cpu": Grid((8, 16, 32, 64, 128), 3),
                "gpu": Grid((8, 16, 32, 64, 128, 256), 10),
            },
            x64=False,
        ),
    ),
    checks=tuple(check for name in _SURFACES for check in _checks(name)),
    figure=_figure,
)
