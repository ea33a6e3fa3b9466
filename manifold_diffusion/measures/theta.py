"""Heat kernels of the circle and of the spheres S^2 and S^3: sums of positive terms at every time and place.

All are for the unit sphere and dp/dtau = (1/2) Laplacian p, with respect to volume, as a function of the angle theta
from the centre. Series of eigenfunctions serve large times. For small times they cancel, and Poisson's summation turns
them into sums over the geodesics that wind around; those are arranged in pairs that keep one sign (derived). Each
function takes the angle to the centre and, separately, the one to the antipode: near a pole the small one carries
the digits.
"""

import math

import jax.numpy as jnp
import numpy as np

from manifold_diffusion._types import Scalar

_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(32)[0] + 1) / 2, np.polynomial.legendre.leggauss(32)[1] / 2


def log_circle(theta: Scalar, tau: Scalar) -> Scalar:
    """log p of S^1, |theta| <= pi.

    (2 pi tau)^{-1/2} sum_j exp(-(theta + 2 pi j)^2 / (2 tau)) = (1 + 2 sum_n e^{-n^2 tau / 2} cos(n theta)) / (2 pi),
    Jacobi's theta function; the first below tau = 2 pi with |j| <= 4, the second above with n <= 3. What is left out is
    below 1e-16 of the sum.
    """
    small = tau < 2 * math.pi
    short, long = jnp.where(small, tau, 1.0), jnp.where(small, 2 * math.pi, tau)
    windings = sum(jnp.exp(-2 * math.pi * j * (math.pi * j + theta) / short) for j in (-4, -3, -2, -1, 1, 2, 3))
    wrapped = -(theta**2) / (2 * short) + jnp.log1p(windings) - 0.5 * jnp.log(2 * math.pi * short)
    waves = sum(2 * jnp.exp(-n * n * long / 2) * jnp.cos(n * theta) for n in (1, 2, 3))
    return jnp.where(small, wrapped, jnp.log1p(waves) - math.log(2 * math.pi))


def log_sphere_2(half: Scalar, other: Scalar, tau: Scalar) -> Scalar:
    """log p of S^2 with theta = 2 half and pi - theta = 2 other.

    Above tau = 1, sum_l (2 l + 1) e^{-l (l + 1) tau / 2} P_l(cos theta) / (4 pi), l <= 9. Below, the Hopf map: it sends
    S^3 to S^2 of radius 1/2, its fibres are great circles, and Brownian motion goes to Brownian motion. So p is the
    integral of S^3's kernel over a fibre, along which cos(phi) = cos(half) cos(psi); folded to phi <= pi/2,

        p = 2 int_half^{pi/2} q(phi) sin(phi) / sqrt(sin(phi - half) sin(phi + half)) dphi / 2,

    q the sum of the kernel at phi and at pi - phi, time tau / 4. With phi^2 = half^2 + s^2 it is smooth in s and
    positive; 32 Gauss-Legendre nodes give it to 1e-14, up to the antipode.
    """
    small = tau < 1
    fibre, legendre = _fibre(half, other, jnp.where(small, tau, 1.0)), _legendre(half, jnp.where(small, 1.0, tau))
    return jnp.where(small, fibre, legendre)


def _fibre(a: Scalar, b: Scalar, tau: Scalar) -> Scalar:
    z = jnp.asarray(_NODES, a.dtype)
    # s = sqrt(b ratio) z runs to pi/2 in phi, or to where exp(-2 s^2 / tau) is e^-40.
    reaches = b * (math.pi - b) < 20 * tau
    ratio = jnp.where(reaches, math.pi - b, 20 * tau / jnp.where(reaches, 1.0, b))
    squared = b * ratio * z * z
    phi = jnp.sqrt(a * a + squared)
    gap = squared / (phi + a)
    # q / b with q = pi - phi - a, in which b would cancel.
    rest = 2 - ratio * z * z / (phi + a)
    root = jnp.sqrt(_sinc(gap) * rest * _sinc(b * rest) / (phi + a))
    y = 4 * math.pi * phi / tau
    windings = jnp.exp(-2 * math.pi * (b * rest - gap) / tau) * _pair(2 * math.pi, y, tau)
    mass = jnp.sum(jnp.asarray(_WEIGHTS, a.dtype) * jnp.exp(-2 * squared / tau) * (1 + windings) / root)
    return tau / 8 - 2 * a * a / tau + jnp.log(mass * jnp.sqrt(ratio) / 2) - 1.5 * jnp.log(math.pi * tau / 2)


