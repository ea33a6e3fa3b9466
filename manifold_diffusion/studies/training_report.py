"""What a training looked like: curves of what was watched, and the samples of some of its looks."""

import base64
import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from manifold_diffusion._files import replace
from manifold_diffusion.studies.claim import StudyError
from manifold_diffusion.studies.palette import INK, dress, new_figure
from manifold_diffusion.studies.report import STYLE
from manifold_diffusion.training import Seen

if TYPE_CHECKING:
    import matplotlib.figure

PANELS = {
    "loss": ("Loss", ("loss",), True),
    "held_out": ("Held-out denoising loss", ("held_out",), True),
    "distance": ("Distance to the manifold", ("distance",), True),
    "novelty": ("Distance to the data over that of fresh points", ("novelty",), False),
    "memorised": ("Memorised share", ("memorised", "memorised_null"), False),
    "dimension": ("Dimension that the model sees", ("dimension",), False),
    "tangential": ("Error at the spacing, in units of noise", ("tangential", "normal"), True),
}
"""What each panel shows: its title, its quantities, and whether it is logarithmic."""

_HUES = ("#0072B2", "#D55E00")
_SHOWN = 6


def curves_figure(history: Sequence[Seen], best_step: int) -> "matplotlib.figure.Figure":
    """A panel for each quantity that was watched, against the steps; a line marks the best look."""
    known = {"loss"}.union(*(seen.values for seen in history))
    panels = [panel for name, panel in PANELS.items() if name in known]
    rows = math.ceil(len(panels) / 3)
    figure = new_figure(12.0, 3.2 * rows)
    steps = [seen.step for seen in history]
    for i, (title, names, logarithmic) in enumerate(panels):
        axes = figure.add_subplot(rows, 3, i + 1)
        for name, hue in zip(names, _HUES, strict=False):
            values = [seen.loss if name == "loss" else seen.values.get(name, math.nan) for seen in history]
            axes.plot(steps, values, "-o", color=hue, markersize=3, linewidth=1.5, label=name.replace("_", " "))
        axes.axvline(best_step, color="#8A8A8A", linewidth=1, linestyle=":")
        axes.set_xscale("log")
        if logarithmic:
            axes.set_yscale("log")
        dress(axes, title, "steps", "")
        if len(names) > 1:
            axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    return figure


def samples_over_training(samples: dict[int, np.ndarray], data: np.ndarray) -> "matplotlib.figure.Figure":
    """The samples after some numbers of steps over the data, in the plane of the data's two leading principal
    directions.
    """
    centre = data.mean(axis=0)
    axes_of_data = np.linalg.svd(data - centre, full_matrices=False)[2][:2]
    plane = lambda points: (points - centre) @ axes_of_data.T  # noqa: E731
    shown = sorted(samples)
    if len(shown) > _SHOWN:
        shown = [shown[round(i)] for i in np.linspace(0, len(shown) - 1, _SHOWN)]
    figure = new_figure(2.6 * len(shown), 2.9)
    flat = plane(data)
    low, high = flat.min(axis=0), flat.max(axis=0)
    margin = 0.25 * (high - low)
    for i, step in enumerate(shown):
        axes = figure.add_subplot(1, len(shown), i + 1)
        axes.scatter(*flat.T, s=6, facecolors="none", edgecolors="#8A8A8A", linewidths=0.5)
        axes.scatter(*plane(samples[step]).T, s=4, color=_HUES[0], linewidths=0, alpha=0.7)
        axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
        axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
        axes.set_aspect("equal")
        axes.set_axis_off()
        axes.set_title(f"{step} steps", fontsize=9, color=INK)
    return figure


def write_samples(folder: Path, step: int, points: np.ndarray) -> None:
    """Keep the samples of a look; StudyError where that cannot be done."""
    import io

    buffer = io.BytesIO()
    np.save(buffer, points, allow_pickle=False)
    _write(folder / "samples" / f"{step:09d}.npy", buffer.getvalue())


def read_samples(folder: Path) -> dict[int, np.ndarray]:
    """{step: points} of the looks whose samples were kept."""
    files = sorted((folder / "samples").glob("[0-9]*.npy"))
    return {int(file.stem): np.load(file, allow_pickle=False) for file in files}


def report(folder: Path, history: Sequence[Seen], best_step: int, data: np.ndarray) -> None:
    """Write curves.png, samples.png and report.html (with both inside) into the folder of the checkpoints."""
    from manifold_diffusion.studies.figure import png

    images = {"curves.png": png(curves_figure(history, best_step))}
    samples = {step: points for step, points in read_samples(folder).items() if step <= history[-1].step}
    if samples:
        images["samples.png"] = png(samples_over_training(samples, data))
    for name, image in images.items():
        _write(folder / name, image)
    _write(folder / "report.html", _page(history, best_step, images).encode())


def _page(history: Sequence[Seen], best_step: int, images: dict[str, bytes]) -> str:
    names = ["step", "loss", *history[-1].values]
    head = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in names)
    body = "".join(_table_row(seen, names, seen.step == best_step) for seen in history)
    pictures = "".join(
        f'<p><img alt="{name}" src="data:image/png;base64,{base64.b64encode(image).decode()}"></p>'
        for name, image in images.items()
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Training</title><style>{STYLE}</style>'
        f"<h1>Training</h1><p>The best look is the one after {best_step} steps. Samples are drawn over the data, in "
        f"the plane of the data's two leading principal directions.</p>{pictures}"
        f'<div class="wide"><table><tr>{head}</tr>{body}</table></div></html>'
    )


def _table_row(seen: Seen, names: Sequence[str], best: bool) -> str:
    values = {"step": float(seen.step), "loss": seen.loss, **seen.values}
    cells = "".join(f'<td class="n">{values.get(name, math.nan):.4g}</td>' for name in names)
    return f"<tr{' class=confirmed' if best else ''}>{cells}</tr>"


def _write(path: Path, data: bytes) -> None:
    try:
        replace(path, data)
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror}; make room, and resume") from error
