"""Closed curves: trigonometric polynomials in any dimension, and plane curves of an exact Hoelder regularity."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot, known_false, rejection
from manifold_diffusion._types import Coordinates, Key, Point, Points, Scalar
from manifold_diffusion.geometry.lacunary import (
    deformed_reach,
    lacunary_angles,
    lacunary_phases,
    lacunary_slopes,
    lacunary_weights,
)
from manifold_diffusion.geometry.manifold import AbstractChart, AbstractManifold, nearest_coordinates, tangent_frame

_STARTS = 256


class FourierCurveChart(AbstractChart):
    """u -> x(origin + u) on a closed curve, |u| <= pi."""

    curve: "FourierCurve"
    origin: Scalar

    def embed(self, u: Coordinates) -> Point:
        return self.curve.at(self.origin + u[0])

    def coordinates(self, x: Point) -> Coordinates:
        offset = self.curve.parameter(x) - self.origin
        return (jnp.mod(offset + jnp.pi, 2 * jnp.pi) - jnp.pi)[None]


class FourierCurve(AbstractManifold):
    """x(t) = sum_j cosines[j] cos(j t) + sines[j] sin(j t), j = 0 .. m-1, t in [0, 2 pi): a closed analytic curve in
    R^d.

    The caller sees to it that the curve is regular and does not cross itself; `reach()` is 0 up to the grid where it
    does.
    """

    cosines: Float[Array, "m d"]
    sines: Float[Array, "m d"]
    starts: Float[Array, "s d"]
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(self, cosines, sines):
        self.cosines, self.sines = jnp.asarray(cosines, dtype=float), jnp.asarray(sines, dtype=float)
        if self.cosines.ndim != 2 or self.cosines.shape != self.sines.shape:
            raise ValueError(
                f"cosines and sines must both be (frequencies, d), got {self.cosines.shape} and {self.sines.shape}"
            )
        self.dim, self.ambient_dim = 1, self.cosines.shape[1]
        self.starts = jax.vmap(self.at)(_angles(_STARTS, self.cosines.dtype))

    def at(self, t: Scalar) -> Point:
        """The point with parameter t."""
        phase = jnp.arange(len(self.cosines)) * t
        return dot(jnp.cos(phase), self.cosines.astype(t.dtype)) + dot(jnp.sin(phase), self.sines.astype(t.dtype))

    def speed(self, t: Scalar) -> Scalar:
        """|x'(t)|."""
        velocity = jax.jacfwd(self.at)(t)
        return jnp.sqrt(jnp.sum(velocity * velocity))

    def parameter(self, x: Point) -> Scalar:
        """The parameter of the nearest point: the best of 256 starts, then Newton steps kept within the start's
        cell.
        """
        gaps = self.starts.astype(x.dtype) - x[None, :]
        best = jnp.argmin(jnp.sum(gaps * gaps, axis=1))
        start = best.astype(x.dtype) * (2 * jnp.pi / _STARTS)
        chart = FourierCurveChart(self, start)
        return start + nearest_coordinates(chart, x, jnp.zeros((1,), x.dtype), radius=4 * jnp.pi / _STARTS, steps=6)[0]

    def project(self, x: Point) -> Point:
        return self.at(self.parameter(x))

    def tangent(self, x: Point, v: Point) -> Point:
        frame = tangent_frame(FourierCurveChart(self, self.parameter(x)), jnp.zeros((1,), x.dtype))
        return dot(frame, dot(frame.T, v))

    def chart(self, x: Point) -> FourierCurveChart:
        return FourierCurveChart(self, self.parameter(x))

    def volume(self) -> Scalar:
        """The length, by the trapezoidal rule at 4096 nodes (spectrally accurate)."""
        return jnp.sum(self.quadrature(4096)[1])

    def reach(self) -> Scalar:
        """min over pairs of |x - y|^2 / (2 dist(y - x, tangent at x)) on 1024 nodes (Federer's formula; from above,
        O(1/1024^2)).
        """
        t = _angles(1024, self.cosines.dtype)
        points, frames = jax.vmap(self.at)(t), jax.vmap(jax.jacfwd(self.at))(t)
        frames = frames / jnp.linalg.norm(frames, axis=1, keepdims=True)

        def smallest(x, frame):
            gap = points - x[None, :]
            square = jnp.sum(gap * gap, axis=1)
            along = dot(gap, frame)
            across = jnp.sqrt(jnp.maximum(square - along**2, 0))
            return jnp.min(jnp.where(across > 1e-4 * jnp.max(jnp.sqrt(square)), square / (2 * across), jnp.inf))

        return jnp.min(jax.lax.map(lambda pair: smallest(*pair), (points, frames), batch_size=128))

    def uniform(self, key: Key) -> Point:
        """Rejection in the parameter against the certified bound |x'| <= sum_j j (|cosines_j| + |sines_j|)."""
        bound = jnp.sum(
            jnp.arange(len(self.cosines))
            * (jnp.linalg.norm(self.cosines, axis=1) + jnp.linalg.norm(self.sines, axis=1))
        )
        return self.at(_rejected_angle(key, self.speed, bound))

    def quadrature(self, order: int) -> tuple[Points, Float[Array, " n"]]:
        """`order` equal parameters with weight |x'| 2 pi / order: spectrally accurate for smooth integrands."""
        t = _angles(order, self.cosines.dtype)
        return jax.vmap(self.at)(t), jax.vmap(self.speed)(t) * (2 * jnp.pi / order)


