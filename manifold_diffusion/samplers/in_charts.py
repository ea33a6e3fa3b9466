r"""Steps in the coordinates of charts, a new chart for each: for atlases, also those estimated from data.

Notation: u the coordinates of a chart around x, J its Jacobian, J^+ = (J^T J)^{-1} J^T, g_ij the metric and Gamma its
Christoffel symbols. In coordinates the Laplacian is g^{ij} d_ij - g^{ij} Gamma^m_ij d_m, so the diffusion with the
generator <b, grad f> + (g^2 / 2) Laplacian f is Ito's equation

    du^m = ((J^+ b)^m - (g^2 / 2) g^{ij} Gamma^m_ij) dt + g (J^+ dW)^m,

because J^+ dW has the covariance g^{ij} dt where the metric is that of R^d (Hsu, Stochastic Analysis on Manifolds,
sec. 3.3; derived). Noise is read as Ito's: J^+ is taken at the start of the step. Where the metric is the manifold's
own, J^+ F dW, F an orthonormal frame, has that covariance.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._small_matrices import inverse_positive
from manifold_diffusion._types import Coordinates, Point, Scalar
from manifold_diffusion.geometry import (
    AbstractChart,
    AbstractRiemannian,
    christoffel,
    intrinsic_christoffel,
    jacobian,
    metric_of,
    metric_tensor,
)
from manifold_diffusion.measures.tangent import Manifold
from manifold_diffusion.processes import AbstractSDE
from manifold_diffusion.samplers.on_manifold import increments, left_inverse
from manifold_diffusion.samplers.step import Step, refuse_noising


class ChartEquation(eqx.Module):
    """The equation on a manifold in the coordinates of a chart."""

    sde: AbstractSDE
    manifold: Manifold
    chart: AbstractChart

    @property
    def eta(self) -> float:
        """The share of noise, 0 where the equation does not say."""
        return getattr(self.sde, "eta", 0.0)

    def diffusion(self, t: Scalar) -> Scalar:
        """g(t)."""
        return self.sde.diffusion(t)

    def drift(self, u: Coordinates, t: Scalar) -> Coordinates:
        """J^+ b - (g^2 / 2) g^{ij} Gamma_ij."""
        along = left_inverse(jacobian(self.chart, u), self.sde.drift(self.chart.embed(u), t))
        # A flow, which says so, needs no second derivatives.
        if getattr(self.sde, "eta", 1.0) == 0:
            return along
        return along - self.sde.diffusion(t) ** 2 / 2 * self.bend(u)

    def bend(self, u: Coordinates) -> Coordinates:
        """g^{ij} Gamma^m_ij: minus the Laplacian of the coordinates."""
        if isinstance(self.manifold, AbstractRiemannian):
            metric = metric_of(self.manifold, self.chart)
            g, symbols = metric(u), intrinsic_christoffel(metric, u)
        else:
            g, symbols = metric_tensor(self.chart, u), christoffel(self.chart, u)
        return jnp.einsum("ij,mij->m", inverse_positive(g), symbols, precision="highest")


class _InCharts(eqx.Module):
    step: Step
    manifold: Manifold

    @property
    def draws(self) -> int | None:
        return getattr(self.step, "draws", None)

    def __call__(self, sde: AbstractSDE, x: Point, t0: Scalar, t1: Scalar, dw: Float[Array, "*draws d"]) -> Point:
        chart: AbstractChart = self.manifold.chart(x)  # pyright: ignore[reportAssignmentType]
        # A chart that is fitted to points does not go through x itself.
        u = getattr(chart, "foot", chart.coordinates)(x)
        J, noise = jacobian(chart, u), increments(self.manifold, chart.embed(u), dw)
        pulled = left_inverse(J, noise) if noise.ndim == 1 else jax.vmap(lambda each: left_inverse(J, each))(noise)
        return chart.embed(self.step(ChartEquation(sde, self.manifold, chart), u, t0, t1, pulled))


def in_charts(step: Step, manifold: Manifold) -> Step:
    """The step that takes `step` in the coordinates of the manifold's chart around x, each time another one.

    It needs charts only, no nearest points and no geodesics: steps of an SDE have weak order 1 and those of a flow keep
    their order, as long as they stay within one chart. On an `EstimatedAtlas` they are fitted around x; |u| should
    stay below their `scale`, so sqrt(h) g should be small beside it.
    """
    refuse_noising(step, "in_charts")
    if hasattr(step, "start"):
        raise ValueError("a step that remembers cannot change its coordinates; take on_manifold, or one without memory")
    return _InCharts(step, manifold)
