"""Samplers checked, key -> point, alone or against the measure and the manifold they are meant for."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion.testing import methods
from manifold_diffusion.testing.law import Budget, Found, Seen, Unseen, difference, require_names
from manifold_diffusion.testing.laws.sampler import SAMPLER_LAWS
from manifold_diffusion.testing.laws.structure import Method, examine
from manifold_diffusion.testing.observe import (
    CALL,
    LOG_DENSITY,
    SAMPLE,
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
    run,
    within,
)
from manifold_diffusion.testing.report import Report, judged
from manifold_diffusion.testing.statistic import compare_with_nodes, compare_with_sample

ORDERS = {1: 4096, 2: 128}


def check_sampler(
    sampler: Any,
    *,
    measure: Any = None,
    manifold: Any = None,
    key: Any = None,
    count: int = 1024,
    dtype: Any = None,
    budget: Budget = None,
    skip: tuple[str, ...] | str = (),
) -> Report:
    """`SAMPLER_LAWS` on a sampler, key -> point, or on what a factory makes anew in each precision; AssertionError with
    all that is broken.

    measure    the law the points should have, manifold the set they should be near; each may be a factory
    count      how many points to draw
    dtype      "float64" or "float32"; by default both
    budget     raises the budgets that are relative, or replaces those of the laws it names
    skip       names of laws
    """
    __tracebackhide__ = True
    skipped = require_names(SAMPLER_LAWS, budget, skip)
    key = jax.random.key(0) if key is None else key
    objects = [made(sampler, precision) for precision in precisions(dtype)]
    seen = [seen_of(each, key, count, measure, manifold) for each in objects]
    return judged(called(objects[0].subject), SAMPLER_LAWS, seen, budget, skipped)


def draw(seen: Seen, each: Made, look: Look, key: Any, count: int) -> None:
    """`count` points, from that many keys, into `seen`, and how far they are from those of the same keys again."""
    keys = jax.random.split(key, count)
    taken = examine(seen, each.subject, [Method(look, (keys,), (None,), each.dtype if each.fresh else None)])
    if look.name not in seen.sound:
        seen.stop(look.name)
        return
    points = seen["values"][look.name]
    seen["points"], seen["again"] = points, difference(run(taken, (look,), (keys,))[look.name], points)
    seen.extent = float(np.max(np.abs(points), initial=0.0, where=np.isfinite(points))) or 1.0


def seen_of(each: Made, key: Any, count: int, measure: Any, manifold: Any) -> Seen:
    """What the laws of samplers look at."""
    with within(each):
        seen = Seen(each.dtype)
        draw(seen, each, CALL, jax.random.fold_in(key, 0), count)
        if "points" not in seen:
            return seen
        law = None if measure is None else made(measure, each.dtype, "log_density").subject
        manifold = getattr(law, "manifold", None) if manifold is None else made(manifold, each.dtype, "project").subject
        if law is None:
            seen.missing["moments"] = Unseen("not there", "no measure was given")
        else:
            seen["moments"] = _comparison(seen, law, jax.random.fold_in(key, 1))
        if manifold is None:
            seen.missing["projected"] = Unseen("not there", "no manifold was given")
        else:
            points = jnp.asarray(seen["points"], each.dtype)
            observe(seen, argument(manifold), [Look("projected", methods.project)], (points,))
        return seen


def _comparison(seen: Seen, measure: Any, key: Any) -> Found:
    """The moments against those of the measure: by quadrature where there is one, else against its sample."""
    x, there = seen["points"], Seen(seen.dtype)
    attempt(there, measure.manifold, "quadrature", lambda: nodes_of(measure, seen.dtype, None))
    if "quadrature" in there:
        nodes, mass = there["quadrature"]
        return compare_with_nodes(x, nodes, mass, seen.dtype)
    return compare_with_sample(x, drawn(measure, SAMPLE, key, 4 * len(x)), seen.dtype)


def nodes_of(measure: Any, dtype: str, order: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of the quadrature of the measure's manifold, and the mass of the measure at each."""
    manifold = measure.manifold
    order = order or ORDERS.get(manifold.dim, 24)
    nodes, weights = (np.asarray(a, np.float64) for a in manifold.quadrature(order))
    log_density = batched(argument(measure), LOG_DENSITY, nodes, dtype, 4096)
    return nodes, np.exp(log_density) * weights
