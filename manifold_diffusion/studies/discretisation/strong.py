"""D8: paths of samplers against finer paths of the same noise, and walks on the sphere against Brownian motion."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from manifold_diffusion import samplers
from manifold_diffusion._types import Key
from manifold_diffusion.processes import Reverse
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Grid, Number, Scale
from manifold_diffusion.studies.discretisation.mixture import equation, mixture, noising, times
from manifold_diffusion.studies.discretisation.order_table import order_table
from manifold_diffusion.studies.discretisation.orders import DISCRETISATION
from manifold_diffusion.studies.discretisation.walks import QUANTITIES, WALKS, weak_errors

_FINE, _PATHS = 4096, 512
_METHODS = {"Euler-Maruyama": samplers.euler_maruyama, "stochastic Heun": samplers.stochastic_heun}


@eqx.filter_jit
def _ends(step: Any, sde: Reverse, ts, starts, increments):
    return jax.vmap(lambda x, dws: samplers.integrate(step, sde, ts, x, dws))(starts, increments)


def _strong(key: Key, size: Number, *, names: tuple[str, ...]):
    """The root mean square distance at the end to the path of 4096 steps of stochastic Heun."""
    start_key, path_key = jax.random.split(key)
    fine, sde, steps = times(_FINE), equation(mixture(), 1.0), int(size)
    increments = jnp.sqrt(-jnp.diff(fine))[None, :, None] * jax.random.normal(path_key, (_PATHS, _FINE, 1))
    # The law at the first time is within a percent of the normal one; a path may start anywhere.
    starts = noising().sigma(fine[0]) * jax.random.normal(start_key, (_PATHS, 1))
    reference = _ends(samplers.stochastic_heun, sde, fine, starts, increments)
    coarse = increments.reshape(_PATHS, steps, -1, 1).sum(axis=2)
    every = _FINE // steps
    found = {name: _ends(_METHODS[name], sde, fine[::every], starts, coarse) for name in names}
    return {name: {"distance": float(jnp.sqrt(jnp.mean((ends - reference) ** 2)))} for name, ends in found.items()}


_GRIDS: dict[Scale, Grid] = {
    "smoke": Grid((64, 128, 256), 2),
    "cpu": Grid((64, 128, 256, 512), 20),
    "gpu": Grid((64, 128, 256, 512), 40),
}
_WALK_GRID = Grid((256, 512, 1024, 2048, 4096), 1)
_WALK_GRIDS: dict[Scale, Grid] = {"smoke": _WALK_GRID, "cpu": _WALK_GRID, "gpu": _WALK_GRID}

D8 = Claim(
    id="D8",
    group=DISCRETISATION,
    title="strong and weak order",
    statement=(
        "Paths of Euler-Maruyama and of stochastic Heun approach those of the same noise at order 1; the laws of "
        "geodesic and retraction walks on the sphere approach those of Brownian motion at order 1."
    ),
    source="Kloeden and Platen, Numerical Solution of Stochastic Differential Equations; the walks' laws derived",
    experiments=(
        Experiment("paths", partial(_strong, names=tuple(_METHODS)), tuple(_METHODS), _GRIDS, "T"),
        Experiment("sphere", weak_errors, tuple(WALKS), _WALK_GRIDS, "T"),
    ),
    checks=(
        *(Check("paths", name, "distance", "slope", -1.0, 0.1, smoke_tolerance=0.3) for name in _METHODS),
        *(Check("sphere", name, quantity, "slope", -1.0, 0.05) for name in WALKS for quantity in QUANTITIES),
    ),
    table=order_table,
)
