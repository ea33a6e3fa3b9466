"""Symmetric positive definite matrices (covariances, diffusion tensors): the affine-invariant metric and the
log-Euclidean one.

An n x n matrix is a point of R^{n n}, its rows one after the other; k = n (n + 1) / 2. X = L L^T is Cholesky's
factorisation, and whitening V means L^{-1} V L^{-T}. Sources: Bhatia, Positive Definite Matrices, ch. 6; Pennec,
Fillard and Ayache, A Riemannian framework for tensor computing (2006); Arsigny et al., SIAM J. Matrix Anal. Appl. 29
(2007). What is written there with X^{1/2} is written here with L, which changes whitened matrices by a rotation only.
"""

import functools
import itertools
import string
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot, safe_norm
from manifold_diffusion._small_matrices import cholesky_rows, symmetric_eigen
from manifold_diffusion._types import Coordinates, Point, Scalar
from manifold_diffusion.geometry.manifold import AbstractChart
from manifold_diffusion.geometry.riemannian import AbstractRiemannian, log_sinhc

Matrix: TypeAlias = Float[Array, "n n"]
Eigen: TypeAlias = tuple[Float[Array, " n"], Matrix]


class SymmetricChart(AbstractChart):
    """u -> C + sum_a u_a B_a with B orthonormal among the symmetric matrices, on an open set around the matrix C."""

    centre: Point
    basis: Float[Array, "d k"]

    def embed(self, u: Coordinates) -> Point:
        return self.centre + dot(self.basis, u)

    def coordinates(self, x: Point) -> Coordinates:
        return dot(self.basis.T, x - self.centre)


class PositiveMatrices(AbstractRiemannian):
    """Symmetric positive definite n x n matrices with the metric <V, W>_X = tr(X^{-1} V X^{-1} W).

    X -> A X A^T is an isometry for every invertible A. Sectional curvatures are between -1/2 and 0.
    """

    size: int = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(self, size: int):
        self.size, self.dim, self.ambient_dim = _sizes(size)

    def project(self, x: Point) -> Point:
        """The symmetric part, with eigenvalues below 4 n eps times the largest one, in size, lifted to there."""
        return _project(x)

    def tangent(self, x: Point, v: Point) -> Point:
        """The symmetric part of v."""
        return _flat(_matrix(v))

    def chart(self, x: Point) -> SymmetricChart:
        return SymmetricChart(_flat(_matrix(x)), jnp.asarray(_basis(self.size), x.dtype))

    def frame(self, x: Point) -> Float[Array, "d k"]:
        """vec(L B L^T) for the orthonormal symmetric B."""
        L = _lower(cholesky_rows(_matrix(x)))
        # vec(L B L^T) = (L kron L) vec(B), row by row.
        return dot(jnp.kron(L, L), jnp.asarray(_basis(self.size), x.dtype))

    def inner(self, x: Point, v: Point, w: Point) -> Scalar:
        """tr(X^{-1} V X^{-1} W), the product of the entries of whitened matrices."""
        rows = cholesky_rows(_matrix(x))
        return jnp.sum(_whiten(rows, _matrix(v)) * _whiten(rows, _matrix(w)))

    def distance(self, x: Point, y: Point) -> Scalar:
        """sqrt(sum_i log^2 lambda_i(X^{-1} Y))."""
        return safe_norm(_relative_log(cholesky_rows(_matrix(x)), x, y).ravel())

    def exp(self, x: Point, v: Point) -> Point:
        """L exp(L^{-1} V L^{-T}) L^T."""
        rows = cholesky_rows(_matrix(x))
        return _colour(rows, symmetric_function(EXP, _whiten(rows, _matrix(v))))

    def log(self, x: Point, y: Point) -> Point:
        """L log(L^{-1} Y L^{-T}) L^T."""
        rows = cholesky_rows(_matrix(x))
        return _colour(rows, _relative_log(rows, x, y))

    def transport(self, x: Point, y: Point, v: Point) -> Point:
        """E V E^T with E = (Y X^{-1})^{1/2} = L M^{1/2} L^{-1}, M the whitened Y."""
        rows = cholesky_rows(_matrix(x))
        root = symmetric_function(SQRT, _whiten(rows, _matrix(y)))
        return _colour(rows, dot(dot(root, _whiten(rows, _matrix(v))), root))

    def log_exp_volume(self, x: Point, v: Point) -> Scalar:
        """sum_{i<j} log(sinh(d_ij / 2) / (d_ij / 2)), d_ij the differences of the eigenvalues of the whitened V.

        In their eigenbasis d exp multiplies the entry (i, j) by (e^a - e^b) / (a - b), which e^{-(a + b)/2} relates to
        the metric at the end. The sum is half the trace of a function of W -> (V W - W V) / 2 (derived).
        """
        whitened = _whiten(cholesky_rows(_matrix(x)), _matrix(v))
        one = jnp.eye(self.size, dtype=x.dtype)
        values, vectors = symmetric_eigen(jax.lax.stop_gradient(whitened))
        eigen = ((values[:, None] - values[None, :]).ravel() / 2, jnp.kron(vectors, vectors))
        bracket = (jnp.kron(whitened, one) - jnp.kron(one, whitened)) / 2
        return _trace(LOG_SINHC, bracket, eigen) / 2


