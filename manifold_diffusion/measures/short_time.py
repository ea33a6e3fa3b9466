"""The heat kernel of any manifold for short times."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot
from manifold_diffusion._small_matrices import cholesky_rows, solve_positive
from manifold_diffusion._types import Point, Scalar
from manifold_diffusion.geometry import (
    AbstractRiemannian,
    exponential,
    intrinsic_riemann,
    logarithm,
    metric_of,
    riemann_tensor,
)
from manifold_diffusion.measures.tangent import Manifold, frame_at, inner_products


class ShortTime(NamedTuple):
    """A log density and an estimate of its error."""

    log_density: Scalar
    error: Scalar


def short_time_heat_kernel(manifold: Manifold, x: Point, y: Point, time: float | int | Scalar) -> ShortTime:
    """The log of the solution at y of dp/dt = (1/2) Laplacian p that starts from a unit mass at x, for small t.

    With v = log_x(y), d = |v| and S the scalar curvature, averaged over x and y,

        log p = -d^2 / (2 t) - (k/2) log(2 pi t) - (1/2) log det d exp_x(v) + t S / 12

    (the parametrix of Minakshisundaram and Pleijel; Rosenberg, The Laplacian on a Riemannian Manifold, 3.3, whose S/6
    for the Laplacian is S/12 here). Exact on flat manifolds and, but for geodesics that go round, on those of dimension
    3 and constant curvature. The estimate, ((|Riem|^2 + |Ric|^2) t (t + 4 d^2 / k) / 5 + 6 t |S(x) - S(y)|) / 144, is
    of the size of the terms that come next; it knows of no geodesic but the shortest, so y has to be well within the
    cut locus: where another geodesic has the length d', a share of e^{-(d'^2 - d^2) / (2 t)} is missing.

    Geodesics are those of the manifold where it has `log` and `log_exp_volume`, else they are found by shooting.
    """
    t = jnp.asarray(time, x.dtype)
    k = manifold.dim
    squared, log_volume = _geodesic(manifold, x, y)
    scalars, squares = jax.vmap(lambda p: _curvature(manifold, p))(jnp.stack([x, y]))
    log_density = -squared / (2 * t) - 0.5 * k * jnp.log(2 * jnp.pi * t) - log_volume / 2 + t * jnp.mean(scalars) / 12
    size, changes = jnp.max(squares), jnp.abs(scalars[0] - scalars[1])
    return ShortTime(log_density, (size * t * (t + 4 * squared / k) / 5 + 6 * t * changes) / 144)


def _geodesic(manifold: Manifold, x: Point, y: Point) -> tuple[Scalar, Scalar]:
    """d^2, and log det d exp_x at log_x(y)."""
    frame = frame_at(manifold, x)
    if isinstance(manifold, AbstractRiemannian) or hasattr(manifold, "log_exp_volume"):
        v = manifold.log(x, y)
        along = inner_products(manifold, x, frame, v[:, None])[:, 0]
        return jnp.sum(along * along), manifold.log_exp_volume(x, v)
    along = dot(frame.T, logarithm(manifold, x, y))
    columns = jax.jacfwd(lambda a: exponential(manifold, x, dot(frame, a)))(along)
    rows = cholesky_rows(dot(columns.T, columns))
    return jnp.sum(along * along), jnp.sum(jnp.log(jnp.stack([row[-1] for row in rows])))


def _curvature(manifold: Manifold, x: Point) -> tuple[Scalar, Scalar]:
    """S, and |Riem|^2 + |Ric|^2."""
    if manifold.dim == 1:
        return jnp.zeros_like(x[0]), jnp.zeros_like(x[0])
    R = _riemann(manifold, x)
    ricci = jnp.einsum("abca->bc", R)
    return jnp.trace(ricci), jnp.sum(R * R) + jnp.sum(ricci * ricci)


def _riemann(manifold: Manifold, x: Point) -> Float[Array, "k k k k"]:
    """R[a, b, c, d] in an orthonormal frame."""
    if not isinstance(manifold, AbstractRiemannian):
        flat = manifold.chart(x)
        return riemann_tensor(flat, flat.coordinates(x))
    chart = manifold.chart(x)
    u = chart.coordinates(x)
    J, frame = jax.jacfwd(chart.embed)(u), manifold.frame(x)
    # The frame in coordinates, W = g^{-1} <J, F>.
    metric = metric_of(manifold, chart)
    W = solve_positive(metric(u), inner_products(manifold, x, J, frame))
    return jnp.einsum("abcd,ai,bj,ck,dl->ijkl", intrinsic_riemann(metric, u), W, W, W, W, precision="highest")
