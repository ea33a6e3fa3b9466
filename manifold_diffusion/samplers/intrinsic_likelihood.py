"""Densities along the probability flow on a known manifold.

With x_t a path of the flow dx = b(x, t) dt on M, b tangential, and p_t the density with respect to the volume of M,

    d log p_t(x_t) / dt = -div_M b(x_t, t),    div_M b = sum_i <e_i, D_{e_i} b>

for any orthonormal frame e_i of the tangent space (Mathieu and Nickel, arXiv 2006.10605; De Bortoli et al., arXiv
2202.02763). The pair (x, log p) is a point of M x R, so that `on_manifold` integrates both.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from manifold_diffusion._numerics import dot, known_false
from manifold_diffusion._types import Key, Point, Scalar, Score
from manifold_diffusion.geometry import Euclidean, Product
from manifold_diffusion.geometry.manifold import AbstractManifold
from manifold_diffusion.measures.tangent import frame_at
from manifold_diffusion.processes import SDE, AbstractNoising, geometric_grid, reverse
from manifold_diffusion.samplers.divergence import Field
from manifold_diffusion.samplers.flow import runge_kutta_4
from manifold_diffusion.samplers.likelihood import FlowLikelihood
from manifold_diffusion.samplers.on_manifold import on_manifold
from manifold_diffusion.samplers.step import Step


class TangentDivergence(eqx.Module):
    """(key, field, x) -> div_M of a tangent field at x, by k products with its Jacobian; the key is not used."""

    manifold: AbstractManifold

    def __call__(self, key: Key, field: Field, x: Point) -> Scalar:
        along = lambda e: dot(e, jax.jvp(field, (x,), (e,))[1])  # noqa: E731
        return jnp.sum(jax.vmap(along)(frame_at(self.manifold, x).T))


class IntrinsicLogDensity(eqx.Module):
    """(x, sigma) -> log p_sigma(x) on M with respect to its volume, by the flow of a score along M from the noise level
    of t = 1, where the law is `log_prior` (uniform by default), down to sigma.

    The noising has alpha = 1 (`VarianceExploding`, `HeatFlow`), `steps` are those of a geometric grid, `step` is one
    that `on_manifold` takes, and `move` is its move. Whatever the score is, this is the density of the points
    that the flow makes of uniform ones, up to the error of the steps: it integrates to 1. That it is the density of
    noised data takes a true score, and a noise level of t = 1 at which their law is uniform, up to
    exp(-lambda sigma^2 / 2), lambda = `measures.spectral_gap(manifold)`.
    """

    manifold: AbstractManifold
    noising: AbstractNoising
    score: Score
    steps: int = eqx.field(static=True, default=64)
    step: Step = runge_kutta_4
    log_prior: Callable[[Point], Scalar] | None = None
    move: str = eqx.field(static=True, default="geodesic")

    def __check_init__(self):
        if known_false(self.noising.alpha(jnp.ones(())) == 1):
            raise ValueError(
                f"Brownian motion on a manifold has alpha = 1, got {type(self.noising).__name__}: use HeatFlow"
            )

    def __call__(self, x: Point, sigma: Scalar | float) -> Scalar:
        ts = geometric_grid(self.noising, jnp.asarray(sigma, x.dtype), self.steps, final_zero=False)
        flow = reverse(self.noising, self.score, eta=0.0)
        step = on_manifold(self.step, Product(self.manifold, Euclidean(1)), self.move)
        divergence = TangentDivergence(self.manifold)
        whole = FlowLikelihood(SDE(flow.drift, flow.diffusion), self._log_prior, ts, step, divergence)
        return whole(jax.random.key(0), x)

    def _log_prior(self, x: Point) -> Scalar:
        return -jnp.log(self.manifold.volume()).astype(x.dtype) if self.log_prior is None else self.log_prior(x)