class LogEuclideanMatrices(AbstractRiemannian):
    """Symmetric positive definite n x n matrices with the metric that makes log an isometry onto the symmetric matrices
    with <V, W> = tr(V W), so that it is flat. X -> c Q X Q^T, Q orthogonal, and inversion are isometries.
    """

    size: int = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(self, size: int):
        self.size, self.dim, self.ambient_dim = _sizes(size)

    def project(self, x: Point) -> Point:
        """As for `PositiveMatrices`."""
        return _project(x)

    def tangent(self, x: Point, v: Point) -> Point:
        """The symmetric part of v."""
        return _flat(_matrix(v))

    def chart(self, x: Point) -> SymmetricChart:
        return SymmetricChart(_flat(_matrix(x)), jnp.asarray(_basis(self.size), x.dtype))

    def frame(self, x: Point) -> Float[Array, "d k"]:
        """D exp at log X of the orthonormal symmetric B."""
        push = _derivative_at(EXP, symmetric_function(LOG, _matrix(x)))
        basis = jnp.asarray(_basis(self.size), x.dtype)
        return jax.vmap(lambda b: push(_matrix(b)).ravel(), in_axes=1, out_axes=1)(basis)

    def inner(self, x: Point, v: Point, w: Point) -> Scalar:
        """tr(D log_X(V) D log_X(W))."""
        push = _derivative_at(LOG, _matrix(x))
        return jnp.sum(push(_matrix(v)) * push(_matrix(w)))

    def distance(self, x: Point, y: Point) -> Scalar:
        """|log X - log Y|, to a few eps (|log X| + |log Y|)."""
        log_x, log_y = _logs(x, y)
        return safe_norm((log_y - log_x).ravel())

    def exp(self, x: Point, v: Point) -> Point:
        """exp(log X + D log_X(V))."""
        log_x, along = jax.jvp(lambda S: symmetric_function(LOG, S), (_matrix(x),), (_matrix(v),))
        return _flat(symmetric_function(EXP, log_x + along))

    def log(self, x: Point, y: Point) -> Point:
        """D exp at log X of log Y - log X."""
        log_x, log_y = _logs(x, y)
        return _flat(_derivative_at(EXP, log_x)(log_y - log_x))

    def transport(self, x: Point, y: Point, v: Point) -> Point:
        """D exp at log Y of D log_X(V)."""
        along = _derivative_at(LOG, _matrix(x))(_matrix(v))
        return _flat(_derivative_at(EXP, symmetric_function(LOG, _matrix(y)))(along))

    def log_exp_volume(self, x: Point, v: Point) -> Scalar:
        """0."""
        return jnp.zeros((), x.dtype)


# Functions of symmetric matrices


