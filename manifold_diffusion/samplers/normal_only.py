r"""From noise to the manifold along the normal part of a denoiser alone: new points from a score that has memorised.

What a score that memorises gets wrong is tangential. With y on a k-manifold M of curvatures of at most kappa, and the
data a spacing h apart, its denoiser at noise levels below h sends x, at the foot y, to the nearest datum x_i = y + t +
n: t of length h along M is the memory, and n of length kappa h^2 / 2 across it all that is wrong about the place of M.
So

    x <- x + P_N (D(x, sigma) - x),    sigma from sigma_0 down,    P_N = I - V V^T,

moves x onto M, to O(kappa h^2), and not along it (derived; claim M12). V are the k leading eigenvectors of the
symmetrised Jacobian of D at sigma_0: at x = y + v, v normal, that of the nearest-point projection is (I - S_v)^{-1}
along M and 0 across it, so that V spans the tangent space at y wherever x is on the way. Below the spacing the Jacobian
is that of a map to the data and knows no directions.

V is found again at every level. One found at the start alone, wrong by an angle a at the distance r from M, keeps x in
a plane that meets M off the foot by r tan(a) or, where a r kappa is not small, not at all: some then stay as far from M
as they began. Found again, the error is that of the last levels, where r is 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot, vary_like
from manifold_diffusion._small_matrices import gram_schmidt, symmetric_eigen
from manifold_diffusion._types import Point, Scalar, Score
from manifold_diffusion.scores import denoiser

_DENSE = 16
_FIRST, _AGAIN = 16, 3


class Spectrum(NamedTuple):
    """Eigenvalues, highest first, and their eigenvectors as orthonormal columns."""

    values: Float[Array, " count"]
    vectors: Float[Array, "d count"]


def leading_spectrum(
    score: Score, x: Point, sigma: Scalar | float, count: int, start: Float[Array, "d count"] | None = None
) -> Spectrum:
    """The `count` largest eigenvalues of the symmetrised Jacobian (J + J^T) / 2 of the denoiser, and their vectors.

    Up to 16 dimensions from all of J. Above, by subspace iteration (Golub and Van Loan, Matrix Computations, section
    8.2) with products J v and J^T v alone, 16 from random columns and 3 from those of `start`, a frame nearby; its
    error falls by lambda_{count+1} / lambda_count each time, and what it finds are the largest in absolute value, which
    for the denoiser of a law, whose J is a covariance over sigma^2, is the same.
    """
    if not 1 <= count <= len(x):
        raise ValueError(f"the number of eigenvalues must be from 1 to the dimension {len(x)}, got {count}")
    level, denoise = jnp.asarray(sigma, x.dtype), denoiser(score)
    if len(x) <= _DENSE:
        values, vectors = symmetric_eigen(jax.jacfwd(denoise)(x, level))
        return Spectrum(values[::-1][:count], vectors[:, ::-1][:, :count])
    return _iterated(lambda y: denoise(y, level), x, count, start)


def normal_only(
    score: Score,
    x: Point,
    sigmas: Float[Array, " levels"],
    dim: int,
    *,
    frame_level: Scalar | float = 0.0,
    frames: Score | None = None,
) -> Point:
    """x <- x + P_N (D(x, sigma) - x) at each noise level in turn, from x at the first of them.

    P_N leaves out the `dim` leading eigenvectors of the denoiser's Jacobian at x, at the level sigma or at
    `frame_level`, whichever is higher. The Jacobian is that of `frames` if given: with `KernelScore(data)` it is the
    covariance of the data around x, weighted by exp(-|x - y_i|^2 / (2 sigma^2)), over sigma^2, so that the directions
    come from the data and not from the score.
    """
    if not 1 <= dim < len(x):
        raise ValueError(f"dim must be from 1 to the ambient dimension - 1 = {len(x) - 1}, got {dim}")
    denoise, source = denoiser(score), score if frames is None else frames
    levels = sigmas.astype(x.dtype)
    floor = jnp.asarray(frame_level, x.dtype)

    def step(state, sigma):
        x, frame = state
        frame = leading_spectrum(source, x, jnp.maximum(sigma, floor), dim, frame).vectors
        move = denoise(x, sigma) - x
        return (x + move - dot(frame, dot(move, frame)), frame), None

    start = x, leading_spectrum(source, x, jnp.maximum(levels[0], floor), dim).vectors
    return jax.lax.scan(step, vary_like(start, score, source, levels, floor), levels)[0][0]


def _iterated(f, x: Point, count: int, start: Float[Array, "d count"] | None) -> Spectrum:
    _, push = jax.linearize(f, x)
    pull = jax.linear_transpose(push, x)

    def apply(columns):
        return jax.vmap(lambda v: (push(v) + pull(v)[0]) / 2, in_axes=1, out_axes=1)(columns)

    def iterate(columns, _):
        return gram_schmidt(apply(columns)), None

    first = start is None
    columns = gram_schmidt(jax.random.normal(jax.random.key(0), (len(x), count), x.dtype)) if first else start
    columns = jax.lax.scan(iterate, vary_like(columns, x), None, length=_FIRST if first else _AGAIN)[0]
    values, turned = symmetric_eigen(dot(columns.T, apply(columns)))
    return Spectrum(values[::-1], dot(columns, turned[:, ::-1]))
