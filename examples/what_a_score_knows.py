"""What a score knows of a manifold, in four panels: its expansion, the cost of errors, the uniform law, the dimension.

    python examples/what_a_score_knows.py [FIGURE]

Measures claims G1, G3, G4 and G11 at the scale "cpu" (about two minutes on two cores) and draws them.
"""

import sys
from collections.abc import Mapping

import numpy as np

from manifold_diffusion.studies import verify
from manifold_diffusion.studies.claim import Scale
from manifold_diffusion.studies.geometry import G1, G3, G4, G11
from manifold_diffusion.studies.palette import INK, dress, new_figure

BLUE, VERMILION, GREEN, PINK, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"
Curve = tuple[np.ndarray, np.ndarray]


def measure(scale: Scale) -> Mapping[tuple[str, str, str, str], Curve]:
    """(claim, experiment, method, quantity) -> sizes and means over replicates."""
    values: dict[tuple[str, str, str, str], dict[float, list[float]]] = {}
    for cell in verify([G1, G3, G4, G11], scale, plot=False).cells:
        for quantity, value in cell.values.items():
            if value is not None:
                found = values.setdefault((cell.claim, cell.experiment, cell.method, quantity), {})
                found.setdefault(cell.size, []).append(value)
    return {key: (np.array(sorted(v)), np.array([np.mean(v[s]) for s in sorted(v)])) for key, v in values.items()}


def expansion(axes, curves) -> None:
    """The remainder of log p_sigma, with and without the curvature."""
    for quantity, colour, label in (
        ("without curvature", VERMILION, "distance and density"),
        ("remainder", BLUE, "and curvature"),
    ):
        sigma, error = curves["G1", "ellipse", "exact", quantity]
        axes.loglog(sigma, error, "o-", color=colour, markersize=4, label=label)
    sigma, error = curves["G1", "ellipse", "exact", "remainder"]
    axes.loglog(sigma, 0.5 * error[-1] * (sigma / sigma[-1]) ** 2, "--", color=INK, linewidth=0.9, label="slope 2")
    axes.legend(fontsize=8, frameon=False)
    dress(axes, "What is left of log p after its expansion", "noise level σ", "largest remainder near an ellipse")


def thresholds(axes, curves) -> None:
    """TV to mu under an error of each size."""
    lines = (
        ("gradient error", "a=-3", GREEN),
        ("gradient error", "a=-1", BLUE),
        ("gradient error", "a=0", ORANGE),
        ("gradient error, a > 0", "a=0.5", VERMILION),
    )
    for experiment, method, colour in lines:
        if ("G3", experiment, method, "TV to mu") in curves:
            sigma, gap = curves["G3", experiment, method, "TV to mu"]
            axes.loglog(
                sigma, gap, "o-", color=colour, markersize=4, label=rf"error $\sigma^{{{0 - float(method[2:]):g}}}$"
            )
    axes.legend(fontsize=8, frameon=False)
    dress(axes, "Only small errors leave the density", "noise level σ", "TV between the law and μ")


def uniformity(axes, curves) -> None:
    """Rates of convergence to the uniform law against the tempering."""
    for name, colour, limit in (("curve", BLUE, lambda a: a), ("surface", VERMILION, lambda a: np.minimum(a, 2 - a))):
        alphas, rates = [], []
        for (claim, experiment, method, quantity), (sigma, gap) in curves.items():
            if (claim, experiment, quantity) == ("G4", name, "TV to uniform"):
                alphas.append(float(method.removeprefix("alpha=")))
                rates.append(np.polyfit(np.log(sigma), np.log(gap), 1)[0])
        fine = np.linspace(0, 2 if name == "surface" else 1.1, 200)
        axes.plot(fine, limit(fine), "-", color=colour, linewidth=1, alpha=0.6)
        size, face = (10, "none") if name == "curve" else (6, colour)
        axes.plot(alphas, rates, "o", color=colour, markersize=size, markerfacecolor=face, label=name)
    axes.legend(fontsize=8, frameon=False)
    dress(axes, "How fast a tempered score becomes uniform", "tempering α", "exponent of TV in σ")


def dimension(axes, curves) -> None:
    """FLIPD of the score of 4000 points of S^2 in R^10 against the noise level."""
    for where, colour in (("data", VERMILION), ("fresh", GREEN)):
        multiple, value = curves["G11", "empirical score", where, "FLIPD"]
        axes.semilogx(multiple, np.minimum(value, 6), "o-", color=colour, markersize=4, label=f"at {where} points")
    axes.axhline(2, color=INK, linewidth=0.9, linestyle="--")
    axes.axvline(1, color=INK, linewidth=0.9, linestyle=":")
    axes.set_ylim(-0.2, 6.2)
    axes.legend(fontsize=8, frameon=False)
    dress(axes, "The dimension breaks below the collapse scale", "σ / collapse scale", "FLIPD (cut at 6)")


def main(path: str = "what-a-score-knows.png", scale: Scale = "cpu"):
    """Measure, draw, save."""
    curves = measure(scale)
    figure = new_figure(10.5, 7.4)
    for i, panel in enumerate((expansion, thresholds, uniformity, dimension)):
        panel(figure.add_subplot(2, 2, i + 1), curves)
    figure.savefig(path)
    return curves


if __name__ == "__main__":
    main(*sys.argv[1:])
