"""Manifolds estimated from data: local polynomial charts around any point, and the projection onto them.

Around a query the nearest data are gathered, local PCA gives a tangent plane, and the offsets of the data from that
plane are fitted by a polynomial of the plane's coordinates. With m monomials and a fixed number of neighbours
proportional to m the error is O(h^{p+1}) for degree p, with h ~ (neighbours / N)^{1/k}: N^{-(p+1)/k} (Aamari and
Levrard, Ann. Statist. 2019).
"""

import itertools
from functools import cache, partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from manifold_diffusion._neighbours import NeighbourIndex
from manifold_diffusion._numerics import dot
from manifold_diffusion._small_matrices import orthonormal_columns
from manifold_diffusion._types import Coordinates, Point, Points, Scalar
from manifold_diffusion.geometry.manifold import (
    AbstractChart,
    AbstractManifold,
    into_ball,
    safeguarded_newton,
    tangent_frame,
)

_CHUNK = 4096
_CHUNK_NUMBERS = 2**21


class PolynomialChart(AbstractChart):
    """u -> centre + F u + scale C^T m(u / scale): a polynomial graph over the plane spanned by the columns of F.

    m(u) are all monomials of degree 0 .. p and the rows of C are orthogonal to F; |u| <= radius is where data supported
    the fit.
    """

    centre: Point
    frame: Float[Array, "d k"]
    coefficients: Float[Array, "m d"]
    scale: Scalar
    degree: int = eqx.field(static=True)

    def embed(self, u: Coordinates) -> Point:
        graph = dot(monomials(u / self.scale, self.degree), self.coefficients)
        return self.centre + dot(self.frame, u) + self.scale * graph

    def coordinates(self, x: Point) -> Coordinates:
        return dot(self.frame.T, x - self.centre)

    def foot(self, x: Point) -> Coordinates:
        """Coordinates of the nearest point of the graph over the ball of the fitted data.

        With a = F^T (x - centre), w = C (x - centre), P = C C^T and m = m(u / scale), half the squared distance is
        f(u) = |a - u|^2 / 2 + scale (scale m^T P m / 2 - m^T w) up to a constant (F^T C^T = 0), so the steps cost
        O(monomials^2), whatever d is. With r = scale P m - w and m_i, m_ij the derivatives of the monomials,
        f_i = u_i - a_i + r . m_i and f_ij = delta_ij + m_i^T P m_j + r . m_ij / scale.
        """
        offset = x - self.centre
        along, across = dot(self.frame.T, offset), dot(self.coefficients, offset)
        gram = dot(self.coefficients, self.coefficients.T)

        def half_square(u):
            m = monomials(u / self.scale, self.degree)
            gap = along - u
            return 0.5 * jnp.sum(gap * gap) + self.scale * (0.5 * self.scale * dot(m, dot(gram, m)) - dot(m, across))

        def expansion(u):
            m = monomials(u / self.scale, self.degree)
            first, second = monomial_derivatives(m, len(u), self.degree)
            residual = self.scale * dot(gram, m) - across
            metric = jnp.eye(len(u), dtype=u.dtype) + dot(first, dot(gram, first.T))
            return u - along + dot(first, residual), metric + dot(second, residual) / self.scale, metric

        magnitude = jnp.sum(offset * offset)
        return safeguarded_newton(
            half_square,
            expansion,
            self.start(x),
            lambda u: into_ball(u, jnp.zeros_like(u), self.scale),
            magnitude,
            steps=5,
        )

    def start(self, x: Point) -> Coordinates:
        """The coordinates of x, brought into the ball of the fitted data."""
        u = self.coordinates(x)
        return into_ball(u, jnp.zeros_like(u), self.scale)


