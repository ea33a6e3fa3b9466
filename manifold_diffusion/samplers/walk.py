r"""A walk on a manifold whose law is exactly uniform, or of any density, however long its steps, and which keeps going.

Notation: x in M, v in T_xM the next displacement, Pi the nearest-point projection, S_n the shape operator in the
normal direction n, tau the length of a step. A step moves along the tangent space and projects: with

    x + v = x' + n',  x' = Pi(x + v),  n' normal at x',

the way back is the v' tangent at x' with x' + v' = x + n, n normal at x, so that (x, v) -> (x', v') is an involution of
the tangent bundle. In the coordinates (x, x') the volume of both fibres is known (d Pi at x' + n' is (I - S_n')^{-1}
on tangents), and the involution multiplies volume by det(I - S_n) / det(I - S_n'): accepted with probability

    min(1, rho(x') / rho(x) exp((|v|^2 - |v'|^2) / (2 tau^2)) det(I - S_n) / det(I - S_n')),

it leaves rho dvol times the normal law N(0, tau^2 I) of v invariant, exactly and at any tau (derived; the symmetric
move of Zappa, Holmes-Cerfon and Goodman, arXiv 1702.08446, with the nearest point in place of the normals at x). Both
n and n' must be shorter than `bound`, at most the reach, so that each is the offset of a nearest point.

Before each move v is partly renewed, v <- a v + sqrt(1 - a^2) tau xi, and after it turned round, so that an accepted
move goes on in its direction and a refused one goes back (Horowitz, Phys. Lett. B 268, 1991). Where M is flat the
displacement after n steps is normal, and a mode of eigenvalue lambda of the Laplacian decays by exp(-lambda V / 2),

    V = tau^2 (n (1 + a) / (1 - a) - 2 a (1 - a^n) / (1 - a)^2),

the variance of the sum of n steps (derived). With a = 0 that is a random walk, n tau^2 lambda / 2. With a = exp(-tau
sqrt(lambda)), as tau -> 0, it is s - 1 + e^-s, s = n tau sqrt(lambda): steps ~ 1 / tau instead of 1 / tau^2.

Langevin with the coarse score (Pi(x) - x) / sigma^2 moves at most as fast as a = 0 does when tau^2 is its variance
across M, has noise in all D - k normal directions, which has to fit into the reach, and a bias O(tau^2).
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from manifold_diffusion._numerics import dot, known_false
from manifold_diffusion._small_matrices import (
    cholesky_rows,
    cholesky_solve,
    log_determinant,
    orthonormal_columns,
)
from manifold_diffusion._types import Key, Point, Scalar
from manifold_diffusion.geometry import EstimatedAtlas
from manifold_diffusion.geometry.manifold import AbstractManifold, jacobian
from manifold_diffusion.samplers.chain import Transition, chain

_FOOT = 0.01


class Place(eqx.Module):
    """A point of a manifold with a tangent frame and the first and second derivatives of a chart there."""

    point: Point
    frame: Float[Array, "d k"]
    jacobian: Float[Array, "d k"]
    second: Float[Array, "d k k"]

    def log_volume_factor(self, normal: Point) -> Scalar:
        """log det(I - S_n) = log det(J^T J - <second, n>) - log det(J^T J); NaN where that is not positive."""
        metric = dot(self.jacobian.T, self.jacobian)
        bent = metric - jnp.einsum("d,dij->ij", normal, self.second, precision="highest")
        return log_determinant(bent) - log_determinant(metric)


class Walker(eqx.Module):
    """The state of a walk: where it is, where it goes next, the log-density there, and whether it has just moved."""

    place: Place
    velocity: Point
    log_density: Scalar
    moved: Bool[Array, ""]


class ManifoldWalk(eqx.Module):
    """One step of the walk, (key, walker) -> walker; `start(key, x)` makes a walker at a point x of the manifold.

    step          tau, the standard deviation of a displacement in each tangent direction
    persistence   a in [0, 1), the share of the velocity that is kept
    bound         of the offsets from the manifold, at most its reach
    log_density   with respect to volume, up to a constant; uniform by default
    """

    manifold: AbstractManifold
    step: Scalar = eqx.field(converter=lambda a: jnp.asarray(a, dtype=float))
    persistence: Scalar = eqx.field(converter=lambda a: jnp.asarray(a, dtype=float), default=0.0)
    bound: Scalar = eqx.field(converter=lambda a: jnp.asarray(a, dtype=float), default=jnp.inf)
    log_density: Callable[[Point], Scalar] | None = None

    def __check_init__(self):
        if known_false(self.step > 0):
            raise ValueError(f"the step of a walk must be positive, got {self.step}")
        if known_false((self.persistence >= 0) & (self.persistence < 1)):
            raise ValueError(f"persistence must lie in [0, 1), got {self.persistence}; 0 is a random walk")

    def start(self, key: Key, x: Point) -> Walker:
        """At x, with a velocity from N(0, tau^2 I)."""
        place = self._place(x)
        return Walker(place, self._impulse(key, place), self._log_density(place.point), jnp.asarray(True))

    def __call__(self, key: Key, walker: Walker) -> Walker:
        renewal, coin = jax.random.split(key)
        here, keep = walker.place, self.persistence.astype(walker.velocity.dtype)
        v = keep * walker.velocity + jnp.sqrt(1 - keep**2) * self._impulse(renewal, here)
        there, back, log_volume = self.move(here, v)
        ahead, behind = here.point + v - there.point, there.point + back - here.point
        log_density = self._log_density(there.point)
        energy = (jnp.sum(v * v) - jnp.sum(back * back)) / (2 * self.step.astype(v.dtype) ** 2)
        log_ratio = energy + log_volume + log_density - walker.log_density
        # A comparison with NaN is false: where a volume factor is not positive there is no way back.
        accepted = jnp.log(jax.random.uniform(coin, dtype=v.dtype)) < log_ratio
        accepted &= self._is_foot(there, ahead, v) & self._is_foot(here, behind, back)
        moved = Walker(there, -back, log_density, accepted)
        stayed = Walker(here, -v, walker.log_density, accepted)
        return jax.tree.map(lambda new, old: jnp.where(accepted, new, old), moved, stayed)

    def move(self, here: Place, v: Point) -> tuple[Place, Point, Scalar]:
        """The involution's (x', v') and the log of the factor by which it multiplies volume: NaN where it has none."""
        there = self._place(here.point + v)
        back = _way_back(here, there)
        ahead, behind = here.point + v - there.point, there.point + back - here.point
        return there, back, here.log_volume_factor(behind) - there.log_volume_factor(ahead)

    def _is_foot(self, place: Place, normal: Point, along: Point) -> Bool[Array, ""]:
        """Whether the offset is normal, which it is not at the edge of a chart, and short."""
        slip = dot(place.frame.T, normal)
        squared = jnp.sum(normal * normal)
        return (jnp.sum(slip * slip) <= _FOOT**2 * jnp.sum(along * along)) & (
            squared <= self.bound.astype(normal.dtype) ** 2
        )

    def _place(self, x: Point) -> Place:
        if isinstance(self.manifold, EstimatedAtlas):  # whose charts are fitted around any x, and know its foot
            chart = self.manifold.chart(x)
            u = chart.foot(x)
        else:
            foot = self.manifold.project(x)
            chart = self.manifold.chart(foot)
            u = chart.coordinates(foot)
        J = jacobian(chart, u)
        return Place(chart.embed(u), orthonormal_columns(J), J, jax.jacfwd(jax.jacfwd(chart.embed))(u))

    def _impulse(self, key: Key, place: Place) -> Point:
        # Ambient noise, so that it does not depend on which frame spans the tangent space.
        z = jax.random.normal(key, place.point.shape, place.point.dtype)
        return self.step.astype(z.dtype) * dot(place.frame, dot(place.frame.T, z))

    def _log_density(self, x: Point) -> Scalar:
        return jnp.zeros((), x.dtype) if self.log_density is None else self.log_density(x)


