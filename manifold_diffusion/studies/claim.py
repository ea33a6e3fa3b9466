"""The interface of this folder: what a claim is, as data.

A claim is a statement about rates or bounds. It owns *experiments*, which measure, and *checks*, which judge what was
measured. An experiment is a function of (key, size) that returns, for each method, named numbers; one call measures every
method on the same data. Nothing here computes: `run.py` measures, `rate.py` fits, `verdict.py` judges.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from manifold_diffusion._types import Key

Values: TypeAlias = Mapping[str, float]
Measurement: TypeAlias = Callable[[Key, float], Mapping[str, Values]]
"""(key, size) -> {method: {quantity: value}}. The values may be any number of floats, each with its own name."""

Relation: TypeAlias = Literal["slope", "slope_at_most", "mean", "at_least", "at_most"]
Abscissa: TypeAlias = Literal["size", "size/log(size)"]
Scale: TypeAlias = Literal["smoke", "cpu", "gpu"]


@dataclasses.dataclass(frozen=True)
class Grid:
    """Which sizes an experiment measures and how often each is repeated."""

    sizes: tuple[float, ...]
    replicates: int


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One family of cells: `measure` on every size and replicate of the grid of a scale.

    `methods` names the keys of what `measure` returns, so that a resumed run knows which cells are missing. `size_name` is what
    the sizes are ("N", "sigma", "D"). `x64` says whether it runs in float64.
    """

    name: str
    measure: Measurement
    methods: tuple[str, ...]
    grids: Mapping[Scale, Grid]
    size_name: str = "N"
    x64: bool = True


@dataclasses.dataclass(frozen=True)
class Check:
    """What is expected of one quantity of one method of one experiment.

    relation            statistic, with a bootstrap interval over replicates          confirmed when the interval lies
    ------------------  ------------------------------------------------------------  ---------------------------------
    slope               log-log slope of the replicate mean against `abscissa`         in expected +- tolerance
    slope_at_most       the same                                                      at or below expected + tolerance
    mean                mean over replicates and over sizes >= min_size               in expected +- tolerance
    at_least            smallest value over cells with size >= min_size               at or above expected - tolerance
    at_most             largest value over cells with size >= min_size                at or below expected + tolerance

    At the scale "smoke" the grids are too small for a rate to settle: the same statistics are computed and judged with
    `smoke_tolerance` where it is given, else with `tolerance`.
    """

    experiment: str
    method: str
    quantity: str
    relation: Relation
    expected: float
    tolerance: float
    abscissa: Abscissa = "size"
    min_size: float = 0.0
    max_size: float = float("inf")
    smoke_tolerance: float | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement, where it comes from, how it is measured and what is expected."""

    id: str
    group: str
    title: str
    statement: str
    source: str
    experiments: tuple[Experiment, ...]
    checks: tuple[Check, ...]
    log_y: bool = True
