"""Heat kernels: the laws of Brownian motion on a manifold at a given time."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp

from manifold_diffusion._numerics import dot, safe_norm
from manifold_diffusion._types import Key, Point, Scalar
from manifold_diffusion.geometry import Euclidean, SpecialOrthogonal, Sphere
from manifold_diffusion.measures.measure import AbstractMeasure
from manifold_diffusion.measures.radial import RadialLaw, radial_law
from manifold_diffusion.measures.tangent import Manifold, frame_at, parts_of, split


class HeatKernel(AbstractMeasure):
    """The solution p of dp/dt = (1/2) Laplacian p that starts from a unit mass at the centre, at the time t: the law of
    Brownian motion on the manifold, of the size sqrt(k t) while t is small.

    On spheres of any dimension and radius, rotations, flat space, and products of these: flat tori, rigid motions.
    Densities and draws are exact (see `theta` and `lineages`) at all times, but for spheres of dimension k > 3 and
    radius R before 0.02 R^2: there up to k = 50, exact within 2.5 R of the centre, and further off the log density is
    wrong by up to 0.03 k^2 t / R^2.

    SO(3) is S^3 of radius 2 sqrt(2) with antipodes taken as one: its kernel is the sum of those of both preimages.
    """

    manifold: Manifold
    centre: Point
    time: Scalar
    laws: tuple["_PartLaw", ...]

    def __init__(self, manifold: Manifold, centre, time: float | int | Scalar):
        self.time = jnp.asarray(time, dtype=float)
        self.laws = _laws(manifold, self.time)
        self.manifold = manifold  # pyright: ignore[reportIncompatibleVariableOverride]
        self.centre = manifold.project(jnp.asarray(centre, dtype=float))

    def sample(self, key: Key) -> Point:
        keys = jax.random.split(key, len(self.laws))
        pieces = split(self.manifold, self.centre)
        drawn = [law.sample(k, piece) for law, k, piece in zip(self.laws, keys, pieces, strict=True)]
        return jnp.concatenate(drawn)

    def log_density(self, x: Point) -> Scalar:
        return _log_density(self.manifold, self.laws, x, self.centre.astype(x.dtype))


def log_heat_kernel(manifold: Manifold, x: Point, y: Point, time: float | int | Scalar) -> Scalar:
    """log p_t(x, y), as in `HeatKernel`, for any two points; it can be differentiated in t too, where no sphere of
    dimension above 3 is involved.
    """
    return _log_density(manifold, _laws(manifold, jnp.asarray(time, dtype=x.dtype)), x, y)


def spectral_gap(manifold: Manifold) -> Scalar:
    """lambda, the smallest positive eigenvalue of minus the Laplacian: a heat kernel is uniform up to the order of
    exp(-lambda t / 2). 0 on flat space, where it never is.

    k / R^2 on S^k of radius R, 1 on SO(3), whose functions are the even ones of its sphere (degree 2, 2 * 4 / 8), and
    the smallest of the parts on products.
    """
    return jnp.min(jnp.stack([_part_gap(part) for part in parts_of(manifold)]))


class _Flat(eqx.Module):
    """Flat space."""

    time: Scalar

    def sample(self, key: Key, centre: Point) -> Point:
        return centre + jnp.sqrt(self.time) * jax.random.normal(key, centre.shape, centre.dtype)

    def log_density(self, x: Point, y: Point) -> Scalar:
        time, step = self.time.astype(x.dtype), x - y
        return -jnp.sum(step * step) / (2 * time) - 0.5 * len(x) * jnp.log(2 * math.pi * time)


class _Round(eqx.Module):
    """A sphere of the radius R, or rotations, which a sphere of that radius covers."""

    part: Sphere | SpecialOrthogonal
    radius: Scalar
    law: RadialLaw

    def sample(self, key: Key, centre: Point) -> Point:
        length, across = jax.random.split(key)
        z = jax.random.normal(across, (self.part.dim,), centre.dtype)
        v = self.law.angle(length) * self.radius * z / safe_norm(z)
        return self.part.exp(centre, dot(frame_at(self.part, centre), v))

    def log_density(self, x: Point, y: Point) -> Scalar:
        radius = self.radius.astype(x.dtype)
        if isinstance(self.part, Sphere):
            near, far = safe_norm(x - y), safe_norm(x + y)
            log_p = self.law.log_density(jnp.arctan2(near, far), jnp.arctan2(far, near))
        else:
            half = self.part.distance(x, y) / (2 * radius)
            other = math.pi / 2 - half
            log_p = self.law.log_density(half, other)
            if self.part.dim == 3:
                log_p = jnp.logaddexp(log_p, self.law.log_density(other, half))
        return log_p - self.part.dim * jnp.log(radius)


_PartLaw = _Flat | _Round


def _laws(manifold: Manifold, time: Scalar) -> tuple[_PartLaw, ...]:
    return tuple(_part_law(part, time) for part in parts_of(manifold))


def _part_law(part: Manifold, time: Scalar) -> _PartLaw:
    if isinstance(part, Euclidean):
        return _Flat(time)
    if isinstance(part, Sphere | SpecialOrthogonal):
        round_radius = part.radius if isinstance(part, Sphere) else jnp.asarray(math.sqrt(2 if part.dim == 1 else 8))
        radius = round_radius.astype(time.dtype)
        return _Round(part, radius, radial_law(part.dim, time / radius**2))
    raise ValueError(
        f"no heat kernel in closed form on {type(part).__name__}; short_time_heat_kernel is for small times"
    )


def _part_gap(part: Manifold) -> Scalar:
    if isinstance(part, Euclidean):
        return jnp.zeros(())
    if isinstance(part, SpecialOrthogonal) and part.dim <= 3:
        return jnp.asarray(0.5 if part.dim == 1 else 1.0)
    if isinstance(part, Sphere):
        return part.dim / part.radius**2
    raise ValueError(f"the spectral gap of {type(part).__name__} is not known; give its value where it is asked for")


def _log_density(manifold: Manifold, laws: tuple[_PartLaw, ...], x: Point, y: Point) -> Scalar:
    pieces = zip(laws, split(manifold, x), split(manifold, y), strict=True)
    return jnp.sum(jnp.stack([law.log_density(a, b) for law, a, b in pieces]))
