"""Stiefel manifolds: orthonormal frames, with the metric of the matrices."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot
from manifold_diffusion._small_matrices import (
    complement_columns,
    exponential_less_identity,
    orthonormal_columns,
    polar_factor,
    solve_accretive,
)
from manifold_diffusion._types import Coordinates, Key, Point, Points, Scalar
from manifold_diffusion.geometry.manifold import AbstractChart, AbstractManifold
from manifold_diffusion.geometry.unit_sphere import log_sphere_area, sphere_quadrature


class _CayleyChart(AbstractChart):
    """(A, B) -> the first p columns of (I + W) (I - W)^{-1} in the basis [X, X'], W = [[A, -B^T], [B, 0]], A skew.

    With M = I - A + B^T B they are X (2 M^{-1} - I) + 2 X' B M^{-1}, which covers all but the Y for which I + X^T Y
    is singular (Jauch, Hoff and Dunson, Random orthogonal matrices and the Cayley transform, Bernoulli 26, 2020).
    u holds the entries of A below the diagonal and then those of B.
    """

    frame: Float[Array, "n p"]
    normal: Float[Array, "n c"]

    def embed(self, u: Coordinates) -> Point:
        p, codim = self.frame.shape[1], self.normal.shape[1]
        rows, columns = np.tril_indices(p, -1)
        lower = jnp.zeros((p, p), u.dtype).at[rows, columns].set(u[: len(rows)])
        B, eye = u[len(rows) :].reshape(codim, p), jnp.eye(p, dtype=u.dtype)
        inverse = solve_accretive(eye - lower + lower.T + dot(B.T, B), eye)
        return (dot(self.frame, 2 * inverse - eye) + 2 * dot(self.normal, dot(B, inverse))).ravel()

    def coordinates(self, x: Point) -> Coordinates:
        """M = 2 (I + X^T Y)^{-1}, B = X'^T Y M / 2, A the skew part of -M."""
        Y, p = x.reshape(self.frame.shape), self.frame.shape[1]
        eye = jnp.eye(p, dtype=x.dtype)
        M = 2 * solve_accretive(eye + dot(self.frame.T, Y), eye)
        return jnp.concatenate([((M.T - M) / 2)[np.tril_indices(p, -1)], dot(self.normal.T, dot(Y, M / 2)).ravel()])


class Stiefel(AbstractManifold):
    """St(n, p), the n x p matrices with orthonormal columns, 1 <= p < n, in R^{n p} (row by row) with its metric.

    Volume 2^{p (p - 1) / 4} prod_{i <= p} |S^{n - i}|; reach 1, for |x - y|^2 / (2 |normal part|) is tr S / |S| with
    S = I - (X^T Y + Y^T X) / 2 >= 0, and S of rank one occurs (derived from Federer 1959, theorem 4.18). For p = 1 it
    is the unit sphere. The exponential map is in closed form; for its inverse there is `geometry.logarithm`.
    """

    n: int = eqx.field(static=True)
    p: int = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(self, n: int, p: int):
        if not 1 <= p < n:
            raise ValueError(f"Stiefel(n, p) needs 1 <= p < n, got n={n}, p={p}; see SpecialOrthogonal for p = n")
        self.n, self.p = n, p
        self.dim, self.ambient_dim = n * p - p * (p + 1) // 2, n * p

    def matrix(self, x: Point) -> Float[Array, "n p"]:
        """The matrix of a point, or of a tangent."""
        return x.reshape(self.n, self.p)

    def project(self, x: Point) -> Point:
        """The polar factor U V^T of X = U S V^T."""
        return polar_factor(self.matrix(x)).ravel()

    def tangent(self, x: Point, v: Point) -> Point:
        """V - X (X^T V + V^T X) / 2."""
        X, V = self.matrix(x), self.matrix(v)
        along = dot(X.T, V)
        return (V - dot(X, along + along.T) / 2).ravel()

    def chart(self, x: Point) -> _CayleyChart:
        return _CayleyChart(self.matrix(x), complement_columns(self.matrix(x)))

    def exp(self, x: Point, v: Point) -> Point:
        """The end of the geodesic from x with velocity v: exp(V X^T - X V^T) X exp(-X^T V) (Hueper, Markina and Silva
        Leite, A Lagrangian approach to extremal curves on Stiefel manifolds, 2021; for |v| up to 4, say).
        """
        X, V = self.matrix(x), self.matrix(v)
        outer, inner = dot(V, X.T), dot(X.T, V)
        turn, back = exponential_less_identity(outer - outer.T), exponential_less_identity((inner.T - inner) / 2)
        Y = X + dot(turn, X)
        return (Y + dot(Y, back)).ravel()

    def volume(self) -> Scalar:
        log_areas = sum(log_sphere_area(self.n - i) for i in range(1, self.p + 1))
        return jnp.asarray(2 ** (self.p * (self.p - 1) / 4) * np.exp(log_areas).item())

    def reach(self) -> Scalar:
        return jnp.asarray(1.0)

    def uniform(self, key: Key) -> Point:
        """Q of the factorisation Q R of a Gaussian matrix, R with a positive diagonal: the law does not change under
        rotations (Stewart, SIAM J. Numer. Anal. 17, 1980), and its polar factor, which has the same, costs more.
        """
        return orthonormal_columns(jax.random.normal(key, (self.n, self.p))).ravel()

    def quadrature(self, order: int) -> tuple[Points, Float[Array, " n"]]:
        """That of the unit sphere, for p = 1 and n <= 3."""
        if self.p > 1:
            raise ValueError(
                f"quadrature on Stiefel(n, p) covers p = 1, got p={self.p}; use Monte Carlo with `uniform`"
            )
        points, weights = sphere_quadrature(self.dim, order)
        return jnp.asarray(points, dtype=float), jnp.asarray(weights, dtype=float)
