"""Linear algebra of the k x k and d x k matrices of charts, k small, written out so that it vectorises over a batch.

`jnp.linalg` calls LAPACK once for each matrix of a batch, which is several times slower on a CPU. It also spreads a
large batch over the very threads that run the program and waits there for them: two such calls that do not depend on
each other then wait for one another for ever on a machine with two cores (seen with jaxlib 0.10.2). So the
geometry of a chart makes none; for k > 8, where programs that are written out grow too long, `jnp.linalg` stands in
(for eigenvectors, whose program does not grow, from n > 16 on).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.fft import dct

from manifold_diffusion._numerics import dot, vary_like
from manifold_diffusion._types import Scalar

_MOST, _MOST_EIGEN = 8, 16


def cholesky_rows(matrix: Float[Array, "k k"]) -> list[list[Scalar]]:
    """The rows of the lower Cholesky factor, as scalars; NaN from the first pivot that is not positive on."""
    if len(matrix) > _MOST:
        factor = _cholesky_columns(matrix)
        return [[factor[i, j] for j in range(i + 1)] for i in range(len(matrix))]
    rows: list[list[Scalar]] = []
    for i in range(len(matrix)):
        row: list[Scalar] = []
        for j in range(i):
            row.append((matrix[i, j] - sum(a * b for a, b in zip(row, rows[j], strict=False))) / rows[j][j])
        pivot = matrix[i, i] - sum(a * a for a in row)
        rows.append([*row, jnp.where(pivot > 0, jnp.sqrt(jnp.where(pivot > 0, pivot, 1.0)), jnp.nan)])
    return rows


def _cholesky_columns(matrix: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """The factor column by column, in a loop: two batched Cholesky calls of LAPACK at once can wait for each other."""
    indices = jnp.arange(len(matrix))

    def add(factor, j):
        rest = matrix[:, j] - dot(factor, factor[j])
        positive = rest[j] > 0
        root = jnp.where(positive, jnp.sqrt(jnp.where(positive, rest[j], 1.0)), jnp.nan)
        return factor.at[:, j].set(jnp.where(indices >= j, rest / root, 0.0)), None

    return jax.lax.scan(add, vary_like(jnp.zeros_like(matrix), matrix), indices)[0]


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


def log_determinant(matrix: Float[Array, "k k"]) -> Scalar:
    """log det A for a positive definite A; NaN where it is not."""
    return 2 * jnp.sum(jnp.log(jnp.stack([row[-1] for row in cholesky_rows(matrix)])))


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


def gram_schmidt(matrix: Float[Array, "d k"]) -> Float[Array, "d k"]:
    """Q of A = Q R with a positive diagonal of R, for any k in a program that does not grow with it.

    Every column is made orthogonal to those before it twice, which is enough for orthonormality to rounding (Giraud,
    Langou and Rozloznik, Computers and Mathematics with Applications 50, 2005). Columns that depend on those before
    them come out arbitrary, or 0.
    """
    count = matrix.shape[1]

    def column(j, rows):
        before = (jnp.arange(count) < j).astype(matrix.dtype)
        v = rows[j]
        for _ in range(2):
            v = v - dot(before * dot(rows, v), rows)
        squared = jnp.sum(v * v)
        return rows.at[j].set(jnp.where(squared > 0, v / jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0))

    return jax.lax.fori_loop(0, count, column, vary_like(matrix.T)).T


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


def solve_accretive(matrix: Float[Array, "k k"], right: Float[Array, "k m"]) -> Float[Array, "k m"]:
    """A^{-1} B for an A with a positive definite symmetric part, whose pivots need no exchange (Golub and Van Loan,
    Matrix Computations, section 4.2).
    """
    k = len(matrix)
    if k > _MOST:
        return jnp.linalg.solve(matrix, right)
    rows = list(jnp.concatenate([matrix, right], axis=1))
    for j in range(k):
        rows[j] = rows[j] / rows[j][j]
        rows = [row if i == j else row - row[j] * rows[j] for i, row in enumerate(rows)]
    return jnp.stack(rows)[:, k:]


def exponential_less_identity(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """exp(A) - I, to rounding for |A| <= 8, say: the power series of A / 64, then six times E <- 2 E + E^2, which keeps
    the relative accuracy of a small A.
    """
    small = matrix / 64
    term = total = small
    for i in range(2, 11):
        term = dot(term, small) / i
        total = total + term
    for _ in range(6):
        total = 2 * total + dot(total, total)
    return total


def sine_quotient(squared: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """sin(t) / t as the entire function of t^2 that it is: 0 is no special point, for derivatives of any order."""
    near = squared < 1
    series, within = jnp.ones_like(squared), jnp.where(near, squared, 0.0)
    for i in reversed(range(1, 10)):
        series = 1 - within * series / (2 * i * (2 * i + 1))
    t = jnp.sqrt(jnp.where(near, 1.0, squared))
    return jnp.where(near, series, jnp.sin(t) / t)


def arctangent_quotient(squared: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """arctan(r) / r for |r| <= 1 as a polynomial in r^2, to rounding."""
    value = jnp.zeros_like(squared)
    for c in reversed(_arctangent_coefficients()):
        value = value * (squared - 0.5) + c
    return value


def arctangent_quotient_of(squared: Float[Array, "p p"]) -> Float[Array, "p p"]:
    """The same of a symmetric matrix with eigenvalues in [0, 1]."""
    eye = jnp.eye(len(squared), dtype=squared.dtype)

    def step(value, c):
        return dot(value, squared - eye / 2) + c * eye, None

    coefficients = jnp.asarray(_arctangent_coefficients()[::-1], squared.dtype)
    return jax.lax.scan(step, jnp.zeros_like(squared), coefficients)[0]


@functools.cache
def _arctangent_coefficients() -> tuple[float, ...]:
    """Coefficients, lowest first, in r^2 - 1/2, where they decay: interpolated at Chebyshev nodes."""
    count = 24
    z = np.cos(np.pi * (np.arange(count) + 0.5) / count) / 2
    r = np.sqrt(z + 0.5)
    # By a cosine transform: the interpolation of numpy loses a digit.
    fit = np.asarray(dct(np.arctan(r) / r)) / count
    fit[0] /= 2
    series = np.polynomial.Chebyshev(fit, domain=[-0.5, 0.5]).convert(kind=np.polynomial.Polynomial)
    return tuple(float(c) for c in series.coef)


# Eigenvectors


@jax.custom_jvp
def symmetric_eigen(matrix: Float[Array, "n n"]) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """Eigenvalues, lowest first, and eigenvectors as columns of (A + A^T) / 2: Jacobi's method (LAPACK for n > 16).

    The derivative of any smooth symmetric function of the eigenvalues is right also where some coincide; eigenvectors
    of equal eigenvalues are taken not to turn within their span.
    """
    symmetric = (matrix + matrix.T) / 2
    if len(matrix) > _MOST_EIGEN:
        values, vectors = jnp.linalg.eigh(symmetric)
        return values, vectors
    size = jnp.max(jnp.abs(symmetric))
    values, rows = _jacobi(symmetric / jnp.where(size > 0, size, 1.0))
    return (values * size)[::-1], rows[::-1].T


@symmetric_eigen.defjvp
def _symmetric_eigen_jvp(primals, tangents):
    (matrix,), (change,) = primals, tangents
    values, vectors = symmetric_eigen(matrix)
    moved = dot(vectors.T, dot((change + change.T) / 2, vectors))
    gap = values[None, :] - values[:, None]
    turn = jnp.where(gap != 0, moved / jnp.where(gap != 0, gap, 1.0), 0.0)
    return (values, vectors), (jnp.sum(moved * jnp.eye(len(values), dtype=matrix.dtype), axis=1), dot(vectors, turn))


def _jacobi(matrix: Float[Array, "n n"]) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """Eigenvalues of a symmetric matrix with entries in [-1, 1], highest first, and eigenvectors as rows.

    Each round rotates all pairs of neighbours at once and exchanges them, first of even, then of odd places, so that
    after n rounds every pair has met (Luk and Park, SIAM J. Sci. Stat. Comput. 10, 1989, for such orderings). Each
    sweep starts with the diagonal sorted: without that, clusters of eigenvalues converge only linearly.
    """
    n, dtype = len(matrix), matrix.dtype
    even = n + n % 2
    # A row that pads an odd matrix is below all eigenvalues: it stays the last one and meets only zeros.
    low = jnp.diag(jnp.where(jnp.arange(even) < n, 0.0, -2.0 * n).astype(dtype))
    A, rows = jnp.pad(matrix, (0, even - n)) + low, jnp.eye(even, n, dtype=dtype)
    diagonal, beside = jnp.eye(even, dtype=dtype), jnp.eye(even, k=1, dtype=dtype)

    def rotate(A, rows, skip):
        d, off = (jnp.sum(A * place, axis=1)[skip : even - skip] for place in (diagonal, beside))
        c, s = _rotation(d[0::2], d[1::2], off[0::2])
        A = _exchange(c, s, _exchange(c, s, A, skip).T, skip)
        return A, _exchange(c, s, rows, skip)

    def sweep(state, _):
        A, rows = state
        order = jnp.argsort(-jnp.sum(A * diagonal, axis=1))
        A, rows = A[order][:, order], rows[order]

        def two_rounds(state, _):
            A, rows = rotate(state[0], state[1], 0)
            return (rotate(A, rows, 1) if even > 2 else (A, rows)), None

        return jax.lax.scan(two_rounds, (A, rows), None, length=even // 2)[0], None

    sweeps = (6 if jnp.finfo(dtype).eps > 1e-10 else 8) + 2 * (n > _MOST)
    (A, rows), _ = jax.lax.scan(sweep, vary_like((A, rows)), None, length=sweeps)
    values = jnp.sum(A * diagonal, axis=1)
    order = jnp.argsort(-values)[:n]
    return values[order], rows[order]


def _rotation(p, q, off):
    """Cosine and sine of the smaller angle that takes [[p, off], [off, q]] to diagonal form."""
    half = (q - p) / 2
    root = jnp.sqrt(half * half + off * off)
    below = jnp.where(half < 0, half - root, half + root)
    t = jnp.where(below != 0, off / jnp.where(below != 0, below, 1.0), 0.0)
    c = 1 / jnp.sqrt(1 + t * t)
    return c, t * c


def _exchange(c, s, A, skip):
    """The rows x, y of every pair become s x + c y, c x - s y; `skip` rows stay at either end."""
    x, y = A[skip : len(A) - skip : 2], A[skip + 1 : len(A) - skip : 2]
    c, s = c[:, None], s[:, None]
    pairs = jnp.stack([s * x + c * y, c * x - s * y], axis=1).reshape(-1, A.shape[1])
    return jnp.concatenate([A[:skip], pairs, A[len(A) - skip :]]) if skip else pairs


@functools.partial(jax.jit, static_argnums=1)  # one program where it is called on its own
def spectral_projector(matrix: Float[Array, "n n"], rank: int) -> Float[Array, "n n"]:
    """The orthogonal projector onto the span of the eigenvectors of the `rank` largest eigenvalues of (A + A^T) / 2.

    Smooth where lambda_rank > lambda_{rank+1}, whatever else coincides, and its derivatives of any order are right
    there; where those two are equal (to rounding) it is one of many, and its derivative is taken as 0 in the directions
    that are not determined.
    """
    symmetric = (matrix + matrix.T) / 2
    return _projector(rank, symmetric, jax.lax.stop_gradient(symmetric_eigen(symmetric)))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _projector(rank, symmetric, eigen):
    top = eigen[1][:, -rank:]
    return dot(top, top.T)


@_projector.defjvp
def _projector_jvp(rank, primals, tangents):
    """dP = X + X^T, where X = P X (I - P) solves S X - X S = P dS (I - P)."""
    (symmetric, eigen), change = primals, tangents[0]
    P = _projector(rank, symmetric, eigen)

    def block(Y):
        PY = dot(P, Y)
        return PY - dot(PY, P)

    def equation(X):
        return block(dot(symmetric, X) - dot(X, symmetric)) + X - block(X)

    def solve(_, right):
        return right - block(right) + _divided(rank, eigen, right)

    # As a linear solve it has derivatives of its own, by the equation, in forward and reverse mode and of any order.
    X = jax.lax.custom_linear_solve(equation, block(change), solve, symmetric=True)
    return P, X + X.T


def _divided(rank, eigen, right):
    """The sum over i among the top, j not, of v_i v_i^T C v_j v_j^T / (lambda_i - lambda_j)."""
    values, vectors = eigen
    top, rest = vectors[:, -rank:], vectors[:, :-rank]
    gap = values[-rank:, None] - values[None, :-rank]
    apart = gap > 64 * jnp.finfo(gap.dtype).eps * jnp.max(jnp.abs(values))
    inverse = jnp.where(apart, 1 / jnp.where(apart, gap, 1.0), 0.0)
    return dot(top, dot(dot(top.T, dot(right, rest)) * inverse, rest.T))


@jax.jit
def polar_factor(matrix: Float[Array, "n p"]) -> Float[Array, "n p"]:
    """The nearest matrix with orthonormal columns, U V^T of A = U S V^T, p <= n: twice the upper right block of the
    projector onto the positive part of [[0, A], [A^T, 0]], whose eigenvectors there are (u_i; v_i) / sqrt(2).

    Smooth where A has rank p, also where singular values coincide; elsewhere the columns are still orthonormal.
    """
    n, p = matrix.shape
    block = jnp.zeros((n + p, n + p), matrix.dtype).at[:n, n:].set(matrix).at[n:, :n].set(matrix.T)
    Q = 2 * spectral_projector(block, p)[:n, n:]
    # Newton's steps mend what rounding does to an A of bad condition, the last one what no step can.
    for _ in range(2):
        Q = Q + dot(Q, jnp.eye(p, dtype=Q.dtype) - dot(Q.T, Q)) / 2
    return orthonormal_columns(Q)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def projector_frame(projector: Float[Array, "n n"], rank: int) -> Float[Array, "n n"]:
    """Orthonormal columns of which the first `rank` span the range of a projector and the others its kernel.

    Their derivative is [dP, P] V: as the projector moves, the columns do not turn within either span.
    """
    return symmetric_eigen(projector)[1][:, ::-1]


@projector_frame.defjvp
def _projector_frame_jvp(rank, primals, tangents):
    (P,), (change,) = primals, tangents
    frame = projector_frame(P, rank)
    return frame, dot(dot(change, P) - dot(P, change), frame)
