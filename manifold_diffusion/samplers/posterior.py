"""Bayesian inverse problems with what a score knows as the prior: the law of the data, or the uniform law on M.

Data y = A(x) + noise give log L(x) = log p(y | x). With the plain prior the posterior is L p_sigma -> L dmu; with the
prior tempered by sigma^alpha, 0 < alpha < 2, it is L p_sigma^{sigma^alpha} -> L dvol on M: the uniform prior, of the
largest entropy among the laws on M, which tolerates an error of the score of the order sigma^-a, a < alpha, where the
plain prior tolerates none of order 1 ("When Scores Learn Geometry", arXiv 2509.24912). Only the prior is tempered.
"""

from collections.abc import Callable

import jax.numpy as jnp

from manifold_diffusion._numerics import dot
from manifold_diffusion._types import Point, Scalar, Score
from manifold_diffusion.samplers.langevin import LangevinStep

LogLikelihood = Callable[[Point], Scalar]


def posterior(
    score: Score,
    log_likelihood: LogLikelihood,
    sigma: float | int | Scalar,
    *,
    exponent: float | int | Scalar = 0.0,
    eta: float | int | Scalar = 0.5,
) -> LangevinStep:
    """The Langevin step towards L p_sigma^{sigma^alpha}, for `chain` and `trajectory`: alpha = 0 is the plain prior.

    Steps are eta sigma^{2-alpha} long in time, and stable while that times the curvature of log L is below 2.
    """
    return LangevinStep(score, sigma, eta, exponent, log_likelihood)


def gaussian_likelihood(
    operator: Callable[[Point], Point], observed: Point, noise: float | int | Scalar
) -> LogLikelihood:
    """log L(x) = -|A(x) - y|^2 / (2 noise^2) of y = A(x) + N(0, noise^2 I), A any differentiable map; a matrix is
    `lambda x: A @ x`.
    """
    y = jnp.asarray(observed)

    def log_likelihood(x: Point) -> Scalar:
        residual = (operator(x) - y.astype(x.dtype)) / jnp.asarray(noise, x.dtype)
        return -0.5 * dot(residual, residual)

    return log_likelihood
