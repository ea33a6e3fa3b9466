"""D2, D9: which steps pay for the ambient dimension, by Gaussian data on a plane of R^d."""

from functools import partial

import jax.numpy as jnp

from manifold_diffusion import samplers
from manifold_diffusion._types import Key
from manifold_diffusion.processes import reverse
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Grid, Number, Scale
from manifold_diffusion.studies.discretisation.gaussian import Biased, divergence
from manifold_diffusion.studies.discretisation.mixture import noising, times
from manifold_diffusion.studies.discretisation.orders import DISCRETISATION

_DIM, _VARIANCE, _STEPS = 2, 1.5, 64
_INTRINSIC = "DDPM, posterior variance"
_SDE = {_INTRINSIC: samplers.ddpm, "DDPM": samplers.ddpm_plain, "Euler-Maruyama": samplers.euler_maruyama}


def _coordinate(name: str, variance: float, steps: int, error: float = 0.0) -> float:
    score = Biased(jnp.asarray(variance), jnp.asarray(error))
    return float(divergence(_SDE[name], reverse(noising(), score), jnp.asarray(variance), times(steps)))


def _ambient(key: Key, size: Number):
    """KL is a sum over coordinates: k along the plane and d - k across."""
    found = {}
    for name in (_INTRINSIC, "DDPM"):
        along, across = (_coordinate(name, variance, _STEPS) for variance in (_VARIANCE, 0.0))
        total = _DIM * along + (size - _DIM) * across
        found[name] = {"KL": total, "KL less that for d = 2": total - _DIM * along}
    return found


def _bias(key: Key, size: Number):
    exact, biased = (_DIM * _coordinate(_INTRINSIC, _VARIANCE, _STEPS, error) for error in (0.0, float(size)))
    return {_INTRINSIC: {"KL of a bias": biased - exact}}


def _normal(key: Key, steps: Number, *, codimension: int):
    names = ("Euler-Maruyama", _INTRINSIC)
    return {name: {"normal KL": codimension * abs(_coordinate(name, 0.0, int(steps)))} for name in names}


def _normal_in_dimension(key: Key, size: Number):
    return _normal(key, _STEPS, codimension=int(size) - _DIM)


def _grids(sizes: tuple[Number, ...]) -> dict[Scale, Grid]:
    grid = Grid(sizes, 1)
    return {"smoke": grid, "cpu": grid, "gpu": grid}


D2 = Claim(
    id="D2",
    group=DISCRETISATION,
    title="intrinsic dimension",
    statement=(
        "The error of DDPM with the posterior variance depends on the dimension of the data's plane, not on that of "
        "the space; with the plain variance it grows like d. A bias e of the score costs e^2 in KL."
    ),
    source="arXiv 2409.18959; the recursion derived",
    experiments=(
        Experiment("dimension", _ambient, (_INTRINSIC, "DDPM"), _grids((2, 8, 32, 128, 512)), "d"),
        Experiment("bias", _bias, (_INTRINSIC,), _grids((0.01, 0.02, 0.04, 0.08)), "e"),
    ),
    checks=(
        Check("dimension", _INTRINSIC, "KL less that for d = 2", "at_most", 0.0, 1e-10),
        Check("dimension", "DDPM", "KL", "slope", 1.0, 0.1, min_size=32),
        Check("bias", _INTRINSIC, "KL of a bias", "slope", 2.0, 0.05),
    ),
)

D9 = Claim(
    id="D9",
    group=DISCRETISATION,
    title="normal error",
    statement=(
        "Across the plane the KL of Euler-Maruyama is of order (D - k)/T^2, that of the step with the posterior "
        "variance is 0."
    ),
    source="derived",
    experiments=(
        Experiment(
            "steps",
            partial(_normal, codimension=6),
            ("Euler-Maruyama", _INTRINSIC),
            _grids((256, 512, 1024, 2048)),
            "T",
        ),
        Experiment(
            "dimension", _normal_in_dimension, ("Euler-Maruyama", _INTRINSIC), _grids((66, 130, 258, 514, 1026)), "D"
        ),
    ),
    checks=(
        Check("steps", "Euler-Maruyama", "normal KL", "slope", -2.0, 0.05),
        Check("dimension", "Euler-Maruyama", "normal KL", "slope", 1.0, 0.05),
        Check("steps", _INTRINSIC, "normal KL", "at_most", 0.0, 1e-10),
        Check("dimension", _INTRINSIC, "normal KL", "at_most", 0.0, 1e-10),
    ),
)
