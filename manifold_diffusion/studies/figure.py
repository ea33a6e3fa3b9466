"""The figure of a claim: what was measured, with intervals, next to what is expected.

Rates are log-log: replicate means with the band of their 95 % interval, the fitted line, and dashed the expected slope.
Levels show every cell, the means, and shaded the values that the claim allows.
"""

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from manifold_diffusion.studies.claim import Cell, Claim, Result
from manifold_diffusion.studies.palette import INK, colours, dress, markers, new_figure, number, tick_sizes
from manifold_diffusion.studies.rate import bands, fit_rate
from manifold_diffusion.studies.summary import Selection, abscissa, select
from manifold_diffusion.studies.verdict import band

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

RATES = ("slope", "slope_at_most", "slope_at_least")
MARKS = {"confirmed": "✓", "refuted": "✗", "inconclusive": "?"}
LOG_FROM = 5.0
"""The ratio of largest to smallest value from which levels are drawn on a logarithmic axis."""


def claim_figure(claim: Claim, results: Sequence[Result], cells: Sequence[Cell]) -> "matplotlib.figure.Figure":
    """A panel for each experiment and kind of quantity among the results of the claim."""
    panels = _panels(results)
    columns = 2 if len(panels) == 4 else min(3, max(1, len(panels)))
    rows = math.ceil(len(panels) / columns)
    tallest = max((len(panel) for panel in panels), default=0)
    figure = new_figure(max(5.2, 4.6 * columns), (3.3 + 0.2 * tallest) * max(rows, 1) + 0.4)
    figure.suptitle(f"{claim.id}  {claim.title}", fontsize=12, color=INK, x=0.01, ha="left")
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, i + 1)
        draw = _draw_rates if panel[0].check.relation in RATES else _draw_levels
        draw(axes, claim, panel, cells)
        if not axes.get_legend_handles_labels()[0]:
            axes.text(0.5, 0.5, "no finite value", transform=axes.transAxes, ha="center", color=INK)
            continue
        axes.legend(
            fontsize=7.5, loc="upper left", bbox_to_anchor=(-0.02, -0.2), frameon=False, borderaxespad=0, labelcolor=INK
        )
    return figure