class Analytic(NamedTuple):
    """An analytic function of a number, and a length at each number well within its radius of convergence there."""

    value: Callable[[Scalar], Scalar]
    length: Callable[[Scalar], Scalar]

    def slope(self) -> "Analytic":
        """Its derivative."""
        return Analytic(lambda a: jax.jvp(self.value, (a,), (jnp.ones_like(a),))[1], self.length)


EXP = Analytic(jnp.exp, lambda a: jnp.full_like(a, 2.0))
LOG = Analytic(jnp.log, lambda a: a)
LOG1P = Analytic(jnp.log1p, lambda a: 1 + a)
SQRT = Analytic(jnp.sqrt, lambda a: a)
LOG_SINHC = Analytic(lambda a: log_sinhc(a * a), lambda a: jnp.full_like(a, 2.0))
_BELOW_ONE = Analytic(lambda a: jnp.maximum(1 - a, 0), jnp.ones_like)


def symmetric_function(f: Analytic, matrix: Matrix) -> Matrix:
    """f(S) = Q f(Lambda) Q^T for a symmetric S = Q Lambda Q^T; its derivatives of every order are right, eigenvalues
    that repeat included.
    """
    return _derivative(f, 0, matrix, symmetric_eigen(jax.lax.stop_gradient(matrix)))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _derivative(f: Analytic, order: int, matrix: Matrix, eigen: Eigen) -> Array:
    """The m-th derivative, m = `order`, of f at S as an array with axes a, b, c_1, d_1, .., c_m, d_m: its product with
    matrices E_1 .. E_m is D^m f(S)[E_1 .. E_m]. `eigen` = (Lambda, Q) goes along, so that it is found once.

    In the basis Q that is the sum over all orders of the E of f[l_i, l_j, .., l_z] E_ij .. E_yz, f[..] the divided
    difference (Daleckii and Krein; Higham, Functions of Matrices, section 3.2, for m = 1). It is a whole array as
    reverse mode keeps the rules of functions of S alone, and drops those of functions that are given an E.
    """
    values, vectors = eigen
    chain = divided_differences(f, order)(*jnp.meshgrid(*[values] * (order + 1), indexing="ij"))
    inner, outer = string.ascii_lowercase[: order + 1], string.ascii_uppercase[: 2 * order + 2]
    # E_i sits between the i-th and the next of the chain's axes, f(S) between the first and the last.
    ends = inner[0] + inner[-1] + "".join(map("".join, itertools.pairwise(inner)))
    rule = ",".join([inner, *map("".join, zip(outer, ends, strict=True))]) + "->" + outer
    product = jnp.einsum(rule, chain, *[vectors] * len(ends), precision="highest")
    turns = itertools.permutations(range(2, 2 * order + 2, 2))
    axes = [(0, 1, *(axis for i in turn for axis in (i, i + 1))) for turn in turns]
    return functools.reduce(jnp.add, [product.transpose(each) for each in axes])


@_derivative.defjvp
def _derivative_jvp(f, order, primals, tangents):
    slope = _derivative(f, order + 1, *primals)
    return _derivative(f, order, *primals), jnp.einsum("...ab,ab->...", slope, tangents[0], precision="highest")


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _trace(f: Analytic, matrix: Matrix, eigen: Eigen) -> Scalar:
    """tr f(S), whose derivative is tr(f'(S) dS)."""
    return jnp.sum(f.value(eigen[0]))


@_trace.defjvp
def _trace_jvp(f, primals, tangents):
    slope = _derivative(f.slope(), 0, *primals)
    return _trace(f, *primals), jnp.sum(slope * tangents[0])


def divided_differences(f: Analytic, order: int) -> Callable[..., Array]:
    """(x_0, .., x_m) -> f[x_0, .., x_m] for m = `order`, elementwise: (g(x_0) - g(x_m)) / (x_0 - x_m) with g(t) =
    f[t, x_1, .., x_{m-1}], and where the two are close the mean of g' between them, by Gauss-Legendre quadrature.
    """
    if order == 0:
        return f.value
    lower = divided_differences(f, order - 1)

    def value(first, *others):
        *middle, last = others

        def g(t):
            return lower(t, *middle)

        gap = first - last
        near = 2 * jnp.abs(gap) < jnp.maximum(f.length(first), f.length(last))

        def weighted(node, weight):
            t = last + (1 + node) / 2 * gap
            return weight / 2 * jax.jvp(g, (t,), (jnp.ones_like(t),))[1]

        nodes, weights = (jnp.asarray(a, gap.dtype) for a in np.polynomial.legendre.leggauss(10))
        mean = jnp.sum(jax.vmap(weighted)(nodes, weights), axis=0)
        return jnp.where(near, mean, (g(first) - g(last)) / jnp.where(near, 1.0, gap))

    return value


