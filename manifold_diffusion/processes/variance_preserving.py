"""Noising that shrinks the signal: variance-preserving and sub-variance-preserving, for any schedule.

Notation: beta(t) >= 0 is the rate of noising and B(t) its integral from 0 to t, B(0) = 0; alpha = exp(-B / 2). A
schedule is B itself, because everything else follows from it (Song et al., arXiv 2011.13456, app. B and C).
"""

import math
from collections.abc import Callable, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from manifold_diffusion._numerics import known_false
from manifold_diffusion._types import Scalar
from manifold_diffusion.processes.noising import AbstractNoising

Schedule = Callable[[Scalar], Scalar]
"""t in [0, 1] -> B(t)."""


class VariancePreserving(AbstractNoising):
    """alpha = exp(-B / 2), sigma^2 = 1 - exp(-B): dx = -beta x / 2 dt + sqrt(beta) dw (arXiv 2011.13456, eq. 11).

    Data of variance one keep it. With the schedule `constant` it is the Ornstein-Uhlenbeck process.
    """

    schedule: Schedule

    def alpha(self, t: Scalar) -> Scalar:
        return jnp.exp(-self.schedule(t) / 2)

    def sigma(self, t: Scalar) -> Scalar:
        variance = self.variance(t)
        return jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1.0)), 0.0)

    def variance(self, t: Scalar) -> Scalar:
        return -jnp.expm1(-self.schedule(t))


class SubVariancePreserving(AbstractNoising):
    """alpha = exp(-B / 2), sigma = 1 - exp(-B), which is less noise at every time (arXiv 2011.13456, eq. 14 and 29)."""

    schedule: Schedule

    def alpha(self, t: Scalar) -> Scalar:
        return jnp.exp(-self.schedule(t) / 2)

    def sigma(self, t: Scalar) -> Scalar:
        return -jnp.expm1(-self.schedule(t))


class _Linear(eqx.Module):
    first: Float[Array, ""]
    last: Float[Array, ""]

    def __call__(self, t: Scalar) -> Scalar:
        first, last = self.first.astype(t.dtype), self.last.astype(t.dtype)
        return first * t + (last - first) * t**2 / 2


class _Cosine(eqx.Module):
    start: Float[Array, ""]
    end: Float[Array, ""]

    def __call__(self, t: Scalar) -> Scalar:
        start, end = self.start.astype(t.dtype), self.end.astype(t.dtype)
        return 2 * (jnp.log(jnp.cos(start)) - jnp.log(jnp.cos(start + (end - start) * t)))


class _Tabulated(eqx.Module):
    values: Float[Array, " times"]

    def __call__(self, t: Scalar) -> Scalar:
        values = self.values.astype(t.dtype)
        return jnp.interp(t, jnp.linspace(0.0, 1.0, len(values), dtype=t.dtype), values)


def linear(first: float | int | Scalar = 0.1, last: float | int | Scalar = 20.0) -> Schedule:
    """beta from `first` to `last` at t = 1, linear in t: B = first t + (last - first) t^2 / 2 (arXiv 2011.13456, app.
    C; Ho et al., arXiv 2006.11239, in discrete time).
    """
    first, last = jnp.asarray(first, dtype=float), jnp.asarray(last, dtype=float)
    if known_false((first >= 0) & (last >= 0) & (first + last > 0)):
        raise ValueError(f"the rates of a linear schedule must not be negative, nor both 0, got {first} and {last}")
    return _Linear(first, last)


def constant(horizon: float | int | Scalar) -> Schedule:
    """B = horizon t. dX = -X / 2 dt + dW over a time T has the horizon T, dX = -X dt + sqrt(2) dW has 2 T."""
    return linear(horizon, horizon)


def ornstein_uhlenbeck(time: float | int | Scalar, pull: float | int | Scalar = 1.0) -> VariancePreserving:
    """dX = -pull X dt + sqrt(2 pull) dW, run for the given time, which is t = 1: alpha = exp(-pull time t).

    Both normalisations in use have the stationary law N(0, I): pull = 1, of generator Laplacian - x.grad, and pull =
    1/2, of half of that, which is `VariancePreserving` with beta = 1 (arXiv 2011.13456).
    """
    return VariancePreserving(constant(2 * pull * time))


def cosine(last_alpha: float | int = 1e-3, offset: float | int = 0.008) -> Schedule:
    """alpha(t) proportional to cos(pi/2 (u + s) / (1 + s)), s = `offset` (Nichol and Dhariwal, arXiv 2102.09672, eq.
    17), for u from 0 to where alpha is `last_alpha`: it would be 0 at u = 1, with an infinite rate.
    """
    start = math.pi / 2 * offset / (1 + offset)
    if not (0 < last_alpha < 1 and offset >= 0):
        raise ValueError(f"last_alpha must lie in (0, 1) and offset be at least 0, got {last_alpha} and {offset}")
    end = math.acos(last_alpha * math.cos(start))
    return _Cosine(jnp.asarray(start, dtype=float), jnp.asarray(end, dtype=float))


def tabulated(alpha_bars: Sequence[float] | Num[Array | np.ndarray, "..."]) -> Schedule:
    """The schedule of a model in discrete time, given as alpha^2 after each of T steps: exact at t = i / T, B linear
    between.
    """
    table = np.asarray(alpha_bars, np.float64)
    if table.ndim != 1 or not len(table) or not np.all((np.diff(table, prepend=1.0) <= 0) & (table > 0)):
        raise ValueError(
            "alpha_bars must be a list of numbers that fall from at most 1 and stay positive, the cumulated products "
            f"of 1 - beta; got shape {table.shape}"
        )
    return _Tabulated(jnp.asarray(-np.log(np.concatenate([[1.0], table])), dtype=float))
