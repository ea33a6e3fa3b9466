"""Level sets of maps that are not to be trusted, such as networks in training: projections whose steps are bounded."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot, vary_like
from manifold_diffusion._small_matrices import cholesky_rows, cholesky_solve, complement_columns
from manifold_diffusion._types import Point, Scalar
from manifold_diffusion.geometry.level_set import Certified, LevelSet, LevelSetChart
from manifold_diffusion.geometry.manifold import AbstractManifold

_POLISH = 2


class Implicit(AbstractManifold):
    """The set {h = 0} of a `LevelSet`, with a projection that stands an h whose derivative is nearly singular or which
    has no zero near.

    No step is longer than `radius`, in the units of x, and none is taken that ends worse than it begins. So wherever h
    is finite the end is, within 4 (`steps` + 1) radii of x; `certified` says whether it is a nearest point.
    """

    level_set: LevelSet
    radius: float = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(self, level_set: LevelSet, radius: float | int, steps: int = 12):
        self.level_set, self.radius, self.steps = level_set, float(radius), steps
        self.dim, self.ambient_dim = level_set.dim, level_set.ambient_dim
        if not self.radius > 0 or steps < 1:
            raise ValueError(f"the projection needs a positive radius and a step at least, got {radius} and {steps}")

    def approach(self, y: Point, x: Point) -> tuple[Point, Float[Array, "c d"]]:
        """A Gauss-Newton step from y for min |x - y| over {h = 0}, and A = Dh(y): to the nearest point to x of {h(y) +
        A (. - y) = 0}, or as far that way as the radius goes.
        """
        value, A = self.level_set.expand(y)
        move = (x - y) - _least_norm(A, value + dot(A, x - y))[1]
        return y + _shortened(move, self.radius), A

    def descend(self, x: Point, steps: int) -> Point:
        """`steps` steps of `approach` from x: they contract by about |x - y| times the curvature, look at nothing but h
        and A, and can be differentiated in the parameters of h. The projection to train with.
        """
        return jax.lax.scan(lambda y, _: (self.approach(y, x)[0], None), vary_like(x), None, length=steps)[0]

    def certified(self, x: Point) -> Certified:
        """The projection of x with its certificate.

        First y <- y - A^+ h(y) while |h| falls; from there Newton's method on the set, with the Hessian of the
        Lagrangian (the identity where that is not positive), each step followed by one of y <- y - A^+ h(y). Of a step
        and its fractions the one is taken that ends lowest in |x - y|^2 / 2 + 2 r |A^+ h(y)|, r the distance at the
        start: an exact penalty, because the multiplier of a nearest point has the length of its distance (derived;
        Nocedal and Wright, Numerical Optimization, sections 15.4 and 18.3).
        """
        y = jax.lax.scan(lambda y, _: (self._restored(y), None), vary_like(x), None, length=self.steps)[0]
        weight, magnitude = 2 * jnp.sqrt(jnp.sum((x - y) ** 2)), jnp.sum(x * x)

        def step(y, polish):
            move = _shortened(self._newton(y, x), self.radius)

            def merit(z):
                gap, slope = self._residuals(z, x)
                return jnp.where(polish, gap + slope, jnp.sum((x - z) ** 2) / 2 + weight * gap)

            ends = jax.vmap(lambda fraction: self._corrected(y + fraction * move))(_fractions(x))
            ends = jnp.concatenate([ends, y[None, :]])
            return _lowest(merit, ends, jnp.where(polish, 0.0, magnitude)), None

        # Close to the end merits differ by rounding alone, which may hold back a step that is still needed; so last
        # the ends are compared by what the certificate is about.
        polishing = jnp.arange(self.steps + _POLISH) >= self.steps
        y = jax.lax.scan(step, y, polishing)[0]
        gap, slope = self._residuals(y, x)
        tolerance = 64 * jnp.finfo(x.dtype).eps * (jnp.sqrt(jnp.sum(y * y)) + jnp.sqrt(jnp.sum((x - y) ** 2)))
        return Certified(y, gap, slope, (gap <= tolerance) & (slope <= tolerance))

    def project(self, x: Point) -> Point:
        return self.certified(x).point

    def tangent(self, x: Point, v: Point) -> Point:
        return self.level_set.tangent(x, v)

    def chart(self, x: Point) -> LevelSetChart:
        return self.level_set.chart(x)

    def _residuals(self, y: Point, x: Point) -> tuple[Scalar, Scalar]:
        value, A = self.level_set.expand(y)
        gap = _least_norm(A, value)[1]
        along, left = self.tangent(y, x - y), value - dot(A, gap)
        # Where A has no direction left in which h changes, h = 0 is not a step away.
        solved = jnp.sum(left * left) <= 1e-6 * jnp.sum(value * value)
        return jnp.where(solved, jnp.sqrt(jnp.sum(gap * gap)), jnp.inf), jnp.sqrt(jnp.sum(along * along))

    def _corrected(self, y: Point) -> Point:
        value, A = self.level_set.expand(y)
        return y - _shortened(_least_norm(A, value)[1], self.radius)

    def _restored(self, y: Point) -> Point:
        value, A = self.level_set.expand(y)
        move = _shortened(_least_norm(A, value)[1], self.radius)
        ends = jnp.concatenate([y[None, :] - _fractions(y)[:, None] * move[None, :], y[None, :]])
        return _lowest(lambda z: jnp.sum(self.level_set.equations(z) ** 2), ends, jnp.zeros((), y.dtype))

    def _newton(self, y: Point, x: Point) -> Point:
        value, A = self.level_set.expand(y)
        multiplier, back = _least_norm(A, value + dot(A, x - y))
        rough = x - y - back
        bend = jax.hessian(lambda z: dot(multiplier, self.level_set.equations(z)))(y)
        T = complement_columns(A.T)
        across = rough - dot(T, dot(T.T, rough))
        hessian = jnp.eye(T.shape[1], dtype=x.dtype) + dot(T.T, dot(bend, T))
        along = cholesky_solve(cholesky_rows(hessian), dot(T.T, x - y - dot(bend, across)))
        better = across + dot(T, along)
        return jnp.where(jnp.all(jnp.isfinite(better)), better, rough)


def _least_norm(A: Float[Array, "c d"], value: Float[Array, " c"]) -> tuple[Float[Array, " c"], Point]:
    """lambda = (A A^T)^{-1} value and A^T lambda, finite also where A A^T is singular.

    A small diagonal keeps its factor from breaking down, and a step of refinement takes out most of what that does.
    """
    gram = dot(A, A.T)
    small = jnp.finfo(A.dtype).eps * jnp.trace(gram) + jnp.sqrt(jnp.finfo(A.dtype).tiny)
    rows = cholesky_rows(gram + small * jnp.eye(len(A), dtype=A.dtype))
    multiplier = cholesky_solve(rows, value)
    multiplier = multiplier + cholesky_solve(rows, value - dot(gram, multiplier))
    return multiplier, dot(multiplier, A)


def _fractions(x: Point) -> Float[Array, " f"]:
    return jnp.asarray([1.0, 0.5, 0.25, 0.0625], x.dtype)


def _shortened(move: Point, radius: float) -> Point:
    size = jnp.sqrt(jnp.sum(move * move) + jnp.finfo(move.dtype).tiny)
    return move * jnp.minimum(1.0, radius / size)


def _lowest(objective, ends: Float[Array, "n d"], magnitude: Scalar) -> Point:
    """Of the ends the first that is lowest up to rounding; the last one, where it all began, if no other is finite."""
    values = jax.vmap(objective)(ends)
    values = jnp.where(jnp.isfinite(values), values, jnp.inf)
    rounding = 8 * jnp.finfo(ends.dtype).eps * magnitude
    best = jnp.argmax(values <= jnp.min(values) + rounding)
    return ends[jnp.where(jnp.isfinite(jnp.min(values)), best, len(ends) - 1)]