def _legendre(half: Scalar, tau: Scalar) -> Scalar:
    u = jnp.cos(2 * half)
    before, now, total = jnp.ones_like(u), u, 1 + 3 * jnp.exp(-tau) * u
    for l in range(1, 9):
        before, now = now, ((2 * l + 1) * u * now - l * before) / (l + 1)
        total = total + (2 * l + 3) * jnp.exp(-(l + 1) * (l + 2) * tau / 2) * now
    return jnp.log(total / (4 * math.pi))


def log_sphere_3(theta: Scalar, other: Scalar, tau: Scalar) -> Scalar:
    """log p of S^3 with other = pi - theta.

    Above tau = 3/2, sum_l (l + 1) e^{-l (l + 2) tau / 2} sin((l + 1) theta) / sin(theta) / (2 pi^2), l <= 7. Below, the
    derivative of the circle's kernel,

        e^{tau/2} (2 pi tau)^{-3/2} sum_j (theta + 2 pi j) exp(-(theta + 2 pi j)^2 / (2 tau)) / sin(theta),

    its terms j and -j taken together where theta < pi/2, and j and -1 - j elsewhere: what is left out is below 1e-16.
    """
    small, near = tau < 1.5, theta < other
    short = jnp.where(small, tau, 1.0)
    t, d = jnp.where(near, theta, 0.0), jnp.where(near, 0.0, other)
    # exp(-m^2 / (2 tau)) times the pair of m, over the leading exponential of its half of the sphere.
    near_centre = 1 - sum(
        jnp.exp(-m * (m / 2 - t) / short) * _pair(m, m * t / short, short) for m in (2 * math.pi, 4 * math.pi)
    )
    near_antipode = sum(
        jnp.exp(-(m - math.pi) * ((m + math.pi) / 2 - d) / short) * _pair(m, m * d / short, short)
        for m in (math.pi, 3 * math.pi)
    )
    windings = jnp.where(near, near_centre, near_antipode)
    arc = jnp.where(near, theta, math.pi - other)
    wound = short / 2 - arc**2 / (2 * short) - 1.5 * jnp.log(2 * math.pi * short) + jnp.log(windings / _sinc(t + d))
    return jnp.where(small, wound, _chebyshev(theta, jnp.where(small, 1.5, tau)))


def _chebyshev(theta: Scalar, tau: Scalar) -> Scalar:
    u = jnp.cos(theta)
    before, now, total = jnp.ones_like(u), 2 * u, 1 + 4 * jnp.exp(-1.5 * tau) * u
    for l in range(2, 8):
        before, now = now, 2 * u * now - before
        total = total + (l + 1) * jnp.exp(-l * (l + 2) * tau / 2) * now
    return jnp.log(total / (2 * math.pi**2))


def _pair(m, y, tau):
    """((m - t) - (m + t) e^{-2 y}) / t with y = m t / tau: what the geodesics of lengths m - t and m + t add up to."""
    twice = 2 * y
    tiny = twice < 1e-2
    safe = jnp.where(tiny, 1.0, twice)
    series = 1 - twice / 2 * (1 - twice / 3 * (1 - twice / 4 * (1 - twice / 5 * (1 - twice / 6 * (1 - twice / 7)))))
    return 2 * m * m / tau * jnp.where(tiny, series, -jnp.expm1(-safe) / safe) - (1 + jnp.exp(-twice))


def _sinc(x):
    return jnp.sinc(x / math.pi)
