r"""Langevin samplers at a fixed noise level, plain and tempered, with an optional likelihood.

With s the score at the noise level sigma, M the manifold of the data and alpha the exponent of tempering, one step is

    x <- x + eta (sigma^2 s(x, sigma) + sigma^{2-alpha} grad log L(x)) + sqrt(2 eta sigma^{2-alpha}) xi,

the Euler step of length eta sigma^{2-alpha} of dX = (sigma^alpha s + grad log L) dt + sqrt(2) dW (Tweedie's sigma^2 s
= D_sigma(x) - x keeps every term of the size of a displacement). As eta -> 0 its law is p_sigma^{sigma^alpha} L:
alpha = 0 is plain Langevin, whose law is p_sigma L, and for 0 < alpha < 2 the density of the data, which is O(1) in
log p_sigma where the distance to M is O(sigma^-2), is forgotten as sigma -> 0: the law is L dvol on M ("When Scores
Learn Geometry", arXiv 2509.24912). Only the prior is tempered.

Thickness. Across M, D_sigma(x) - x = -n + O(sigma^2) at the offset n, so n <- (1 - eta) n + sqrt(2 eta sigma^{2-alpha})
xi, whose stationary variance v solves v = (1 - eta)^2 v + 2 eta sigma^{2-alpha}:

    v = sigma^{2-alpha} / (1 - eta / 2) in each normal direction, for 0 < eta < 2 (derived).

The tube of radius sigma^{1-alpha/2} must lie inside the reach of M.

Mixing. Along M, a step is one of Brownian motion with variance 2 eta sigma^{2-alpha}; the slowest mode decays by
exp(-eta sigma^{2-alpha} lambda_1) a step, lambda_1 the first eigenvalue of the Laplacian of M: see `e_folds`. At equal
thickness, sigma^{2-alpha} = v (1 - eta / 2) and the speed is eta (2 - eta) v / 2, largest at eta = 1 (derived).

Noise above the unit of length is not tempered: sigma^alpha stands for min(sigma, 1)^alpha, so that tempering never
cools.

Song's rule for the step size by a signal-to-noise ratio r (arXiv 2011.13456, algorithm 4: x + e s + sqrt(2 e) xi with e
= 2 (r |xi| / |s|)^2) has no place here. It fixes the ratio of drift to noise at r, which is what tempering changes:
with sigma^alpha s for s both are those of the plain step times sigma^-alpha. And e is unbounded where s vanishes, which
is near M: a chain is thrown off from there. An average of |s| over a batch prevents that, but makes each chain depend
on the others.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import known_false, vary_like
from manifold_diffusion._types import Key, Point, Scalar, Score
from manifold_diffusion.processes import Reverse
from manifold_diffusion.samplers.chain import Transition, chain


class LangevinStep(eqx.Module):
    """One transition of the chain above, (key, x) -> x; `move(x, xi)` is the same with the noise given."""

    score: Score
    sigma: Scalar = eqx.field(converter=lambda a: jnp.asarray(a, dtype=float))
    eta: Scalar = eqx.field(converter=lambda a: jnp.asarray(a, dtype=float))
    exponent: Scalar = eqx.field(converter=lambda a: jnp.asarray(a, dtype=float), default=0.0)
    log_likelihood: Callable[[Point], Scalar] | None = None

    def __check_init__(self):
        require_step(self.eta, self.exponent)
        if known_false(self.sigma > 0):
            raise ValueError(f"the noise level sigma must be positive, got {self.sigma}")

    def __call__(self, key: Key, x: Point) -> Point:
        return self.move(x, jax.random.normal(key, x.shape, x.dtype))

    def move(self, x: Point, noise: Point) -> Point:
        """x + eta (sigma^2 s + sigma^{2-alpha} grad log L) + sqrt(2 eta sigma^{2-alpha}) noise."""
        sigma, eta, exponent = (a.astype(x.dtype) for a in (self.sigma, self.eta, self.exponent))
        return langevin_move(self.score, x, sigma, noise, eta, exponent, self.log_likelihood)


def langevin_move(
    score: Score,
    x: Point,
    sigma: Scalar,
    noise: Point,
    eta: Scalar,
    exponent: Scalar,
    log_likelihood: Callable[[Point], Scalar] | None = None,
) -> Point:
    """x after one step at the noise level sigma."""
    scale = sigma**2 / jnp.minimum(sigma, 1) ** exponent
    drift = displacement(score, x, sigma)
    if log_likelihood is not None:
        drift = drift + scale * jax.grad(log_likelihood)(x)
    return (x + eta * drift + jnp.sqrt(2 * eta * scale) * noise).astype(x.dtype)


def displacement(score: Score, x: Point, sigma: Scalar) -> Point:
    """sigma^2 s(x, sigma) = D_sigma(x) - x, by the score's own `denoise` where it has one."""
    own = getattr(score, "denoise", None)
    return sigma**2 * score(x, sigma) if own is None else own(x, sigma) - x


