"""Colours and axes that every figure shares: what memorises is vermilion, what is coarse is blue, everywhere.

The hues are those of Okabe and Ito, which colour-blind readers tell apart. Methods of one kind (degrees, sizes) are
shades of its hue, light to dark in the order given, and differ in their markers too.
"""

import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

HUES = {
    "memor": "#D55E00",
    "empirical": "#D55E00",
    "coarse": "#0072B2",
    "data": "#6E6E6E",
    "train": "#6E6E6E",
    "held": "#009E73",
    "fresh": "#009E73",
    "inertial": "#CC79A7",
    "early": "#E69F00",
}
OTHER_HUES = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
INK, FAINT = "#333333", "#D9D9D9"


def kind(method: str) -> str:
    """The hue's name that a method's name begins with, or its first word; "p=3" and the like are coarse methods."""
    if re.match(r"[A-Za-z]=", method):
        return "coarse"
    return next((name for name in HUES if method.lower().startswith(name)), method.split(" ")[0])


def colours(methods: Sequence[str]) -> dict[str, str]:
    """A colour for each method."""
    shades = {}
    for name, hue in _hues(methods).items():
        same = [method for method in dict.fromkeys(methods) if kind(method) == name]
        for i, method in enumerate(same):
            shades[method] = _shade(hue, 0.0 if len(same) == 1 else 2 * i / (len(same) - 1) - 1)
    return shades


def markers(methods: Sequence[str]) -> dict[str, str]:
    """A marker for each method; methods of one hue differ, be they of one kind or more kinds than there are hues."""
    hues, ranks, found = _hues(methods), {}, {}
    for method in dict.fromkeys(methods):
        hue = hues[kind(method)]
        found[method] = MARKERS[ranks.get(hue, 0) % len(MARKERS)]
        ranks[hue] = ranks.get(hue, 0) + 1
    return found


def _hues(methods: Sequence[str]) -> dict[str, str]:
    """The hue of each kind, in the order of the kinds."""
    kinds = list(dict.fromkeys(kind(method) for method in methods))
    taken = [HUES[name] for name in kinds if name in HUES]
    free = itertools.cycle([hue for hue in OTHER_HUES if hue not in taken])
    return {name: HUES[name] if name in HUES else next(free) for name in kinds}


def new_figure(width: float, height: float) -> "matplotlib.figure.Figure":
    """A figure of its own, outside pyplot's global list."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")


def dress(axes: "matplotlib.axes.Axes", title: str, x: str, y: str) -> None:
    """Title and labels, a faint grid, no box."""
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.grid(True, which="major", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(which="both", labelsize=8, colors=INK)


def number(x: float | int) -> str:
    """Three digits, with a true minus sign."""
    return f"{x:.3g}".replace("-", "−")


def tick_sizes(axes: "matplotlib.axes.Axes", sizes: Sequence[float | int]) -> None:
    """Label the sizes that were measured, where they are few; otherwise the powers of ten."""
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    axes.xaxis.set_minor_formatter(NullFormatter())
    if 1 < len(sizes) <= 7:
        axes.xaxis.set_major_locator(FixedLocator([float(size) for size in sizes]))
        axes.xaxis.set_major_formatter(lambda x, _: _short(x))
        axes.xaxis.set_minor_locator(NullLocator())


def _short(x: float) -> str:
    for least, scale, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if x >= least:
            return f"{x / scale:.3g}{unit}"
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}"


def _shade(hue: str, depth: float) -> str:
    """depth in [-1, 1]: towards white below 0, towards black above."""
    target, share = (255, -0.5 * depth) if depth < 0 else (0, 0.45 * depth)
    channels = [int(hue[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(c + share * (target - c)):02X}" for c in channels)
