"""Adaptive quadrature of posterior moments over a box of one or two dimensions, with a bound of its error.

The integrals are those of e^l (1, z, |z|^2), with a log weight l and a vector z given at each parameter v. A panel is a
small box with a tensor product of Gauss-Kronrod rules. What a panel says is kept relative to e^top, top the largest l
on its nodes, so that nothing that matters underflows. Panels with the largest errors are halved, in an array of a fixed
size.

Two things make up the error of a panel. Where its nodes see the integrand: Kronrod against Gauss and against two more
null rules, so that no accident hides a jump, with the exponent 3/2 of QUADPACK (Piessens et al., 1983, section 3.4.1).
Where l changes by many nats between neighbouring nodes they may miss a peak: of a parabola through three neighbours the
top is at most an eighth of the larger difference above the middle one (derived), and the error is the integral as if l
were as high as a quarter of it allows.
"""

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from manifold_diffusion._numerics import dot, vary_like
from manifold_diffusion._types import Coordinates, Scalar
from manifold_diffusion.scores.kronrod import kronrod, tensor

# The peak's own box, in its widths; the number of rings around it, and the least ratio of their sizes.
_CENTRE, _RINGS, _RATIO = 3.5, 6, 2.5
# Differences below this many nats between neighbouring nodes are left to the rules.
_SEEN = 8.0
# Panels whose weight is below e^-60 of the largest do not matter, however wide they are.
_FAR = 60.0
_ROUNDING = 8.0


class Node(NamedTuple):
    """The integrand at one parameter: e^log_weight volume (1, z, |z|^2), and bounds for the rounding of l and z."""

    log_weight: Scalar
    volume: Scalar
    offset: Float[Array, " d"]
    log_weight_rounding: Scalar
    offset_rounding: Scalar


class Panels(NamedTuple):
    """Boxes centre +- half and what is known of the integrals over them, relative to e^top.

    values               integrals of (1, z, |z|^2)
    errors, roundings    bounds for those of 1, z (its length) and |z|^2
    log_unseen           log of a bound for what the nodes may have missed, of all three together
    side                 the side to halve first
    """

    centre: Float[Array, "*n k"]
    half: Float[Array, "*n k"]
    values: Float[Array, "*n f"]
    errors: Float[Array, "*n 3"]
    roundings: Float[Array, "*n 3"]
    top: Float[Array, "*n"]
    log_unseen: Float[Array, "*n"]
    side: Float[Array, "*n"]


class Integral(NamedTuple):
    """Integrals e^log_scale (values) of (1, z, |z|^2), with bounds of their errors and roundings as in `Panels`."""

    panels: Panels
    used: Int[Array, ""]
    log_scale: Scalar
    values: Float[Array, " f"]
    errors: Float[Array, " 3"]
    roundings: Float[Array, " 3"]
    converged: Bool[Array, ""]


def first_panels(stiffness: Coordinates, low: Coordinates, high: Coordinates) -> Float[Array, "2 p k"]:
    """(lower, upper) of boxes that cover [low, high] and grow geometrically with the distance from 0: a peak of width 1
    / sqrt(stiffness) along each coordinate, then rings. Those outside of [low, high] are empty.
    """
    size = high - low
    tiny = jnp.finfo(size.dtype).tiny
    start = jnp.minimum(_CENTRE / jnp.sqrt(jnp.maximum(stiffness, tiny)), size)
    ratio = jnp.maximum((size / start) ** (1 / _RINGS), _RATIO)
    sides = start[None, :] * ratio[None, :] ** jnp.arange(_RINGS + 1, dtype=size.dtype)[:, None]
    # The last ring reaches beyond the box, wherever in it 0 is.
    sides = jnp.where(
        jnp.arange(_RINGS + 1)[:, None] < _RINGS, sides, 2 * (size + jnp.abs(low) + jnp.abs(high))[None, :]
    )
    corners = jnp.concatenate([jnp.zeros_like(start)[None, :], sides, -sides])
    return jnp.clip(
        corners[_first_corners(len(low)), np.arange(len(low), dtype=np.int32)], low[None, None, :], high[None, None, :]
    )


