"""A network made into a denoiser whose inputs and targets have unit variance at every noise level."""

import equinox as eqx
import jax.numpy as jnp

from manifold_diffusion._types import Point, Points, Scalar
from manifold_diffusion.scores.neural.network import Constant, Network


class Preconditioned(eqx.Module):
    """D(x, sigma) = c + c_skip (x - c) + c_out F(c_in (x - c), c_noise), with s the deviation of the data and

        c_skip = s^2 / (sigma^2 + s^2),   c_out = sigma s / sqrt(sigma^2 + s^2),
        c_in = 1 / sqrt(sigma^2 + s^2),   c_noise = log(sigma / s) / 4

    (Karras et al., arXiv 2206.00364, table 1). The centre c and the s in c_noise are added, so that a model of shifted
    and scaled data is the shifted and scaled model. The units of x and sigma are those of the data.
    """

    network: Network
    centre: Constant
    deviation: Constant

    def __init__(self, network: Network, centre: Point | float = 0.0, deviation: Scalar | float = 1.0):
        self.network = network
        self.centre, self.deviation = Constant(centre), Constant(deviation)

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        sigma, s = jnp.asarray(sigma, x.dtype), self.deviation.value.astype(x.dtype)
        centre = jnp.broadcast_to(self.centre.value.astype(x.dtype), x.shape)
        whole = jnp.sqrt(sigma**2 + s**2)
        offset = x - centre
        # D - x = F' - (sigma / whole)^2 offset: what is small at small noise is not found as a difference.
        correction = (sigma * s / whole) * self.network(offset / whole, jnp.log(sigma / s) / 4)
        return x + (correction - (sigma / whole) ** 2 * offset)


def preconditioned(network: Network, data: Points) -> Preconditioned:
    """`Preconditioned` with the mean of the data, and their root mean square deviation per coordinate."""
    return Preconditioned(network, jnp.mean(data, axis=0), jnp.sqrt(jnp.mean(jnp.var(data, axis=0))))
