"""The interface of this folder: what a claim is, as data.

A claim is a statement about rates or bounds. It owns *experiments*, which measure, and *checks*, which judge what was
measured. An experiment is a function of (key, size) that returns, for each method, named numbers; one call measures
every method on the same data. Nothing here computes: `run.py` measures, `rate.py` fits, `verdict.py` judges. What
passes between those files is at the end: a *cell* is what was measured, a *statistic* what it amounts to, a *verdict*
what follows.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from manifold_diffusion._types import Key

Number: TypeAlias = float | int
Values: TypeAlias = Mapping[str, Number]
Measurement: TypeAlias = Callable[[Key, float], Mapping[str, Values]]
"""(key, size) -> {method: {quantity: value}}. The values may be any number of floats, each with its own name.

A value that is NaN or infinite is a failed cell. The quantity named `non_finite`, if there is one, counts non-finite
samples that were left out of the other values; the verdict says how many there were.
"""

Relation: TypeAlias = Literal["slope", "slope_at_most", "slope_at_least", "mean", "at_least", "at_most"]
Abscissa: TypeAlias = Literal["size", "size/log(size)"]
Scale: TypeAlias = Literal["smoke", "cpu", "gpu"]
Ruling: TypeAlias = Literal["confirmed", "refuted", "inconclusive"]


class StudyError(ValueError):
    """A study cannot be run, written or resumed; the message is one line that names the remedy."""


@dataclasses.dataclass(frozen=True)
class Grid:
    """Which sizes an experiment measures and how often each is repeated."""

    sizes: tuple[Number, ...]
    replicates: int

    def __post_init__(self):
        if not self.sizes or len(set(self.sizes)) < len(self.sizes) or min(self.sizes) <= 0:
            raise ValueError(f"a grid needs positive sizes, each once; got {self.sizes}")
        if self.replicates < 1:
            raise ValueError(f"a grid needs at least one replicate; got {self.replicates}")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One family of cells: `measure` on every size and replicate of the grid of a scale.

    `methods` names the keys of what `measure` returns, so that a resumed run knows which cells are missing. `size_name`
    is what the sizes are ("N", "sigma", "D"). `x64` says whether it runs in float64. At a scale without a grid it is
    not measured, and the checks on it are not judged.
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
    slope               log-log slope of the replicate mean against `abscissa`        in expected +- tolerance
    slope_at_most       the same                                                      at or below expected + tolerance
    slope_at_least      the same                                                      at or above expected - tolerance
    mean                mean over replicates and over sizes >= min_size               in expected +- tolerance
    at_least            smallest value over cells with size >= min_size               at or above expected - tolerance
    at_most             largest value over cells with size >= min_size                at or below expected + tolerance

    At the scale "smoke" the grids are too small for a rate to settle: the same statistics are computed and judged with
    `smoke_tolerance` where it is given, else with `tolerance`. Sizes outside [min_size, max_size] are measured, not
    judged.
    """

    experiment: str
    method: str
    quantity: str
    relation: Relation
    expected: Number
    tolerance: Number
    abscissa: Abscissa = "size"
    min_size: Number = 0.0
    max_size: Number = float("inf")
    smoke_tolerance: Number | None = None
    note: str = ""

    def tolerance_at(self, scale: Scale) -> Number:
        """The tolerance that a verdict at this scale uses."""
        if scale == "smoke" and self.smoke_tolerance is not None:
            return self.smoke_tolerance
        return self.tolerance


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement, where it comes from, how it is measured and what is expected.

    `figure` draws the claim in place of the default figure: (claim, results, cells) -> a matplotlib figure. `samples`,
    where given, draws points to look at: key -> {kind: (n, 2 or 3) points}, the kinds "data", "memorised", "coarse"
    among them. `table`, which claims may share, sums up what all of them found.
    """

    id: str
    group: str
    title: str
    statement: str
    source: str
    experiments: tuple[Experiment, ...]
    checks: tuple[Check, ...]
    log_y: bool = True
    figure: Callable[["Claim", Sequence["Result"], Sequence["Cell"]], Any] | None = None
    samples: Callable[[Key], Mapping[str, Any]] | None = None
    table: Callable[[Sequence["Result"], Sequence["Cell"]], "Table"] | None = None

    def __post_init__(self):
        names = [experiment.name for experiment in self.experiments]
        if len(set(names)) < len(names):
            raise ValueError(f"claim {self.id}: two experiments have the same name; got {names}")
        for check in self.checks:
            if check.experiment not in names:
                raise ValueError(f"claim {self.id}: a check names the experiment {check.experiment!r}; it has {names}")
            if check.method not in self.experiment(check.experiment).methods:
                methods = self.experiment(check.experiment).methods
                raise ValueError(
                    f"claim {self.id}: {check.experiment} has no method {check.method!r}; it has {methods}"
                )

    def experiment(self, name: str) -> Experiment:
        """The experiment of this name."""
        return next(experiment for experiment in self.experiments if experiment.name == name)


@dataclasses.dataclass(frozen=True)
class Cell:
    """What one method gave at one size in one replicate; a value that was not finite is None and `error` says so."""

    claim: str
    experiment: str
    method: str
    size: float
    replicate: int
    values: Mapping[str, Number | None]
    seconds: float
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Statistic:
    """A number with its 95 % interval."""

    value: float
    ci_low: float
    ci_high: float
    local_slopes: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class Verdict:
    """`confirmed`, `refuted` or `inconclusive`, and one sentence with the numbers that says why."""

    verdict: Ruling
    reason: str


@dataclasses.dataclass(frozen=True)
class Result:
    """A check that was judged: its statistic (None where there were too few cells), verdict and how it came about.

    sizes are those the statistic uses, seconds the time its experiment took (all methods together), failures the cells
    of its method that are missing, raised an error or gave a value that is not finite.
    """

    claim: Claim
    check: Check
    scale: Scale
    statistic: Statistic | None
    verdict: Verdict
    sizes: tuple[float, ...]
    replicates: int
    seconds: float
    failures: int


@dataclasses.dataclass(frozen=True)
class Table:
    """A summary for people: text, statistics, and None where there is nothing."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str | Statistic | None, ...], ...]
