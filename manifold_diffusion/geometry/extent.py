"""Volume and reach of a manifold from the nodes of its quadrature, each with an estimate of its error."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from manifold_diffusion._types import Points, Scalar
from manifold_diffusion.geometry.manifold import AbstractManifold


class Estimate(NamedTuple):
    """A number found by a discretisation, and how far it is from what half as many nodes a coordinate gave."""

    value: Scalar
    error: Scalar


def volume_estimate(manifold: AbstractManifold, order: int | None = None) -> Estimate:
    """The volume by `manifold.quadrature` of `order` (by default 1024, 192, 48 for k = 1, 2, 3, and 16 above).

    The error is the difference from half the order, far above the true one where the quadrature converges fast.
    ValueError for a manifold without a quadrature.
    """
    order = order or {1: 1024, 2: 192, 3: 48}.get(manifold.dim, 16)
    coarse, fine = (jnp.sum(_quadrature(manifold, n)[1]) for n in (order // 2, order))
    return Estimate(fine, jnp.abs(fine - coarse))


def reach_estimate(manifold: AbstractManifold, order: int | None = None) -> Estimate:
    """The reach by Federer's formula on the nodes of the quadrature of `order` (by default 512, 48, 12 for k = 1, 2,
    3, and 8 above).

    From above, by the order of the square of the nodes' spacing; so is the error, the difference from half the order,
    which is three times what is left where the minimum is smooth. ValueError for a manifold with edges, whose reach is
    not seen from pairs of its inner points.
    """
    if "edge" in getattr(manifold, "ends", ()):
        raise ValueError("the reach is found for manifolds without edges only")
    order = order or {1: 512, 2: 48, 3: 12}.get(manifold.dim, 8)
    coarse, fine = (federer_reach(manifold, _quadrature(manifold, n)[0]) for n in (order // 2, order))
    return Estimate(fine.value, jnp.abs(fine.value - coarse.value) + fine.error)


@eqx.filter_jit
def federer_reach(manifold: AbstractManifold, points: Points) -> Estimate:
    """min over pairs of the points of |x - y|^2 / (2 |P_N (y - x)|), P_N the normal projection at x (Federer 1959,
    theorem 4.18), and its rounding error; pairs that are flat to rounding are left out.
    """
    rounding = 8 * jnp.finfo(points.dtype).eps * jnp.max(jnp.abs(points))

    def smallest(x):
        gaps = points - x[None, :]
        across = gaps - jax.vmap(lambda v: manifold.tangent(x, v))(gaps)
        square, height = jnp.sum(gaps * gaps, axis=1), jnp.sqrt(jnp.sum(across * across, axis=1))
        seen = height > 1e3 * rounding
        quotients = jnp.where(seen, square / (2 * jnp.where(seen, height, 1.0)), jnp.inf)
        best = jnp.argmin(quotients)
        return quotients[best], quotients[best] * rounding / height[best]

    values, errors = jax.lax.map(smallest, points, batch_size=64)
    best = jnp.argmin(values)
    return Estimate(values[best], errors[best])


def _quadrature(manifold: AbstractManifold, order: int):
    quadrature = getattr(manifold, "quadrature", None)
    if quadrature is None:
        raise ValueError(f"{type(manifold).__name__} has no quadrature, so its volume and reach cannot be estimated")
    return quadrature(order)