def _derivative_at(f: Analytic, matrix: Matrix) -> Callable[[Matrix], Matrix]:
    return jax.linearize(lambda S: symmetric_function(f, S), matrix)[1]


# Matrices and points


def _sizes(size: int) -> tuple[int, int, int]:
    if size < 1:
        raise ValueError(f"matrices have at least one row, got {size}; pass 2 for 2 x 2 matrices")
    return size, size * (size + 1) // 2, size * size


def _matrix(x: Point) -> Matrix:
    n = round(len(x) ** 0.5)
    square = x.reshape(n, n)
    return (square + square.T) / 2


def _flat(matrix: Matrix) -> Point:
    return ((matrix + matrix.T) / 2).ravel()


@functools.cache
def _basis(size: int) -> np.ndarray:
    """(n n, k) orthonormal columns that span the symmetric matrices."""
    columns = []
    for i in range(size):
        for j in range(i, size):
            B = np.zeros((size, size))
            B[i, j] = B[j, i] = 1 if i == j else 0.5**0.5
            columns.append(B.ravel())
    return np.stack(columns, axis=1)


def _project(x: Point) -> Point:
    S = _matrix(x)
    values, vectors = symmetric_eigen(jax.lax.stop_gradient(S))
    limits = jnp.finfo(x.dtype)
    floor = jnp.maximum(4 * len(S) * limits.eps * jnp.max(jnp.abs(values)), limits.tiny)
    # What is added is exactly 0 where no eigenvalue is low.
    return _flat(S + floor * _derivative(_BELOW_ONE, 0, S / floor, (values / floor, vectors)))


def _lower(rows: list[list[Scalar]]) -> Matrix:
    return jnp.stack([jnp.stack([*row, *[jnp.zeros_like(row[0])] * (len(rows) - len(row))]) for row in rows])


def _whiten(rows: list[list[Scalar]], S: Matrix) -> Matrix:
    return _forward(rows, _forward(rows, S).T)


def _forward(rows: list[list[Scalar]], right: Matrix) -> Matrix:
    """L^{-1} B."""
    solved = []
    for i, row in enumerate(rows):
        solved.append((right[i] - sum(row[j] * solved[j] for j in range(i))) / row[i])
    return jnp.stack(solved)


def _colour(rows: list[list[Scalar]], S: Matrix) -> Point:
    L = _lower(rows)
    return _flat(dot(dot(L, S), L.T))


def _relative_log(rows: list[list[Scalar]], x: Point, y: Point) -> Matrix:
    """log(L^{-1} Y L^{-T}) as log(s) + log(1 + D), s the mean eigenvalue; where that is near 1 all is computed from
    Y - X, so that matrices that are close keep their digits.
    """
    step, whole = _whiten(rows, _matrix(y - x)), _whiten(rows, _matrix(y))
    n = len(rows)
    near = jnp.abs(jnp.trace(step)) < n / 2
    chosen = jnp.where(near, step, whole)
    mean = jnp.trace(chosen) / n
    scale = jnp.where(near, 1 + mean, mean)
    log_scale = jnp.where(near, jnp.log1p(jnp.where(near, mean, 0.0)), jnp.log(scale))
    one = jnp.eye(n, dtype=x.dtype)
    return log_scale * one + symmetric_function(LOG1P, (chosen - mean * one) / scale)


def _logs(x: Point, y: Point) -> tuple[Matrix, Matrix]:
    log_x, log_y = jax.vmap(lambda p: symmetric_function(LOG, _matrix(p)))(jnp.stack([x, y]))
    return log_x, log_y
