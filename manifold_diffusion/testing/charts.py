"""Charts checked, at places in their domain and where a search between these ends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion.testing import methods
from manifold_diffusion.testing.law import Budget, Seen, Unseen, require_names
from manifold_diffusion.testing.laws.chart import CHART_LAWS, JACOBIAN, LOOKS, PLACE
from manifold_diffusion.testing.laws.structure import Method, examine
from manifold_diffusion.testing.observe import (
    Look,
    Made,
    argument,
    batched,
    called,
    generator,
    made,
    observe,
    precisions,
    rounded,
    within,
)
from manifold_diffusion.testing.report import Report, judged

_ROUNDS, _TRIES = 32, 64


@dataclass(frozen=True)
class _Options:
    coordinates: np.ndarray
    key: Any
    manifold: Any


def check_chart(
    chart: Any,
    coordinates: Any,
    *,
    manifold: Any = None,
    key: Any = None,
    dtype: Any = None,
    budget: Budget = None,
    skip: tuple[str, ...] | str = (),
) -> Report:
    """`CHART_LAWS` on a chart, or on what a factory makes anew in each precision, at `coordinates` (n, k) in its
    domain; AssertionError with all that is broken.

    manifold   into which the chart maps, or a factory of it
    dtype      "float64" or "float32"; by default both
    budget     raises the budgets that are relative, or replaces those of the laws it names
    skip       names of laws
    """
    __tracebackhide__ = True
    places = np.asarray(coordinates, np.float64)
    if places.ndim != 2 or len(places) < 2:
        raise ValueError(f"coordinates must be (n, k) with at least two rows, got shape {places.shape}")
    skipped = require_names(CHART_LAWS, budget, skip)
    options = _Options(places, jax.random.key(0) if key is None else key, manifold)
    objects = [made(chart, precision, "embed") for precision in precisions(dtype)]
    seen = [_seen(each, options) for each in objects]
    return judged(called(objects[0].subject), CHART_LAWS, seen, budget, skipped)


def _seen(each: Made, options: _Options) -> Seen:
    with within(each):
        seen, rng, dtype = Seen(each.dtype), generator(options.key), each.dtype
        u = rounded(options.coordinates, dtype)
        v, w = rng.standard_normal(u.shape), rng.standard_normal((len(u), _ambient_dim(each, u)))
        v, w = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (v, w))
        seen.update(u=u, v=v, w=w, size=float(np.max(np.ptp(u, axis=0))) / 2 or 1.0)
        cases = tuple(jnp.asarray(a, dtype) for a in (u, w))
        ways = [
            Method(Look("embed", methods.embed), cases, (None,), dtype),
            Method(Look("coordinates", methods.coordinates), cases, u.shape[1:], dtype),
        ]
        taken = examine(seen, each.subject, ways)
        if "embed" not in seen.sound:
            return seen.stop("embed")
        x = seen["values"]["embed"]
        seen.extent = float(np.max(np.abs(x), initial=0.0, where=np.isfinite(x))) or 1.0
        observe(seen, taken, LOOKS, cases)
        _differentiate(seen, taken, rng)
        if options.manifold is None:
            seen.missing["projected"] = Unseen("not there", "no manifold was given")
        else:
            manifold = argument(made(options.manifold, dtype, "project").subject)
            observe(seen, manifold, [Look("projected", methods.project)], (jnp.asarray(x, dtype),))
        return seen


def _ambient_dim(each: Made, u: np.ndarray) -> int:
    try:
        return max(1, jax.eval_shape(each.subject.embed, jnp.asarray(u[0], each.dtype)).size)
    except Exception:
        return 1


def _differentiate(seen: Seen, taken: Any, rng: np.random.Generator) -> None:
    u, v, dtype = seen["u"], seen["v"], seen.dtype
    h = float(np.finfo(dtype).eps) ** (1 / 3) * seen["size"]
    ahead, behind = rounded(u + h * v, dtype), rounded(u - h * v, dtype)
    apart = np.sum((ahead - behind) * v, axis=1)
    points = batched(taken, PLACE, np.concatenate([ahead, behind]), dtype)
    seen["differences"] = (points[: len(u)] - points[len(u) :]) / apart[:, None]
    if "jacobian" not in seen:
        seen.missing["jacobian differences"] = seen.missing["lowest"] = seen.missing["jacobian"]
        return
    J = batched(taken, JACOBIAN, np.concatenate([ahead, behind]), dtype)
    seen["jacobian differences"] = (J[: len(u)] - J[len(u) :]) / apart[:, None, None]
    seen["lowest"] = _search(u, seen["jacobian"], lambda at: batched(taken, JACOBIAN, at, dtype, _TRIES), rng)


def _search(
    u: np.ndarray, J: np.ndarray, jacobian: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The coordinates given and, last, where the smallest singular value is least: by random tries around the best one,
    ever closer, inside the box that the coordinates span.
    """

    def smallest(a):
        return np.linalg.svd(np.where(np.isfinite(a), a, 0.0), compute_uv=False)[:, -1]

    low, high = u.min(0), u.max(0)
    best = int(np.argmin(smallest(J)))
    place, value, there = u[best], smallest(J)[best], J[best]
    for i in range(_ROUNDS):
        tries = place[None] + (high - low) * 0.5**i * rng.uniform(-1, 1, (_TRIES, u.shape[1]))
        tries = np.clip(tries, low, high)
        found = jacobian(tries)
        values = smallest(found)
        least = int(np.argmin(values))
        if values[least] < value:
            place, value, there = tries[least], values[least], found[least]
    return np.concatenate([u, place[None]]), np.concatenate([J, there[None]])
