"""The neighbours of a point in a Poisson sample of any intensity, without the rest of the sample."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.stats import poisson

from manifold_diffusion._numerics import dot
from manifold_diffusion._small_matrices import orthonormal_columns, solve_positive
from manifold_diffusion._types import Key, Point, Scalar
from manifold_diffusion.geometry import AbstractManifold, jacobian, log_volume

_OVERSAMPLING = 3.0
_BOUND = 1.5


class Neighbourhood(NamedTuple):
    """The points nearest to the query, nearest first, and whether the patch that was sampled certainly holds them
    all.
    """

    points: Float[Array, "count d"]
    complete: Bool[Array, ""]


def poisson_neighbours(
    key: Key, manifold: AbstractManifold, x: Point, log_intensity: float | Scalar, count: int
) -> Neighbourhood:
    """The `count` nearest to x of a Poisson process on the manifold with exp(log_intensity) points per unit of volume.

    Exact in law, at a cost that does not depend on the intensity: the process restricted to a patch around the foot of
    x is thinned from uniform proposals in coordinates whose metric is the identity at the foot. The patch expects three
    times `count` points. `complete` is False where fewer were found, where the volume element exceeded 1.5 times that
    at the foot (the thinning would be biased), or where the furthest found is not closer than nine tenths of the
    patch's rim: such results are to be counted, not used.
    """
    k = manifold.dim
    chart = manifold.chart(manifold.project(x))
    origin = jnp.zeros((k,), x.dtype)
    # R^-1 of J = Q R turns coordinates in which the metric is the identity at the foot into those of the chart.
    J = jacobian(chart, origin)
    frame = orthonormal_columns(J)
    whiten = solve_positive(dot(J.T, J), dot(J.T, frame))
    log_shrink = -log_volume(chart, origin)
    log_ball = 0.5 * k * math.log(math.pi) - math.lgamma(0.5 * k + 1)
    rho = jnp.exp((math.log(_OVERSAMPLING * count) - log_ball - log_intensity) / k).astype(x.dtype)

    mean = _BOUND * _OVERSAMPLING * count
    most = math.ceil(mean + 6 * math.sqrt(mean))
    number_key, direction_key, radius_key, coin_key = jax.random.split(key, 4)
    # The mean is a constant: a table is exact, and its program is a tenth of that of jax.random.poisson.
    number = jnp.searchsorted(jnp.asarray(poisson.cdf(np.arange(most), mean)), jax.random.uniform(number_key))
    direction = jax.random.normal(direction_key, (most, k), x.dtype)
    direction = direction / jnp.sqrt(jnp.sum(direction**2, axis=1, keepdims=True))
    depth = jax.random.uniform(radius_key, (most,), x.dtype) ** (1 / k)
    coordinates = dot(rho * depth[:, None] * direction, whiten.T)
    points = jax.vmap(chart.embed)(coordinates)
    element = jnp.exp(jax.vmap(lambda u: log_volume(chart, u))(coordinates) + log_shrink)
    accepted = (jax.random.uniform(coin_key, (most,), x.dtype) * _BOUND < element) & (jnp.arange(most) < number)

    distances = jnp.sqrt(jnp.sum((points - x[None, :]) ** 2, axis=1))
    chosen, order = jax.lax.top_k(-jnp.where(accepted, distances, jnp.inf), count)
    rim = jnp.min(jnp.where(depth > 0.95, distances, jnp.inf))
    complete = (-chosen[-1] < 0.9 * rim) & jnp.all(element < _BOUND)
    return Neighbourhood(points[order], complete)
