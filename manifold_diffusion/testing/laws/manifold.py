"""Laws of manifolds: projection, tangent spaces and charts, each against what the other two say.

With x near the manifold, y = project(x), P the matrix of tangent(y, .), c = chart(y) and J the Jacobian of c.embed at
its centre.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion._numerics import dot
from manifold_diffusion._small_matrices import orthonormal_columns, solve_positive
from manifold_diffusion.testing.law import DIFFERENCES, EXACT, ZERO, Found, Law, Seen
from manifold_diffusion.testing.observe import Look


class Case(NamedTuple):
    """A point y = project(x), the step x - y, directions v and w of length one, a point q near y, and a length."""

    y: Any
    step: Any
    v: Any
    w: Any
    q: Any
    length: Any


def _tangents(manifold, case):
    columns = jax.vmap(manifold.tangent, in_axes=(None, 0), out_axes=1)
    eye = jnp.eye(len(case.y), dtype=case.y.dtype)
    found = columns(case.y, jnp.concatenate([case.step[None], case.w[None], eye]))
    return {"step": found[:, 0], "w": found[:, 1], "projector": found[:, 2:]}


def _around(manifold, case):
    """The chart at y, its frame, and a place that a tangent step of the given length leads to."""
    chart = manifold.chart(case.y)
    centre = chart.coordinates(case.y)
    J = jax.jacfwd(chart.embed)(centre)
    v = manifold.tangent(case.y, case.v)
    v = case.length * v / jnp.sqrt(jnp.sum(v * v))
    u = centre + solve_positive(dot(J.T, J), dot(J.T, v)[:, None])[:, 0]
    point = chart.embed(u)
    gap = chart.coordinates(point) - u
    return {
        "centre": chart.embed(centre),
        "frame": orthonormal_columns(J),
        "u": u,
        "point": point,
        "gap": dot(J, gap),
    }


def _chart_derivatives(manifold, case):
    """Forward and reverse derivatives of both maps of the chart at its centre."""
    chart = manifold.chart(case.y)
    centre = chart.coordinates(case.y)
    _, pull = jax.vjp(chart.embed, centre)
    _, pull_back = jax.vjp(chart.coordinates, case.y)
    forward = jax.jvp(chart.coordinates, (case.y,), (case.w,))[1]
    return jnp.concatenate([*pull(case.w), *pull_back(jnp.ones_like(centre)), forward])


def _forward(manifold, case):
    return jax.jvp(manifold.project, (case.y,), (case.w,))[1]


def _reverse(manifold, case):
    return jax.vjp(manifold.project, case.y)[1](case.w)[0]


LOOKS = (
    Look("tangents", _tangents, ("tangent",)),
    Look("around", _around, ("tangent", "chart", "chart.coordinates", "chart.embed")),
    Look("chart derivatives", _chart_derivatives, ("chart", "chart.coordinates", "chart.embed")),
    Look("forward derivative", _forward, ()),
    Look("reverse derivative", _reverse, ()),
)


def _norms(a: np.ndarray) -> np.ndarray:
    return np.sqrt(np.sum(a * a, axis=tuple(range(1, a.ndim))))


def _largest(a: np.ndarray) -> np.ndarray:
    return np.max(np.abs(a), axis=tuple(range(1, a.ndim)))


def _lands(seen: Seen) -> Found:
    return Found(_norms(seen["foot twice"] - seen["foot"]), {"x": seen["x"]})


def _normal(seen: Seen) -> Found:
    return Found(_norms(seen["tangents"]["step"]), {"x": seen["x"]})


def _nearest(seen: Seen) -> Found:
    x, others = seen["x"], seen["candidates"]
    distance = _norms(x - seen["foot"])
    which = [int(np.argmin(_norms(others - each[None]))) for each in x]
    return Found(distance - _norms(x - others[which]), {"x": x, "nearer": others[which]})


def _orthogonal(seen: Seen) -> Found:
    P = seen["tangents"]["projector"]
    errors = np.maximum(_largest(P - P.swapaxes(1, 2)), _largest(P @ P - P))
    return Found(errors, {"y": seen["foot"]})


def _rank(seen: Seen) -> Found:
    trace = np.trace(seen["tangents"]["projector"], axis1=1, axis2=2)
    return Found(np.abs(trace - seen["dim"]), {"y": seen["foot"]}, [f"its trace is {t:.6g}" for t in trace])


def _differences(seen: Seen) -> Found:
    gap = seen["differences"] - seen["tangents"]["w"]
    return Found(_norms(gap), {"y": seen["foot"], "w": seen["w"]})


def _derivative(name: str):
    def find(seen: Seen) -> Found:
        return Found(_norms(seen[name] - seen["tangents"]["w"]), {"y": seen["foot"], "w": seen["w"]})

    return find


def _centre(seen: Seen) -> Found:
    return Found(_norms(seen["around"]["centre"] - seen["foot"]), {"y": seen["foot"]})


def _inverse(seen: Seen) -> Found:
    return Found(_norms(seen["around"]["gap"]), {"y": seen["foot"], "u": seen["around"]["u"]})


def _into(seen: Seen) -> Found:
    around = seen["around"]
    return Found(_norms(seen["embedded foot"] - around["point"]), {"y": seen["foot"], "u": around["u"]})


def _spans(seen: Seen) -> Found:
    frame = seen["around"]["frame"]
    gap = frame @ frame.swapaxes(1, 2) - seen["tangents"]["projector"]
    return Found(_largest(gap), {"y": seen["foot"]})


def _smooth(seen: Seen) -> Found:
    return Found(np.sum(~np.isfinite(seen["chart derivatives"]), axis=1), {"y": seen["foot"]})


POINT_LAWS = (
    Law("project lands", "project(project(x)) = project(x)", "iterate the projection to convergence", _lands),
    Law(
        "residual is normal",
        "tangent(y, x - y) = 0 for y = project(x)",
        "y is not the nearest point, or tangent is not the tangent space there",
        _normal,
    ),
    Law(
        "no point is nearer",
        "|x - project(x)| <= |x - project(q)| for all other points q",
        "the search ended in a local minimum: start it from more places, or check at a smaller distance=",
        _nearest,
    ),
    Law(
        "tangent is an orthogonal projector",
        "P = P^T = P P for the matrix P of tangent(y, .)",
        "subtract the normal part with unit normals, or use F F^T with orthonormal columns",
        _orthogonal,
        EXACT,
        "one",
    ),
    Law("tangent has rank dim", "trace P = dim", "dim, or the number of normals, is wrong", _rank, EXACT, "one"),
    Law(
        "project has the tangent projector as its derivative",
        "(project(y + h w) - project(y - h w)) / 2h = tangent(y, w)",
        "project and tangent belong to different manifolds, or project is not smooth",
        _differences,
        DIFFERENCES,
        "one",
    ),
    Law(
        "forward derivative of project",
        "jax.jvp of project at y along w is tangent(y, w), and finite",
        "guard divisions by lengths that may be 0 (jnp.where twice); check custom_jvp rules",
        _derivative("forward derivative"),
        DIFFERENCES,
        "one",
    ),
    Law(
        "reverse derivative of project",
        "jax.vjp of project at y along w is tangent(y, w), and finite",
        "use lax.scan or fori_loop with a fixed length, which have a reverse derivative; check custom_vjp rules",
        _derivative("reverse derivative"),
        DIFFERENCES,
        "one",
    ),
    Law(
        "chart contains its centre",
        "c.embed(c.coordinates(y)) = y",
        "the chart around y does not pass through y",
        _centre,
    ),
    Law(
        "coordinates invert embed",
        "c.coordinates(c.embed(u)) = u, in units of length: |J (difference)|",
        "wrong inverse, or an angle that is not brought back into its period",
        _inverse,
    ),
    Law(
        "chart maps into the manifold",
        "project(c.embed(u)) = c.embed(u)",
        "chart and project belong to different manifolds; near an edge, give points= away from it",
        _into,
    ),
    Law(
        "chart spans the tangent space",
        "the columns of J span the range of P",
        "tangent and the derivative of embed do not belong together",
        _spans,
        EXACT,
        "one",
    ),
    Law(
        "chart is differentiable at its centre",
        "derivatives of embed and coordinates are finite there, forward and reverse",
        "guard square roots and divisions at 0 (jnp.where twice), and use arctan2, never arccos",
        _smooth,
        ZERO,
        "numbers that are not finite",
    ),
)
