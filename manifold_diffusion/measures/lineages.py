"""Brownian motion on spheres of any dimension as a mixture of Beta laws, and its expansion for short times.

For the unit sphere S^k and dp/dtau = (1/2) Laplacian p, as functions of the angle theta from the centre.
"""

import functools
import math
from decimal import Decimal, localcontext

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._bessel import log_scaled_bessel
from manifold_diffusion._numerics import rejection
from manifold_diffusion._types import Key, Scalar
from manifold_diffusion.geometry.unit_sphere import log_sphere_area

_FARTHEST = 2.5
_POWERS, _TERMS = 96, 24


class Lineages(eqx.Module):
    """The heat kernel of S^k, k >= 2, at a time of 0.02 or more.

    sin^2(theta/2) is a Wright-Fisher diffusion that starts at 0, hence a mixture of the laws Beta(k/2, k/2 + m), m =
    0, 1, ..., with the weights q_m of a pure death process that comes down from infinity with the rates m (m + k - 1) /
    2 (Jenkins and Spano, Ann. Appl. Probab. 27, 2017; on spheres: Mijatovic, Mramor and Uribe Bravo, Statist. Probab.
    Lett. 165, 2020). So

        p = |S^k|^{-1} sum_m q_m B(k/2, k/2) / B(k/2, k/2 + m) cos(theta/2)^{2m}:

    no term is negative, and sampling is exact up to the rounding of q_m.
    """

    log_weights: Float[Array, " m"]
    log_heights: Float[Array, " m"]
    dim: int = eqx.field(static=True)

    def __init__(self, dim: int, tau: float):
        from scipy.special import betaln

        log_weights = np.asarray(log_lineages(dim, tau))
        m = np.arange(len(log_weights))
        heights = betaln(dim / 2, dim / 2) - betaln(dim / 2, dim / 2 + m) - log_sphere_area(dim)
        self.dim = dim
        self.log_weights = jnp.asarray(log_weights, dtype=float)
        self.log_heights = jnp.asarray(log_weights + heights, dtype=float)

    def log_density(self, half: Scalar, other: Scalar) -> Scalar:
        near, tiny = half < other, jnp.finfo(half.dtype).eps
        sine = jnp.sin(jnp.where(near, half, 0.0))
        far = 2 * jnp.log(jnp.maximum(jnp.sin(jnp.where(near, 1.0, other)), tiny))
        log_square = jnp.where(near, jnp.log1p(-sine * sine), far)
        powers = jnp.arange(len(self.log_heights), dtype=half.dtype) * log_square
        return jax.scipy.special.logsumexp(self.log_heights.astype(half.dtype) + powers)

    def angle(self, key: Key) -> Scalar:
        """A draw of the length of a geodesic from the centre."""
        which, where = jax.random.split(key)
        m = jax.random.categorical(which, self.log_weights).astype(self.log_weights.dtype)
        square = jax.random.beta(where, self.dim / 2, self.dim / 2 + m, dtype=self.log_weights.dtype)
        return 2 * jnp.arctan2(jnp.sqrt(square), jnp.sqrt(1 - square))


@functools.lru_cache(maxsize=64)
def log_lineages(k: int, tau: float) -> tuple[float, ...]:
    """log q_m for all m that matter, from

        q_m = sum_{i >= m} (-1)^{i-m} (2 i + k - 1) Gamma(i + m + k - 1) / (Gamma(m + k) m! (i - m)!) e^{-i (i + k - 1)
        tau / 2}

    (Tavare, Theor. Popul. Biol. 26, 1984). The terms are larger than the sum by up to e^{O(1/tau)}, so it is summed in
    decimal numbers of as many digits as that takes.
    """
    from scipy.special import gammaln

    count = int(2 / tau + 12 * math.sqrt(0.7 / tau) + 30)
    last = count + int(math.pi / tau + math.sqrt(120 / tau)) + 20
    i, m = np.arange(last)[None, :], np.arange(count)[:, None]
    with np.errstate(divide="ignore"):
        sizes = np.log(2 * i + k - 1) + gammaln(i + m + k - 1) - gammaln(m + k) - gammaln(m + 1)
    sizes = np.where(i >= m, sizes - gammaln(np.maximum(i - m, 0) + 1) - i * (i + k - 1) * tau / 2, -np.inf)
    # q_0 is of the size of e^{-pi^2 / (2 tau)}; nothing smaller by 40 digits is of any weight.
    digits = (math.pi**2 / (2 * tau)) / math.log(10) + 40
    weights = []
    with localcontext() as context:
        context.prec = int(max(0.0, sizes.max() / math.log(10)) + digits) + 5
        decay = (-Decimal(tau) / 2).exp()
        modes = [(2 * i + k - 1) * decay ** (i * (i + k - 1)) for i in range(last)]
        for m in range(count):
            term = Decimal(math.factorial(2 * m + k - 2)) / (math.factorial(m + k - 1) * math.factorial(m))
            total = Decimal(0)
            for i in range(m, last):
                total += term * modes[i]
                term *= -Decimal(i + m + k - 1) / (i + 1 - m)
            weights.append(float(total.ln()) if total > Decimal(10) ** int(-digits + 5) else -math.inf)
    while weights[-1] == -math.inf:
        weights.pop()
    return tuple(weights)


