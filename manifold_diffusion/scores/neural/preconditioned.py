"""A network made into a denoiser whose inputs and targets are of unit size at every noise level."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot
from manifold_diffusion._types import Point, Points, Scalar
from manifold_diffusion.scores.neural.network import Constant, Network, deviation


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
    return Preconditioned(network, jnp.mean(data, axis=0), deviation(data))


class GaussianPreconditioned(eqx.Module):
    """D(x, sigma) = G(x, sigma) + sigma s^2 / (sigma^2 + s^2) F(c_in (x - c), c_noise), where G is the best denoiser if
    the data are Gaussian,

        G(x, sigma) = x - sum_i sigma^2 / (lambda_i + sigma^2) u_i u_i . (x - c)

    with lambda_i, u_i the eigenvalues and eigenvectors of the covariance of the data, s^2 their mean, and c_in, c_noise
    as in `Preconditioned`.

    At high noise the score of any data is nearly that of the Gaussian (Wang and Vastola, arXiv 2412.09726), so the
    network learns what is left, which is of third order in s / sigma: D = G + O(s^3 / sigma^2) (derived, by expanding
    the posterior), and at low noise it is as for `Preconditioned`. For a few hundred coordinates at most: a point costs
    2 d^2.
    """

    network: Network
    centre: Constant
    directions: Constant
    variances: Constant

    def __init__(self, network: Network, centre: Point, directions: Float[Array, "d d"], variances: Float[Array, " d"]):
        self.network = network
        self.centre, self.directions, self.variances = Constant(centre), Constant(directions), Constant(variances)

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        sigma = jnp.asarray(sigma, x.dtype)
        centre, u, variances = (c.value.astype(x.dtype) for c in (self.centre, self.directions, self.variances))
        s2 = jnp.mean(variances)
        offset, whole = x - centre, sigma**2 + s2
        noise = dot(u, sigma**2 / (variances + sigma**2) * dot(offset, u))
        level = jnp.log(sigma**2 / s2) / 8
        return x + (sigma * s2 / whole * self.network(offset / jnp.sqrt(whole), level) - noise)


def gaussian_preconditioned(network: Network, data: Points) -> GaussianPreconditioned:
    """`GaussianPreconditioned` with the mean and the covariance of the data, found on the host in float64."""
    rows = np.asarray(data, np.float64)
    offsets = rows - rows.mean(axis=0)
    variances, directions = np.linalg.eigh(offsets.T @ offsets / len(rows))
    arrays = (rows.mean(axis=0), directions, np.maximum(variances, 0.0))
    return GaussianPreconditioned(network, *(jnp.asarray(a, data.dtype) for a in arrays))
