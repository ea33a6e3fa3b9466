"""The laws of the angle from the centre under heat kernels of unit spheres: densities and exact draws.

`half` and `other` are theta / 2 and (pi - theta) / 2, given apart so that the smaller one keeps its digits.
"""

import math
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer

from manifold_diffusion._numerics import known_false, rejection
from manifold_diffusion._types import Key, Scalar
from manifold_diffusion.measures.lineages import Expansion, Lineages
from manifold_diffusion.measures.theta import log_circle, log_sphere_2, log_sphere_3

SHORTEST_LINEAGES = 0.02
"""Below this time, in units of R^2, `Expansion` takes over from `Lineages`."""

_HIGHEST_EXPANSION = 50


@runtime_checkable
class RadialLaw(Protocol):
    """The heat kernel of a unit sphere at one time."""

    def log_density(self, half: Scalar, other: Scalar) -> Scalar:
        """log of the density with respect to volume, not of the density of the angle."""
        ...

    def angle(self, key: Key) -> Scalar:
        """A draw of the length, which may exceed pi, of a geodesic from the centre; its direction is uniform."""
        ...


class Circle(eqx.Module):
    """S^1: the wrapped normal law."""

    tau: Scalar

    def log_density(self, half: Scalar, other: Scalar) -> Scalar:
        return log_circle(2 * half, self.tau.astype(half.dtype))

    def angle(self, key: Key) -> Scalar:
        """A draw of the length of a geodesic from the centre."""
        return jnp.sqrt(self.tau) * jax.random.normal(key, (), self.tau.dtype)


class Sphere2(eqx.Module):
    """S^2: the image under the Hopf map of S^3 at the time tau / 4."""

    tau: Scalar

    def log_density(self, half: Scalar, other: Scalar) -> Scalar:
        return log_sphere_2(half, other, self.tau.astype(half.dtype))

    def angle(self, key: Key) -> Scalar:
        """With phi the angle on S^3 and n its direction, cos(theta/2)^2 = cos(phi)^2 + n_3^2 sin(phi)^2."""
        far, direction = jax.random.split(key)
        phi = Sphere3(self.tau / 4).angle(far)
        n = jax.random.normal(direction, (3,), self.tau.dtype)
        n = n / jnp.sqrt(jnp.sum(n * n))
        across = jnp.abs(jnp.sin(phi)) * jnp.sqrt(n[0] ** 2 + n[1] ** 2)
        return 2 * jnp.arctan2(across, jnp.sqrt(jnp.cos(phi) ** 2 + (n[2] * jnp.sin(phi)) ** 2))


class Sphere3(eqx.Module):
    """S^3, drawn by rejection.

    Where tau <= 1.2 from the radius of a Gaussian vector, with probability p(theta) / (e^{tau/2} N(theta)) (sin theta /
    theta)^2 = W sin(theta) / theta: W <= 1, because in W the geodesics of lengths 2 pi j - theta and 2 pi j + theta add
    up to less than 0 while tanh(2 pi j theta / tau) >= theta / (2 pi j), which holds on [0, pi] for tau <= 35. Above
    from the uniform law, with probability p(theta) / p(0): the kernel falls with the angle. More than half are taken.
    """

    tau: Scalar

    def log_density(self, half: Scalar, other: Scalar) -> Scalar:
        return log_sphere_3(2 * half, 2 * other, self.tau.astype(half.dtype))

    def angle(self, key: Key) -> Scalar:
        """A draw of the length of a geodesic from the centre."""
        tau = self.tau
        short = tau <= 1.2

        def propose(place):
            z = jax.random.normal(place, (4,), tau.dtype)
            radius = jnp.sqrt(jnp.sum(z[1:] ** 2))
            theta = jnp.where(short, jnp.sqrt(tau) * radius, jnp.arctan2(radius, z[0]))
            inside = theta < math.pi
            safe = jnp.where(inside, theta, 1.0)
            angles = jnp.stack([safe, jnp.zeros_like(safe)])
            log_p, log_top = jax.vmap(log_sphere_3, (0, 0, None))(angles, math.pi - angles, tau)
            gaussian = tau / 2 - safe**2 / (2 * tau) - 1.5 * jnp.log(2 * math.pi * tau)
            from_gaussian = log_p - gaussian + 2 * jnp.log(jnp.sinc(safe / math.pi))
            return safe, jnp.where(inside, jnp.where(short, from_gaussian, log_p - log_top), -jnp.inf)

        theta, worst = rejection(key, propose)
        return eqx.error_if(theta, ~(worst <= 64 * jnp.finfo(theta.dtype).eps), "the bound on a heat kernel failed")


def radial_law(dim: int, tau: Scalar) -> RadialLaw:
    """The law at the time tau = t / R^2; above dimension 3 the time has to be known when the law is made."""
    if known_false(tau > 0):
        raise ValueError(f"a heat kernel needs a positive time, got {tau} R^2")
    if dim <= 3:
        return (Circle, Sphere2, Sphere3)[dim - 1](tau)
    if isinstance(tau, Tracer):
        raise ValueError(f"the heat kernel of S^{dim} is made for one time: make it outside of compiled programs")
    if tau >= SHORTEST_LINEAGES:
        return Lineages(dim, float(tau))
    if dim > _HIGHEST_EXPANSION:
        raise ValueError(
            f"the heat kernel of S^{dim} starts at the time {SHORTEST_LINEAGES} R^2, got {tau} R^2; shorter ones go up "
            f"to dimension {_HIGHEST_EXPANSION}"
        )
    return Expansion(dim, float(tau))
