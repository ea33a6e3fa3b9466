"""D1, D3, D4, D5: the orders of samplers, from exact laws."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax.numpy as jnp

from manifold_diffusion import samplers
from manifold_diffusion._types import Key
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Grid, Number, Scale
from manifold_diffusion.studies.discretisation.circle import circle_error
from manifold_diffusion.studies.discretisation.mixture import (
    Perturbed,
    equation,
    flow_errors,
    kernel_errors,
    mixture,
    padded,
    path_divergence,
    times,
)
from manifold_diffusion.studies.discretisation.order_table import order_table

DISCRETISATION = "D"
_SDE_STEPS: Mapping[str, Any] = {
    "DDPM": samplers.ddpm_plain,
    "DDPM, posterior variance": samplers.ddpm,
    "Euler-Maruyama": samplers.euler_maruyama,
    "Hessian DDPM": samplers.ddpm_hessian,
    "accelerated DDPM": samplers.ddpm_accelerated,
    "training-free DDPM": samplers.ddpm_training_free,
}
FLOW_ORDERS: Mapping[str, tuple[Any, int]] = {
    "Euler": (samplers.euler, 1),
    "midpoint": (samplers.midpoint, 2),
    "Runge-Kutta 4": (samplers.runge_kutta_4, 4),
    "Heun": (samplers.heun, 2),
    "DDIM": (samplers.ddim, 1),
    "exponential": (samplers.exponential_euler, 1),
    "DPM-Solver++(2S)": (samplers.dpm_solver_2s, 2),
    "DPM-Solver++(2M)": (samplers.DPMSolver2M(), 2),
    "accelerated flow": (samplers.AcceleratedFlow(), 2),
}


def _kernels(key: Key, steps: Number, *, names: tuple[str, ...]):
    found, law, ts = {}, mixture(), times(int(steps))
    for name in names:
        errors = kernel_errors(_SDE_STEPS[name], equation(law, 1.0), law, ts)
        found[name] = {
            "TV": float(errors.total_variation),
            "KL": float(errors.divergence),
            "path KL": float(errors.path_divergence),
        }
    return found


def _paths(key: Key, steps: Number, *, names: tuple[str, ...]):
    law, ts = mixture(), times(int(steps))
    return {name: {"path KL": float(path_divergence(_SDE_STEPS[name], equation(law, 1.0), law, ts))} for name in names}


def _flows(key: Key, steps: Number, *, names: tuple[str, ...]):
    law, ts = mixture(), padded(times(int(steps)))
    found = {name: flow_errors(FLOW_ORDERS[name][0], equation(law, 0.0), law, ts) for name in names}
    return {name: {"TV": float(each.total_variation), "KL": float(each.divergence)} for name, each in found.items()}


def _angles(key: Key, steps: Number, *, names: tuple[str, ...]):
    return {name: {"W1": circle_error(FLOW_ORDERS[name][0], int(steps))} for name in names}


def _score_errors(key: Key, size: Number, *, power: float):
    """An error delta sin(delta^power x) of the score, with the step's own error far below.

    At power -1/2 its derivative is sqrt(delta), but the flow runs through its waves and averages them out: what costs
    sqrt(delta) are steps that are longer than a wave, of which there are 64.
    """
    law, ts = mixture(), times(64)
    score = Perturbed(law, jnp.asarray(float(size)), jnp.asarray(size**power))
    errors = flow_errors(samplers.runge_kutta_4, equation(score, 0.0), law, ts, _WAVES)
    return {"Runge-Kutta 4": {"TV": float(errors.total_variation)}}


def _grids(cpu: tuple[Number, ...], smoke: tuple[Number, ...] | None = None) -> dict[Scale, Grid]:
    grids: dict[Scale, Grid] = {"cpu": Grid(cpu, 1), "gpu": Grid((*cpu, 2 * cpu[-1]), 1)}
    if smoke:
        grids["smoke"] = Grid(smoke, 1)
    return grids


_STEPS: tuple[Number, ...] = (64, 96, 128, 192, 256)
_SMOKE: tuple[Number, ...] = (32, 48, 64, 96)
_WAVES = 20_001  # points of the line, for waves of length 2 pi / 1000
_PLAIN = ("DDPM", "DDPM, posterior variance", "Euler-Maruyama")
_ACCELERATED = ("accelerated DDPM", "training-free DDPM")
_FAST = ("Runge-Kutta 4",)
_OTHERS = tuple(name for name in FLOW_ORDERS if name not in _FAST)
_CLAIMED = tuple(name for name in _OTHERS if name != "accelerated flow")
_MANY: tuple[Number, ...] = (128, 192, 256, 384, 512)
_LATE: tuple[Number, ...] = (256, 384, 512, 768, 1024)
_FEW: tuple[Number, ...] = (24, 32, 48, 64, 96)

D1 = Claim(
    id="D1",
    group=DISCRETISATION,
    title="DDPM",
    statement="DDPM with T steps errs by 1/T in total variation, 1/T^2 in KL at the end and 1/T in KL along the path.",
    source="arXiv 2510.27562; the rig derived",
    experiments=(Experiment("mixture", partial(_kernels, names=_PLAIN), _PLAIN, _grids(_STEPS, _SMOKE), "T"),),
    checks=tuple(
        Check("mixture", name, quantity, "slope", order, 0.05, smoke_tolerance=0.15)
        for name in _PLAIN[:2]
        for quantity, order in (("TV", -1.0), ("KL", -2.0), ("path KL", -1.0))
    ),
    table=order_table,
)

D3 = Claim(
    id="D3",
    group=DISCRETISATION,
    title="flows",
    statement=(
        "Probability-flow samplers, in total variation on a mixture and W1 on the circle: order 1 for Euler, DDIM and "
        "exponential, 2 for midpoint, Heun and DPM-Solver++, 4 for Runge-Kutta 4; an error delta of the score costs "
        "delta, or sqrt(delta) if it resonates."
    ),
    source="arXiv 2404.09730; arXiv 2211.01095; the rigs derived",
    experiments=(
        Experiment("mixture", partial(_flows, names=_OTHERS), _OTHERS, _grids(_MANY), "T"),
        Experiment("few steps", partial(_flows, names=_FAST), _FAST, _grids(_FEW), "T"),
        Experiment("circle", partial(_angles, names=_CLAIMED), _CLAIMED, _grids(_MANY), "T"),
        Experiment("circle, few steps", partial(_angles, names=_FAST), _FAST, _grids(_FEW), "T"),
        Experiment(
            "smoke",
            partial(_flows, names=("Heun", "DPM-Solver++(2M)")),
            ("Heun", "DPM-Solver++(2M)"),
            {"smoke": Grid((64, 96, 128, 192), 1)},
            "T",
        ),
        Experiment(
            "smooth error",
            partial(_score_errors, power=0.0),
            ("Runge-Kutta 4",),
            _grids((0.001, 0.002, 0.004, 0.008, 0.016)),
            "delta",
        ),
        Experiment(
            "resonant error",
            partial(_score_errors, power=-0.5),
            ("Runge-Kutta 4",),
            _grids((1e-6, 3e-6, 1e-5, 3e-5, 1e-4)),
            "delta",
        ),
    ),
    checks=(
        *(
            Check(experiment, name, quantity, "slope", -FLOW_ORDERS[name][1], 0.05)
            for experiment, quantity, names in (
                ("mixture", "TV", _CLAIMED),
                ("few steps", "TV", _FAST),
                ("circle", "W1", _CLAIMED),
                ("circle, few steps", "W1", _FAST),
            )
            for name in names
        ),
        *(Check("smoke", name, "TV", "slope", -2.0, 0.1) for name in ("Heun", "DPM-Solver++(2M)")),
        Check("smooth error", "Runge-Kutta 4", "TV", "slope", 1.0, 0.05),
        Check("resonant error", "Runge-Kutta 4", "TV", "slope", 0.5, 0.05),
    ),
    table=order_table,
)

D4 = Claim(
    id="D4",
    group=DISCRETISATION,
    title="accelerated",
    statement=(
        "Accelerated samplers: total variation 1/T^2 of the flow, KL along the path 1/T^2 of the SDE, with a "
        "derivative of the score or without."
    ),
    source="arXiv 2306.09251, 2403.03852; the rig derived",
    experiments=(
        Experiment(
            "flow",
            partial(_flows, names=("accelerated flow",)),
            ("accelerated flow",),
            _grids(_LATE),
            "T",
        ),
        Experiment("SDE", partial(_kernels, names=_ACCELERATED), _ACCELERATED, _grids(_STEPS, _SMOKE), "T"),
        # Where the next order, 1/T^3, has become small.
        Experiment("many steps", partial(_paths, names=_ACCELERATED[1:]), _ACCELERATED[1:], _grids(_LATE), "T"),
    ),
    checks=(
        Check("flow", "accelerated flow", "TV", "slope", -2.0, 0.15),
        Check("SDE", _ACCELERATED[0], "path KL", "slope", -2.0, 0.15, smoke_tolerance=0.3),
        Check("many steps", _ACCELERATED[1], "path KL", "slope", -2.0, 0.15),
    ),
    table=order_table,
)

D5 = Claim(
    id="D5",
    group=DISCRETISATION,
    title="Hessian",
    statement="DDPM with the exact covariance of each step has KL 1/T^2 along the path, against 1/T without.",
    source="arXiv 2402.13901; the rig derived",
    experiments=(
        Experiment(
            "SDE",
            partial(_kernels, names=("DDPM", "Hessian DDPM")),
            ("DDPM", "Hessian DDPM"),
            _grids(_STEPS, _SMOKE),
            "T",
        ),
    ),
    checks=(
        Check("SDE", "Hessian DDPM", "path KL", "slope", -2.0, 0.15, smoke_tolerance=0.3),
        Check("SDE", "DDPM", "path KL", "slope", -1.0, 0.05, smoke_tolerance=0.15),
    ),
    table=order_table,
)