class EstimatedAtlas(AbstractManifold):
    """The manifold near which `points` lie, by local polynomials; build it with `fit_atlas`.

    A chart is fitted anew around each query, so cost does not depend on N beyond the logarithmic search. Projection is
    idempotent up to the error of the fit, since a projected point has slightly different neighbours.
    """

    index: NeighbourIndex
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)
    degree: int = eqx.field(static=True)
    neighbours: int = eqx.field(static=True)

    def chart(self, x: Point) -> PolynomialChart:
        return fit_chart(self.index.points[self.index(x, self.neighbours)], x, self.dim, self.degree)

    def project(self, x: Point) -> Point:
        return _project(self.index.points[self.index(x, self.neighbours)], x, self.dim, self.degree)

    def tangent(self, x: Point, v: Point) -> Point:
        chart = self.chart(x)
        frame = tangent_frame(chart, chart.foot(x))
        return dot(frame, dot(frame.T, v))

    def project_all(self, xs: Points, nearest: Int[np.ndarray, "n q"] | None = None) -> Points:
        """`vmap(project)` for concrete points: the search runs on the host and the fit in chunks of one compiled
        size.

        `nearest`: the indices of the points nearest to each x, nearest first, where a search has found them already; at
        least `neighbours` of them.
        """
        queries, points = np.asarray(xs), np.asarray(self.index.points)
        if nearest is not None and nearest.shape[1] < self.neighbours:
            raise ValueError(f"the atlas fits {self.neighbours} neighbours, got {nearest.shape[1]}; search for more")
        found = self.index.search(queries, self.neighbours)[1] if nearest is None else nearest[:, : self.neighbours]
        # Powers of two, so that few programs are compiled; small where one fit is large, so that it stays in cache.
        numbers = self.neighbours * (self.ambient_dim + monomial_count(self.dim, self.degree))
        most = min(_CHUNK, max(8, 1 << (_CHUNK_NUMBERS // numbers).bit_length() - 1))
        size = min(most, 1 << max(len(queries) - 1, 0).bit_length())
        pieces = []
        for start in range(0, len(queries), size):
            block, chosen = queries[start : start + size], found[start : start + size]
            last = ((0, size - len(block)), (0, 0))
            neighbourhoods = points[np.pad(chosen, last, mode="edge")]
            padded = np.pad(block, last, mode="edge").astype(points.dtype)
            fitted = _project_batch(neighbourhoods, padded, self.dim, self.degree)
            pieces.append(np.asarray(fitted)[: len(block)])
        return jnp.asarray(np.concatenate(pieces)) if pieces else xs


def fit_atlas(points: Points, dim: int, degree: int, neighbours: int | None = None) -> EstimatedAtlas:
    """The estimated atlas of `points` (n, d) near a `dim`-dimensional manifold.

    `neighbours` defaults to `default_neighbours(dim, degree)`, fixed in n, so that the distance to the manifold falls
    like n^{-(degree+1)/dim} without a logarithm.
    """
    points = jnp.asarray(points)
    n, d = points.shape
    neighbours = default_neighbours(dim, degree) if neighbours is None else neighbours
    count = monomial_count(dim, degree)
    if not 1 <= dim < d:
        raise ValueError(
            f"the manifold's dimension must lie between 1 and {d - 1}, below the ambient dimension {d}, got {dim}"
        )
    if degree < 1:
        raise ValueError(f"the degree must be at least 1, got {degree}")
    if neighbours < count:
        raise ValueError(
            f"degree {degree} in dimension {dim} has {count} coefficients, more than {neighbours} neighbours; "
            "ask for more neighbours"
        )
    if n < neighbours:
        raise ValueError(
            f"degree {degree} in dimension {dim} needs {neighbours} points, got {n}; "
            "lower the degree or bring more data"
        )
    return EstimatedAtlas(index=NeighbourIndex(points), dim=dim, ambient_dim=d, degree=degree, neighbours=neighbours)


from_points = fit_atlas
"""The third way to a manifold of one's own, after `from_embedding` and `from_equations`."""


def default_neighbours(dim: int, degree: int) -> int:
    """3 monomials + 4."""
    return 3 * monomial_count(dim, degree) + 4


def monomial_count(dim: int, degree: int) -> int:
    """binomial(dim + degree, degree)."""
    return len(_exponents(dim, degree))


def _exponents(dim: int, degree: int) -> list[tuple[int, ...]]:
    return [c for total in range(degree + 1) for c in itertools.combinations_with_replacement(range(dim), total)]


def monomials(u: Coordinates, degree: int) -> Float[Array, " m"]:
    """All products of at most `degree` coordinates, lowest degree first; each by one product with an earlier one."""
    exponents = _exponents(u.shape[0], degree)
    values: dict[tuple[int, ...], Scalar] = {(): jnp.ones((), u.dtype)}
    for factors in exponents[1:]:
        values[factors] = values[factors[:-1]] * u[factors[-1]]
    return jnp.stack([values[factors] for factors in exponents])


def monomial_derivatives(
    m: Float[Array, " m"], dim: int, degree: int
) -> tuple[Float[Array, "k m"], Float[Array, "k k m"]]:
    """The first and second derivatives of all monomials, from their values: each is a multiple of a monomial."""
    factors, sources = _derivatives(dim, degree)
    factors = jnp.asarray(factors, m.dtype)
    first = factors * m.at[sources].get(mode="promise_in_bounds")
    reduced = [row.at[sources].get(mode="promise_in_bounds") for row in first]
    return first, factors[:, None, :] * jnp.stack(reduced, axis=1)


@cache
def _derivatives(dim: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """(factor, source), both (dim, monomials): d m_j / du_i = factor[i, j] m_source[i, j]."""
    exponents = _exponents(dim, degree)
    place = {each: j for j, each in enumerate(exponents)}
    factors, sources = np.zeros((dim, len(exponents))), np.zeros((dim, len(exponents)), np.int32)
    for j, each in enumerate(exponents):
        for i in set(each):
            factors[i, j] = each.count(i)
            reduced = list(each)
            reduced.remove(i)
            sources[i, j] = place[tuple(reduced)]
    return factors, sources


def fit_chart(neighbourhood: Float[Array, "q d"], x: Point, dim: int, degree: int) -> PolynomialChart:
    """Local PCA, then least squares of the offsets from the plane on monomials of degree <= `degree`.

    The plane passes through the mean of the neighbourhood. Coordinates are scaled by their largest norm, so the design
    matrix is O(1). `x` only sets the dtype of the work.
    """
    data = neighbourhood.astype(x.dtype)
    centre = jnp.mean(data, axis=0)
    offsets = data - centre[None, :]
    frame = principal_frame(offsets, dim)
    u = dot(offsets, frame)
    scale = jnp.sqrt(jnp.max(jnp.sum(u * u, axis=1)))
    scale = jnp.where(scale > 0, scale, 1.0)
    across = (offsets - dot(u, frame.T)) / scale
    design = jax.vmap(lambda row: monomials(row, degree))(u / scale)
    return PolynomialChart(centre, frame, least_squares(design, across), scale, degree)


def principal_frame(offsets: Float[Array, "q d"], dim: int) -> Float[Array, "d k"]:
    """Orthonormal columns spanning the `dim` leading principal directions, through the smaller Gram matrix."""
    q, d = offsets.shape
    if d <= q:
        return jnp.linalg.eigh(dot(offsets.T, offsets))[1][:, d - dim :]
    _, vectors = jnp.linalg.eigh(dot(offsets, offsets.T))
    return orthonormal_columns(dot(offsets.T, vectors[:, q - dim :]))


def least_squares(design: Float[Array, "q m"], values: Float[Array, "q d"]) -> Float[Array, "m d"]:
    """argmin |design C - values|^2 by the normal equations with two corrections of the residual.

    On these designs (condition number below 300 up to dim = degree = 4) one correction already gives the accuracy of
    QR, in float32 as in float64, at a tenth of its time. A ridge of some eps keeps designs of deficient rank
    (duplicated points) solvable.
    """
    gram = dot(design.T, design)
    ridge = jnp.finfo(design.dtype).eps * design.shape[0] * jnp.max(jnp.diagonal(gram))
    factor = jnp.linalg.cholesky(gram + ridge * jnp.eye(len(gram), dtype=gram.dtype))

    def factored(residual):
        return jax.scipy.linalg.cho_solve((factor, True), dot(design.T, residual))

    # In high dimension it is cheaper to solve once for each neighbour than once for each coordinate.
    many = values.shape[1] > design.shape[0]
    solve = partial(dot, factored(jnp.eye(design.shape[0], dtype=design.dtype))) if many else factored
    solution = solve(values)
    for _ in range(2):
        solution = solution + solve(values - dot(design, solution))
    return solution


def _project(neighbourhood: Float[Array, "q d"], x: Point, dim: int, degree: int) -> Point:
    chart = fit_chart(neighbourhood, x, dim, degree)
    return chart.embed(chart.foot(x))


@partial(jax.jit, static_argnums=(2, 3))
def _project_batch(neighbourhoods: Float[Array, "n q d"], xs: Points, dim: int, degree: int) -> Points:
    return jax.vmap(lambda neighbourhood, x: _project(neighbourhood, x, dim, degree))(neighbourhoods, xs)
