"""Manifolds checked: points are put near them by ambient noise, so that no law rests on the manifold's own normals."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion.testing import methods
from manifold_diffusion.testing.law import Budget, Seen, Unseen, require_names
from manifold_diffusion.testing.laws import geodesic, volume
from manifold_diffusion.testing.laws.manifold import LOOKS, POINT_LAWS, Case
from manifold_diffusion.testing.laws.structure import STRUCTURE_LAWS, Method, examine
from manifold_diffusion.testing.observe import (
    PROJECT,
    Look,
    Made,
    batched,
    called,
    first_line,
    generator,
    made,
    observe,
    precisions,
    rounded,
    within,
)
from manifold_diffusion.testing.report import Report, judged

MANIFOLD_LAWS = (*STRUCTURE_LAWS, *POINT_LAWS, *volume.VOLUME_LAWS, *geodesic.GEODESIC_LAWS)
_CANDIDATES = 1024


@dataclass(frozen=True)
class _Options:
    points: Any
    key: Any
    count: int
    draws: int
    distance: float | int | None
    order: int | None
    skip: tuple[str, ...]


def check_manifold(
    manifold: Any,
    points: Any = None,
    *,
    key: Any = None,
    count: int = 32,
    draws: int = 2000,
    distance: float | int | None = None,
    order: int | None = None,
    dtype: Any = None,
    budget: Budget = None,
    skip: tuple[str, ...] | str = (),
) -> Report:
    """`MANIFOLD_LAWS` on a manifold, or on what a factory makes anew in each precision; AssertionError with all that
    is broken.

    points     (n, d), on the manifold or near it; by default uniform points or nodes of a quadrature
    count      at how many of them to look
    draws      how many uniform points to draw, where the manifold can
    distance   how far from the manifold x is put, and how far from its centre a chart is tried; by default 0.3 times
               the reach where that is known, else 0.03 times the extent
    order      of the quadrature
    dtype      "float64" or "float32"; by default both
    budget     raises the budgets that are relative, or replaces those of the laws it names
    skip       names of laws
    """
    __tracebackhide__ = True
    skipped = require_names(MANIFOLD_LAWS, budget, skip)
    key = jax.random.key(0) if key is None else key
    options = _Options(points, key, count, draws, distance, order, skipped)
    objects = [made(manifold, precision, "project") for precision in precisions(dtype)]
    seen = [_seen(each, options) for each in objects]
    return judged(called(objects[0].subject), MANIFOLD_LAWS, seen, budget, skipped)


class _Raised(Exception):
    pass


def _seen(each: Made, options: _Options) -> Seen:
    with within(each):
        manifold, dtype, seen = each.subject, each.dtype, Seen(each.dtype)
        k, d = (getattr(manifold, name, None) for name in ("dim", "ambient_dim"))
        if not isinstance(k, int) or not isinstance(d, int):
            words = f"dim and ambient_dim must be ints, got {k} and {d}"
            seen["troubles"] = {law.name: {"dim": words} if law.name == "answers" else {} for law in STRUCTURE_LAWS}
            return seen.stop("dim")
        seen["dim"] = k
        volume.look(seen, each, options.key, options.draws, options.order, options.skip)
        raw = _points(seen, options, d)
        seen.extent = float(np.max(np.abs(raw)))
        directions = generator(options.key).standard_normal((4, *raw.shape))
        directions = rounded(directions / np.linalg.norm(directions, axis=-1, keepdims=True), dtype)
        cases = tuple(jnp.asarray(a, dtype) for a in (raw, directions[0]))
        taken = examine(seen, manifold, _methods(cases, k, d, dtype))
        if "project" not in seen.sound:
            return seen.stop("project")
        try:
            _look(seen, taken, raw, directions, _length(seen, options))
        except _Raised as error:
            seen.otherwise = Unseen("broken", str(error))
        return seen


def _methods(cases: tuple, k: int, d: int, dtype: str) -> list[Method]:
    ways = (
        ("tangent", methods.tangent, (d,)),
        ("chart", methods.chart, None),
        ("chart.coordinates", methods.chart_coordinates, (k,)),
        ("chart.embed", methods.chart_embed, (d,)),
    )
    others = [Method(Look(name, call), cases, shape, dtype) for name, call, shape in ways]
    return [Method(PROJECT, cases, (d,), dtype), *others]


def _look(seen: Seen, taken: Any, raw: np.ndarray, directions: np.ndarray, length: float) -> None:
    dtype = seen.dtype

    def project(points):
        try:
            return batched(taken, PROJECT, points, dtype)
        except Exception as error:
            raise _Raised(f"project raises {first_line(error)}") from error

    away, v, w, aside = directions
    # From 0.2 to 1 times the length: not only at one distance.
    depth = length * np.linspace(0.2, 1.0, len(raw))[:, None]
    start = project(raw)
    x = rounded(start + depth * away, dtype)
    y = project(x)
    q = project(y + depth * aside)
    case = Case(y, x - y, v, w, q, np.full(len(y), length))
    seen.update(x=x, foot=y, w=w, q=q)
    seen["foot twice"] = project(y)
    looks = [*LOOKS, *geodesic.looks(seen, taken)]
    observe(seen, taken, looks, (Case(*(jnp.asarray(a, dtype) for a in case)),))
    # The step at which the errors of rounding and of the difference quotient are about equal.
    h = float(np.finfo(dtype).eps) ** (1 / 3) * length / 0.3
    ahead, behind = rounded(y + h * w, dtype), rounded(y - h * w, dtype)
    seen["differences"] = (project(ahead) - project(behind)) / np.sum((ahead - behind) * w, axis=1, keepdims=True)
    if "around" in seen:
        seen["embedded foot"] = project(seen["around"]["point"])
    else:
        seen.missing["embedded foot"] = seen.missing["around"]
    feet = project(seen.get("uniform", np.zeros((0, y.shape[1])))[:_CANDIDATES])
    seen["candidates"] = np.concatenate([y, start, feet])
    volume.feet(seen, project, feet)
    geodesic.feet(seen, project)


def _points(seen: Seen, options: _Options, d: int) -> np.ndarray:
    if options.points is not None:
        points = np.asarray(options.points, np.float64)
        if points.ndim != 2 or points.shape[1] != d or not len(points):
            raise ValueError(f"points must be (n, {d}) with at least one row, got shape {points.shape}")
        return np.resize(points, (options.count, d)) if len(points) < options.count else points[: options.count]
    if "uniform" in seen:
        return seen["uniform"][: options.count]
    if "quadrature" in seen:
        nodes = seen["quadrature"][0]
        return nodes[np.linspace(0, len(nodes) - 1, options.count).astype(int)]
    raise ValueError(f"the manifold has neither uniform points nor a quadrature; give points=, of shape (n, {d})")


def _length(seen: Seen, options: _Options) -> float:
    if options.distance is not None:
        return float(options.distance)
    reach = seen.get("reach", np.nan)
    return 0.3 * reach if np.isfinite(reach) and reach > 0 else 0.03 * seen.extent