class Expansion(eqx.Module):
    """The heat kernel of S^k, k >= 2, at a time below 0.02:

        p = (2 pi tau)^{-k/2} e^{-theta^2 / (2 tau)} (theta / sin theta)^{(k-1)/2} e^{k (k-1) tau / 12} F,

    F = sum_j tau^j f_j, f_0 = 1 (derived; f_j has power series in theta^2 that converge for theta < pi). With V =
    (k-1)(k-3)/8 (1/sin^2 - 1/theta^2 - 1/3), the heat equation asks for

        j f_j + theta f_j' = (1/2) (f_{j-1}'' + (k-1)/theta f_{j-1}') - V f_{j-1}.

    24 terms give log p to rounding for theta <= 2.5 and k <= 50. Beyond, at densities below e^{-150} of the largest, F
    is continued by what geodesics in all directions add up to at the distance delta from the antipode, sqrt(2 pi z)
    e^{-z} I_{(k-2)/2}(z) with z = pi delta / tau: log p is then wrong by up to 0.03 k^2 tau.

    Sampling for k >= 3: F <= 1, as it is the mean of exp(-int V) over Bessel bridges (V is not negative), so a
    Gaussian radius is taken with probability (sin theta / theta)^{(k-1)/2} F.
    """

    powers: Float[Array, " n"]
    tau: Scalar
    dim: int = eqx.field(static=True)

    def __init__(self, dim: int, tau: float):
        self.powers = jnp.asarray(_expansion(dim, tau), dtype=float)
        self.tau, self.dim = jnp.asarray(tau, dtype=float), dim

    def log_density(self, half: Scalar, other: Scalar) -> Scalar:
        k, tau = self.dim, self.tau.astype(half.dtype)
        theta, limit = 2 * half, math.pi - _FARTHEST
        far = theta > _FARTHEST
        delta = jnp.where(far, 2 * other, limit)
        # (theta / sin theta)^{(k-1)/2} with its singularity at the antipode replaced by the sum over all directions.
        stretch = -0.5 * (k - 1) * jnp.log(jnp.sinc(jnp.where(far, delta, theta) / math.pi))
        edge = 0.5 * (k - 1) * (jnp.log(math.pi - delta) - math.log(limit))
        merged = edge + self._merged(delta) - self._merged(jnp.asarray(limit, half.dtype))
        arc = jnp.where(far, math.pi - delta, theta)
        gaussian = -(arc**2) / (2 * tau) - 0.5 * k * jnp.log(2 * math.pi * tau) + k * (k - 1) * tau / 12
        return gaussian + stretch + jnp.where(far, merged, 0.0) + self._log_series(theta)

    def _log_series(self, theta: Scalar) -> Scalar:
        square = (jnp.minimum(theta, _FARTHEST) / math.pi) ** 2
        return jnp.log(jnp.polyval(self.powers.astype(theta.dtype)[::-1], square))

    def _merged(self, delta: Scalar) -> Scalar:
        """log of (2 pi z)^{1/2} e^{-z} I_{(k-2)/2}(z) delta^{-(k-1)/2} up to a constant."""
        return log_scaled_bessel(self.dim, (math.pi * delta / self.tau.astype(delta.dtype)) ** 2)

    def angle(self, key: Key) -> Scalar:
        """A draw of the length of a geodesic from the centre."""

        def propose(place):
            z = jax.random.normal(place, (self.dim,), self.tau.dtype)
            theta = jnp.sqrt(self.tau * jnp.sum(z * z))
            inside = theta < _FARTHEST
            safe = jnp.where(inside, theta, 0.0)
            log_ratio = 0.5 * (self.dim - 1) * jnp.log(jnp.sinc(safe / math.pi)) + self._log_series(safe)
            return theta, jnp.where(inside, log_ratio, -jnp.inf)

        theta, worst = rejection(key, propose)
        return eqx.error_if(theta, ~(worst <= 64 * jnp.finfo(theta.dtype).eps), "the bound on a heat kernel failed")


@functools.lru_cache(maxsize=64)
def _expansion(k: int, tau: float) -> np.ndarray:
    """sum_j tau^j f_j as a power series in (theta / pi)^2."""
    from scipy.special import zeta

    n = np.arange(_POWERS + 2 * _TERMS)
    # 1/sin^2 - 1/theta^2 = sum_n 2 zeta(2 n + 2) (2 n + 1) / pi^2 (theta / pi)^{2 n}, the derivative of -cot.
    potential = (k - 1) * (k - 3) / 8 * 2 * zeta(2 * n + 2) * (2 * n + 1) / math.pi**2
    potential[0] = 0
    term = np.where(n == 0, 1.0, 0.0)
    total = term.copy()
    for j in range(1, _TERMS + 1):
        # (1/2) Laplacian of theta^{2 n + 2} is (n + 1) (2 n + k) theta^{2 n}.
        spread = np.append((n[:-1] + 1) * (2 * n[:-1] + k) / math.pi**2 * term[1:], 0.0)
        term = tau * (spread - np.convolve(potential, term)[: len(n)]) / (j + 2 * n)
        # A coefficient more is lost at the end with each term.
        term[len(n) - j :] = 0
        total = total + term
    return total[:_POWERS]