def langevin(
    score: Score,
    sigma: float | int | Scalar,
    *,
    eta: float | int | Scalar,
    steps: int,
    exponent: float | int | Scalar = 0.0,
    log_likelihood: Callable[[Point], Scalar] | None = None,
) -> Transition:
    """(key, x) -> x after `steps` Langevin steps at the noise level sigma; `exponent` is alpha, 0 <= alpha < 2.

    For states on the way: `trajectory(LangevinStep(score, sigma, eta, exponent), count, thin=..., burn_in=...)`.
    """
    return chain(LangevinStep(score, sigma, eta, exponent, log_likelihood), steps)


class _Annealed(eqx.Module):
    score: Score
    sigmas: Float[Array, " levels"]
    eta: Scalar
    exponent: Scalar
    steps: int = eqx.field(static=True)

    def __call__(self, key: Key, x: Point) -> Point:
        def level(x, at):
            i, sigma = at
            step = LangevinStep(self.score, sigma, self.eta, self.exponent)
            return chain(step, self.steps)(jax.random.fold_in(key, i), x), None

        return jax.lax.scan(
            level, vary_like(x, key, self), (jnp.arange(len(self.sigmas)), self.sigmas.astype(x.dtype))
        )[0]


def annealed_langevin(
    score: Score,
    sigmas: Float[Array, " levels"],
    *,
    eta: float | int | Scalar,
    steps: int,
    exponent: float | int | Scalar = 0.0,
) -> Transition:
    """(key, x) -> x after `steps` Langevin steps at each of the noise levels in turn, the largest first.

    The step is eta sigma^2 at each level (Song and Ermon, arXiv 1907.05600, algorithm 1, whose epsilon is 2 eta
    times the square of the last level); x should come from N(0, sigma^2 I) about the data at the first.
    """
    levels = jnp.asarray(sigmas, dtype=float)
    if known_false(jnp.all(levels > 0)) or known_false(jnp.all(jnp.diff(levels) <= 0)):
        raise ValueError(f"noise levels must be positive and fall, got {levels}: sort them, the largest first")
    require_step(eta, exponent)
    return _Annealed(score, levels, jnp.asarray(eta, dtype=float), jnp.asarray(exponent, dtype=float), steps)


class _LangevinCorrector(eqx.Module):
    eta: Scalar
    exponent: Scalar
    steps: int = eqx.field(static=True)

    def __call__(self, sde: Reverse, x: Point, t: Scalar, key: Key) -> Point:
        alpha = sde.noising.alpha(t)
        step = LangevinStep(sde.score, sde.noising.sigma(t) / alpha, self.eta, self.exponent)
        return alpha * chain(step, self.steps)(key, x / alpha)


def langevin_corrector(
    eta: float | int | Scalar, *, steps: int = 1, exponent: float | int | Scalar = 0.0
) -> Callable[[Reverse, Point, Scalar, Key], Point]:
    """The corrector of `predictor_corrector` that takes Langevin steps at the noise level of time t.

    x / alpha(t) is at the noise level sigma(t) / alpha(t) of the data; `exponent` tempers, below the unit of length.
    """
    require_step(eta, exponent)
    return _LangevinCorrector(jnp.asarray(eta, dtype=float), jnp.asarray(exponent, dtype=float), steps)


def e_folds(
    steps: int,
    eta: float | int | Scalar,
    sigma: float | int | Scalar,
    exponent: float | int | Scalar,
    first_eigenvalue: float | int | Scalar,
) -> Scalar:
    """steps eta sigma^{2-alpha} lambda_1: by how many factors of e the slowest mode has decayed.

    lambda_1 is the first positive eigenvalue of the Laplacian: (2 pi / L)^2 on a closed curve of length L, k / r^2 on
    the sphere S^k of radius r, 1 / r^2 with r the larger radius on a product of circles.
    """
    return jnp.asarray(steps * eta * sigma ** (2 - exponent) * first_eigenvalue, dtype=float)


def require_step(eta: float | int | Scalar, exponent: float | int | Scalar) -> None:
    """ValueError unless 0 < eta < 2, beyond which the chain diverges, and 0 <= exponent < 2."""
    if known_false((eta > 0) & (eta < 2)):
        raise ValueError(f"eta must lie between 0 and 2, where the chain across the manifold is stable, got {eta}")
    if known_false((exponent >= 0) & (exponent < 2)):
        raise ValueError(f"the exponent of tempering must lie in [0, 2), got {exponent}; 0 is plain Langevin")
