"""Well-known curves and surfaces, made of maps, equations and Fourier series.

Each is a manifold like any other; what is known of it in closed form is in its docstring.
"""

import math
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from manifold_diffusion._types import Coordinates, Point, Scalar
from manifold_diffusion.geometry.curve import FourierCurve
from manifold_diffusion.geometry.embedding import from_embedding
from manifold_diffusion.geometry.level_set import LevelSet, from_equations
from manifold_diffusion.geometry.manifold import as_module
from manifold_diffusion.geometry.parametrised import Ends, Parametrised

Profile = Callable[[Scalar], Point]


class _Klein(eqx.Module):
    major: Scalar
    minor: Scalar

    def __call__(self, u: Coordinates) -> Point:
        a, b = u
        ring, height = self.major + self.minor * jnp.cos(b), self.minor * jnp.sin(b)
        return jnp.stack([ring * jnp.cos(a), ring * jnp.sin(a), height * jnp.cos(a / 2), height * jnp.sin(a / 2)])


def klein_bottle(major: float | Scalar = 2.0, minor: float | Scalar = 1.0, grid: int | None = None) -> Parametrised:
    """The Klein bottle in R^4: ((R + r cos b) cos a, (R + r cos b) sin a, r sin b cos(a/2), r sin b sin(a/2)).

    The metric is diag((R + r cos b)^2 + (r sin b / 2)^2, r^2); the total curvature is 0. At a = 2 pi the map runs on
    with b reversed: (a, b) and (a + 2 pi, -b) are the same point.
    """
    shape = _Klein(jnp.asarray(major, dtype=float), jnp.asarray(minor, dtype=float))
    return from_embedding(shape, [(0, 2 * math.pi), (-math.pi, math.pi)], ("glue", "wrap"), grid)


class _Moebius(eqx.Module):
    radius: Scalar

    def __call__(self, u: Coordinates) -> Point:
        ring = self.radius + u[1] * jnp.cos(u[0] / 2)
        return jnp.stack([ring * jnp.cos(u[0]), ring * jnp.sin(u[0]), u[1] * jnp.sin(u[0] / 2)])


def moebius_band(radius: float | Scalar = 1.0, half_width: float = 0.3, grid: int | None = None) -> Parametrised:
    """The Moebius band in R^3: ((R + v cos(a/2)) cos a, (R + v cos(a/2)) sin a, v sin(a/2)), |v| <= half_width.

    The metric is diag((R + v cos(a/2))^2 + v^2/4, 1); at a = 2 pi the map runs on with v reversed.
    """
    if not 0 < half_width < 1e3:
        raise ValueError(f"the half width of a band must be positive, got {half_width}")
    band = _Moebius(jnp.asarray(radius, dtype=float))
    return from_embedding(band, [(0, 2 * math.pi), (-half_width, half_width)], ("glue", "edge"), grid)


def _roll(u: Coordinates) -> Point:
    return jnp.stack([u[0] * jnp.cos(u[0]), u[1], u[0] * jnp.sin(u[0])])


def swiss_roll(
    start: float = 1.5 * math.pi, end: float = 4.5 * math.pi, height: float = 21.0, grid: int | None = None
) -> Parametrised:
    """The Swiss roll (t cos t, h, t sin t), start <= t <= end, 0 <= h <= height: flat, with edges.

    Its area is height (F(end) - F(start)), F(t) = (t sqrt(1 + t^2) + asinh t) / 2; sheets are about 2 pi apart. The
    default is the roll that scikit-learn draws.
    """
    return from_embedding(_roll, [(start, end), (0.0, height)], "edge", grid)


def torus_knot(p: int = 2, q: int = 3, major: float = 2.0, minor: float = 1.0) -> FourierCurve:
    """The (p, q) torus knot ((R + r cos qt) cos pt, (R + r cos qt) sin pt, r sin qt), p and q without a common divisor.

    A trigonometric polynomial, so a `FourierCurve`: (R + r cos qt) cos pt = R cos pt + (r/2)(cos (p+q)t + cos (p-q)t).
    """
    if math.gcd(p, q) != 1 or p < 1 or q < 1:
        raise ValueError(f"a torus knot needs positive p and q without a common divisor, got {p} and {q}")
    cosines, sines = np.zeros((2, p + q + 1, 3))
    cosines[p, 0] += major
    sines[p, 1] += major
    for frequency in (p + q, p - q):
        cosines[abs(frequency), 0] += minor / 2
        sines[abs(frequency), 1] += math.copysign(minor / 2, frequency)
    sines[q, 2] += minor
    return FourierCurve(cosines, sines)


def trefoil(major: float = 2.0, minor: float = 1.0) -> FourierCurve:
    """The trefoil, the torus knot (2, 3)."""
    return torus_knot(2, 3, major, minor)


def figure_eight_knot() -> FourierCurve:
    """The figure-eight knot ((2 + cos 2t) cos 3t, (2 + cos 2t) sin 3t, sin 4t)."""
    cosines, sines = np.zeros((2, 6, 3))
    cosines[[3, 5, 1], 0] = 2.0, 0.5, 0.5
    sines[[3, 5, 1], 1] = 2.0, 0.5, 0.5
    sines[4, 2] = 1.0
    return FourierCurve(cosines, sines)


class _Revolution(eqx.Module):
    profile: Profile

    def __call__(self, u: Coordinates) -> Point:
        distance, height = self.profile(u[1])
        return jnp.stack([distance * jnp.cos(u[0]), distance * jnp.sin(u[0]), height])


def surface_of_revolution(
    profile: Profile, domain: tuple[float | int, float | int], ends: Ends = "edge", grid: int | None = None
) -> Parametrised:
    """The plane curve s -> (distance from the axis, height), s in the domain, turned about the z-axis: u = (angle, s).

    The Gauss curvature is -rho''/rho where s is arc length. `ends` is "wrap" for a closed profile. The profile must
    stay off the axis: a surface that meets it, such as a spheroid, takes two charts or an equation.
    """
    turned = _Revolution(as_module(profile))
    return from_embedding(turned, [(0, 2 * math.pi), domain], ("wrap", ends), grid)


class _DoubleTorus(eqx.Module):
    level: Scalar

    def __call__(self, x: Point) -> Scalar:
        lemniscate = x[0] ** 2 * (1 - x[0] ** 2) - x[1] ** 2
        return lemniscate**2 + x[2] ** 2 / 4 - self.level.astype(x.dtype)


def double_torus(level: float = 0.04) -> LevelSet:
    """A surface of genus 2, (x^2 (1 - x^2) - y^2)^2 + z^2/4 = level: a tube around the lemniscate of Gerono.

    The total curvature is -4 pi. Its holes close at the level 1/16, the largest value of x^2 (1 - x^2) squared.
    """
    if not 0 < level < 1 / 16:
        raise ValueError(f"a double torus needs a level between 0 and 1/16, got {level}")
    root = math.sqrt(level)
    # On the surface |lemniscate| <= root: x^2 is at most the larger root of t (1 - t) = -root, y^2 <= 1/4 + root.
    x, y, z = math.sqrt((1 + math.sqrt(1 + 4 * root)) / 2), math.sqrt(0.25 + root), 2 * root
    box = [(-1.02 * side, 1.02 * side) for side in (x, y, z)]
    return from_equations(_DoubleTorus(jnp.asarray(level, dtype=float)), 3, box=box)
