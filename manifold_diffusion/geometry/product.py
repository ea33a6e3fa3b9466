"""Products of manifolds, part by part; flat tori among them."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._numerics import safe_norm
from manifold_diffusion._types import Coordinates, Key, Point, Points, Scalar
from manifold_diffusion.geometry.manifold import AbstractChart, AbstractManifold
from manifold_diffusion.geometry.sphere import Sphere


class ProductChart(AbstractChart):
    """(u_1, u_2, ..) -> (x_1, x_2, ..), each by the chart of its part."""

    charts: tuple[AbstractChart, ...]
    dims: tuple[int, ...] = eqx.field(static=True)
    ambient_dims: tuple[int, ...] = eqx.field(static=True)

    def embed(self, u: Coordinates) -> Point:
        pieces = zip(self.charts, _split(u, self.dims), strict=True)
        return jnp.concatenate([chart.embed(piece) for chart, piece in pieces])

    def coordinates(self, x: Point) -> Coordinates:
        pieces = zip(self.charts, _split(x, self.ambient_dims), strict=True)
        return jnp.concatenate([chart.coordinates(piece) for chart, piece in pieces])


class Product(AbstractManifold):
    """M_1 x M_2 x .. in R^{d_1 + d_2 + ..}: the points (x_1, x_2, ..), with |v|^2 = |v_1|^2 + |v_2|^2 + .. .

    Everything is done by parts: volumes multiply, the reach is the least of the parts, geodesics are pairs of
    geodesics. What a part does not know the product does not know either, and says so.
    """

    parts: tuple[AbstractManifold, ...]
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(self, *parts: AbstractManifold):
        if len(parts) < 2:
            raise ValueError(f"a product has two parts or more, got {len(parts)}; pass Product(a, b)")
        self.parts = parts
        self.dim, self.ambient_dim = sum(part.dim for part in parts), sum(part.ambient_dim for part in parts)

    def split(self, x: Point) -> list[Array]:
        """The parts (x_1, x_2, ..) of a point or of a tangent."""
        return _split(x, tuple(part.ambient_dim for part in self.parts))

    def project(self, x: Point) -> Point:
        return self._joined([part.project for part in self.parts], x)

    def tangent(self, x: Point, v: Point) -> Point:
        return self._joined([part.tangent for part in self.parts], x, v)

    def chart(self, x: Point) -> ProductChart:
        charts = tuple(part.chart(piece) for part, piece in zip(self.parts, self.split(x), strict=True))
        return ProductChart(
            charts, tuple(part.dim for part in self.parts), tuple(part.ambient_dim for part in self.parts)
        )

    def exp(self, x: Point, v: Point) -> Point:
        """The end of the geodesic from x with velocity v: that of every part."""
        return self._joined(self._known("exp"), x, v)

    def log(self, x: Point, y: Point) -> Point:
        """The velocity at x of the shortest geodesic to y."""
        return self._joined(self._known("log"), x, y)

    def distance(self, x: Point, y: Point) -> Scalar:
        """sqrt(d_1^2 + d_2^2 + ..), with gradient 0 at x = y."""
        return safe_norm(jnp.stack(self._each(self._known("distance"), x, y)))

    def log_exp_volume(self, x: Point, v: Point) -> Scalar:
        """The log of Riemannian volume at exp_x(v) per unit volume of the tangent space: the sum over the parts."""
        return jnp.sum(jnp.stack(self._each(self._known("log_exp_volume"), x, v)))

    def volume(self) -> Scalar:
        return jnp.prod(jnp.stack([volume() for volume in self._known("volume")]))

    def reach(self) -> Scalar:
        return jnp.min(jnp.stack([reach() for reach in self._known("reach")]))

    def uniform(self, key: Key) -> Point:
        """Independent uniform points of the parts."""
        keys = jax.random.split(key, len(self.parts))
        return jnp.concatenate([uniform(k) for uniform, k in zip(self._known("uniform"), keys, strict=True)])

    def quadrature(self, order: int) -> tuple[Points, Float[Array, " n"]]:
        """All pairs of nodes of two curves, with the products of their weights."""
        if self.dim > 2:
            raise ValueError(f"quadrature on products covers dimensions up to 2, got {self.dim}; use Monte Carlo above")
        (x, a), (y, b) = (quadrature(order) for quadrature in self._known("quadrature"))
        points = jnp.concatenate([jnp.repeat(x, len(y), axis=0), jnp.tile(y, (len(x), 1))], axis=1)
        return points, jnp.outer(a, b).ravel()

    def _each(self, functions: list[Callable], *xs: Point) -> list:
        pieces = zip(functions, *(self.split(x) for x in xs), strict=True)
        return [function(*piece) for function, *piece in pieces]

    def _joined(self, functions: list[Callable], *xs: Point) -> Point:
        return jnp.concatenate(self._each(functions, *xs))

    def _known(self, name: str) -> list[Callable]:
        missing = [type(part).__name__ for part in self.parts if not hasattr(part, name)]
        if missing:
            raise ValueError(f"{name} of a product needs {name} of every part, and {missing[0]} has none")
        return [getattr(part, name) for part in self.parts]


def flat_torus(*radii: float | int | Scalar) -> Product:
    """The product of the circles of these radii, in R^{2k}: flat, volume prod 2 pi R_i, reach min R_i; with equal radii
    the Clifford torus.
    """
    if len(radii) < 2:
        raise ValueError(f"a flat torus has two radii or more, got {len(radii)}; a circle is Sphere(1, radius)")
    return Product(*(Sphere(1, radius) for radius in radii))


def _split(x: Point, sizes: tuple[int, ...]) -> list[Array]:
    return jnp.split(x, np.cumsum(sizes)[:-1])
