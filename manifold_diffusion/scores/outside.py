"""Scores of models made elsewhere: PyTorch modules and numpy functions, called back from inside a program.

Notation: the model is F(y, c) on batches, y of shape (n, d) and c of shape (n,), what it is told about the noise. The
noised point is y = x at variance-exploding noise, and y = alpha x, alpha = (1 + sigma^2)^(-1/2), at
variance-preserving noise, where y = alpha x_0 + alpha sigma z.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num

from manifold_diffusion._types import Point, Scalar, Score
from manifold_diffusion.scores.host import AbstractHostModel, NumpyModel, TorchModel


class _OutsideScore(eqx.Module):
    model: AbstractHostModel = eqx.field(static=True)
    condition: Callable[[Scalar], Scalar] | None = eqx.field(static=True)
    predicts: str = eqx.field(static=True)
    preserving: bool = eqx.field(static=True)

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        sigma = jnp.asarray(sigma, x.dtype)
        if self.predicts == "score":
            return self._alpha(sigma) * self._predicted(x, sigma)
        if self.predicts == "epsilon":
            return -self._predicted(x, sigma) / sigma
        return (self._predicted(x, sigma) - x) / sigma**2

    def denoise(self, x: Point, sigma: Scalar | float) -> Point:
        sigma = jnp.asarray(sigma, x.dtype)
        if self.predicts == "score":
            return x + sigma**2 * self._alpha(sigma) * self._predicted(x, sigma)
        if self.predicts == "epsilon":
            return x - sigma * self._predicted(x, sigma)
        return self._predicted(x, sigma)

    def _alpha(self, sigma):
        return 1 / jnp.sqrt(1 + sigma**2) if self.preserving else jnp.ones_like(sigma)

    def _predicted(self, x, sigma):
        alpha = self._alpha(sigma)
        c = sigma if self.condition is None else jnp.asarray(self.condition(sigma), x.dtype)
        self.model.check(len(x), x.dtype, self._condition_at_one)
        return _evaluate(self.model, alpha * x, c, jax.lax.stop_gradient(alpha * sigma))

    def _condition_at_one(self) -> float:
        with jax.ensure_compile_time_eval():
            return 1.0 if self.condition is None else float(self.condition(jnp.ones(())))


def from_torch(
    module: Any,
    predicts: str,
    noise: str = "ve",
    condition: Callable[[Scalar], Scalar] | None = None,
    examples: Num[Array | np.ndarray, "..."] | None = None,
    sigma: float = 1.0,
    batch: int | None = None,
) -> Score:
    """The score of a PyTorch module, called as module(y, c) on a batch: y (n, d), c (n,), result (n, d).

    predicts    "score" of the noised law, "denoiser", the mean of the data, or "epsilon", the mean of the noise z
    noise       "ve", y = x_0 + sigma z, or "vp", y = alpha x_0 + sqrt(1 - alpha^2) z; either way the score that comes
                back takes (x, sigma) with x = x_0 + sigma z
    condition   what the module is told, c = condition(sigma), a function of jax; by default sigma itself. For "vp" it
                has to be given: `lambda sigma: processes.time_of(noising, sigma)`, a time or a logarithm
    examples    (n, d) points at which the module is tried now, at the level `sigma`, so that a module that gives NaN
                there is refused; shape, type and independence of rows are checked in any case, before the first use
    batch       at most so many rows in one call of the module; by default all

    Under `jax.vmap` a batch is one call of the module. It runs on the device and in the precision of its parameters,
    and whatever its training mode makes of it: call `module.eval()`. It differentiates once, in forward and reverse
    mode, by PyTorch's own differentiation. Non-finite values are passed on. Programs that call back must not run in two
    threads at the same time: jax can stand still for ever.
    """
    model = TorchModel(module, batch)
    return _outside(model, predicts, noise, condition, examples, sigma)


def from_numpy(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray],
    predicts: str,
    noise: str = "ve",
    condition: Callable[[Scalar], Scalar] | None = None,
    examples: Num[Array | np.ndarray, "..."] | None = None,
    sigma: float = 1.0,
    batch: int | None = None,
    jvp: Callable[..., np.ndarray] | None = None,
    step: float | None = None,
) -> Score:
    """The score of a numpy function f(y, c) on batches, y (n, d) and c (n,), both float64; see `from_torch`.

    Its derivatives are `jvp(y, c, dy, dc)`, (n, d), if that is given, else central differences: of step h times the
    width of the noise in y (sigma, or alpha sigma) and h times c, with an error of h^2 / 6 times the third derivative
    in these units and eps / h times the value. `step` is h, by default the cube root of the rounding eps of what the
    function returns: 6e-6 in float64, 5e-3 in float32. A derivative in forward mode takes 2 or 4 rows for each row, one
    in reverse mode 2 d + 2.
    """
    if step is not None and not step > 0:
        raise ValueError(f"step must be positive, got {step}: a share of the noise level such as 1e-5")
    model = NumpyModel(function, batch, jvp, step)
    return _outside(model, predicts, noise, condition, examples, sigma)


def _outside(model, predicts, noise, condition, examples, sigma) -> _OutsideScore:
    if predicts not in ("score", "denoiser", "epsilon"):
        raise ValueError(f"predicts must be 'score', 'denoiser' or 'epsilon', got {predicts!r}")
    if noise not in ("ve", "vp"):
        raise ValueError(f"noise must be 've' or 'vp', got {noise!r}")
    if noise == "vp" and condition is None:
        raise ValueError(
            "a model at 'vp' noise is told its own time: pass condition=, a function of sigma = sigma_t / alpha_t, "
            "such as lambda sigma: processes.time_of(noising, sigma)"
        )
    score = _OutsideScore(model, condition, predicts, noise == "vp")
    if examples is not None:
        _try(score, np.asarray(examples), float(sigma))
    return score


def _try(score: _OutsideScore, examples: np.ndarray, sigma: float) -> None:
    if examples.ndim != 2 or 0 in examples.shape:
        raise ValueError(f"examples must be (n, d) points with n and d at least 1, got shape {examples.shape}")
    dtype = jnp.result_type(float)
    score.model.check(examples.shape[1], dtype, score._condition_at_one)
    level = jnp.asarray(sigma, dtype)
    c = level if score.condition is None else score.condition(level)
    y = float(score._alpha(level)) * examples
    values = score.model.value(y.astype(dtype), np.full(len(y), float(c), dtype))
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise ValueError(
            f"{score.model.name} returns values that are not finite at {len(bad)} of {len(y)} examples at sigma = "
            f"{sigma:g}, first at row {bad[0]}: check the scale of the points, sigma and condition="
        )


# The call, and its derivative


@eqx.filter_custom_jvp
def _evaluate(model: AbstractHostModel, y: Point, c: Scalar, width: Scalar) -> Point:
    """F(y, c); the width is the unit of length for differences, and a constant."""
    return _call(model.value, y, y, c)


@_evaluate.def_jvp
def _derivative(primals, tangents):
    model, y, c, width = primals
    _, dy, dc, _ = tangents
    dy = jnp.zeros_like(y) if dy is None else dy
    dc = jnp.zeros_like(c) if dc is None else dc
    return _evaluate(model, y, c, width), _along(model, *_once(y, c), width, dy, dc)


def _along(model: AbstractHostModel, y, c, width, dy, dc):
    """dF(y, c)[dy, dc], linear in (dy, dc) for jax, with its transpose.

    Callbacks have no transpose. What jax offers for a linear map that is given by its two directions, and can be
    batched, is a linear solve: here that of a system whose solution is (dF[dy, dc], 0).
    """

    def forward(_, direction):
        moved = _call(model.jvp, y, y, c, width, direction[:-1], direction[-1])
        return jnp.append(moved, jnp.zeros_like(c))

    def backward(_, cotangent):
        return _call(model.vjp, direction, y, c, width, cotangent[:-1])

    direction = jnp.append(dy, dc)
    return jax.lax.custom_linear_solve(lambda v: v, direction, forward, backward)[:-1]


@jax.custom_jvp
def _once(y: Point, c: Scalar) -> tuple[Point, Scalar]:
    return y, c


@_once.defjvp
def _second_derivative(primals, tangents):
    raise NotImplementedError("a score from outside differentiates once: use differences of its first derivative")


def _call(f: Callable, like: Array, *arguments: Array) -> Array:
    shape = jax.ShapeDtypeStruct(like.shape, like.dtype)
    return jax.pure_callback(f, shape, *arguments, vmap_method="broadcast_all")
