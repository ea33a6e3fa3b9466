"""Which sampler gives the smallest error for a number of score evaluations, on data whose law is known at every time.

    python examples/which_sampler.py [FIGURE]

Measures the total variation of group D (a mixture of three Gaussians on the line, no Monte Carlo) at equal numbers of
evaluations, for flows and for SDEs, and draws it (about half a minute).
"""

import sys
from collections.abc import Mapping
from typing import Any

import jax

from manifold_diffusion import samplers
from manifold_diffusion.studies.discretisation.mixture import (
    equation,
    flow_errors,
    kernel_errors,
    mixture,
    padded,
    times,
)
from manifold_diffusion.studies.palette import INK, dress, new_figure

BLUE, VERMILION, GREEN, PINK, ORANGE, SKY, GREY = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6E6E6E",
)  # fmt: skip
# Name -> step, evaluations a step, colour, marker.
FLOWS: Mapping[str, tuple[Any, int, str, str]] = {
    "Euler": (samplers.euler, 1, GREY, "o"),
    "DDIM": (samplers.ddim, 1, VERMILION, "s"),
    "accelerated": (samplers.AcceleratedFlow(), 2, PINK, "v"),
    "Heun": (samplers.heun, 2, ORANGE, "^"),
    "midpoint": (samplers.midpoint, 2, SKY, "P"),
    "2S": (samplers.dpm_solver_2s, 2, GREEN, "D"),
    "2M": (samplers.DPMSolver2M(), 1, BLUE, "X"),
    "Runge–Kutta 4": (samplers.runge_kutta_4, 4, INK, "*"),
}
# A derivative of the score along one direction counts as an evaluation; on the line it is the Hessian.
SDES: Mapping[str, tuple[Any, int, str, str]] = {
    "Euler–Maruyama": (samplers.euler_maruyama, 1, GREY, "o"),
    "DDPM, plain variance": (samplers.ddpm_plain, 1, PINK, "v"),
    "DDPM": (samplers.ddpm, 1, VERMILION, "s"),
    "DDPM, accelerated": (samplers.ddpm_accelerated, 2, GREEN, "D"),
    "DDPM, Hessian": (samplers.ddpm_hessian, 2, BLUE, "X"),
}


def measure(budgets, sde_budgets) -> dict[str, tuple[list[int], list[float]]]:
    """Name -> evaluations and total variation."""
    law, curves = mixture(), {}
    for name, (step, cost, *_) in FLOWS.items():
        at = [budget for budget in budgets if budget >= 2 * cost]
        errors = []
        for budget in at:
            ts = padded(times(budget // cost))
            errors.append(float(flow_errors(step, equation(law, 0.0), law, ts, cells=2_001).total_variation))
        curves[name] = at, errors
    for name, (step, cost, *_) in SDES.items():
        sde = equation(law, 1.0)
        errors = [float(kernel_errors(step, sde, law, times(budget // cost)).total_variation) for budget in sde_budgets]
        curves[name] = list(sde_budgets), errors
    return curves


def panel(axes, curves, methods, title) -> None:
    """Errors of one family, each line named at its end."""
    for name, (_, cost, colour, marker) in methods.items():
        label = f"{name} ({cost})"
        axes.loglog(*curves[name], color=colour, marker=marker, markersize=5, linewidth=1.3, label=label)
    budgets = sorted({budget for name in methods for budget in curves[name][0]})
    axes.set_xticks(budgets, [str(budget) for budget in budgets])
    axes.minorticks_off()
    axes.legend(fontsize=8, frameon=False, loc="lower left", title="(evaluations a step)", title_fontsize=8)
    dress(axes, title, "score evaluations", "total variation to the exact law")


def main(path: str = "which-sampler.png", budgets=(8, 16, 32, 64, 128, 256), sde_budgets=(8, 32, 128)):
    """Measure, draw, save."""
    with jax.enable_x64(True):
        curves = measure(budgets, sde_budgets)
    figure = new_figure(10.5, 4.6)
    left = figure.add_subplot(1, 2, 1)
    panel(left, curves, FLOWS, "Flows: no noise on the way")
    panel(figure.add_subplot(1, 2, 2, sharey=left), curves, SDES, "SDEs: fresh noise in every step")
    figure.savefig(path)
    return curves


if __name__ == "__main__":
    main(*sys.argv[1:])