class HoelderCurveChart(AbstractChart):
    """u -> the point of a plane curve at the polar angle origin + u."""

    curve: "HoelderCurve"
    origin: Scalar

    def embed(self, u: Coordinates) -> Point:
        return self.curve.at(self.origin + u[0])

    def coordinates(self, x: Point) -> Coordinates:
        offset = jnp.arctan2(x[1], x[0]) - self.origin
        return (jnp.mod(offset + jnp.pi, 2 * jnp.pi) - jnp.pi)[None]


class HoelderCurve(AbstractManifold):
    """The closed plane curve r(t) = 1 + a sum_{j=1}^{levels} 2^{-jb} cos(2^j t + phase_j) in polar coordinates.

    A lacunary (Weierstrass) series: r is Hoelder of order exactly b, nowhere better (Zygmund; Hardy 1916), up to the
    scale 2^{-levels}. b > 1, so that tangents exist. `project` searches the interval of angles that can hold the
    nearest point, of half width |x - foot| (1 + slope) around the angle of x, by repeated refinement of a grid; no
    derivative is trusted.
    """

    exponent: Scalar = eqx.field(converter=jnp.asarray)
    amplitude: Scalar = eqx.field(converter=jnp.asarray)
    phases: Float[Array, " levels"]
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(self, exponent: float, amplitude: float = 0.3, levels: int = 24, phases=None):
        if known_false(exponent > 1):
            raise ValueError(f"the Hoelder exponent must be above 1 for tangents to exist, got {exponent}")
        self.exponent, self.amplitude = jnp.asarray(exponent, dtype=float), jnp.asarray(amplitude, dtype=float)
        self.phases = lacunary_phases(levels) if phases is None else jnp.asarray(phases, dtype=float)
        self.dim, self.ambient_dim = 1, 2
        if known_false(jnp.sum(lacunary_weights(self.exponent, self.amplitude, len(self.phases))) < 1):
            raise ValueError(
                f"amplitude {amplitude} lets the radius vanish; use one below {2 ** float(exponent) - 1:.3g}"
            )

    def radius(self, t: Scalar) -> Scalar:
        """r(t)."""
        weights = lacunary_weights(self.exponent, self.amplitude, len(self.phases)).astype(t.dtype)
        return 1 + dot(weights, jnp.cos(lacunary_angles(t, len(self.phases)) + self.phases.astype(t.dtype)))

    def at(self, t: Scalar) -> Point:
        """The point at the polar angle t."""
        return self.radius(t) * jnp.stack([jnp.cos(t), jnp.sin(t)])

    def speed(self, t: Scalar) -> Scalar:
        """sqrt(r^2 + r'^2)."""
        return jnp.sqrt(self.radius(t) ** 2 + jax.grad(self.radius)(t) ** 2)

    def project(self, x: Point) -> Point:
        t = jnp.arctan2(x[1], x[0])
        size = jnp.sqrt(jnp.sum(x * x))
        # No point at the angle t + u is nearer to x than |x| |sin u|, and the foot at t itself is |size - r| away.
        half = (
            jnp.arcsin(jnp.clip(jnp.abs(size - self.radius(t)) / jnp.maximum(size, jnp.finfo(x.dtype).tiny), 0, 1))
            * 1.001
        )
        grid = jnp.linspace(-1.0, 1.0, 17, dtype=x.dtype)

        def refine(state, _):
            centre, width = state
            angles = centre + width * grid
            gaps = jax.vmap(self.at)(angles) - x[None, :]
            return (angles[jnp.argmin(jnp.sum(gaps * gaps, axis=1))], width / 4), None

        (t, _), _ = jax.lax.scan(refine, (t, half), None, length=10)
        return self.at(t)

    def tangent(self, x: Point, v: Point) -> Point:
        direction = jax.jacfwd(self.at)(jnp.arctan2(x[1], x[0]))
        return dot(direction, v) * direction / jnp.sum(direction * direction)

    def chart(self, x: Point) -> HoelderCurveChart:
        return HoelderCurveChart(self, jnp.arctan2(x[1], x[0]))

    def reach(self) -> Scalar:
        """A lower bound, `deformed_reach` of the unit circle; it goes to 0 with 2^{-levels} where the exponent is at
        most 2, and is 0 where the slope of the radius is too large for it.

        With h = r - 1 and g(x) = h x, of which chords of at most 1 stay outside of rho = cos(pi / 6): |Dg| <= |h| +
        |h'| and |D^2 g| <= (2 |h'| + |h''|) / rho.
        """
        h, first, second = lacunary_slopes(lacunary_weights(self.exponent, self.amplitude, len(self.phases)))
        return deformed_reach(1.0, h, h + first, (2 * first + second) / jnp.cos(jnp.pi / 6))

    def uniform(self, key: Key) -> Point:
        """Rejection in the angle against the certified bound (max r) + a sum_j 2^{j(1-b)} on sqrt(r^2 + r'^2)."""
        weights = lacunary_weights(self.exponent, self.amplitude, len(self.phases))
        bound = 1 + jnp.sum(weights) + jnp.sum(weights * 2.0 ** jnp.arange(1, len(weights) + 1))
        return self.at(_rejected_angle(key, self.speed, bound))


def _angles(n: int, dtype) -> Float[Array, " n"]:
    return jnp.arange(n, dtype=dtype) * (2 * jnp.pi / n)


def _rejected_angle(key: Key, density, bound: Scalar) -> Scalar:
    """An angle in [0, 2 pi) with density proportional to `density` <= bound."""

    def propose(place):
        t = jax.random.uniform(place, dtype=bound.dtype, maxval=2 * jnp.pi)
        return t, jnp.log(density(t) / bound)

    return rejection(key, propose)[0]
