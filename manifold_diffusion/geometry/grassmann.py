"""Grassmann manifolds: subspaces of R^n, as the matrices that project onto them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot, safe_norm
from manifold_diffusion._small_matrices import (
    arctangent_quotient_of,
    exponential_less_identity,
    orthonormal_columns,
    polar_factor,
    projector_frame,
    sine_quotient,
    solve_positive,
    spectral_projector,
    symmetric_eigen,
)
from manifold_diffusion._types import Coordinates, Key, Point, Points, Scalar
from manifold_diffusion.geometry.manifold import AbstractChart, AbstractManifold
from manifold_diffusion.geometry.unit_sphere import log_sphere_area, sphere_quadrature


class GraphChart(AbstractChart):
    """B -> the projector onto the columns of X + X' B, the graph of B over the subspace of the columns of X, which X'
    completes to an orthonormal basis. Covers the subspaces in which nothing is orthogonal to X.
    """

    frame: Float[Array, "n p"]
    normal: Float[Array, "n c"]

    def embed(self, u: Coordinates) -> Point:
        """Y (Y^T Y)^{-1} Y^T with Y = X + X' B, Y^T Y = I + B^T B."""
        B = u.reshape(self.normal.shape[1], self.frame.shape[1])
        Y = self.frame + dot(self.normal, B)
        gram = jnp.eye(B.shape[1], dtype=u.dtype) + dot(B.T, B)
        return dot(Y, solve_positive(gram, Y.T)).ravel()

    def coordinates(self, x: Point) -> Coordinates:
        """B = (X'^T P X) (X^T P X)^{-1}."""
        PX = dot(x.reshape(len(self.frame), -1), self.frame)
        return solve_positive(dot(self.frame.T, PX), dot(PX.T, self.normal)).T.ravel()


