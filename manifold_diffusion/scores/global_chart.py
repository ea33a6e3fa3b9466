"""One chart for all of a curve or a surface: a map of a box onto it, one to one but for a set of measure zero."""

from typing import NamedTuple

import jax.numpy as jnp

from manifold_diffusion import geometry
from manifold_diffusion._types import Coordinates, Point
from manifold_diffusion.geometry import AbstractChart, AbstractManifold
from manifold_diffusion.geometry.curve import FourierCurveChart, HoelderCurveChart
from manifold_diffusion.geometry.embedded import EmbeddedChart
from manifold_diffusion.geometry.parametrised import ParametrisedChart
from manifold_diffusion.geometry.product import ProductChart
from manifold_diffusion.geometry.surface import HoelderSurfaceChart
from manifold_diffusion.geometry.torus import TorusChart


class GlobalChart(NamedTuple):
    """A chart, the box of its coordinates, and which of them are periodic."""

    chart: AbstractChart
    lower: Coordinates
    upper: Coordinates
    wraps: tuple[bool, ...]


class _AngularChart(AbstractChart):
    """Ellipsoids by the longitude, and for surfaces the colatitude, of x / a. At a pole the volume element is zero."""

    axes: Point

    def embed(self, u: Coordinates) -> Point:
        ring = jnp.stack([jnp.cos(u[0]), jnp.sin(u[0])])
        return self.axes * (ring if len(u) == 1 else jnp.append(jnp.sin(u[1]) * ring, jnp.cos(u[1])))

    def coordinates(self, x: Point) -> Coordinates:
        y = x / self.axes
        longitude = jnp.arctan2(y[1], y[0])
        if len(y) == 2:
            return longitude[None]
        return jnp.stack([longitude, jnp.arctan2(jnp.sqrt(y[0] ** 2 + y[1] ** 2), y[2])])


def global_chart(manifold: AbstractManifold) -> GlobalChart:
    """The parametrisation of a manifold of dimension 1 or 2 that has one; ValueError where it is not known."""
    if manifold.dim > 2:
        raise ValueError(f"quadrature is for dimensions 1 and 2, got {manifold.dim}; use MonteCarloScore")
    match manifold:
        case geometry.Embedded():
            inner = global_chart(manifold.inner)
            return inner._replace(chart=EmbeddedChart(inner.chart, manifold.frame, manifold.offset))
        case geometry.Product():
            return _product(manifold)
        case geometry.Parametrised():
            chart = ParametrisedChart(manifold, jnp.zeros_like(manifold.lower))
            return GlobalChart(chart, manifold.lower, manifold.upper, tuple(e == "wrap" for e in manifold.ends))
        case geometry.Sphere():
            return _angular(jnp.full(manifold.ambient_dim, manifold.radius))
        case geometry.Ellipsoid():
            return _angular(manifold.axes)
        case geometry.Torus():
            return _periodic(TorusChart(jnp.zeros(2), manifold.major, manifold.minor), 2)
        case geometry.FourierCurve():
            return _periodic(FourierCurveChart(manifold, jnp.zeros(())), 1)
        case geometry.HoelderCurve():
            return _periodic(HoelderCurveChart(manifold, jnp.zeros(())), 1)
        case geometry.HoelderSurface():
            return _periodic(HoelderSurfaceChart(manifold, jnp.zeros(2)), 2)
    raise ValueError(
        f"{type(manifold).__name__} has no parametrisation of the whole; make one with geometry.from_embedding"
    )


def _angular(axes: Point) -> GlobalChart:
    whole = _periodic(_AngularChart(axes), len(axes) - 1)
    if len(axes) == 2:
        return whole
    return whole._replace(lower=whole.lower.at[1].set(0.0), wraps=(True, False))


def _product(manifold: geometry.Product) -> GlobalChart:
    parts = [global_chart(part) for part in manifold.parts]
    dims = tuple(part.dim for part in manifold.parts)
    charts = ProductChart(tuple(p.chart for p in parts), dims, tuple(part.ambient_dim for part in manifold.parts))
    lower, upper = (jnp.concatenate(sides) for sides in zip(*((p.lower, p.upper) for p in parts), strict=True))
    return GlobalChart(charts, lower, upper, tuple(w for p in parts for w in p.wraps))


def _periodic(chart: AbstractChart, k: int) -> GlobalChart:
    return GlobalChart(chart, jnp.full(k, -jnp.pi, dtype=float), jnp.full(k, jnp.pi, dtype=float), (True,) * k)
