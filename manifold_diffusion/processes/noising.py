"""The interface of this folder: how data are noised, and the equations that undo it.

Notation: x_t = alpha(t) x_0 + sigma(t) z for t in [0, 1], t = 0 the data, alpha(0) = 1 and sigma(0) = 0. The forward
SDE with these marginals is dx = f(t) x dt + g(t) dw with

    f = alpha' / alpha,    g^2 = (sigma^2)' - 2 f sigma^2

(Song et al., "Score-based generative modeling through stochastic differential equations", arXiv 2011.13456, sec. 3
and app. B; the form by alpha and sigma is Kingma et al., arXiv 2107.00630, app. A). Both come from alpha and sigma by
autodiff.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp

from manifold_diffusion._types import Point, Scalar, Score


class AbstractNoising(eqx.Module):
    """x_t = alpha(t) x_0 + sigma(t) z, with z standard normal."""

    @abstractmethod
    def alpha(self, t: Scalar) -> Scalar:
        """The scale of the signal, 1 at t = 0."""

    @abstractmethod
    def sigma(self, t: Scalar) -> Scalar:
        """The scale of the noise, 0 at t = 0."""

    def variance(self, t: Scalar) -> Scalar:
        """sigma(t)^2. To be written out where sigma is a square root, which has no derivative at t = 0."""
        return self.sigma(t) ** 2


@runtime_checkable
class AbstractSDE(Protocol):
    """dx = drift(x, t) dt + diffusion(t) dw: all that a step sees. `SDE` and `Reverse` are such."""

    drift: Callable[[Point, Scalar], Point]
    diffusion: Callable[[Scalar], Scalar]


class SDE(eqx.Module):
    """dx = drift(x, t) dt + diffusion(t) dw from two functions. It may hold closures: build it inside the jitted
    edge.
    """

    drift: Callable[[Point, Scalar], Point]
    diffusion: Callable[[Scalar], Scalar]


def log_alpha_rate(noising: AbstractNoising, t: Scalar) -> Scalar:
    """f(t) = alpha'(t) / alpha(t)."""
    alpha, rate = jax.value_and_grad(noising.alpha)(t)
    return rate / alpha


def squared_diffusion(noising: AbstractNoising, t: Scalar) -> Scalar:
    """g(t)^2 = (sigma^2)' - 2 f sigma^2, never negative (rounding could make it so where sigma / alpha is flat)."""
    variance, rate = jax.value_and_grad(noising.variance)(t)
    return jnp.maximum(rate - 2 * log_alpha_rate(noising, t) * variance, 0.0)


def forward(noising: AbstractNoising) -> SDE:
    """dx = f(t) x dt + g(t) dw, which turns data at t = 0 into noise at t = 1."""
    return SDE(
        lambda x, t: log_alpha_rate(noising, t) * x,
        lambda t: jnp.sqrt(squared_diffusion(noising, t)),
    )


class Reverse(eqx.Module):
    """The reverse of a noising, run with t decreasing from 1 to 0. Make one with `reverse`.

    With s_t the score of the law of x_t,

        drift = f x - (1 + eta^2) / 2 g^2 s_t,    diffusion = eta g.

    Every eta has the marginals of the noising: eta = 1 is Anderson's reverse SDE (Stochastic Processes and their
    Applications 12, 1982), eta = 0 the probability-flow ODE (arXiv 2011.13456, eq. 13); between them arXiv
    2106.02808, eq. 14.
    """

    noising: AbstractNoising
    score: Score
    eta: float = eqx.field(static=True, default=1.0)

    def drift(self, x: Point, t: Scalar) -> Point:
        """f(t) x - (1 + eta^2) / 2 g(t)^2 s_t(x)."""
        rate = (1 + self.eta**2) / 2 * squared_diffusion(self.noising, t)
        return log_alpha_rate(self.noising, t) * x - rate * self.score_at(x, t)

    def diffusion(self, t: Scalar) -> Scalar:
        """eta g(t)."""
        return self.eta * jnp.sqrt(squared_diffusion(self.noising, t))

    def score_at(self, x: Point, t: Scalar) -> Point:
        """s_t(x) = s(x / alpha, sigma / alpha) / alpha: the score at a noise level, of x rescaled to the size of the
        data.
        """
        alpha = self.noising.alpha(t)
        return self.score(x / alpha, self.noising.sigma(t) / alpha) / alpha

    def denoise(self, x: Point, t: Scalar) -> Point:
        """E[x_0 | x_t = x] = x / alpha + (sigma / alpha)^2 s(x / alpha, sigma / alpha), by the score's own `denoise`
        if it has one.
        """
        alpha = self.noising.alpha(t)
        level, y = self.noising.sigma(t) / alpha, x / alpha
        own = getattr(self.score, "denoise", None)
        return y + level**2 * self.score(y, level) if own is None else own(y, level)


def reverse(noising: AbstractNoising, score: Score, eta: float = 1.0) -> Reverse:
    """The equation that turns noise at t = 1 into data at t = 0, given the score at each noise level.

    eta is the share of noise: 1 the reverse SDE, 0 the probability-flow ODE. It is a Python number, so that a solver
    for ODEs can refuse an SDE.
    """
    if not eta >= 0:
        raise ValueError(f"eta must be at least 0, got {eta}: use 0 for the flow, 1 for the reverse SDE")
    return Reverse(noising, score, float(eta))
