"""Laws of what some manifolds know besides: their volume, a quadrature, uniform points, a lower bound on the reach."""

from collections.abc import Callable
from typing import Any

import numpy as np

from manifold_diffusion.testing.law import DEVIATIONS, INTEGRALS, ZERO, Found, Law, Seen
from manifold_diffusion.testing.observe import UNIFORM, Made, attempt, drawn
from manifold_diffusion.testing.statistic import compare_with_nodes

NODES = 256
ORDERS = {1: 1024, 2: 128}


def look(seen: Seen, each: Made, key: Any, draws: int, order: int | None, skip: tuple[str, ...]) -> None:
    """The volume, a quadrature, uniform points and the reach, where the manifold has them."""
    manifold = each.subject
    order = order or ORDERS.get(manifold.dim, 24)
    attempt(seen, manifold, "volume", lambda: float(manifold.volume()))
    attempt(seen, manifold, "quadrature", lambda: tuple(np.asarray(a, np.float64) for a in manifold.quadrature(order)))
    if "reach is a lower bound" not in skip:
        attempt(seen, manifold, "reach", lambda: float(manifold.reach()))
    attempt(seen, manifold, "uniform", lambda: drawn(manifold, UNIFORM, key, draws))


def feet(seen: Seen, project: Callable[[np.ndarray], np.ndarray], uniform_feet: np.ndarray) -> None:
    """Where uniform points and nodes of the quadrature are projected."""
    seen["uniform foot"] = uniform_feet
    if "quadrature" in seen:
        nodes = seen["quadrature"][0]
        seen["nodes"] = nodes[np.unique(np.linspace(0, len(nodes) - 1, NODES).astype(int))]
        seen["nodes foot"] = project(seen["nodes"])
    else:
        seen.missing["nodes"] = seen.missing["quadrature"]


def _positive(seen: Seen) -> Found:
    volume = seen["volume"]
    return Found(np.asarray([0.0 if volume > 0 and np.isfinite(volume) else 1.0]), {}, f"the volume is {volume:.6g}")


def _sums(seen: Seen) -> Found:
    volume, total = seen["volume"], float(np.sum(seen["quadrature"][1]))
    words = f"the weights sum to {total:.8g}, the volume is {volume:.8g}"
    return Found(np.asarray([abs(total / volume - 1)]), {}, words)


def _on(points: str, foot: str):
    def find(seen: Seen) -> Found:
        at = seen[points][: len(seen[foot])]
        return Found(np.linalg.norm(at - seen[foot], axis=1), {"x": at})

    return find


def _fills(seen: Seen) -> Found:
    nodes, weights = seen["quadrature"]
    return compare_with_nodes(seen["uniform"], nodes, weights, seen.dtype)


def _federer(seen: Seen) -> Found:
    """2 reach dist(q - y, T_y) / |q - y|^2 <= 1 (Federer 1959, theorem 4.18); rounding is taken off the distance."""
    y, P, others, reach = seen["foot"], seen["tangents"]["projector"], seen["candidates"], seen["reach"]
    rounding = 200 * float(np.finfo(seen.dtype).eps) * seen.extent
    errors, pairs = np.zeros(len(y)), np.array(y)
    for i, (point, projector) in enumerate(zip(y, P, strict=True)):
        chord = others - point[None]
        across = np.linalg.norm(chord - chord @ projector.T, axis=1) - rounding
        square = np.sum(chord * chord, axis=1)
        ratio = np.where(across > 0, 2 * reach * across / np.where(square > 0, square, 1.0), 0.0)
        errors[i], pairs[i] = np.max(ratio), others[np.argmax(ratio)]
    return Found(errors, {"x": y, "y": pairs})


VOLUME_LAWS = (
    Law("volume is positive", "0 < volume() < infinity", "a sign or a logarithm is wrong", _positive, ZERO, "numbers"),
    Law(
        "quadrature sums to the volume",
        "the weights of quadrature(order) sum to volume(), as a ratio",
        "a volume element or a factor is missing; or give a higher order=",
        _sums,
        INTEGRALS,
        "one",
    ),
    Law(
        "quadrature nodes lie on the manifold",
        "project(x) = x for nodes x of quadrature(order)",
        "quadrature and project belong to different manifolds",
        _on("nodes", "nodes foot"),
    ),
    Law(
        "uniform points lie on the manifold",
        "project(x) = x for x = uniform(key)",
        "uniform and project belong to different manifolds",
        _on("uniform", "uniform foot"),
    ),
    Law(
        "uniform points have the moments of the quadrature",
        "means of x and of its products over uniform points are the integrals divided by the volume",
        "uniform in the coordinates is not uniform in volume: accept with probability ~ sqrt(det g)",
        _fills,
        DEVIATIONS,
        "standard errors",
    ),
    Law(
        "reach is a lower bound",
        "2 reach() dist(y - x, tangent space at x) <= |y - x|^2 for points x, y (Federer)",
        "reach() must not exceed the smallest radius of curvature, nor half the width of a bottleneck",
        _federer,
        {"float64": 1.01, "float32": 1.01},
        "ratio",
    ),
)
