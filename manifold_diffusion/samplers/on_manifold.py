r"""Steps that stay on a manifold: a step of R^d within the tangent space at x, and a move from there to the manifold.

Notation: M in R^d, x in M, P the orthogonal projection onto T_xM, II the second fundamental form, R(v) the end of the
move from x by the tangent v. With a tangential drift b,

    dX = b dt + g dW on M    is the diffusion with the generator    <b, grad f> + (g^2 / 2) Laplacian f.

The step of Euler and Maruyama moves by v = h b + g P dw. Along M, D^2 f(v, v) + Df(II(v, v)) is the Hessian of f, so
if R(v) = x + v + II(v, v) / 2 + O(|v|^3),

    E f(R(v)) = f + h (<b, grad f> + (g^2 / 2) Laplacian f) + O(h^2):

the odd moments vanish, the step has weak order 1 (derived; Jorgensen, Z. Wahrscheinlichkeitstheorie 32, 1975, for the
limit). Geodesics are such moves, x'' = II(x', x'). So is y = Pi(x + v), Pi the nearest point: v - (y - x) is normal at
y, which leaves y no acceleration along M (Absil and Malick, SIAM J. Optim. 22, 2012, for projections). A move that has
some adds a drift.

With b = 0 and constant g the geodesic walk leaves volume as it is, however long its steps: the geodesic flow keeps
the volume of the tangent bundle and the speed (Liouville's theorem). A retraction does so up to O(h).

A step that asks for the drift elsewhere, at the end of v, gets it in the coordinates v, (dR_v)^{-1} b(R(v)): it solves
the equation there, and flows keep their order (Hairer, Lubich and Wanner, Geometric Numerical Integration, IV.5.3).
Noise is not constant in these coordinates, so that steps of an SDE have weak order 1.
"""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot
from manifold_diffusion._small_matrices import solve_positive
from manifold_diffusion._types import Point, Scalar
from manifold_diffusion.geometry import AbstractRiemannian, exponential
from manifold_diffusion.measures.tangent import Manifold, frame_at, inner_products
from manifold_diffusion.processes import AbstractSDE
from manifold_diffusion.samplers.step import Step, advance, refuse_noising, start

_MOVES = ("geodesic", "retraction")
_GEODESIC_STEPS = 8


class TangentEquation(eqx.Module):
    """The equation on M near x in the coordinates y - x = v of the tangent space at x."""

    sde: AbstractSDE
    manifold: Manifold
    x: Point
    move: str = eqx.field(static=True)

    @property
    def eta(self) -> float:
        """The share of noise, 0 where the equation does not say."""
        return getattr(self.sde, "eta", 0.0)

    def diffusion(self, t: Scalar) -> Scalar:
        """g(t)."""
        return self.sde.diffusion(t)

    def drift(self, y: Point, t: Scalar) -> Point:
        """(dR_v)^{-1} b(R(v), t), v = y - x."""
        # dR_0 is the identity, and Euler's steps ask for nothing else.
        if y is self.x:
            return self.manifold.tangent(y, self.sde.drift(y, t))
        frame, v = frame_at(self.manifold, self.x), self.manifold.tangent(self.x, y - self.x)

        def reach(c):
            end = moved(self.manifold, self.x, dot(frame, c), self.move)
            return end, end

        along = inner_products(self.manifold, self.x, frame, v[:, None])[:, 0]
        J, end = jax.jacfwd(reach, has_aux=True)(along)
        return dot(frame, left_inverse(J, self.sde.drift(end, t)))


class _OnManifold(eqx.Module):
    step: Step
    manifold: Manifold
    move: str = eqx.field(static=True)

    @property
    def draws(self) -> int | None:
        return getattr(self.step, "draws", None)

    def start(self, sde: AbstractSDE, x: Point, t0: Scalar) -> Any:
        return start(self.step, TangentEquation(sde, self.manifold, x, self.move), x, t0)

    def __call__(self, sde: AbstractSDE, x: Point, t0: Scalar, t1: Scalar, dw: Float[Array, "*draws d"]) -> Point:
        return self.advance(sde, x, self.start(sde, x, t0), t0, t1, dw)[0]

    def advance(
        self, sde: AbstractSDE, x: Point, memory: Any, t0: Scalar, t1: Scalar, dw: Float[Array, "*draws d"]
    ) -> tuple[Point, Any]:
        equation, noise = TangentEquation(sde, self.manifold, x, self.move), increments(self.manifold, x, dw)
        y, memory = advance(self.step, equation, x, memory, t0, t1, noise)
        return moved(self.manifold, x, self.manifold.tangent(x, y - x), self.move), memory


def on_manifold(step: Step, manifold: Manifold, move: str = "geodesic") -> Step:
    """The step that takes `step` within the tangent space at x and moves from there to the manifold, by

    "geodesic"      exp_x(v): the manifold's own `exp`, or 8 Runge-Kutta steps, whose error is O(|v|^5 / 8^4)
    "retraction"    the nearest point to x + v

    Of the increment dw, which is one of R^d, and of the drift the tangential parts count. On a manifold with a metric
    of its own the increment is frame(x) dw[:k], and only geodesics know that metric. Every end is on the manifold to
    rounding; with the manifold's own `exp`, that of n steps may add up, to some sqrt(n) eps (measured on rotations).

    Steps of a flow keep their order, those of an SDE have weak order 1 (see above); a step that remembers
    vectors keeps order 2, because P carries them from one point to the next up to O(h^2).
    """
    if move not in _MOVES:
        raise ValueError(f"a move is one of {', '.join(_MOVES)}, got {move!r}; for steps in charts there is in_charts")
    if move == "retraction" and isinstance(manifold, AbstractRiemannian):
        raise ValueError(f"{type(manifold).__name__} has a metric of its own, unknown to retractions; use geodesic")
    refuse_noising(step, "on_manifold")
    return _OnManifold(step, manifold, move)


def moved(manifold: Manifold, x: Point, v: Point, move: str) -> Point:
    """The end of the move from x by the tangent v."""
    if move == "retraction":
        return manifold.project(x + v)
    if isinstance(manifold, AbstractRiemannian) or hasattr(manifold, "exp"):
        return manifold.exp(x, v)
    return exponential(manifold, x, v, _GEODESIC_STEPS)


def increments(manifold: Manifold, x: Point, dw: Float[Array, "*draws d"]) -> Float[Array, "*draws d"]:
    """The increments of Brownian motion in the tangent space at x that belong to those of R^d."""
    if dw.ndim > 1:
        return jax.vmap(lambda each: increments(manifold, x, each))(dw)
    if isinstance(manifold, AbstractRiemannian):
        return dot(manifold.frame(x), dw[: manifold.dim])
    return manifold.tangent(x, dw)


def left_inverse(J: Float[Array, "d k"], b: Float[Array, " d"]) -> Float[Array, " k"]:
    """(J^T J)^{-1} J^T b."""
    return solve_positive(dot(J.T, J), dot(J.T, b)[:, None])[:, 0]
