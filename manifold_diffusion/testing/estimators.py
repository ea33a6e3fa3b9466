"""Estimators checked, (key, data) -> sampler: what they fit, twice, to the data in another order, and rotated."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion.testing.law import Budget, Seen, Unseen, difference, require_names
from manifold_diffusion.testing.laws.estimator import ESTIMATOR_LAWS
from manifold_diffusion.testing.observe import (
    CALL,
    Made,
    called,
    drawn,
    first_line,
    generator,
    made,
    precisions,
    rounded,
    within,
)
from manifold_diffusion.testing.report import Report, judged
from manifold_diffusion.testing.samplers import seen_of


@dataclass(frozen=True)
class _Options:
    data: np.ndarray
    measure: Any
    manifold: Any
    rotation: bool
    key: Any
    count: int


def check_estimator(
    estimator: Any,
    data: Any,
    *,
    measure: Any = None,
    manifold: Any = None,
    rotation: bool = False,
    key: Any = None,
    count: int = 512,
    dtype: Any = None,
    budget: Budget = None,
    skip: tuple[str, ...] | str = (),
) -> Report:
    """`ESTIMATOR_LAWS` on an estimator, (key, data) -> sampler, or on what a factory makes anew, fitted to `data` (n,
    d) in each precision; AssertionError with all that is broken.

    measure    the law the points should have, manifold the set they should be near; each may be a factory
    rotation   whether rotated data are to give rotated points
    count      how many points to draw of each fit
    dtype      "float64" or "float32"; by default both
    budget     raises the budgets that are relative, or replaces those of the laws it names
    skip       names of laws
    """
    __tracebackhide__ = True
    points = np.asarray(data, np.float64)
    if points.ndim != 2 or len(points) < 2:
        raise ValueError(f"data must be (n, d) with at least two rows, got shape {points.shape}")
    skipped = require_names(ESTIMATOR_LAWS, budget, skip)
    options = _Options(points, measure, manifold, rotation, jax.random.key(0) if key is None else key, count)
    objects = [made(estimator, precision) for precision in precisions(dtype)]
    seen = [_seen(each, options) for each in objects]
    return judged(called(objects[0].subject), ESTIMATOR_LAWS, seen, budget, skipped)


def _seen(each: Made, options: _Options) -> Seen:
    with within(each):
        fit_key, draw_key, other_key = jax.random.split(options.key, 3)
        data, rng = options.data, generator(options.key)
        try:
            sampler = _fit(each, fit_key, data)
        except Exception as error:
            return _unfit(each.dtype, f"it raises {first_line(error)}")
        if not callable(sampler):
            return _unfit(each.dtype, f"it returns a {type(sampler).__name__}, which cannot be called with a key")
        seen = seen_of(Made(sampler, each.dtype, True), draw_key, options.count, options.measure, options.manifold)
        size = seen["points"].shape[1] if "points" in seen else data.shape[1]
        seen["fit"] = "" if size == data.shape[1] else f"points have {size} coordinates, the data {data.shape[1]}"
        if "points" not in seen or seen["fit"]:
            return seen.stop("the sampler")
        again = drawn(_fit(each, fit_key, data), CALL, jax.random.fold_in(draw_key, 0), options.count)
        seen["fitted again"] = difference(again, seen["points"])
        seen["permuted"] = drawn(_fit(each, fit_key, rng.permutation(data)), CALL, other_key, options.count)
        if options.rotation:
            turn = np.linalg.qr(rng.standard_normal((size, size)))[0]
            seen["rotated"] = drawn(_fit(each, fit_key, data @ turn.T), CALL, other_key, options.count) @ turn
        else:
            seen.missing["rotated"] = Unseen("not there", "rotation was not asked for")
        return seen


def _fit(each: Made, key: Any, data: np.ndarray) -> Any:
    return each.subject(key, jnp.asarray(rounded(data, each.dtype), each.dtype))


def _unfit(dtype: str, words: str) -> Seen:
    seen = Seen(dtype)
    seen["fit"] = words
    return seen.stop("the estimator")
