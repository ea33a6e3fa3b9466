"""The geometry that a score knows: projection, tangent space and curvature from any score, trained or not.

Notation: D_sigma is the denoiser of a measure of density rho on a k-manifold M in R^d, Pi the nearest-point projection.
On a tube around M

    D_sigma = Pi + c_1 sigma^2 + O(sigma^4),    c_1 = grad log rho + H / 2 on M,

H the mean curvature vector ("When Scores Learn Geometry", arXiv 2509.24912, to first order). Two or three noise levels
give Pi to O(sigma^4) or O(sigma^6), and c_1, by Richardson's extrapolation in sigma^2 (derived); everything else is a
derivative of Pi. All functions take one point; `order` is the number of noise levels, from sigma to 2^((order-1)/2)
sigma. They need sigma below a fourth of the reach, and above some three collapse scales where the score is of data.
"""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot
from manifold_diffusion._small_matrices import inverse_positive, symmetric_eigen
from manifold_diffusion._types import Denoiser, Point, Scalar, Score
from manifold_diffusion.samplers import normal_only
from manifold_diffusion.scores import denoiser

Level = Scalar | float


class FirstOrder(NamedTuple):
    """c_1 in its two parts: H, normal to the manifold, and the gradient of log rho along it."""

    mean_curvature: Point
    log_density_gradient: Point


class SecondForm(NamedTuple):
    """Orthonormal columns that span the tangent space, and II of them with values in the normal space."""

    frame: Float[Array, "d k"]
    form: Float[Array, "k k d"]


class PrincipalCurvatures(NamedTuple):
    """Principal curvatures, lowest first, and their directions as columns."""

    values: Float[Array, " k"]
    directions: Float[Array, "d k"]


class _Extrapolated(eqx.Module):
    score: Score
    order: int = eqx.field(static=True)

    def __call__(self, x: Point, sigma: Level) -> Point:
        return _taylor(self.score, x, sigma, self.order)[0]


def extrapolated_denoiser(score: Score, order: int = 2) -> Denoiser:
    """(x, sigma) -> Pi(x) + O(sigma^(2 order)), from the denoiser at `order` noise levels; 1 is the denoiser itself.

    For order = 2 it is 2 D_sigma - D_(sqrt 2 sigma): errors of the score that do not fall with sigma grow threefold.
    """
    if order < 1:
        raise ValueError(f"order is a number of noise levels, at least 1, got {order}")
    return _Extrapolated(score, order)


def denoiser_spectrum(
    score: Score, x: Point, sigma: Level, order: int = 2
) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
    """Eigenvalues, highest first, and eigenvectors as columns of the symmetrised Jacobian of the denoiser.

    At x = y + v, with y on M and v normal, they are 1 / (1 - kappa_i(v)) along M and 0 across it.
    """
    values, vectors = symmetric_eigen(jax.jacfwd(extrapolated_denoiser(score, order))(x, jnp.asarray(sigma, x.dtype)))
    return values[::-1], vectors[:, ::-1]


def score_tangent_space(score: Score, x: Point, sigma: Level, dim: int, order: int = 2) -> Float[Array, "d k"]:
    """Orthonormal columns that span the tangent space at Pi(x): the leading eigenvectors of `denoiser_spectrum`."""
    if not 1 <= dim < len(x):
        raise ValueError(f"dim must be from 1 to the ambient dimension - 1 = {len(x) - 1}, got {dim}")
    return denoiser_spectrum(score, x, sigma, order)[1][:, :dim]


def score_first_order(score: Score, x: Point, sigma: Level, dim: int, order: int = 2) -> FirstOrder:
    """The mean curvature vector (the trace of II) and the gradient of log rho along M at Pi(x), for x near M.

    c_1 is the slope of D in sigma^2 there, by order + 1 noise levels. With order = 0 it is the score itself at x, H =
    2 P_N s and grad log rho = P_T s to O(sigma^2), for which x has to be on M to within o(sigma^2).
    """
    sigma = jnp.asarray(sigma, x.dtype)
    if order > 0:
        x = extrapolated_denoiser(score, order)(x, sigma)
    frame = score_tangent_space(score, x, sigma, dim, max(order, 1))
    slope = score(x, sigma) if order == 0 else _taylor(score, x, sigma, order + 1)[1]
    along = _along(frame, slope)
    return FirstOrder(2 * (slope - along), along)


