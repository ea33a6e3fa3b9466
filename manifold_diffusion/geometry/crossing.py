"""Compact hypersurfaces by the lines that cross them: quadrature and uniform points from an equation alone.

A line parallel to axis i meets the hypersurface {F = 0} in R^d in points x with unit normals n(x). Lines spread
uniformly over the box meet it with the density |n_i(x)| dvol(x) (the projection of the surface element), so with the
partition of unity phi_i = n_i^{2m} / sum_j n_j^{2m}

    int_M f dvol = sum_i int sum_{x on the line} f(x) phi_i(x) / |n_i(x)| d(line),

in which the lines that only touch the hypersurface, n_i = 0, do not count, and near them the integrand is of the order
of the distance to the power m - 1/2. Derived; the projection of area is the coarea formula, Federer 3.2.
"""

import itertools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from manifold_diffusion._numerics import rejection
from manifold_diffusion._types import Key, Point, Points, Scalar

_POWER = 2  # m, the best of 2 .. 5 on tori and a double torus at the orders that one uses
_CELLS = 256
_TOUCHES = 4
_BISECTIONS = 20


class Crossings(eqx.Module):
    """The points in which axis-parallel lines meet {F = 0} within the box (lower, upper), at most `most` on a line.

    Signs of F at 256 equal steps bracket the crossings; in steps in which |F| falls and rises again, the four that come
    closest to 0, the extremum is looked for, which finds pairs of crossings within one step. A pair that is missed
    needs F to turn twice within a step; near it n_i is small, and phi_i / |n_i| = O(|n_i|^3) with it.
    """

    equation: Callable[[Point], Scalar]
    lower: Point
    upper: Point
    most: int = eqx.field(static=True, default=8)

    def on_line(self, axis: Int[Array, ""], across: Point) -> tuple[Points, Bool[Array, " r"], Int[Array, ""]]:
        """The crossings with the line through `across` along the axis, which of the slots are used, and how many there
        are.
        """
        d = len(self.lower)
        along = jnp.arange(d) == axis
        low, high = self.lower[axis], self.upper[axis]

        def point(t):
            return jnp.where(along, t, across)

        def value(t):
            return self.equation(point(t))

        def slope(t):
            return jax.jvp(value, (t,), (jnp.ones_like(t),))[1]

        ts = low + (high - low) * jnp.arange(_CELLS + 1, dtype=low.dtype) / _CELLS
        values, slopes = jax.vmap(lambda t: jax.jvp(value, (t,), (jnp.ones_like(t),)))(ts)
        changes = (values[:-1] > 0) != (values[1:] > 0)
        towards, away = values[:-1] * slopes[:-1] < 0, values[1:] * slopes[1:] > 0
        nearest = jnp.minimum(jnp.abs(values[:-1]), jnp.abs(values[1:]))
        candidates = jnp.where(~changes & towards & away, nearest, jnp.inf)
        _, touching = jax.lax.top_k(-candidates, _TOUCHES)

        def extremum(cell):
            sign = jnp.where(values[cell] > 0, -1.0, 1.0).astype(low.dtype)
            return _bisect(lambda t: sign * slope(t), ts[cell], ts[cell + 1])

        turns = jax.vmap(extremum)(touching)
        pairs = (jax.vmap(value)(turns) * values[touching] < 0) & jnp.isfinite(candidates[touching])
        cells = jnp.nonzero(changes, size=self.most, fill_value=0)[0]
        used = jnp.concatenate([jnp.arange(self.most) < jnp.sum(changes), pairs, pairs])
        starts = jnp.concatenate([ts[cells], ts[touching], turns])
        ends = jnp.concatenate([ts[cells + 1], turns, ts[touching + 1]])

        def root(a, b):
            sign = jnp.where(value(a) > 0, 1.0, -1.0).astype(a.dtype)
            t = _bisect(lambda t: sign * value(t), a, b)

            def newton(t, _):
                step = value(t) / jnp.where(slope(t) == 0, 1.0, slope(t))
                return jnp.clip(t - jnp.where(slope(t) == 0, 0.0, step), a, b), None

            return jax.lax.scan(newton, t, None, length=3)[0]

        roots = jax.vmap(root)(starts, ends)
        return jax.vmap(point)(roots), used, jnp.sum(changes) + 2 * jnp.sum(pairs)

    def weight(self, axis: Int[Array, ""], x: Point) -> Scalar:
        """phi_i(x) / |n_i(x)|."""
        gradient = jax.grad(self.equation)(x)
        normal = jnp.abs(gradient) / jnp.sqrt(jnp.sum(gradient * gradient))
        return normal[axis] ** (2 * _POWER - 1) / jnp.sum(normal ** (2 * _POWER))

    def quadrature(self, order: int) -> tuple[Points, Float[Array, " n"]]:
        """The crossings of `order` equally spaced lines a direction, and their weights."""
        d = len(self.lower)
        steps = (np.arange(order) + 0.5) / order
        grid = jnp.asarray(list(itertools.product(steps, repeat=d - 1)), self.lower.dtype)
        size = self.upper - self.lower
        found = [_meet(self, jnp.asarray(axis), _lines(self, axis, grid)) for axis in range(d)]
        points = jnp.concatenate([points.reshape(-1, d) for points, _, _ in found])
        shares = [jnp.prod(size) / size[axis] / len(grid) for axis in range(d)]
        weights = jnp.concatenate([(w * share).ravel() for (_, w, _), share in zip(found, shares, strict=True)])
        if isinstance(points, Tracer):
            return points, weights
        most = max(int(jnp.max(count)) for _, _, count in found)
        if most > self.most:
            raise ValueError(f"a line crosses the hypersurface {most} times, more than crossings={self.most}; raise it")
        keep = np.asarray(weights) > 0
        return points[keep], weights[keep]

    def uniform(self, key: Key) -> Point:
        """A uniform line along an axis, in proportion to the face of the box across it, one of its slots for crossings,
        and rejection of phi_i / |n_i| against its largest value.
        """
        d = len(self.lower)
        size = self.upper - self.lower
        log_faces = jnp.sum(jnp.log(size)) - jnp.log(size)
        log_bound = float(np.log(_largest_weight(d)))
        slots = self.most + 2 * _TOUCHES

        def propose(place):
            which, where, slot = jax.random.split(place, 3)
            axis = jax.random.categorical(which, log_faces)
            across = self.lower + size * jax.random.uniform(where, (d,), self.lower.dtype)
            points, used, count = self.on_line(axis, across)
            index = jax.random.randint(slot, (), 0, slots)
            x = points[index]
            log_ratio = jnp.where(used[index], jnp.log(self.weight(axis, x)) - log_bound, -jnp.inf)
            return x, jnp.where(count > self.most, jnp.inf, log_ratio)

        x, worst = rejection(key, propose)
        return eqx.error_if(
            x, ~(worst <= 1e-5), f"a line crosses the hypersurface more than crossings={self.most} times; raise it"
        )


