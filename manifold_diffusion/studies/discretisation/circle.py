"""Flows on the plane to data on the unit circle: the transport distance of angles, without Monte Carlo.

The data have von Mises' law on the circle, whose noised score is known; a sampler starts from the exact law at the
first time, and what it makes is projected to the circle. W1 is between the laws of the angle there, the sampler's and
the exact one at the last time. Being noised they are smooth, and known by their cosine coefficients E cos(k angle), as
both are symmetric about the mean direction: in closed form for the exact one, and for the sampler by a quadrature over
its starts.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import special

from manifold_diffusion._types import Points, Scalar
from manifold_diffusion.processes import Reverse
from manifold_diffusion.samplers import integrate, runge_kutta_4
from manifold_diffusion.scores import VonMisesFisherScore
from manifold_diffusion.studies.discretisation.mixture import equation, padded, times

CONCENTRATION = 1.0
"""Of the data about the first axis."""

_ORDERS, _RAYS, _FAR, _CORE = 32, 96, 8.5, 0.02
_PANELS, _NODES = 10, 10
_ANGLES = 4096


def circle() -> VonMisesFisherScore:
    """The score of von Mises' law on the circle, about the first axis."""
    return VonMisesFisherScore(jnp.array([1.0, 0.0]), jnp.asarray(CONCENTRATION))


def starts(sde: Reverse) -> tuple[Points, Float[Array, " n"]]:
    """Nodes and weights of the exact law at the first time, in the half plane above the axis of symmetry.

    They are polar about the point that the flow brings to the origin, where the angle jumps: Gauss nodes in the
    radius, in panels that double away from it, and the midpoint rule in the angle, which is the trapezoidal one of the
    whole plane.
    """
    ts = times(256)
    centre = _end(runge_kutta_4, sde, ts[::-1], jnp.zeros((1, 2)))[0]
    edges = np.concatenate([[0.0], np.geomspace(_CORE, _FAR, _PANELS)])
    node, weight = np.polynomial.legendre.leggauss(_NODES)
    half = np.diff(edges)[:, None] / 2
    radius, radial = (edges[:-1, None] + half * (1 + node)).ravel(), (half * weight).ravel()
    angle = np.pi * (np.arange(_RAYS) + 0.5) / _RAYS
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    nodes = centre[None] + jnp.asarray(radius[:, None, None] * ring).reshape(-1, 2)
    alpha = sde.noising.alpha(ts[0])
    level = sde.noising.sigma(ts[0]) / alpha
    density = jnp.exp(jax.vmap(lambda x: circle().log_density(x / alpha, level))(nodes)) / alpha**2
    return nodes, density * jnp.asarray(np.repeat(radial * radius, _RAYS) * 2 * np.pi / _RAYS)


def coefficients(
    step: Any, sde: Reverse, ts: Float[Array, " times"], nodes: Points, weights: Float[Array, " n"]
) -> np.ndarray:
    """E cos(k angle), k = 1, .., 32, of the sampler's law at the last time."""
    ends = _end(step, sde, ts, nodes)
    angle = jnp.arctan2(ends[:, 1], ends[:, 0])
    orders = jnp.arange(1, _ORDERS + 1)
    return np.asarray(jnp.cos(orders[:, None] * angle[None]) @ weights)


def circular_distance(a: np.ndarray, b: np.ndarray) -> float:
    """W1 on the unit circle between two even laws of the angle with these cosine coefficients.

    Their distribution functions differ by H = sum_k (a_k - b_k) sin(k angle) / (pi k), which is odd, so that the median
    of H is 0 and W1 = int |H| (cf. `evaluation.circular_wasserstein`).
    """
    orders = np.arange(1, len(a) + 1)
    angle = 2 * np.pi * (np.arange(_ANGLES) + 0.5) / _ANGLES
    gap = np.sin(np.outer(angle, orders)) @ ((a - b) / (np.pi * orders))
    return float(np.abs(gap).mean() * 2 * np.pi)


def exact_coefficients(sde: Reverse, t: Scalar) -> np.ndarray:
    """Of the law of x_t: I_k(kappa) / I_0(kappa) for von Mises' law, times those of the angle of a normal law about a
    point at distance alpha / sigma, sqrt(pi g / 2) e^-g (I_{(k-1)/2}(g) + I_{(k+1)/2}(g)), g = (alpha / 2 sigma)^2
    (Mardia and Jupp, Directional Statistics, sec. 3.5.6).
    """
    orders = np.arange(1, _ORDERS + 1)
    g = (float(sde.noising.alpha(t)) / float(sde.noising.sigma(t))) ** 2 / 4
    spread = np.sqrt(np.pi * g / 2) * (special.ive((orders - 1) / 2, g) + special.ive((orders + 1) / 2, g))
    return special.ive(orders, CONCENTRATION) / special.ive(0, CONCENTRATION) * spread


def circle_error(step: Any, steps: int) -> float:
    """W1 of the angle's law to the exact one."""
    sde, ts = equation(circle(), 0.0), padded(times(steps))
    return circular_distance(coefficients(step, sde, ts, *starts(sde)), exact_coefficients(sde, ts[-1]))


@eqx.filter_jit
def _end(step: Any, sde: Reverse, ts: Float[Array, " times"], nodes: Points) -> Points:
    increments = jnp.zeros((len(ts) - 1, 2), nodes.dtype)
    return jax.vmap(lambda x: integrate(step, sde, ts, x, increments))(nodes)
