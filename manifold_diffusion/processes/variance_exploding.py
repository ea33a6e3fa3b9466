"""Noising that leaves the signal alone."""

import equinox as eqx
import jax.numpy as jnp

from manifold_diffusion._types import Scalar
from manifold_diffusion.processes.noising import AbstractNoising


class VarianceExploding(AbstractNoising):
    """alpha(t) = 1, sigma(t) = sigma_max t: the schedule in which the flow bends least (Karras et al., arXiv
    2206.00364, sec. 3).

    The marginals at a given noise level are those of every other variance-exploding schedule; where the steps fall is
    the grid's business (`geometric_grid`, `karras_grid`).
    """

    sigma_max: Scalar = eqx.field(converter=jnp.asarray)

    def alpha(self, t: Scalar) -> Scalar:
        return jnp.ones_like(t)

    def sigma(self, t: Scalar) -> Scalar:
        return self.sigma_max.astype(t.dtype) * t