class _WalkFrom(eqx.Module):
    walk: ManifoldWalk
    steps: int = eqx.field(static=True)

    def __call__(self, key: Key, x: Point) -> Point:
        first, rest = jax.random.split(key)
        return chain(self.walk, self.steps)(rest, self.walk.start(first, x)).place.point


def manifold_walk(
    manifold: AbstractManifold,
    *,
    step: float | int | Scalar,
    steps: int,
    persistence: float | int | Scalar = 0.0,
    bound: float | int | Scalar = jnp.inf,
    log_density: Callable[[Point], Scalar] | None = None,
) -> Transition:
    """(key, x) -> a point of the manifold after `steps` steps from x on it, by `ManifoldWalk`."""
    return _WalkFrom(ManifoldWalk(manifold, step, persistence, bound, log_density), steps)


def matched_persistence(step: float | int | Scalar, first_eigenvalue: float | int | Scalar) -> Scalar:
    """a = exp(-tau sqrt(lambda_1)): the velocity is forgotten as fast as the slowest mode decays."""
    return jnp.exp(-step * jnp.sqrt(jnp.asarray(first_eigenvalue, dtype=float)))


def _way_back(here: Place, there: Place) -> Point:
    """v' tangent at x' with x' + v' - x normal at x: T^T T' c = T^T (x - x'), v' = T' c."""
    overlap = dot(here.frame.T, there.frame)
    gap = dot(here.frame.T, here.point - there.point)
    return dot(there.frame, cholesky_solve(cholesky_rows(dot(overlap.T, overlap)), dot(overlap.T, gap)))
