"""Measures checked: samples and density against one another, by quadrature where the manifold has one."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion.testing import methods
from manifold_diffusion.testing.law import Budget, Seen, require_names
from manifold_diffusion.testing.laws.measure import MEASURE_LAWS
from manifold_diffusion.testing.laws.structure import Method, examine
from manifold_diffusion.testing.observe import (
    LOG_DENSITY,
    SAMPLE,
    UNIFORM,
    Look,
    Made,
    argument,
    attempt,
    batched,
    called,
    drawn,
    made,
    observe,
    precisions,
    within,
)
from manifold_diffusion.testing.report import Report, judged
from manifold_diffusion.testing.samplers import ORDERS, draw, nodes_of
from manifold_diffusion.testing.statistic import compare_with_nodes, compare_with_sample

_LOOKED_AT = 256


@dataclass(frozen=True)
class _Options:
    key: Any
    count: int
    order: int | None


def check_measure(
    measure: Any,
    *,
    key: Any = None,
    count: int = 4000,
    order: int | None = None,
    dtype: Any = None,
    budget: Budget = None,
    skip: tuple[str, ...] | str = (),
) -> Report:
    """`MEASURE_LAWS` on a measure, or on what a factory makes anew in each precision; AssertionError with all that is
    broken.

    count      how many points to draw
    order      of the manifold's quadrature; without a quadrature, uniform points stand in where the manifold has them
    dtype      "float64" or "float32"; by default both
    budget     raises the budgets that are relative, or replaces those of the laws it names
    skip       names of laws
    """
    __tracebackhide__ = True
    skipped = require_names(MEASURE_LAWS, budget, skip)
    options = _Options(jax.random.key(0) if key is None else key, count, order)
    objects = [made(measure, precision, "log_density") for precision in precisions(dtype)]
    seen = [_seen(each, options) for each in objects]
    return judged(called(objects[0].subject), MEASURE_LAWS, seen, budget, skipped)


def _seen(each: Made, options: _Options) -> Seen:
    with within(each):
        seen, measure = Seen(each.dtype), each.subject
        place, other = jax.random.split(options.key)
        draw(seen, each, SAMPLE, place, options.count)
        manifold = getattr(measure, "manifold", None)
        if manifold is None:
            seen["troubles"]["answers"]["manifold"] = "there is no manifold"
        if "points" not in seen or manifold is None:
            return seen if "points" not in seen else seen.stop("manifold")
        x = (jnp.asarray(seen["points"][:_LOOKED_AT], each.dtype),)
        taken = examine(seen, measure, [Method(LOG_DENSITY, x, (), each.dtype)])
        observe(seen, argument(manifold), [Look("projected", methods.project)], x)
        if "log_density" not in seen.sound:
            return seen.stop("log_density")
        seen["density"] = seen["values"]["log_density"]
        observe(seen, taken, [Look("gradient", methods.gradient)], x)
        _integrate(seen, measure, options, other)
        return seen


def _integrate(seen: Seen, measure: Any, options: _Options, key: Any) -> None:
    manifold, dtype, x = measure.manifold, seen.dtype, seen["points"]
    order = options.order or ORDERS.get(manifold.dim, 24)
    # The spread over three orders says how far the quadrature itself is off: much, where the density jumps.
    orders = (order, order + order // 4 + 1, 2 * order)
    attempt(seen, manifold, "quadrature", lambda: [nodes_of(measure, dtype, each) for each in orders])
    if "quadrature" in seen:
        totals = [float(np.sum(mass)) for _, mass in seen["quadrature"]]
        seen["nodes"] = nodes, mass = seen["quadrature"][-1]
        seen["mass"] = totals[-1], 3 * float(np.ptp(totals))
        seen["moments"] = compare_with_nodes(x, nodes, mass, dtype)
        return
    seen.missing["nodes"] = seen.missing["quadrature"]
    attempt(seen, manifold, "volume", lambda: float(manifold.volume()))
    attempt(seen, manifold, "uniform", lambda: drawn(manifold, UNIFORM, key, 4 * len(x)))
    if "uniform" not in seen:
        seen.missing["mass"] = seen.missing["moments"] = seen.missing["uniform"]
        return
    uniform = seen["uniform"]
    density = np.exp(batched(argument(measure), LOG_DENSITY, uniform, dtype, 4096))
    seen["moments"] = compare_with_sample(x, uniform, dtype, density)
    if "volume" in seen:
        values = density * seen["volume"]
        seen["mass"] = float(values.mean()), 5 * float(values.std()) / np.sqrt(len(values))
    else:
        seen.missing["mass"] = seen.missing["volume"]