def score_second_form(
    score: Score, x: Point, sigma: Level, dim: int, order: int = 2, step: Level | None = None
) -> SecondForm:
    """The second fundamental form at x on M: II(a, b) = P_N d^2 Pi(x)[a, b] for tangents a, b.

    The outer derivative is by central differences of fourth order in `step`, by default sigma / 2, so that a score has
    to differentiate only once. 4 k shifted points, k derivatives at each.
    """
    projection = extrapolated_denoiser(score, order)
    sigma = jnp.asarray(sigma, x.dtype)
    h = sigma / 2 if step is None else jnp.asarray(step, x.dtype)
    frame = score_tangent_space(score, x, sigma, dim, order)
    shifts = h * jnp.asarray([1.0, -1.0, 2.0, -2.0], x.dtype)
    weights = jnp.asarray([8.0, -8.0, -1.0, 1.0], x.dtype) / (12 * h)

    def turned(a):
        moved = jax.vmap(lambda shift: _derivatives(projection, x + shift * a, sigma, frame))(shifts)
        return jnp.sum(weights[:, None, None] * moved, axis=0)

    form = jax.vmap(turned)(frame.T)
    form = form - dot(dot(form, frame), frame.T)
    return SecondForm(frame, (form + jnp.swapaxes(form, 0, 1)) / 2)


def score_principal_curvatures(
    score: Score, x: Point, normal: Point, sigma: Level, dim: int, offset: Level, order: int = 2
) -> PrincipalCurvatures:
    """The principal curvatures at x on M in the direction of a normal, from two Jacobians off the manifold.

    With v = t n, t the offset and n the normal made so and of length one, P_T dPi(x + v) P_T = (I - S_v)^-1 on the
    tangent space, so that S_n = ((P_T dPi(x - v) P_T)^-1 - (P_T dPi(x + v) P_T)^-1) / 2 t, exactly for Pi; the errors
    of order sigma^2 that are even in t cancel. The offset has to be below the reach.
    """
    projection = extrapolated_denoiser(score, order)
    sigma, t = jnp.asarray(sigma, x.dtype), jnp.asarray(offset, x.dtype)
    frame = score_tangent_space(score, x, sigma, dim, order)
    n = normal - _along(frame, normal)
    n = n / jnp.sqrt(jnp.sum(n * n))

    def inverse(side):
        block = dot(_derivatives(projection, x + side * n, sigma, frame), frame)
        return inverse_positive((block + block.T) / 2)

    below, above = jax.vmap(inverse)(jnp.stack([-t, t]))
    values, vectors = symmetric_eigen((below - above) / (2 * t))
    return PrincipalCurvatures(values, dot(frame, vectors))


def denoising_projection(score: Score, x: Point, sigmas: Float[Array, " levels"]) -> Point:
    """x <- D(x, sigma) at each noise level in turn. At its end it is off M by sigma^2 |H| / 2, and has drifted along M
    by sigma^2 grad log rho at each.
    """
    denoise = denoiser(score)
    return jax.lax.scan(lambda x, sigma: (denoise(x, sigma), None), x, sigmas.astype(x.dtype))[0]


def ridge_projection(
    score: Score, x: Point, sigmas: Float[Array, " levels"], dim: int, frame_level: Level = 0.0
) -> Point:
    """x <- x + P_N (D(x, sigma) - x) at each noise level in turn: onto the manifold without a move along it.

    The loop of `samplers.normal_only`: P_N leaves out the `dim` leading eigenvectors of the denoiser's Jacobian, at
    noise levels not below `frame_level`: under its collapse scale a score of data still knows where the manifold is,
    but not which way it goes.
    """
    return normal_only(score, x, sigmas, dim, frame_level=frame_level)


def _taylor(score: Score, x: Point, sigma: Level, count: int) -> Float[Array, "order d"]:
    """The coefficients of D in powers of sigma^2, from `count` noise levels whose squares double."""
    sigma = jnp.asarray(sigma, x.dtype)
    levels = sigma * jnp.asarray(2.0 ** (np.arange(count) / 2), x.dtype)
    values = jax.vmap(denoiser(score), (None, 0))(x, levels)
    powers = sigma ** (-2 * jnp.arange(count))
    # From the first value: the others differ from it by O(sigma^2).
    rest = dot(jnp.asarray(_weights(count), x.dtype), values - values[:1])
    return powers.astype(x.dtype)[:, None] * rest.at[0].add(values[0])


@functools.cache
def _weights(count: int) -> np.ndarray:
    """Values at 1, 2, 4 .. to the coefficients of the polynomial through them."""
    return np.linalg.inv(np.vander(2.0 ** np.arange(count), increasing=True))


def _derivatives(f, x: Point, sigma: Scalar, frame: Float[Array, "d k"]) -> Float[Array, "k d"]:
    """df(x) of each column of the frame."""
    return jax.vmap(lambda v: jax.jvp(lambda x: f(x, sigma), (x,), (v,))[1])(frame.T)


def _along(frame: Float[Array, "d k"], v: Point) -> Point:
    return dot(frame, dot(v, frame))