def png(figure: "matplotlib.figure.Figure") -> bytes:
    """The figure as a PNG file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _panels(results: Sequence[Result]) -> list[list[Result]]:
    groups: dict[tuple, list[Result]] = {}
    for result in results:
        check = result.check
        rate = check.relation in RATES
        key = (check.experiment, rate, check.abscissa if rate else check.quantity)
        groups.setdefault(key, []).append(result)
    return list(groups.values())


def _draw_rates(axes: "matplotlib.axes.Axes", claim: Claim, panel: Sequence[Result], cells: Sequence[Cell]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for result, colour, marker, filled in _styled(panel):
        selection = select(claim, result.check, result.scale, cells)
        sizes, values = _positive(selection)
        if not sizes:
            continue
        x = np.array(abscissa(result.check, sizes))
        means = np.array([np.mean(row) for row in values])
        low, high = np.array(_bands(values)).T
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        face = colour if filled else "white"
        axes.plot(x, means, marker, color=colour, markerfacecolor=face, markersize=5, label=_label(result, panel))
        if len(x) > 1:
            fit = fit_rate(x, means)
            axes.plot(x, fit.constant * x**fit.slope, "-", color=colour, linewidth=1.2)
            _draw_guide(axes, x, means, result.check.expected, result.check.relation, colour)
    experiment = claim.experiment(panel[0].check.experiment)
    size = experiment.size_name
    x_label = size if panel[0].check.abscissa == "size" else f"{size} / log {size}"
    quantities = list(dict.fromkeys(result.check.quantity for result in panel))
    dress(axes, experiment.name, x_label, quantities[0] if len(quantities) == 1 else "value")
    tick_sizes(axes, abscissa(panel[0].check, experiment.grids[panel[0].scale].sizes))


def _draw_guide(
    axes: "matplotlib.axes.Axes", x: np.ndarray, means: np.ndarray, slope: float | int, relation: str, colour: str
) -> None:
    """The expected slope, a little below the data so that both can be seen, with its number at the right end."""
    centre = np.exp(np.mean(np.log(means) - slope * np.log(x)))
    guide = 0.72 * centre * x ** float(slope)
    axes.plot(x, guide, "--", color=colour, linewidth=1.0, alpha=0.75)
    sign = {"slope_at_most": "≤ ", "slope_at_least": "≥ "}.get(relation, "")
    i = int(np.argmax(x))
    axes.annotate(
        f"{sign}{number(slope)}",
        (x[i], guide[i]),
        xytext=(5, -2),
        textcoords="offset points",
        fontsize=7.5,
        color=colour,
        va="center",
    )


def _draw_levels(axes: "matplotlib.axes.Axes", claim: Claim, panel: Sequence[Result], cells: Sequence[Cell]) -> None:
    experiment = claim.experiment(panel[0].check.experiment)
    drawn = []
    axes.set_xscale("log")
    for result, colour, marker, filled in _styled(panel):
        selection = select(claim, result.check, result.scale, cells)
        points = [(size, value) for size, row in zip(selection.sizes, selection.values, strict=True) for value in row]
        if not points:
            continue
        drawn += [value for _, value in points]
        axes.plot(*zip(*points, strict=True), marker, color=colour, alpha=0.3, markersize=3, linestyle="none")
        kept = [(size, np.mean(row)) for size, row in zip(selection.sizes, selection.values, strict=True) if row]
        face = colour if filled else "white"
        axes.plot(
            *zip(*kept, strict=True),
            marker + "-",
            color=colour,
            markerfacecolor=face,
            markersize=5,
            label=_label(result, panel),
        )
    edges = [edge for result in panel for edge in band(result.check, result.scale) if math.isfinite(edge)]
    _set_level_axis(axes, claim, drawn + edges)
    for low, high, colour in dict.fromkeys((*band(r.check, r.scale), c) for r, c, _, _ in _styled(panel)):
        bottom, top = axes.get_ylim()
        axes.axhspan(max(low, bottom), min(high, top), color=colour, alpha=0.1, linewidth=0)
        for edge in (low, high):
            if math.isfinite(edge):
                axes.axhline(edge, color=colour, linestyle="--", linewidth=0.8, alpha=0.7)
        axes.set_ylim(bottom, top)
    dress(axes, experiment.name, experiment.size_name, panel[0].check.quantity)
    tick_sizes(axes, experiment.grids[panel[0].scale].sizes)


def _set_level_axis(axes: "matplotlib.axes.Axes", claim: Claim, values: Sequence[float]) -> None:
    """Room around all values and edges of bands, on a logarithmic axis where they differ by a large factor."""
    if not values:
        return
    low, high = min(values), max(values)
    if claim.log_y and low > 0 and high > LOG_FROM * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.5, high * 1.5)
    else:
        room = 0.15 * (high - low) or 0.1 * abs(high) or 1.0
        axes.set_ylim(low - room, high + room)


def _styled(panel: Sequence[Result]) -> list[tuple[Result, str, str, bool]]:
    """Each result with its colour and marker by method; the markers of quantities after the first are open."""
    methods = [result.check.method for result in panel]
    quantities = [result.check.quantity for result in panel]
    colour, marker = colours(methods), markers(methods)
    return [(r, colour[r.check.method], marker[r.check.method], r.check.quantity == quantities[0]) for r in panel]


def _positive(selection: Selection) -> tuple[list[float], list[tuple[float, ...]]]:
    pairs = [
        (size, tuple(value for value in row if value > 0))
        for size, row in zip(selection.sizes, selection.values, strict=True)
    ]
    kept = [(size, row) for size, row in pairs if row]
    return [size for size, _ in kept], [row for _, row in kept]


def _bands(values: Sequence[tuple[float, ...]]) -> list[tuple[float, float]]:
    """Bands where every size has replicates; where failures left a size with one, that size is a point."""
    if all(len(row) == 1 for row in values) or all(len(row) > 1 for row in values):
        return bands(values)
    return [bands([row])[0] for row in values]


def _label(result: Result, panel: Sequence[Result]) -> str:
    check, statistic = result.check, result.statistic
    name = check.method
    if len({other.check.quantity for other in panel}) > 1:
        name += f", {check.quantity}"
    name = f"{MARKS[result.verdict.verdict]} {name}"
    if statistic is None:
        return f"{name}: too few cells"
    what = {"mean": "mean ", "at_least": "smallest ", "at_most": "largest "}.get(check.relation, "slope ")
    interval = f"{number(statistic.value)} [{number(statistic.ci_low)}, {number(statistic.ci_high)}]"
    return f"{name}: {what}{interval}"