@functools.cache
def _first_corners(k: int) -> np.ndarray:
    """(2, p, k): which of (0, sides, -sides) each corner is. The ring between the boxes [-a, a] and [-b, b] is a
    pinwheel of 2 k boxes.
    """
    plus, minus = 1 + np.arange(_RINGS + 1), 2 + _RINGS + np.arange(_RINGS + 1)
    low, high = [], []
    for signs in itertools.product((0, 1), repeat=k):
        low.append([0 if s else minus[0] for s in signs])
        high.append([plus[0] if s else 0 for s in signs])
    for (p, m), (pp, mm) in itertools.pairwise(zip(plus, minus, strict=True)):
        low += [[mm], [p]] if k == 1 else [[m, p], [p, mm], [mm, mm], [mm, m]]
        high += [[m], [pp]] if k == 1 else [[pp, pp], [pp, p], [p, m], [m, pp]]
    return np.array([low, high], np.int32)


def look(integrand: Callable[[Coordinates], Node], centre: Coordinates, half: Coordinates, widest: Coordinates):
    """The panel centre +- half, its integrals and what is known of their errors."""
    m, k = len(kronrod().nodes), len(centre)
    node, weights = _nodes(integrand, centre, half)
    top = jnp.maximum(jnp.max(node.log_weight), jnp.finfo(half.dtype).min / 4)
    density = node.volume * jnp.exp(node.log_weight - top)
    square = jnp.sum(node.offset**2, axis=1)
    fields = density[:, None] * jnp.concatenate([jnp.ones_like(square)[:, None], node.offset, square[:, None]], axis=1)
    size, shaken = jnp.sqrt(square), density * node.offset_rounding
    rough = density * (_ROUNDING * jnp.finfo(half.dtype).eps + node.log_weight_rounding)
    roundings = dot(jnp.stack([rough, rough * size + shaken, rough * square + 2 * shaken * size]), weights)
    marginals = _marginals(jnp.prod(half) * fields.reshape(*[m] * k, -1))
    errors = jax.vmap(_rule_errors, (0, None))(marginals, roundings)
    unseen, steep = _unseen(node.log_weight.reshape([m] * k))
    reach = jnp.max(size)
    log_unseen = unseen + jnp.log(jnp.prod(2 * half) * jnp.max(node.volume) * (1 + reach + reach**2))
    blame = jnp.sum(errors, axis=1) + steep * jnp.exp(jnp.minimum(log_unseen - top, 30.0))
    wide = half / widest
    return Panels(
        centre=centre,
        half=half,
        values=dot(weights, fields),
        errors=jnp.sum(errors, axis=0),
        roundings=roundings,
        top=top,
        log_unseen=log_unseen,
        side=jnp.argmax(jnp.where(jnp.max(wide) > 1, wide, blame)).astype(half.dtype),
    )


def _nodes(integrand, centre: Coordinates, half: Coordinates) -> tuple[Node, Float[Array, " n"]]:
    """The integrand at the nodes of a panel, and the weights of the rule."""
    grid, weights = tensor(len(centre))
    at = centre[None, :] + half[None, :] * jnp.asarray(grid, half.dtype)
    return jax.vmap(integrand)(at), jnp.asarray(weights, half.dtype) * jnp.prod(half)


def _marginals(fields: Float[Array, "... f"]) -> Float[Array, "k n f"]:
    """The integrand as a function of each coordinate, integrated over the other one."""
    if fields.ndim == 2:
        return fields[None]
    # With positive weights at the ends, so that every node counts.
    weights = jnp.asarray(kronrod().positive, fields.dtype)
    both = [jnp.sum(weights[None, :, None] * fields, axis=1), jnp.sum(weights[:, None, None] * fields, axis=0)]
    return jnp.stack(both)


def _rule_errors(values: Float[Array, "n f"], roundings: Float[Array, " 3"]) -> Float[Array, " 3"]:
    """A min(1, (200 N / A)^(3/2)), N the largest null rule less rounding, A the larger of N and of the integral of
    |values - their mean|; for the integrals of 1, z and |z|^2.
    """
    rule, d = kronrod(), values.shape[1] - 2
    weights, nulls = (jnp.asarray(a, values.dtype) for a in (rule.weights, rule.nulls))
    spread = dot(weights, jnp.abs(values - dot(weights, values)[None, :] / 2))
    floor = jnp.concatenate([roundings[:1], jnp.broadcast_to(roundings[1], d), roundings[2:]])
    null = jnp.maximum(jnp.max(jnp.abs(dot(nulls, values)), axis=0) - floor, 0.0)
    spread = jnp.maximum(spread, null)
    share = jnp.minimum(200 * null / jnp.where(spread > 0, spread, 1.0), 1.0)
    errors = spread * share * jnp.sqrt(share)
    return jnp.stack([errors[0], jnp.sqrt(jnp.sum(errors[1:-1] ** 2)), errors[-1]])


