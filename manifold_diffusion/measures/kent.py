"""Kent's law on the sphere: what a normal law with an oval covariance becomes there."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot, rejection
from manifold_diffusion._types import Key, Point, Scalar
from manifold_diffusion.geometry import AbstractManifold, Sphere
from manifold_diffusion.measures.measure import AbstractMeasure

_LARGEST = 1e8


class Kent(AbstractMeasure):
    """Density exp(kappa <m, x> + beta (<a, x>^2 - <b, x>^2)) / C on the unit sphere S^2, with m, a, b = m x a
    orthonormal and 0 <= 2 beta < kappa (Kent, J. R. Statist. Soc. B 44, 1982): one mode, at m, and long along a.

    The axis a is made orthogonal to m. C(kappa, beta) by Kent's series at construction. On the sphere the exponent is
    kappa - kappa (1 - <m, x>)^2 / 2 - w, w = (kappa/2 - beta) <a, x>^2 + (kappa/2 + beta) <b, x>^2: no term cancels
    another, so narrow laws are right in float32.

    Sampling (after Kent, Ganeiber and Mardia, J. Comput. Graph. Statist. 27, 2018; folded here, which halves the
    number of proposals): with u = |<m, x>|, the sum of the density at x and at -x is at most a constant times exp(-w),
    because log 2cosh(kappa u) - kappa (1 + u^2) / 2 is largest at the root of u = tanh(kappa u); and exp(-w) <=
    e^{-(3-s)/2} (3/s)^{3/2} (1 + 2 w / s)^{-3/2} for every s <= 3, which is an angular central Gaussian density, drawn
    as a normalised Gaussian vector. Half of the proposals or more are taken while beta is small, fewer where 2 beta
    nears kappa (1 in 12 at kappa = 1e4, 2 beta = 0.9999 kappa).
    """

    manifold: AbstractManifold
    frame: Float[Array, "3 3"]
    concentration: Scalar
    ovalness: Scalar
    rates: Float[Array, "3"]
    log_normaliser: Scalar
    envelope: Scalar
    log_bound: Scalar

    def __init__(self, mean_direction, major_axis, concentration: float | int, ovalness: float | int):
        m, a = np.asarray(mean_direction, np.float64), np.asarray(major_axis, np.float64)
        if m.shape != (3,) or a.shape != (3,):
            raise ValueError(f"Kent's law lives on S^2, got directions of shapes {m.shape} and {a.shape}; pass (3,)")
        kappa, beta = float(concentration), float(ovalness)
        if not (0 <= 2 * beta < kappa <= _LARGEST):
            raise ValueError(
                f"Kent's law needs 0 <= 2 ovalness < concentration <= {_LARGEST:g}, got {concentration} and {ovalness}"
            )
        b = np.cross(m, a)
        if not np.linalg.norm(b) > 1e-6 * np.linalg.norm(m) * np.linalg.norm(a):
            raise ValueError(f"the major axis must not be parallel to the mean direction, got {a} and {m}")
        rows = [m, np.cross(b, m), b]
        self.manifold = Sphere(2)
        self.frame = jnp.asarray([row / np.linalg.norm(row) for row in rows], dtype=float)
        self.concentration, self.ovalness = jnp.asarray(kappa, dtype=float), jnp.asarray(beta, dtype=float)
        self.log_normaliser = jnp.asarray(_log_normaliser(kappa, beta), dtype=float)
        rates = np.array([0.0, kappa / 2 - beta, kappa / 2 + beta])
        envelope, log_bound = _envelope(kappa, rates)
        self.rates = jnp.asarray(rates, dtype=float)
        self.envelope, self.log_bound = jnp.asarray(envelope, dtype=float), jnp.asarray(log_bound, dtype=float)

    def sample(self, key: Key) -> Point:
        loop, coin = jax.random.split(key)
        y, _ = rejection(loop, self._propose)
        u = jnp.abs(y[0])
        towards = jax.random.uniform(coin, dtype=y.dtype) < jax.nn.sigmoid(2 * self.concentration * u)
        y = y * jnp.where((y[0] > 0) == towards, 1.0, -1.0).astype(y.dtype)
        return self.manifold.project(dot(self.frame.T, y))

    def _propose(self, key: Key) -> tuple[Point, Scalar]:
        kappa, s = self.concentration, self.envelope
        y = jax.random.normal(key, (3,), kappa.dtype) / jnp.sqrt(1 + 2 * self.rates / s)
        y = y / jnp.sqrt(jnp.sum(y * y))
        u, w = jnp.abs(y[0]), jnp.sum(self.rates * y * y)
        # 1 - u, of which kappa may be any multiple.
        short = (y[1] ** 2 + y[2] ** 2) / (1 + u)
        folded = jnp.log1p(jnp.exp(-2 * kappa * u)) - kappa * short**2 / 2
        return y, folded - w + 1.5 * jnp.log1p(2 * w / s) - self.log_bound

    def log_density(self, x: Point) -> Scalar:
        # 1 - <m, x> = |x - m|^2 / 2, and a, b are orthogonal to m: differences first.
        offset = x - self.frame[0].astype(x.dtype)
        short, across = 0.5 * jnp.sum(offset * offset), dot(self.frame.astype(x.dtype), offset)
        w = jnp.sum(self.rates.astype(x.dtype) * across * across)
        return -0.5 * self.concentration.astype(x.dtype) * short**2 - w - self.log_normaliser.astype(x.dtype)


def _log_normaliser(kappa: float, beta: float) -> float:
    """log(C e^-kappa), C = 2 pi sum_j Gamma(j + 1/2) / Gamma(j + 1) beta^{2j} (kappa/2)^{-2j - 1/2} I_{2j+1/2}(kappa).

    Terms fall at least like (2 beta / kappa)^{2j} and like exp(-2 j^2 / kappa); they are summed until below 1e-17.
    """
    from scipy.special import gammaln, ive

    ratio = 2 * beta / kappa
    by_ratio = 40 / -math.log(ratio**2) if ratio > 0 else 0.0
    j = np.arange(2 + math.ceil(min(by_ratio, 5 * math.sqrt(kappa) + 30)))
    with np.errstate(divide="ignore"):
        # Orders whose Bessel function is below the smallest number have terms that are below rounding too.
        bessel = np.log(ive(2 * j + 0.5, kappa))
        powers = np.where(j > 0, 2 * j * np.log(ratio or 1e-300), 0.0)
    terms = gammaln(j + 0.5) - gammaln(j + 1) + powers - 0.5 * math.log(kappa / 2) + bessel
    return float(math.log(2 * math.pi) + np.logaddexp.reduce(terms))


def _envelope(kappa: float, rates: np.ndarray) -> tuple[float, float]:
    """(s, log of the bound): the s of the most acceptances, which solves sum_i 1 / (s + 2 rate_i) = 1, and the bound
    that the class derives.
    """
    from scipy.optimize import brentq

    s = float(brentq(lambda s: np.sum(1 / (s + 2 * rates)) - 1, 0.5, 3.0, xtol=1e-14))  # pyright: ignore[reportArgumentType]
    u = 0.0
    if kappa > 1:
        # tanh(kappa u) > u just above 0: in tanh x >= x - x^3 / 3 at the square below.
        low = min(0.5, math.sqrt(3 * (kappa - 1) / kappa**3)) / 2
        u = float(brentq(lambda u: math.tanh(kappa * u) - u, low, 1.0, xtol=1e-15))  # pyright: ignore[reportArgumentType]
    folded = math.log1p(math.exp(-2 * kappa * u)) - kappa * (1 - u) ** 2 / 2
    return s, folded - (3 - s) / 2 + 1.5 * math.log(3 / s)
