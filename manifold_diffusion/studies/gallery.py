"""Figures that are not of one claim's pattern: the separation of scales, and samples to look at."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from manifold_diffusion.studies.claim import Cell, Claim, Result
from manifold_diffusion.studies.palette import FAINT, INK, colours, dress, kind, markers, new_figure, number, tick_sizes
from manifold_diffusion.studies.rate import bands, fit_rate

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

Curve: TypeAlias = tuple[np.ndarray, list[list[float]]]
"""Noise levels, and the values of the replicates at each."""


def separation_figure(claim: Claim, results: Sequence[Result], cells: Sequence[Cell]) -> "matplotlib.figure.Figure":
    """The error of a score times sigma^2 against sigma, and the height of the plateau at sigma -> 0 against N.

    The cells are those of the claim's experiment whose sizes are noise levels; its methods are named for their kind and
    the number of data, "memoriser N=1024", "coarse p=3 N=1024". Expected slopes are drawn where a check has one. The
    right panel is left out where there is one N.
    """
    experiment = next((each for each in claim.experiments if each.size_name == "sigma"), None)
    if experiment is None:
        raise ValueError(f"separation_figure: claim {claim.id} has no experiment whose size_name is 'sigma'")
    curves = _curves([cell for cell in cells if cell.experiment == experiment.name])
    families = _families(curves)
    colour, marker = colours(list(curves)), markers(list(curves))
    two = any(len(methods) > 1 for methods in families.values())
    figure = new_figure(10.5 if two else 6.5, 4.6)
    left = figure.add_subplot(1, 2 if two else 1, 1)
    for family, methods in families.items():
        for size, method in methods.items():
            _draw_curve(left, curves[method], colour[method], marker[method], "" if size is None else f"N = {size:g}")
        middle = colour[list(methods.values())[len(methods) // 2]]
        left.plot([], [], "-", color=middle, linewidth=2, label=family)
    for result in results:
        if result.check.experiment == experiment.name and result.check.relation == "slope":
            _draw_guide(left, result, curves)
    dress(left, "Error of the score against the noise level", "noise level σ", "σ² × error of the score")
    left.set_xlim(left=left.get_xlim()[0] / 3.5)
    left.legend(fontsize=8, frameon=False, labelcolor=INK, loc="lower right")
    if two:
        _draw_plateaus(figure.add_subplot(1, 2, 2), curves, families)
    figure.suptitle(f"{claim.id}  {claim.title}", fontsize=12, color=INK, x=0.01, ha="left")
    return figure


def samples_figure(
    points_by_kind: Mapping[str, np.ndarray], title: str = "", elevation: float = 25.0, azimuth: float = 35.0
) -> "matplotlib.figure.Figure":
    """Points in the plane or in space, a panel for each kind ("data", "memorised", "coarse"), over the data where
    given."""
    kinds = {name: np.asarray(points) for name, points in points_by_kind.items()}
    dimensions = {points.shape[1] for points in kinds.values()}
    if not kinds or len(dimensions) > 1 or not dimensions <= {2, 3}:
        raise ValueError(f"samples_figure: needs points of R^2 or R^3, all of one; got dimensions {sorted(dimensions)}")
    dim = dimensions.pop()
    data = next((points for name, points in kinds.items() if kind(name) in ("data", "train")), None)
    everything = np.concatenate(list(kinds.values()))
    low, high = everything.min(axis=0), everything.max(axis=0)
    extent = high - low
    figure = new_figure(4.0 * len(kinds), 4.0 if dim == 3 else 0.6 + 4.0 * min(2.0, extent[1] / extent[0]))
    colour = colours(list(kinds))
    for i, (name, points) in enumerate(kinds.items()):
        axes = figure.add_subplot(1, len(kinds), i + 1, projection="3d" if dim == 3 else None)
        if data is not None and points is not data:
            axes.scatter(*data.T, s=16, facecolors="none", edgecolors="#8A8A8A", linewidths=0.5)
        axes.scatter(*points.T, s=7, color=colour[name], linewidths=0, alpha=0.85)
        axes.set_title(f"{name}  ({len(points)} points)", fontsize=10, color=colour[name], loc="center")
        _frame(axes, low, high, elevation, azimuth)
    if title:
        figure.suptitle(title, fontsize=12, color=INK, x=0.01, ha="left")
    return figure


def _curves(cells: Sequence[Cell]) -> dict[str, Curve]:
    """For each method its noise levels, ascending, and the values of the first quantity; failed and zero ones left
    out."""
    found: dict[str, dict[float, list[float]]] = {}
    for cell in cells:
        value = next(iter(cell.values.values()), None)
        if value is not None and value > 0:
            found.setdefault(cell.method, {}).setdefault(cell.size, []).append(float(value))
    return {
        method: (np.array(sorted(by_sigma)), [by_sigma[sigma] for sigma in sorted(by_sigma)])
        for method, by_sigma in found.items()
    }


def _families(methods: Iterable[str]) -> dict[str, dict[float | None, str]]:
    """{"coarse p=3": {1024: "coarse p=3 N=1024", ...}, ...}; None stands for a name without N."""
    families: dict[str, dict[float | None, str]] = {}
    for method in methods:
        found = re.search(r"\bN=(\d+(?:\.\d+)?(?:e\d+)?)", method)
        name = " ".join(method.replace(found.group(0), "").split()) if found else method
        families.setdefault(name, {})[float(found.group(1)) if found else None] = method
    return families


def _draw_curve(axes: "matplotlib.axes.Axes", curve: Curve, colour: str, marker: str, label: str) -> None:
    """The curve, its band, and its plateau: the height at the smallest noise level, dotted."""
    sigma, values = curve
    means = np.array([np.mean(row) for row in values])
    axes.loglog(sigma, means, marker + "-", color=colour, markersize=3.5, linewidth=1.4)
    if all(len(row) > 1 for row in values):
        low, high = np.array(bands(values)).T
        axes.fill_between(sigma, low, high, color=colour, alpha=0.2, linewidth=0)
    plateau = [sigma[0], np.sqrt(sigma[0] * sigma[-1])]
    axes.plot(plateau, [means[0]] * 2, ":", color=colour, linewidth=0.9, alpha=0.7)
    axes.annotate(
        label,
        (sigma[0], means[0]),
        xytext=(-6, 0),
        textcoords="offset points",
        fontsize=7.5,
        color=colour,
        ha="right",
        va="center",
    )


def _draw_guide(axes: "matplotlib.axes.Axes", result: Result, curves: Mapping[str, Curve]) -> None:
    """The expected slope over the noise levels of the check, below the curve of its method."""
    check = result.check
    if check.method not in curves:
        return
    pairs = zip(*curves[check.method], strict=True)
    kept = [(sigma, np.mean(row)) for sigma, row in pairs if check.min_size <= sigma <= check.max_size]
    if len(kept) < 2:
        return
    sigma, means = np.array(kept).T
    guide = 0.45 * np.exp(np.mean(np.log(means) - check.expected * np.log(sigma))) * sigma ** float(check.expected)
    axes.loglog(sigma, guide, "--", color=INK, linewidth=1.0)
    axes.annotate(
        f"slope {number(check.expected)}",
        (sigma[0], guide[0]),
        xytext=(4, -5),
        textcoords="offset points",
        fontsize=8,
        color=INK,
    )


def _draw_plateaus(
    axes: "matplotlib.axes.Axes", curves: Mapping[str, Curve], families: Mapping[str, Mapping[float | None, str]]
) -> None:
    colour, marker = colours(list(families)), markers(list(families))
    for name, methods in families.items():
        sizes = np.array(sorted(size for size in methods if size is not None))
        if len(sizes) < 2:
            continue
        rows = [curves[methods[size]][1][0] for size in sizes]
        fit = fit_rate(sizes, rows)
        label = f"{name}: slope {number(fit.slope)} [{number(fit.ci_low)}, {number(fit.ci_high)}]"
        axes.loglog(sizes, fit.constant * sizes**fit.slope, "-", color=colour[name], linewidth=1.3)
        means = [np.mean(row) for row in rows]
        axes.loglog(sizes, means, marker[name], color=colour[name], markersize=6, label=label, linestyle="none")
    dress(axes, "Height of the plateau against the number of data", "N", "σ² × error of the score as σ → 0")
    tick_sizes(axes, sorted({size for methods in families.values() for size in methods if size is not None}))
    axes.legend(fontsize=8, frameon=False, labelcolor=INK, loc="lower left")


def _frame(axes: "matplotlib.axes.Axes", low: np.ndarray, high: np.ndarray, elevation: float, azimuth: float) -> None:
    """The same limits, scale and view for every kind, and no ticks."""
    room = 0.04 * np.max(high - low)
    limits = dict(zip(("xlim", "ylim", "zlim"), zip(low - room, high + room, strict=True), strict=False))
    axes.set(**limits, **{f"{axis[0]}ticks": [] for axis in limits})
    if len(low) == 2:
        axes.set_aspect("equal")
        axes.spines[:].set_color(FAINT)
    else:
        axes.set_box_aspect(high - low + 2 * room, zoom=1.5)  # pyright: ignore[reportCallIssue, reportArgumentType]
        axes.view_init(elev=elevation, azim=azimuth)  # pyright: ignore[reportAttributeAccessIssue]
        axes.set_axis_off()
