"""Linear algebra of the k x k and d x k matrices of charts, k small, written out so that it vectorises over a batch.

`jnp.linalg` calls LAPACK once for each matrix of a batch, which is several times slower on a CPU. It also spreads a
large batch over the very threads that run the program and waits there for them: two such calls that do not depend on
each other then wait for one another for ever on a machine with two cores (seen with jaxlib 0.10.2). So the
geometry of a chart makes none; for k > 8, where programs that are written out grow too long, `jnp.linalg` stands in.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot
from manifold_diffusion._types import Scalar

_MOST = 8


def cholesky_rows(matrix: Float[Array, "k k"]) -> list[list[Scalar]]:
    """The rows of the lower Cholesky factor, as scalars; NaN from the first pivot that is not positive on."""
    if len(matrix) > _MOST:
        factor = jnp.linalg.cholesky(matrix)
        return [[factor[i, j] for j in range(i + 1)] for i in range(len(matrix))]
    rows: list[list[Scalar]] = []
    for i in range(len(matrix)):
        row: list[Scalar] = []
        for j in range(i):
            row.append((matrix[i, j] - sum(a * b for a, b in zip(row, rows[j], strict=False))) / rows[j][j])
        pivot = matrix[i, i] - sum(a * a for a in row)
        rows.append([*row, jnp.where(pivot > 0, jnp.sqrt(jnp.where(pivot > 0, pivot, 1.0)), jnp.nan)])
    return rows


def cholesky_solve(rows: list[list[Scalar]], b: Float[Array, " k"]) -> Float[Array, " k"]:
    """A^{-1} b from the rows of the Cholesky factor of A."""
    y: list[Scalar] = []
    for i, row in enumerate(rows):
        y.append((b[i] - sum(row[j] * y[j] for j in range(i))) / row[i])
    x: list[Scalar] = []
    for i in reversed(range(len(rows))):
        x.insert(0, (y[i] - sum(rows[j][i] * x[j - i - 1] for j in range(i + 1, len(rows)))) / rows[i][i])
    return jnp.stack(x)


def solve_positive(matrix: Float[Array, "k k"], right: Float[Array, "k m"]) -> Float[Array, "k m"]:
    """A^{-1} B for a positive definite A; NaN where it is not."""
    rows = cholesky_rows(matrix)
    return jax.vmap(lambda b: cholesky_solve(rows, b), in_axes=1, out_axes=1)(right)


def inverse_positive(matrix: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """A^{-1} for a positive definite A; NaN where it is not."""
    return solve_positive(matrix, jnp.eye(len(matrix), dtype=matrix.dtype))


def orthonormal_columns(matrix: Float[Array, "d k"]) -> Float[Array, "d k"]:
    """Q of A = Q R with a positive diagonal of R: a smooth function of A where its columns are independent.

    The columns are orthonormal to rounding whatever the condition of A; where they depend on one another they are still
    orthonormal but arbitrary.
    """
    d, k = matrix.shape
    if k > _MOST:
        q, r = jnp.linalg.qr(matrix)
        return q * jnp.where(jnp.diagonal(r) < 0, -1.0, 1.0)[None, :].astype(q.dtype)
    reflectors, signs = _householder(matrix)
    return _reflect(reflectors, jnp.eye(d, k, dtype=matrix.dtype)) * jnp.stack(signs)[None, :]


def complement_columns(matrix: Float[Array, "d k"]) -> Float[Array, "d d-k"]:
    """Orthonormal columns that span the orthogonal complement of the columns of A."""
    d, k = matrix.shape
    if k > _MOST:
        return jnp.linalg.qr(matrix, mode="complete")[0][:, k:]
    return _reflect(_householder(matrix)[0], jnp.eye(d, dtype=matrix.dtype)[:, k:])


def _householder(matrix: Float[Array, "d k"]) -> tuple[list[Float[Array, " d"]], list[Scalar]]:
    """Unit vectors v_1 .. v_k with (I - 2 v_k v_k^T) .. (I - 2 v_1 v_1^T) A upper triangular, and the signs of its
    diagonal (Golub and Van Loan, Matrix Computations, section 5.2).
    """
    d, k = matrix.shape
    reflectors, signs = [], []
    for j in range(k):
        below = matrix[:, j] * (jnp.arange(d) >= j)
        squared = jnp.sum(below * below)
        size = jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)
        sign = jnp.where(below[j] < 0, -1.0, 1.0).astype(matrix.dtype)
        # Away from the axis: both terms have one sign, so that nothing cancels.
        v = below.at[j].add(sign * jnp.where(squared > 0, size, 1.0))
        v = v / jnp.sqrt(jnp.sum(v * v))
        matrix = matrix - 2 * v[:, None] * dot(v, matrix)[None, :]
        reflectors.append(v)
        signs.append(-sign)
    return reflectors, signs


def _reflect(reflectors: list[Float[Array, " d"]], columns: Float[Array, "d m"]) -> Float[Array, "d m"]:
    for v in reversed(reflectors):
        columns = columns - 2 * v[:, None] * dot(v, columns)[None, :]
    return columns
