"""The law of a generated sample projected on a hypersurface, in closed form: no sampling, no noise of its own.

If X is a point and Z a standard normal vector, Pi(X + sigma Z) has a density on M. Let y be a point of M with tangent
frame T and unit normal n, S the shape operator for n, and m = <n, x - y>. Integrating the Gaussian along the normal
line y + d n, where volume is multiplied by det(I - d S), gives (derived; checked by sampling)

    q(y | x) = N_k(T^T (x - y); 0, sigma^2 I) E det(I - d S),    d ~ N(m, sigma^2),
    E det(I - d S) = 1 - m tr S                        for k = 1,
                   = 1 - m tr S + (m^2 + sigma^2) det S  for k = 2,

up to the mass beyond the reach: use it for sigma <= reach / 6. Sheets of M further from y than the reach are cut off.
The law of a generated sample whose data are X_1 .. X_N is g(y) = (1/N) sum_i q(y | X_i); its mean over the data is
nu(y) = int q(y | x) dmu(x).
"""

from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from manifold_diffusion._numerics import dot
from manifold_diffusion._types import Point, Points, Scalar
from manifold_diffusion.geometry import AbstractManifold, normal_frame, shape_operator, tangent_frame

_BLOCK = 1024

Values: TypeAlias = Float[Array | np.ndarray, "*shape"]


class HypersurfaceFrame(eqx.Module):
    """What the density at a point y of a hypersurface needs: frame, normal, and the invariants of the shape
    operator.
    """

    point: Point
    tangent: Float[Array, "d k"]
    normal: Point
    trace: Scalar
    determinant: Scalar


def hypersurface_frame(manifold: AbstractManifold, y: Point) -> HypersurfaceFrame:
    """The frame at the point y of a curve in the plane or a surface in R^3, by autodiff through a chart at y."""
    if manifold.ambient_dim != manifold.dim + 1 or manifold.dim > 2:
        raise ValueError(
            "the closed form is for plane curves and surfaces in R^3, "
            f"got dimension {manifold.dim} in R^{manifold.ambient_dim}"
        )
    chart = manifold.chart(y)
    u = chart.coordinates(y)
    normal = normal_frame(chart, u)[:, 0]
    shape = shape_operator(chart, u, normal)
    determinant = shape[0, 0] * shape[1, 1] - shape[0, 1] * shape[1, 0] if manifold.dim == 2 else jnp.zeros((), y.dtype)
    return HypersurfaceFrame(y, tangent_frame(chart, u), normal, jnp.trace(shape), determinant)


def projected_density(frame: HypersurfaceFrame, x: Point, sigma: Scalar, cut: Scalar) -> Scalar:
    """q(y | x), the density at y of Pi(x + sigma Z) with respect to volume; 0 for |x - y| > cut."""
    offset = x - frame.point
    along, m = dot(frame.tangent.T, offset), dot(frame.normal, offset)
    variance = sigma**2
    gaussian = jnp.exp(-0.5 * jnp.sum(along**2) / variance) / (2 * jnp.pi * variance) ** (0.5 * len(along))
    volume = 1 - m * frame.trace + (m**2 + variance) * frame.determinant
    return jnp.where(jnp.sum(offset**2) <= cut**2, gaussian * volume, 0.0)


def generated_density(
    frames: HypersurfaceFrame,
    data: Points,
    sigma: float | Scalar,
    cut: float | Scalar,
    weights: Float[Array, " n"] | None = None,
) -> Float[Array, " m"]:
    """g at each of the m stacked frames: sum_i w_i q(y | X_i), w = 1/N by default, streamed over blocks of the data."""
    weights = jnp.full((len(data),), 1 / len(data), data.dtype) if weights is None else weights
    padding = -len(data) % _BLOCK
    padded = jnp.pad(data, ((0, padding), (0, 0))), jnp.pad(weights, (0, padding))
    return _streamed_density(frames, *padded, jnp.asarray(sigma, data.dtype), jnp.asarray(cut, data.dtype))


@jax.jit
def _streamed_density(frames, data, weights, sigma, cut):
    def add(total, block):
        xs, w = block
        values = jax.vmap(lambda frame: jax.vmap(lambda x: projected_density(frame, x, sigma, cut))(xs))(frames)
        return total + dot(values, w), None

    blocks = data.reshape(-1, _BLOCK, data.shape[1]), weights.reshape(-1, _BLOCK)
    return jax.lax.scan(add, jnp.zeros(len(frames.point), data.dtype), blocks)[0]


def local_generated_density(
    frames: HypersurfaceFrame, data: Points, sigma: float | Scalar, nearest: Int[np.ndarray, "m q"]
) -> Float[Array, " m"]:
    """g at each frame from the data of index `nearest` alone, in O(m q): for sigma near the spacing of the data.

    What is left out is at most exp(-r^2 / (2 sigma^2)) / (2 pi sigma^2)^{k/2} times the share of the data beyond the
    distance r of the last of them; the 16 log N nearest with sigma = sigma_0 leave less than 1e-3 of the density.
    """
    points, level = np.asarray(data), jnp.asarray(sigma, data.dtype)
    pieces = []
    for start in range(0, len(nearest), 4 * _BLOCK):
        block = jax.tree.map(lambda leaf, start=start: leaf[start : start + 4 * _BLOCK], frames)
        neighbourhoods = jnp.asarray(points[nearest[start : start + 4 * _BLOCK]])
        pieces.append(_local_density(block, neighbourhoods, level) / len(data))
    return jnp.concatenate(pieces)


@jax.jit
def _local_density(frames, neighbourhoods, sigma):
    def one(frame, xs):
        return jnp.sum(jax.vmap(lambda x: projected_density(frame, x, sigma, jnp.asarray(jnp.inf, x.dtype)))(xs))

    return jax.vmap(one)(frames, neighbourhoods)


def ball_ratio(density_ratio: Values, offset: Values, radius: float | Scalar, dim: int) -> Values:
    """Mass of a small ball B(y, radius), generated over true: G (1 - r^2 / radius^2)_+^{k/2}.

    The generated law lies on a sheet at distance r = `offset` of y with density G times the mean true density, and
    the sheet meets the ball in a k-disc of radius sqrt(radius^2 - r^2) (derived, to leading order in the radius).
    """
    return density_ratio * jnp.maximum(1 - (offset / radius) ** 2, 0.0) ** (dim / 2)


def coverage_radius(density_ratio: Values, offset: Values, dim: int, factor: float = 4.0) -> Values:
    """The smallest radius from which on `ball_ratio` is at least 1/factor: r / sqrt(1 - (factor G)^{-2/k}).

    Infinite where G <= 1/factor or G > factor: no small ball is comparable there.
    """
    share = 1 - (factor * density_ratio) ** (-2 / dim)
    comparable = (density_ratio > 1 / factor) & (density_ratio <= factor)
    return jnp.where(comparable, offset / jnp.sqrt(jnp.where(comparable, share, 1.0)), jnp.inf)