class Grassmann(AbstractManifold):
    """Gr(n, p), the p-dimensional subspaces of R^n, 1 <= p < n, as symmetric projectors P of rank p in R^{n n} (row by
    row) with its metric: |dP|^2 = 2 |B|^2, B the (n - p) x p matrix of the move from the subspace to its complement.

    Volume 2^{p (n - p) / 2} prod_{i <= p} |S^{n - i}| / |S^{p - i}|; reach 1/sqrt(2), for |x - y|^2 / (2 |normal part|)
    is sum s_i^2 / (sqrt(2) |s^2|) with the sines s_i of the principal angles (derived from Federer 1959, theorem
    4.18). Gr(n, 1) is real projective space, double covered by a sphere of radius sqrt(2).
    """

    n: int = eqx.field(static=True)
    p: int = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(self, n: int, p: int):
        if not 1 <= p < n:
            raise ValueError(f"Grassmann(n, p) needs 1 <= p < n, got n={n}, p={p}")
        self.n, self.p, self.dim, self.ambient_dim = n, p, p * (n - p), n * n

    def matrix(self, x: Point) -> Float[Array, "n n"]:
        """The matrix of a point, or of a tangent."""
        return x.reshape(self.n, self.n)

    def basis(self, x: Point) -> tuple[Float[Array, "n p"], Float[Array, "n c"]]:
        """Orthonormal columns X that span the subspace, and X' that span its complement."""
        frame = projector_frame(self.matrix(x), self.p)
        return frame[:, : self.p], frame[:, self.p :]

    def project(self, x: Point) -> Point:
        """The projector onto the top p eigenvectors of the symmetric part."""
        return spectral_projector(self.matrix(x), self.p).ravel()

    def tangent(self, x: Point, v: Point) -> Point:
        """P S (I - P) + (I - P) S P, S the symmetric part of V."""
        P, V = self.matrix(x), self.matrix(v)
        PS = dot(P, (V + V.T) / 2)
        across = PS - dot(PS, P)
        return (across + across.T).ravel()

    def chart(self, x: Point) -> GraphChart:
        return GraphChart(*self.basis(x))

    def exp(self, x: Point, v: Point) -> Point:
        """The end of the geodesic from x with velocity v: Q P Q^T with Q = exp(V P - P V) (Bendokat, Zimmermann and
        Absil, A Grassmann manifold handbook, 2024, section 3.4; for |v| up to 8, say).
        """
        P, V = self.matrix(x), self.matrix(v)
        VP = dot(V, P)
        turn = exponential_less_identity(VP - VP.T)
        half = P + dot(turn, P)
        return (half + dot(half, turn.T)).ravel()

    def log(self, x: Point, y: Point) -> Point:
        """The velocity at x of the shortest geodesic to y, one of several where a principal angle is pi/2.

        With the basis Y of the subspace y that is nearest to X, X^T Y is symmetric, its eigenvalues are the cosines of
        the principal angles t, and the singular values of X'^T Y (I + X^T Y)^{-1} are tan(t/2) <= 1: no angle but pi/2
        is special (derived; for the alignment, Bendokat, Zimmermann and Absil 2024, section 5.2).
        """
        (X, rest), (Y, _) = self.basis(x), self.basis(y)
        # What is orthogonal to X is still to be paired; beyond that, this is lost in rounding.
        nudge = np.cos(1 + np.arange(self.p * self.p).reshape(self.p, self.p) ** 2)
        Y = dot(Y, polar_factor(dot(Y.T, X) + 16 * jnp.finfo(x.dtype).eps * jnp.asarray(nudge, x.dtype)))
        # The difference first: near points keep their relative accuracy.
        sines = dot(rest.T, dot(self.matrix(y) - self.matrix(x), Y))
        cosines = dot(X.T, Y)
        tangents = solve_positive(jnp.eye(self.p, dtype=x.dtype) + (cosines + cosines.T) / 2, sines.T).T
        B = 2 * dot(tangents, arctangent_quotient_of(dot(tangents.T, tangents)))
        move = dot(rest, dot(B, X.T))
        return (move + move.T).ravel()

    def distance(self, x: Point, y: Point) -> Scalar:
        """sqrt(2 (t_1^2 + t_2^2 + ..)) with the principal angles t_i; its gradient at x = y is 0."""
        return safe_norm(self.log(x, y))

    def log_exp_volume(self, x: Point, v: Point) -> Scalar:
        """The log of Riemannian volume at exp_x(v) per unit volume of the tangent space.

        With the singular values t_i of B and f(t) = sin(t) / t: sum_{i < j} log |f(t_i - t_j) f(t_i + t_j)| +
        |n - 2 p| sum_i log |f(t_i)|, from the roots of the symmetric space (Helgason, Differential Geometry, Lie Groups
        and Symmetric Spaces, ch. X).
        """
        X, rest = self.basis(x)
        B = dot(rest.T, dot(self.matrix(v), X))
        squared, _ = symmetric_eigen(dot(B.T, B) if self.p <= self.n - self.p else dot(B, B.T))
        # The volume is even in every t: its derivative by t vanishes where that of the root does not exist.
        t = jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)
        i, j = np.triu_indices(len(t), 1)
        return (
            jnp.sum(_log_sine_quotient((t[i] - t[j]) ** 2))
            + jnp.sum(_log_sine_quotient((t[i] + t[j]) ** 2))
            + abs(self.n - 2 * self.p) * jnp.sum(_log_sine_quotient(t * t))
        )

    def volume(self) -> Scalar:
        log_ratio = sum(log_sphere_area(self.n - i) - log_sphere_area(self.p - i) for i in range(1, self.p + 1))
        return jnp.asarray(2 ** (self.dim / 2) * np.exp(log_ratio).item())

    def reach(self) -> Scalar:
        return jnp.asarray(np.sqrt(0.5).item())

    def uniform(self, key: Key) -> Point:
        """The span of Gaussian vectors."""
        X = orthonormal_columns(jax.random.normal(key, (self.n, self.p)))
        return dot(X, X.T).ravel()

    def quadrature(self, order: int) -> tuple[Points, Float[Array, " n"]]:
        """Lines and planes of R^2 and R^3, from the sphere of their directions or normals, which counts each twice."""
        if self.dim > 2:
            raise ValueError(f"quadrature on Grassmann(n, p) covers dimensions 1 and 2, got {self.dim}; use `uniform`")
        directions, weights = sphere_quadrature(self.dim, order)
        lines = directions[:, :, None] * directions[:, None, :]
        points = lines if self.p == 1 else np.eye(self.n) - lines
        scale = 2 ** (self.dim / 2) / 2
        return jnp.asarray(points.reshape(len(points), -1), dtype=float), jnp.asarray(scale * weights, dtype=float)


def _log_sine_quotient(squared: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jnp.log(jnp.abs(sine_quotient(squared)))
