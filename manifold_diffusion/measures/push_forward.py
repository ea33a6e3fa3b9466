"""Images of measures under maps between manifolds."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from manifold_diffusion._small_matrices import cholesky_rows
from manifold_diffusion._types import Key, Point, Scalar
from manifold_diffusion.geometry.manifold import as_module
from manifold_diffusion.measures.measure import AbstractMeasure
from manifold_diffusion.measures.tangent import Manifold, frame_at, inner_products


class PushForward(AbstractMeasure):
    """The law of f(x), x drawn from a measure, f a diffeomorphism of its manifold onto another one.

    log_density(y) = log rho(x) - log |det Df|, x = inverse(y), where with T an orthonormal tangent frame at x and J =
    Df T, by automatic differentiation, |det Df| = sqrt(det(J^T J)): so the two manifolds may lie in spaces of different
    dimensions. f and `inverse` are asked for points of the manifolds only, and may be modules that hold arrays.
    `manifold`, by default that of the measure, is the one onto which f maps; that f is one to one is taken on trust.
    """

    manifold: Manifold
    measure: AbstractMeasure
    f: Callable[[Point], Point]
    inverse: Callable[[Point], Point]

    def __init__(
        self,
        measure: AbstractMeasure,
        f: Callable[[Point], Point],
        inverse: Callable[[Point], Point],
        manifold: Manifold | None = None,
    ):
        self.measure, self.f, self.inverse = measure, as_module(f), as_module(inverse)
        self.manifold = measure.manifold if manifold is None else manifold  # pyright: ignore[reportIncompatibleVariableOverride]
        there = jax.eval_shape(f, jnp.zeros(measure.manifold.ambient_dim)).shape
        back = jax.eval_shape(inverse, jnp.zeros(self.manifold.ambient_dim)).shape
        if there != (self.manifold.ambient_dim,) or back != (measure.manifold.ambient_dim,):
            raise ValueError(
                f"f and inverse must map ({measure.manifold.ambient_dim},) to ({self.manifold.ambient_dim},) and back, "
                f"got the shapes {there} and {back}; pass the manifold onto which f maps"
            )

    def sample(self, key: Key) -> Point:
        return self.f(self.measure.sample(key))

    def log_density(self, x: Point) -> Scalar:
        foot = self.inverse(x)
        frame = frame_at(self.measure.manifold, foot)
        columns = jax.vmap(lambda v: jax.jvp(self.f, (foot,), (v,))[1], in_axes=1, out_axes=1)(frame)
        rows = cholesky_rows(inner_products(self.manifold, x, columns, columns))
        return self.measure.log_density(foot) - sum(jnp.log(row[-1]) for row in rows)
