"""Tangent spaces and parts of manifolds as measures need them, on either kind of manifold."""

import itertools
from typing import TypeAlias

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot
from manifold_diffusion._types import Point
from manifold_diffusion.geometry import AbstractRiemannian, Product, SpecialEuclidean
from manifold_diffusion.geometry.manifold import AbstractManifold, tangent_frame

Manifold: TypeAlias = AbstractManifold | AbstractRiemannian


def parts_of(manifold: Manifold) -> list[Manifold]:
    """The manifolds of which it is the product, none of which is a product itself."""
    if isinstance(manifold, SpecialEuclidean):
        return parts_of(manifold.product)
    if isinstance(manifold, Product):
        return [inner for part in manifold.parts for inner in parts_of(part)]
    return [manifold]


def split(manifold: Manifold, x: Point) -> list[Array]:
    """The points of the parts."""
    ends = np.cumsum([0, *(part.ambient_dim for part in parts_of(manifold))])
    return [x[start:end] for start, end in itertools.pairwise(ends)]


def frames_at(manifold: Manifold, x: Point) -> list[Array]:
    """Orthonormal frames of the parts."""
    return [frame_at(part, piece) for part, piece in zip(parts_of(manifold), split(manifold, x), strict=True)]


@eqx.filter_jit
def frame_at(manifold: Manifold, x: Point) -> Float[Array, "d k"]:
    """Columns that are an orthonormal basis of the tangent space at the point x of the manifold."""
    if isinstance(manifold, AbstractRiemannian):
        return manifold.frame(x)
    chart = manifold.chart(x)
    return tangent_frame(chart, chart.coordinates(x))


def inner_products(manifold: Manifold, x: Point, v: Float[Array, "d m"], w: Float[Array, "d n"]) -> Float[Array, "m n"]:
    """The inner products of tangents at x, the columns of v and w."""
    if not isinstance(manifold, AbstractRiemannian):
        return dot(v.T, w)
    along = jax.vmap(manifold.inner, in_axes=(None, None, 1))
    return jax.vmap(along, in_axes=(None, 1, None))(x, v, w)
