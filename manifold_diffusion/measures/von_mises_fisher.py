"""The von Mises-Fisher law on the sphere of any dimension."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion._numerics import dot, rejection
from manifold_diffusion._types import Key, Point, Scalar
from manifold_diffusion.geometry import AbstractManifold, Sphere
from manifold_diffusion.measures.measure import AbstractMeasure


class VonMisesFisher(AbstractMeasure):
    """Density exp(kappa <m, x>) / C(kappa) on the unit sphere S^k, m a unit vector, kappa >= 0.

    C(kappa) = (2 pi)^{(k+1)/2} I_{(k-1)/2}(kappa) kappa^{-(k-1)/2}, computed at construction (Mardia and Jupp,
    Directional Statistics). Sampling: Wood's rejection (Comm. Statist. Simul. 1994) for the height <m, x>, and a
    uniform direction across.
    """

    manifold: AbstractManifold
    mean_direction: Point
    concentration: Scalar = eqx.field(converter=jnp.asarray)
    log_normaliser: Scalar

    def __init__(self, mean_direction, concentration: float):
        direction = jnp.asarray(mean_direction, dtype=float)
        if not float(concentration) >= 0:
            raise ValueError(f"the concentration must not be negative, got {concentration}")
        self.mean_direction = direction / jnp.sqrt(jnp.sum(direction * direction))
        self.concentration = jnp.asarray(concentration, dtype=float)
        self.manifold = Sphere(len(direction) - 1)
        self.log_normaliser = jnp.asarray(_log_normaliser(len(direction) - 1, float(concentration)), dtype=float)

    def sample(self, key: Key) -> Point:
        height_key, across_key = jax.random.split(key)
        k, kappa, dtype = self.manifold.dim, self.concentration, self.mean_direction.dtype
        b = k / (2 * kappa + jnp.sqrt(4 * kappa**2 + k**2))
        x0 = (1 - b) / (1 + b)
        c = kappa * x0 + k * jnp.log1p(-(x0**2))

        def propose(place):
            z = jax.random.beta(place, k / 2, k / 2, dtype=dtype)
            w = (1 - (1 + b) * z) / (1 - (1 - b) * z)
            return w, kappa * w + k * jnp.log1p(-x0 * w) - c

        w, _ = rejection(height_key, propose)
        across = self.manifold.tangent(self.mean_direction, jax.random.normal(across_key, (k + 1,), dtype))
        across = across / jnp.sqrt(jnp.sum(across * across))
        return self.manifold.project(w * self.mean_direction + jnp.sqrt(jnp.maximum(1 - w * w, 0)) * across)

    def log_density(self, x: Point) -> Scalar:
        kappa = self.concentration.astype(x.dtype)
        return kappa * dot(self.mean_direction.astype(x.dtype), x) - self.log_normaliser.astype(x.dtype)


def _log_normaliser(k: int, kappa: float) -> float:
    from scipy.special import gammaln, ive

    if kappa == 0:
        return float(np.log(2) + 0.5 * (k + 1) * np.log(np.pi) - gammaln(0.5 * (k + 1)))
    # C = (2 pi)^{(k+1)/2} I_{(k-1)/2}(kappa) kappa^{-(k-1)/2}
    order = 0.5 * (k - 1)
    return float(0.5 * (k + 1) * np.log(2 * np.pi) + np.log(ive(order, kappa)) + kappa - order * np.log(kappa))
