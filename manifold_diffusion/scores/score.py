"""The interface of this folder: a score is any callable (x, sigma) -> grad log p_sigma(x), and this is its algebra.

Notation: p_sigma = mu * N(0, sigma^2 I) is the law of X_0 + sigma Z, D_sigma(x) = E[X_0 | X_0 + sigma Z = x] its
denoiser. Tweedie's formula joins them: D_sigma(x) = x + sigma^2 grad log p_sigma(x) (Efron, "Tweedie's formula and
selection bias", 2011, eq. 1.4). Everything takes one point; batch with `jax.vmap`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._types import Denoiser, Point, Scalar, Score


class _DenoiserOf(eqx.Module):
    score: Score

    def __call__(self, x: Point, sigma: Scalar) -> Point:
        return x + sigma**2 * self.score(x, sigma)


class _ScoreOf(eqx.Module):
    denoise: Denoiser

    def __call__(self, x: Point, sigma: Scalar) -> Point:
        return (self.denoise(x, sigma) - x) / sigma**2


class _Switch(eqx.Module):
    below: Score
    above: Score
    sigma_0: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def __call__(self, x: Point, sigma: Scalar) -> Point:
        # Closures, because cond hashes its branches and a module that holds tracers has no hash.
        return jax.lax.cond(sigma >= self.sigma_0, lambda *at: self.above(*at), lambda *at: self.below(*at), x, sigma)

    def denoise(self, x: Point, sigma: Scalar) -> Point:
        above, below = denoiser(self.above), denoiser(self.below)
        return jax.lax.cond(sigma >= self.sigma_0, lambda *at: above(*at), lambda *at: below(*at), x, sigma)


def denoiser(score: Score) -> Denoiser:
    """D(x, sigma) = x + sigma^2 score(x, sigma), or the score's own `denoise` where it has one (more exact at small
    sigma).
    """
    own = getattr(score, "denoise", None)
    return _DenoiserOf(score) if own is None else own


def from_denoiser(denoise: Denoiser) -> Score:
    """score(x, sigma) = (D(x, sigma) - x) / sigma^2."""
    return _ScoreOf(denoise)


def switch(below: Score, above: Score, sigma_0: float | Scalar) -> Score:
    """The score `above` at noise levels sigma >= sigma_0 and `below` under it.

    It is a `jax.lax.cond`: under `jax.vmap` over points, with the noise level shared, only one of the two is computed.
    """
    return _Switch(below, above, sigma_0)
