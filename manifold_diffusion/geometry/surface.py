"""Surfaces of an exact Hoelder regularity."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot, known_false, rejection
from manifold_diffusion._small_matrices import orthonormal_columns
from manifold_diffusion._types import Coordinates, Key, Point, Scalar
from manifold_diffusion.geometry.lacunary import (
    deformed_reach,
    lacunary_angles,
    lacunary_phases,
    lacunary_slopes,
    lacunary_weights,
)
from manifold_diffusion.geometry.manifold import AbstractChart, AbstractManifold, log_volume


class HoelderSurfaceChart(AbstractChart):
    """u -> the point at the angles origin + u."""

    surface: "HoelderSurface"
    origin: Coordinates

    def embed(self, u: Coordinates) -> Point:
        return self.surface.at(self.origin + u)

    def coordinates(self, x: Point) -> Coordinates:
        offset = self.surface.angles(x) - self.origin
        return jnp.mod(offset + jnp.pi, 2 * jnp.pi) - jnp.pi


class HoelderSurface(AbstractManifold):
    """A torus of revolution with radii 2 and r(a, b) = 1 + A sum_j 2^{-jh} (cos(2^j a + phase_1j) + cos(2^j b +
    phase_2j)).

    The lacunary series makes r Hoelder of order exactly h, nowhere better, in both angles, up to the scale 2^{-levels};
    h > 1, so that tangents exist. `project` searches the square of angles that can hold the nearest point by repeated
    refinement of a grid; it is for points within the tube |x - foot| < 1/4.
    """

    exponent: Scalar = eqx.field(converter=jnp.asarray)
    amplitude: Scalar = eqx.field(converter=jnp.asarray)
    phases: Float[Array, "2 levels"]
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(self, exponent: float, amplitude: float = 0.1, levels: int = 16, phases=None):
        if known_false(exponent > 1):
            raise ValueError(f"the Hoelder exponent must be above 1 for tangents to exist, got {exponent}")
        self.exponent, self.amplitude = jnp.asarray(exponent, dtype=float), jnp.asarray(amplitude, dtype=float)
        default = jnp.stack([lacunary_phases(levels, seed) for seed in (0, 1)])
        self.phases = default if phases is None else jnp.asarray(phases, dtype=float)
        self.dim, self.ambient_dim = 2, 3
        if known_false(2 * jnp.sum(self._weights(self.exponent.dtype)) < 1):
            raise ValueError(
                f"amplitude {amplitude} lets the radius vanish; use one below {(2 ** float(exponent) - 1) / 2:.3g}"
            )

    def _weights(self, dtype) -> Float[Array, " levels"]:
        return lacunary_weights(self.exponent, self.amplitude, self.phases.shape[1]).astype(dtype)

    def radius(self, u: Coordinates) -> Scalar:
        """r(a, b)."""
        levels = self.phases.shape[1]
        waves = jnp.cos(jax.vmap(lambda t: lacunary_angles(t, levels))(u) + self.phases.astype(u.dtype))
        return 1 + jnp.sum(dot(waves, self._weights(u.dtype)))

    def at(self, u: Coordinates) -> Point:
        """The point at longitude and latitude u."""
        a, b = u
        r = self.radius(u)
        ring = 2 + r * jnp.cos(b)
        return jnp.stack([ring * jnp.cos(a), ring * jnp.sin(a), r * jnp.sin(b)])

    def angles(self, x: Point) -> Coordinates:
        """(longitude, latitude) of x around the core circle."""
        return jnp.stack([jnp.arctan2(x[1], x[0]), jnp.arctan2(x[2], jnp.sqrt(x[0] ** 2 + x[1] ** 2) - 2)])

    def project(self, x: Point) -> Point:
        start = self.angles(x)
        gap = x - self.at(start)
        half = 2 * jnp.sqrt(jnp.sum(gap * gap))
        line = jnp.linspace(-1.0, 1.0, 9, dtype=x.dtype)
        grid = jnp.stack(jnp.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)

        def refine(state, _):
            centre, width = state
            candidates = centre[None, :] + width * grid
            gaps = jax.vmap(self.at)(candidates) - x[None, :]
            return (candidates[jnp.argmin(jnp.sum(gaps * gaps, axis=1))], width / 3), None

        (best, _), _ = jax.lax.scan(refine, (start, half), None, length=10)
        return self.at(best)

    def tangent(self, x: Point, v: Point) -> Point:
        frame = orthonormal_columns(jax.jacfwd(self.at)(self.angles(x)))
        return dot(frame, dot(frame.T, v))

    def chart(self, x: Point) -> HoelderSurfaceChart:
        return HoelderSurfaceChart(self, self.angles(x))

    def reach(self) -> Scalar:
        """A lower bound, `deformed_reach` of the torus with the radii 2 and 1; it goes to 0 with 2^{-levels} where the
        exponent is at most 2.

        With h = r - 1, c(x) the nearest point of the core circle and q = x - c(x), g(x) = h q. Chords of at most 1 stay
        at distances rho from the core circle and R from the axis of at least cos(pi / 6) = m, and rho <= 2 - m. There
        |Dq| <= 2 / m - 1, |D^2 q| <= (4 / sqrt 3) / m^2, |grad h| <= sqrt 2 |h'| / m and |D^2 h| <= (|h''| + 2 |h'|) /
        m^2, |h'| and |h''| the bounds in one angle, and the product rule gives the bounds on Dg and D^2 g (derived).
        """
        one, first, second = lacunary_slopes(self._weights(self.exponent.dtype))
        h, m = 2 * one, jnp.cos(jnp.pi / 6)
        q, dq, ddq = 2 - m, 2 / m - 1, 4 / jnp.sqrt(3.0) / m**2
        dh, ddh = jnp.sqrt(2.0) * first / m, (second + 2 * first) / m**2
        return deformed_reach(1.0, h, h * dq + q * dh, 2 * dh * dq + h * ddq + q * ddh)

    def uniform(self, key: Key) -> Point:
        """Rejection in the angles against the certified bound (3 + 2 s)(1 + s + d), s the sum of the weights and d that
        of 2^j weights.
        """
        weights = self._weights(self.exponent.dtype)
        s, slope = 2 * jnp.sum(weights), jnp.sum(weights * 2.0 ** jnp.arange(1, len(weights) + 1))
        # |x_a| <= |r_a| + R + r and |x_b| <= |r_b| + r, and the element is at most the product.
        bound = (slope + 3 + s) * (slope + 1 + s)

        def propose(place):
            u = jax.random.uniform(place, (2,), bound.dtype, maxval=2 * jnp.pi)
            return u, log_volume(HoelderSurfaceChart(self, jnp.zeros_like(u)), u) - jnp.log(bound)

        return self.at(rejection(key, propose)[0])
