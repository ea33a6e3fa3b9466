"""The weak order of random walks on the sphere, from the exact laws of their steps.

A step from x that follows Brownian motion on S^2 has a law that is symmetric about x, so it multiplies a harmonic of
degree l by E P_l(<x', x>) (Funk and Hecke), n steps by its n-th power, and Brownian motion for the time t by exp(-l (l
+ 1) t / 2). The expectation is over the length of the increment alone, |dw|^2 / (2 h) ~ Exp(1) for its two tangential
parts, and Gauss-Laguerre nodes give it from the step itself, without sampling (derived).
"""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion import samplers
from manifold_diffusion._types import Key
from manifold_diffusion.geometry import Sphere
from manifold_diffusion.processes import HeatFlow, forward
from manifold_diffusion.samplers import Step
from manifold_diffusion.studies.claim import Number

WALKS: Mapping[str, Step] = {
    "geodesic walk": samplers.on_manifold(samplers.euler_maruyama, Sphere(2)),
    "retraction walk": samplers.on_manifold(samplers.euler_maruyama, Sphere(2), "retraction"),
}
_HARMONICS = {"first harmonic": 1, "second harmonic": 2}
_NODES, _WEIGHTS = np.polynomial.laguerre.laggauss(32)


@eqx.filter_jit
def cosines(step: Step, h: Float[Array, ""]) -> Float[Array, " nodes"]:
    """<x', x> after a step of length h, for increments of the lengths sqrt(2 h s), s the nodes."""
    x, start = jnp.array([0.0, 0.0, 1.0]), jnp.zeros(())
    along, sde = jnp.array([1.0, 0.0, 0.0]), forward(HeatFlow(1.0))
    lengths = jnp.sqrt(2 * h * jnp.asarray(_NODES))
    return jax.vmap(lambda length: step(sde, x, start, h, length * along)[2])(lengths)


def weak_errors(key: Key, size: Number) -> dict[str, dict[str, float]]:
    """|E P_l(<x', x>)^n - exp(-l (l + 1) / 2)| after n steps to the time 1."""
    n = int(size)
    found = {}
    for name, step in WALKS.items():
        u = np.asarray(cosines(step, jnp.asarray(1 / n)))
        factors = {1: _WEIGHTS @ u, 2: _WEIGHTS @ (3 * u**2 - 1) / 2}
        found[name] = {q: abs(float(factors[l]) ** n - np.exp(-l * (l + 1) / 2)) for q, l in _HARMONICS.items()}
    return found


QUANTITIES = tuple(_HARMONICS)