def _bisect(f, a: Scalar, b: Scalar) -> Scalar:
    """Where f changes from positive at a to negative at b."""

    def halve(interval, _):
        a, b = interval
        middle = (a + b) / 2
        right = f(middle) > 0
        return (jnp.where(right, middle, a), jnp.where(right, b, middle)), None

    (a, b), _ = jax.lax.scan(halve, (a, b), None, length=_BISECTIONS)
    return (a + b) / 2


def _lines(crossings: Crossings, axis: int, grid: Float[Array, "n c"]) -> Points:
    """One point on each line: the grid on the face across the axis."""
    others = [i for i in range(len(crossings.lower)) if i != axis]
    size = crossings.upper - crossings.lower
    across = jnp.zeros((len(grid), len(size)), grid.dtype)
    place = crossings.lower[None, :] + size[None, :] * across.at[:, jnp.asarray(others)].set(grid)
    return place


@eqx.filter_jit
def _meet(crossings: Crossings, axis: Int[Array, ""], lines: Points):
    def one(across):
        points, used, count = crossings.on_line(axis, across)
        weights = jnp.where(used, jax.vmap(lambda x: crossings.weight(axis, x))(points), 0.0)
        return points, weights, count

    return jax.lax.map(one, lines, batch_size=1024)


def _largest_weight(d: int) -> float:
    """max over unit vectors of n^{2m-1} / sum_j n_j^{2m}: the others share 1 - n^2 equally at the maximum."""
    n2 = np.linspace(0, 1, 100_001)[1:]
    rest = (1 - n2) ** _POWER / (d - 1) ** (_POWER - 1)
    return float(np.max(n2 ** (_POWER - 0.5) / (n2**_POWER + rest))) * (1 + 1e-6)
