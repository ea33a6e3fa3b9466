"""Scores checked, (x, sigma) -> grad log p_sigma(x): at data with noise of every level, and near a manifold."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion.testing import methods
from manifold_diffusion.testing.law import ABSENT, Budget, Seen, Unseen, require_names
from manifold_diffusion.testing.laws.score import SCORE_LAWS, log_density_rise, shared, twist
from manifold_diffusion.testing.laws.structure import Method, examine
from manifold_diffusion.testing.observe import (
    PROJECT,
    SCORE,
    UNIFORM,
    Look,
    Made,
    argument,
    attempt,
    batched,
    called,
    drawn,
    generator,
    made,
    observe,
    precisions,
    rounded,
    run,
    within,
)
from manifold_diffusion.testing.report import Report, judged

_LEVELS = tuple(10.0**e for e in (-2, -1.5, -1, -0.5, 0, 1, 2))
_NEAR = (1.0, 0.5, 0.25)


@dataclass(frozen=True)
class _Options:
    points: Any
    data: Any
    manifold: Any
    noise_levels: Any
    is_gradient: bool
    key: Any
    count: int


def check_score(
    score: Any,
    points: Any = None,
    *,
    data: Any = None,
    manifold: Any = None,
    noise_levels: Any = None,
    is_gradient: bool = False,
    key: Any = None,
    count: int = 16,
    dtype: Any = None,
    budget: Budget = None,
    skip: tuple[str, ...] | str = (),
) -> Report:
    """`SCORE_LAWS` on a score, (x, sigma) -> R^d, or on what a factory makes anew in each precision; AssertionError
    with all that is broken.

    points         (n, d), to which noise is added at each level; by default the data or uniform points of the manifold
    data           (m, d), the data whose law is noised, for the law about their hull
    manifold       near which the score is that of a measure on it (or of the manifold alone); it may be a factory
    noise_levels   by default 1/100 to 100 times the extent. Near the manifold those of at most 0.3 times the reach are
                   looked at, by default 0.3, 0.15 and 0.075 times the reach; without a reach 0.03 extents stand in
    is_gradient    whether to ask that the score be a gradient, as those in closed form are and networks are not
    count          at how many points to look
    dtype          "float64" or "float32"; by default both
    budget         raises the budgets that are relative, or replaces those of the laws it names
    skip           names of laws
    """
    __tracebackhide__ = True
    skipped = require_names(SCORE_LAWS, budget, skip)
    if points is None and data is None and manifold is None:
        raise ValueError("check_score needs points=, data= or manifold= to know where to look")
    key = jax.random.key(0) if key is None else key
    options = _Options(points, data, manifold, noise_levels, is_gradient, key, count)
    objects = [made(score, precision) for precision in precisions(dtype)]
    seen = [_seen(each, options) for each in objects]
    return judged(called(objects[0].subject), SCORE_LAWS, seen, budget, skipped)


def _seen(each: Made, options: _Options) -> Seen:
    with within(each):
        seen, dtype, rng = Seen(each.dtype), each.dtype, generator(options.key)
        manifold = None if options.manifold is None else made(options.manifold, dtype, "project").subject
        points = _points(manifold, options)
        seen.extent = float(np.max(np.abs(points))) or 1.0
        levels = seen.extent * np.asarray(_LEVELS) if options.noise_levels is None else options.noise_levels
        sigma = np.repeat(rounded(np.asarray(levels), dtype), len(points))
        noise, a, b = rng.standard_normal((3, len(sigma), points.shape[1]))
        a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
        x = rounded(np.resize(points, noise.shape) + sigma[:, None] * noise, dtype)
        cases = tuple(jnp.asarray(v, dtype) for v in (x, sigma, a, b))
        seen.update(x=x, sigma=sigma)
        if options.data is None:
            seen.missing["data"] = Unseen("not there", "no data were given")
        else:
            seen["data"] = np.asarray(options.data, np.float64)
        taken = examine(seen, each.subject, [Method(SCORE, cases, points.shape[1:], dtype)])
        if "score" not in seen.sound:
            return seen.stop("score")
        seen["score"] = seen["values"]["score"]
        observe(seen, taken, _looks(seen, each.subject, options), cases)
        # Those of the first noise level once more, with the level not part of the batch.
        observe(seen, taken, [Look("shared", shared)], (cases[0][None, : len(points)], cases[1][:1]))
        if manifold is None:
            seen.missing["near"] = Unseen("not there", "no manifold was given")
        else:
            _approach(seen, taken, manifold, points, rng, options)
        return seen


def _points(manifold: Any, options: _Options) -> np.ndarray:
    given = options.data if options.points is None else options.points
    if given is None:
        there = Seen("float64")
        attempt(there, manifold, "uniform", lambda: drawn(manifold, UNIFORM, options.key, options.count))
        if "uniform" not in there:
            raise ValueError("the manifold has no uniform points; give points=, of shape (n, d)")
        given = there["uniform"]
    points = np.asarray(given, np.float64)
    if points.ndim != 2 or not len(points):
        raise ValueError(f"points and data must be (n, d) with at least one row, got shape {points.shape}")
    return np.resize(points, (options.count, points.shape[1]))


def _looks(seen: Seen, subject: Any, options: _Options) -> list[Look]:
    looks = []
    for name, way in (("denoise", methods.denoise), ("log_density", log_density_rise)):
        if hasattr(subject, name):
            looks.append(Look(name, way))
        else:
            seen.missing[name] = Unseen("not there", f"{ABSENT}{name}")
    if options.is_gradient:
        return [*looks, Look("twist", twist)]
    seen.missing["twist"] = Unseen("not there", "is_gradient was not asked for")
    return looks


def _approach(
    seen: Seen, taken: Any, manifold: Any, points: np.ndarray, rng: np.random.Generator, options: _Options
) -> None:
    """|D - project(x)| at points near the manifold, for small noise levels, largest first."""
    attempt(seen, manifold, "reach", lambda: float(manifold.reach()))
    reach = seen.get("reach", np.nan)
    length = 0.3 * reach if np.isfinite(reach) and reach > 0 else 0.03 * seen.extent
    levels = length * np.asarray(_NEAR)
    if options.noise_levels is not None:
        levels = np.unique([level for level in np.ravel(options.noise_levels) if level <= length])[::-1]
    if len(levels) < 2:
        seen.missing["near"] = Unseen("not there", f"fewer than two noise levels are at most {length:.3g}")
        return
    dtype, inside, offset = seen.dtype, argument(manifold), rng.standard_normal(points.shape)
    offset = length * offset / np.linalg.norm(offset, axis=1, keepdims=True)
    x = rounded(batched(inside, PROJECT, points, dtype) + offset, dtype)
    foot = batched(inside, PROJECT, x, dtype)
    sigma = np.repeat(rounded(levels, dtype), len(x))[:, None]
    there = np.tile(x, (len(levels), 1))
    value = run(taken, (SCORE,), (jnp.asarray(there, dtype), jnp.asarray(sigma[:, 0], dtype)))["score"]
    gap = there + sigma**2 * value - np.tile(foot, (len(levels), 1))
    seen["near"] = np.linalg.norm(gap, axis=1).reshape(len(levels), -1), levels, x
