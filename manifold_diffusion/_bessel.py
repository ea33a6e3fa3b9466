"""The von Mises-Fisher family's special functions at any concentration, from 0 to 1e18, without overflow.

Notation: nu = d / 2 - 1, d the ambient dimension, rho_j(r) = I_{j+1}(r) / I_j(r) the ratio of modified Bessel
functions, and q_j = rho_j / r, a smooth function of s = r^2 that is positive at 0.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._types import Scalar

# Orders above the one wanted at which the recurrence starts.
STEPS = 64


def _start(n: float, s: Scalar) -> Scalar:
    """q_n for n >= 64, to about (n^2 + s)^-2 of itself.

    I'_n / I_n = rho_n + n / r solves y' + y / r + y^2 = 1 + n^2 / r^2 (Bessel's equation). Its expansion in
    descending powers of w = sqrt(r^2 + n^2) (WKB, derived to the fourth term) starts with w / r, uniformly in r.
    """
    w = jnp.sqrt(s + n**2)
    u, c = 1 / w, s / (s + n**2)
    terms = -u / 2 + (0.5 - 0.625 * c) * u**2 - (0.5 - 2.25 * c + 1.875 * c**2) * u**3
    return 1 / (w + n) + u * terms


def bessel_quotients(d: int, s: Scalar) -> Float[Array, " orders"]:
    """q_j(sqrt s) for j = nu, nu - 1, ..., down to 0 or 1/2: one entry for d = 2, 3 and another for each 2 dimensions
    more.

    The recurrence q_{j-1} = 1 / (2 j + s q_j) (DLMF 10.29.1) contracts errors when it runs downwards.
    """
    nu = d / 2 - 1
    q = jax.lax.fori_loop(0, STEPS, lambda i, q: 1 / (2 * (nu + STEPS - i) + s * q), _start(nu + STEPS, s))
    quotients = [q]
    for i in range((d - 2) // 2):
        quotients.append(1 / (2 * (nu - i) + s * quotients[-1]))
    return jnp.stack(quotients)


def mean_resultant_quotient(d: int, s: Scalar) -> Scalar:
    """A_d(r) / r with r = sqrt s, A_d(r) = I_{d/2}(r) / I_{d/2-1}(r) the length of the mean of von Mises-Fisher's
    law.
    """
    return bessel_quotients(d, s)[0]


def log_scaled_bessel(d: int, s: Scalar) -> Scalar:
    """log(e^-r r^-nu I_nu(r)) with r = sqrt s and nu = d / 2 - 1.

    I_nu = I_{nu_0} prod_j rho_j over j = nu_0 .. nu - 1, with nu_0 = 0 (d even: I_0 is at hand) or 1/2 (d odd: a sinh).
    """
    positive = s > 0
    r = jnp.where(positive, jnp.sqrt(jnp.where(positive, s, 1.0)), 0.0)
    if d % 2:
        twice = jnp.where(positive, 2 * r, 1.0)
        first = 0.5 * math.log(2 / math.pi) + jnp.where(positive, jnp.log(-jnp.expm1(-twice) / twice), 0.0)
    else:
        first = jnp.log(jax.scipy.special.i0e(r))
    return first + jnp.sum(jnp.log(bessel_quotients(d, s)[1:]))