def _unseen(log_weight: Float[Array, "..."]) -> tuple[Scalar, Float[Array, " k"]]:
    """The largest log weight that may lie between nodes, where that is more than they show; the share of each side."""
    excesses = []
    for axis in range(log_weight.ndim):
        change = jnp.diff(log_weight, axis=axis)
        change = jnp.where(jnp.isfinite(change), jnp.abs(change), 0.0)
        before, after = ([(0, 0)] * log_weight.ndim for _ in range(2))
        before[axis], after[axis] = (1, 0), (0, 1)
        change = jnp.maximum(jnp.pad(change, before), jnp.pad(change, after))
        excesses.append(jnp.maximum(change - _SEEN, 0.0).ravel() / 4)
    excess = jnp.stack(excesses)
    total = jnp.sum(excess, axis=0)
    high = jnp.where(total > 0, log_weight.ravel() + total, -jnp.inf)
    at = jnp.argmax(high)
    return high[at], excess[:, at] / jnp.maximum(total[at], jnp.finfo(total.dtype).tiny)


class _State(NamedTuple):
    rows: Float[Array, "n w"]
    priority: Float[Array, " n"]
    total: Scalar
    used: Int[Array, ""]
    seen: Int[Array, ""]


def integrate(
    integrand: Callable[[Coordinates], Node],
    corners: Float[Array, "2 p k"],
    widest: Coordinates,
    tolerance: float,
    capacity: int,
    batch: int,
) -> Integral:
    """The integrals over boxes, (lower, upper), that are halved until the errors are below the tolerance or they are
    too many.

    The tolerance is relative: to the integral of 1, and for z and |z|^2 to what they are at the distance 1 + s, s^2 =
    E|z|^2. Boxes without interior are left out; none that matters is left wider than 2 `widest`. `batch` boxes are
    looked at at a time.
    """
    lower, upper = corners
    k, dtype = lower.shape[1], lower.dtype
    tolerance = max(tolerance, 16 * float(jnp.finfo(dtype).eps))
    filled = jnp.all(upper > lower, axis=1)
    given = jnp.sum(filled)
    boxes = jnp.concatenate([lower + upper, upper - lower], axis=1) / 2
    shapes = jax.eval_shape(lambda: look(integrand, lower[0], upper[0], widest))
    # Rows that are not in use have the first box: a node that is looked at in vain must not be special.
    rows = jnp.broadcast_to(_row(_nothing(shapes, boxes[0], k)), (capacity, _width(shapes)))
    rows = rows.at[jnp.where(filled, jnp.cumsum(filled) - 1, capacity), : 2 * k].set(boxes, mode="drop")

    def unfinished(state: _State):
        small = jnp.sum(state.priority) <= tolerance * state.total
        return (state.seen < given) | (~small & (state.used < capacity))

    def step(state: _State):
        fresh = state.seen < given
        worst, first = jax.lax.top_k(state.priority, batch // 2)
        second = state.used + jnp.arange(batch // 2)
        split = ~fresh & (worst > tolerance * state.total / (2 * state.used)) & (second < capacity)
        coming = state.seen + jnp.arange(batch)
        at = jnp.where(fresh, coming, jnp.concatenate([first, second]))
        kept = jnp.where(fresh, coming < given, jnp.concatenate([split, split]))
        chosen = _panels(state.rows[jnp.where(fresh, coming, jnp.concatenate([first, first]))], shapes)
        centre, half = _halved(chosen, jnp.where(fresh, 0.0, jnp.repeat(np.array([-1.0, 1.0]), batch // 2)))
        new = jax.vmap(lambda c, h: _row(look(integrand, c, h, widest)))(centre, half)
        rows = state.rows.at[jnp.where(kept, at, capacity)].set(new, mode="drop")
        used, seen = state.used + jnp.sum(split), jnp.minimum(state.seen + batch, given)
        return _State(rows, *_priorities(_panels(rows, shapes), widest), used, seen)

    start = _State(rows, jnp.zeros(capacity, dtype), jnp.zeros((), dtype), given, jnp.zeros_like(given))
    end = jax.lax.while_loop(unfinished, step, vary_like(start, corners, integrand(lower[0])))
    panels = _panels(end.rows, shapes)
    top = jnp.max(panels.top)
    share = jnp.exp(panels.top - top)
    return Integral(
        panels=panels,
        used=end.used,
        log_scale=top,
        values=dot(share, panels.values),
        errors=dot(share, panels.errors) + jnp.sum(jnp.exp(panels.log_unseen - top)),
        roundings=dot(share, panels.roundings),
        converged=jnp.sum(end.priority) <= tolerance * end.total,
    )


def _nothing(shapes: Panels, box: Float[Array, " b"], k: int) -> Panels:
    empty = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    low = jnp.finfo(box.dtype).min / 4
    return empty._replace(centre=box[:k], half=box[k:], top=low, log_unseen=low)


# Panels live in one array, a row for each, which is read and written as a whole.
def _row(panel: Panels) -> Float[Array, " w"]:
    return jnp.concatenate([jnp.ravel(a) for a in panel])


def _width(shapes: Panels) -> int:
    return sum(a.size for a in shapes)


def _panels(rows: Float[Array, "n w"], shapes: Panels) -> Panels:
    ends = np.cumsum([a.size for a in shapes])
    parts = [rows[:, end - a.size : end] for a, end in zip(shapes, ends, strict=True)]
    return Panels(*(part.reshape(len(rows), *a.shape) for a, part in zip(shapes, parts, strict=True)))


def _priorities(panels: Panels, widest: Coordinates) -> tuple[Float[Array, " n"], Scalar]:
    """What each panel adds to the error, and the integral of 1, both up to the same factor."""
    top = jnp.max(panels.top)
    share = jnp.exp(panels.top - top)
    total, second = dot(share, panels.values[:, 0]), dot(share, panels.values[:, -1])
    spread = second / jnp.where(total > 0, total, 1.0)
    scale = jnp.stack([jnp.ones_like(spread), 1 + jnp.sqrt(spread), 1 + spread])
    errors = share * dot(panels.errors, 1 / scale) + jnp.exp(jnp.minimum(panels.log_unseen - top, 30.0))
    coarse = jnp.any(panels.half > widest[None, :], axis=1) & (panels.top > top - _FAR)
    return jnp.where(coarse, jnp.inf, errors), total


def _halved(panels: Panels, sign: Float[Array, " n"]) -> tuple[Float[Array, "n k"], Float[Array, "n k"]]:
    """(centre, half) of the lower halves of panels where the sign is -1, of the upper ones where it is 1, of themselves
    where it is 0.
    """
    k = panels.half.shape[1]
    side = jnp.where(panels.side[:, None] == np.arange(k)[None, :], sign[:, None], 0.0)
    return panels.centre + panels.half * side / 2, panels.half * (1 - jnp.abs(side) / 2)


def products(
    integrand: Callable[[Coordinates], Node],
    integral: Integral,
    statistics: Callable[[Node], Float[Array, " s"]],
    batch: int,
) -> Float[Array, "s s"]:
    """The integrals of e^l times products of two statistics, on the panels that an integral ended with."""
    panels, used = integral.panels, integral.used
    shape = jax.eval_shape(lambda: statistics(integrand(panels.centre[0])))

    def step(state):
        seen, total = state
        at = seen + jnp.arange(batch)
        node, weights = jax.vmap(functools.partial(_nodes, integrand))(panels.centre[at], panels.half[at])
        density = weights * node.volume * jnp.exp(node.log_weight - integral.log_scale)
        density = jnp.where(at[:, None] < used, density, 0.0).ravel()
        s = jax.vmap(jax.vmap(statistics))(node).reshape(-1, *shape.shape)
        return seen + batch, total + dot((density[:, None] * s).T, s)

    start = (jnp.zeros_like(used), jnp.zeros(2 * shape.shape, shape.dtype))
    start = vary_like(start, integral, statistics(integrand(panels.centre[0])))
    return jax.lax.while_loop(lambda state: state[0] < used, step, start)[1]
