"""Mixtures of measures on one manifold."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._numerics import known_false
from manifold_diffusion._types import Key, Point, Scalar
from manifold_diffusion.measures.measure import AbstractMeasure
from manifold_diffusion.measures.tangent import Manifold


class Mixture(AbstractMeasure):
    """sum_i w_i mu_i, for measures mu_i of any kind on one manifold and weights that are normalised to add up to one.

    Sampling picks i with probability w_i, then draws from mu_i: exact if they are. In a batch every mu_i is drawn from
    and one is kept.
    """

    manifold: Manifold
    measures: tuple[AbstractMeasure, ...]
    log_weights: Float[Array, " n"]

    def __init__(self, measures: Sequence[AbstractMeasure], weights: Sequence[float | int] | Float[Array, " n"]):
        self.measures = tuple(measures)
        shares = np.asarray(weights, np.float64)
        if shares.shape != (len(self.measures),) or not (shares >= 0).all() or not 0 < shares.sum() < np.inf:
            raise ValueError(
                f"a mixture needs a weight >= 0 for each measure, not all 0; got {len(self.measures)} and {weights}"
            )
        self.manifold = self.measures[0].manifold  # pyright: ignore[reportIncompatibleVariableOverride]
        for measure in self.measures[1:]:
            if known_false(eqx.tree_equal(measure.manifold, self.manifold)):
                raise ValueError(
                    f"the measures of a mixture must share their manifold, got {self.manifold} and {measure.manifold}"
                )
        with np.errstate(divide="ignore"):
            self.log_weights = jnp.asarray(np.log(shares / shares.sum()), dtype=float)

    def sample(self, key: Key) -> Point:
        which, place = jax.random.split(key)
        i = jax.random.categorical(which, self.log_weights)
        return jax.lax.switch(i, [lambda k, measure=measure: measure.sample(k) for measure in self.measures], place)

    def log_density(self, x: Point) -> Scalar:
        logs = jnp.stack([measure.log_density(x) for measure in self.measures])
        return jax.scipy.special.logsumexp(logs + self.log_weights.astype(x.dtype))
