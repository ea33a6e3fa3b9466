"""Noising at a constant rate, which has a meaning on every manifold."""

import equinox as eqx
import jax.numpy as jnp

from manifold_diffusion._numerics import known_false
from manifold_diffusion._types import Scalar
from manifold_diffusion.processes.noising import AbstractNoising


class HeatFlow(AbstractNoising):
    """alpha(t) = 1, sigma(t)^2 = horizon t: Brownian motion dx = sqrt(horizon) dw, whose law obeys dp/dtau = (1/2)
    Laplacian p in the time tau = sigma^2.

    With `samplers.on_manifold` it is Brownian motion on the manifold, and its law at the noise level sigma that of the
    data convolved with the heat kernel of the time sigma^2: there x_0 + sigma z has no meaning, but sigma keeps its
    own, the size of a displacement in each tangent direction while it is small. A mode of the Laplacian of eigenvalue
    lambda decays by exp(-lambda horizon / 2).
    """

    horizon: Scalar = eqx.field(converter=lambda a: jnp.asarray(a, dtype=float))

    def __check_init__(self):
        if known_false(self.horizon > 0):
            raise ValueError(f"the horizon of a heat flow must be positive, got {self.horizon}")

    def alpha(self, t: Scalar) -> Scalar:
        return jnp.ones_like(t)

    def sigma(self, t: Scalar) -> Scalar:
        variance = self.variance(t)
        return jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1.0)), 0.0)

    def variance(self, t: Scalar) -> Scalar:
        return self.horizon.astype(t.dtype) * t
