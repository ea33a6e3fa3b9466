"""Flat space itself, the part of a product that has no curvature and no end."""

import equinox as eqx
import jax.numpy as jnp

from manifold_diffusion._numerics import safe_norm
from manifold_diffusion._types import Coordinates, Point, Scalar
from manifold_diffusion.geometry.manifold import AbstractChart, AbstractManifold


class Translation(AbstractChart):
    """u -> x + u."""

    origin: Point

    def embed(self, u: Coordinates) -> Point:
        return self.origin + u

    def coordinates(self, x: Point) -> Coordinates:
        return x - self.origin


class Euclidean(AbstractManifold):
    """R^k as a submanifold of itself: every point is its own projection. No volume, reach infinite."""

    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(self, dim: int):
        if dim < 1:
            raise ValueError(f"Euclidean space has dimension at least 1 here, got {dim}")
        self.dim = self.ambient_dim = dim

    def project(self, x: Point) -> Point:
        return x

    def tangent(self, x: Point, v: Point) -> Point:
        return v

    def chart(self, x: Point) -> Translation:
        return Translation(x)

    def exp(self, x: Point, v: Point) -> Point:
        """x + v."""
        return x + v

    def log(self, x: Point, y: Point) -> Point:
        """y - x."""
        return y - x

    def distance(self, x: Point, y: Point) -> Scalar:
        """|x - y|, with gradient 0 at x = y."""
        return safe_norm(x - y)

    def log_exp_volume(self, x: Point, v: Point) -> Scalar:
        """0: translations keep volume."""
        return jnp.zeros((), x.dtype)

    def reach(self) -> Scalar:
        return jnp.asarray(jnp.inf)
