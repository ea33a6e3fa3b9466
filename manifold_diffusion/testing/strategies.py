"""Manifolds, points, tangents, keys and noise levels for hypothesis.

What hypothesis draws, and shrinks, are integers and fractions with few digits: sizes, seeds and shares; arrays are made
of them outside. Everything has the precision that is on. Turn hypothesis' deadline off: the first example compiles.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion._types import Key, Point, Scalar
from manifold_diffusion.geometry import AbstractManifold, Ellipsoid, FourierCurve, Sphere, Torus

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError(
        "manifold_diffusion.testing.strategies needs hypothesis: pip install 'manifold-diffusion[testing]'"
    ) from error

_EIGHTHS = 8
_LEVELS = 1024


def keys() -> st.SearchStrategy[Key]:
    """Typed keys, of seeds that shrink to 0."""
    return st.integers(0, 2**32 - 1).map(jax.random.key)


def noise_levels(low: float = 1e-3, high: float = 1e2) -> st.SearchStrategy[Scalar]:
    """Noise levels between the two, evenly in their logarithm; they shrink to the largest."""
    if not 0 < low < high:
        raise ValueError(f"noise levels need 0 < low < high, got low={low}, high={high}")
    return st.integers(0, _LEVELS).map(lambda i: jnp.asarray(high * (low / high) ** (i / _LEVELS), dtype=float))


@st.composite
def manifolds(draw: Callable[..., Any], dims: Sequence[int] = (1, 2)) -> AbstractManifold:
    """Spheres, ellipsoids and, of dimension one, Fourier curves or, of dimension two, tori; they shrink to the sphere
    with the smallest radius. Sizes are between 1/2 and 2.
    """
    dim = draw(st.sampled_from(sorted(dims)))
    if dim < 1:
        raise ValueError(f"manifolds have a dimension of at least 1, got {dim}")
    kind = draw(st.sampled_from(["sphere", "ellipsoid", *{1: ["curve"], 2: ["torus"]}.get(dim, [])]))
    if kind == "sphere":
        return Sphere(dim, draw(_sizes()))
    if kind == "ellipsoid":
        return Ellipsoid(tuple(draw(_sizes()) for _ in range(dim + 1)))
    if kind == "torus":
        major = draw(st.integers(_EIGHTHS, 2 * _EIGHTHS))
        return Torus(major / _EIGHTHS, draw(st.integers(2, major - 2)) / _EIGHTHS)
    return _curve(draw)


def _sizes() -> st.SearchStrategy[float]:
    return st.integers(_EIGHTHS // 2, 2 * _EIGHTHS).map(lambda i: i / _EIGHTHS)


def _curve(draw: Callable[..., Any]) -> FourierCurve:
    """(a cos t, b sin t, c cos 2t), an embedded curve in space whatever a, b > 0 and c."""
    a, b, c = draw(_sizes()), draw(_sizes()), draw(st.integers(0, 4)) / _EIGHTHS
    cosines, sines = np.zeros((3, 3)), np.zeros((3, 3))
    cosines[1, 0], sines[1, 1], cosines[2, 2] = a, b, c
    return FourierCurve(cosines, sines)


@st.composite
def points(draw: Callable[..., Any], manifold: AbstractManifold, distance: float = 0.0) -> Point:
    """Points on the manifold, or up to that distance from it (in the ambient space, so some are nearer); uniform points
    of seeds that shrink to 0, at distances that shrink to 0.
    """
    x, direction, _ = _place(manifold, draw(keys()))
    if distance == 0:
        return x
    share = draw(st.integers(0, _EIGHTHS)) / _EIGHTHS
    return x + share * distance * direction


@st.composite
def tangents(draw: Callable[..., Any], manifold: AbstractManifold, length: float = 1.0) -> tuple[Point, Point]:
    """(x, v), a point of the manifold and a tangent there of at most that length; v shrinks to exactly 0."""
    x, _, v = _place(manifold, draw(keys()))
    share = draw(st.integers(0, _EIGHTHS)) / _EIGHTHS
    return x, share * length * v


@eqx.filter_jit
def _place(manifold: AbstractManifold, key: Key) -> tuple[Point, Point, Point]:
    """A uniform point, a direction, and a tangent there, both of length one."""
    point, away, along = jax.random.split(key, 3)
    x = manifold.uniform(point)
    direction, v = (jax.random.normal(each, x.shape, x.dtype) for each in (away, along))
    v = manifold.tangent(x, v)
    return x, direction / jnp.sqrt(jnp.sum(direction**2)), v / jnp.sqrt(jnp.sum(v * v))
