"""Adaptive kernel mixtures on the sphere: a density fitted to points, whose kernels follow their neighbours."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._neighbours import self_nearest
from manifold_diffusion._numerics import chunked_map, dot, safe_norm
from manifold_diffusion._types import Key, Point, Points, Queries, Scalar
from manifold_diffusion.geometry import AbstractManifold, Sphere
from manifold_diffusion.geometry.unit_sphere import complement, log_sphere_area
from manifold_diffusion.measures.measure import AbstractMeasure

_WIDEST = 0.5
_FINEST = 1e-4
_CHUNK = 64


class KernelMixture(AbstractMeasure):
    """A mixture of wrapped normals at n points of the unit sphere S^k and, with weight `uniform_share`, of the uniform
    law.

    Kernel i is the law of exp_{c_i}(F_i z), z ~ N(0, Sigma_i), F_i an orthonormal frame of the tangent space at c_i. In
    v = F_i^T log_{c_i}(x), theta = |v|, its density is N(v; 0, Sigma_i) (theta / sin theta)^{k-1} up to what wraps
    around: less than exp(-pi^2 / (2 s)) for variances up to s, which is 3e-9 at the largest that is accepted, 1/4.
    Sampling is exact. Differences of points come before all else, so narrow kernels are right in float32.
    """

    manifold: AbstractManifold
    centres: Float[Array, "n d"]
    frames: Float[Array, "n d k"]
    roots: Float[Array, "n k k"]
    precisions: Float[Array, "n k k"]
    log_heights: Float[Array, " n"]
    uniform_share: Scalar

    def __init__(self, centres, covariances, frames=None, uniform_share: float = 0.0):
        self.centres = jnp.asarray(centres, dtype=float)
        n, d = self.centres.shape
        self.manifold = Sphere(d - 1)
        self.frames = jax.vmap(complement)(self.centres) if frames is None else jnp.asarray(frames, dtype=float)
        covariances = np.asarray(covariances, np.float64)
        if covariances.shape != (n, d - 1, d - 1):
            raise ValueError(f"covariances must be {(n, d - 1, d - 1)}, one per centre, got {covariances.shape}")
        variances = np.linalg.eigvalsh(covariances)
        if not (variances[:, 0] > 0).all() or variances[:, -1].max() > _WIDEST**2 * (1 + 1e-6):
            raise ValueError(
                f"the variances of kernels must lie between 0 and {_WIDEST**2}, got {variances.min():.3g} "
                f"to {variances.max():.3g}"
            )
        if not 0 <= uniform_share <= 1:
            raise ValueError(f"the uniform share must lie between 0 and 1, got {uniform_share}")
        self.roots = jnp.asarray(np.linalg.cholesky(covariances), dtype=float)
        self.precisions = jnp.asarray(np.linalg.inv(covariances), dtype=float)
        log_heights = -0.5 * np.linalg.slogdet(covariances)[1] - 0.5 * (d - 1) * math.log(2 * math.pi)
        self.log_heights = jnp.asarray(log_heights, dtype=float)
        self.uniform_share = jnp.asarray(uniform_share, dtype=float)

    def sample(self, key: Key) -> Point:
        which, coin, normal, elsewhere = jax.random.split(key, 4)
        i = jax.random.randint(which, (), 0, len(self.centres))
        z = dot(self.roots[i], jax.random.normal(normal, (self.manifold.dim,), self.centres.dtype))
        near = Sphere(self.manifold.dim).exp(self.centres[i], dot(self.frames[i], z))
        anywhere = jax.random.uniform(coin, dtype=self.centres.dtype) < self.uniform_share
        return jnp.where(anywhere, self.manifold.uniform(elsewhere), self.manifold.project(near))

    def log_density(self, x: Point) -> Scalar:
        """log of the density at the unit vector x; O(n). For many points, `log_densities`."""
        k, dtype = self.manifold.dim, x.dtype
        v, log_stretch = jax.vmap(_log_coordinates, in_axes=(None, 0, 0))(
            x, self.centres.astype(dtype), self.frames.astype(dtype)
        )
        quadratic = jnp.einsum("nk,nkl,nl->n", v, self.precisions.astype(dtype), v, precision="highest")
        kernels = self.log_heights.astype(dtype) - 0.5 * quadratic + (k - 1) * log_stretch
        mixture = jax.scipy.special.logsumexp(kernels) - math.log(len(self.centres))
        share = self.uniform_share.astype(dtype)
        return jnp.logaddexp(jnp.log1p(-share) + mixture, jnp.log(share) - log_sphere_area(k))


def _log_coordinates(x: Point, centre: Point, frame: Float[Array, "d k"]) -> tuple[Float[Array, " k"], Scalar]:
    """F^T log_c(x), and log(theta / sin theta)."""
    offset = x - centre
    # F^T c = 0, so this is F^T x, of length sin theta, without cancellation near the centre.
    along = dot(frame.T, offset)
    theta = 2 * jnp.arctan2(safe_norm(offset), safe_norm(x + centre))
    stretch = 1 / jnp.maximum(jnp.sinc(theta / jnp.pi), jnp.finfo(x.dtype).eps)
    return along * stretch, jnp.log(stretch)


class Choice(NamedTuple):
    """What a validation set chose, and the mean log-likelihood that it has there."""

    neighbours: int
    factor: float
    roundness: float
    uniform_share: float
    log_likelihood: float


def adaptive_kernel_mixture(
    points: Points,
    validation: Queries,
    neighbours: Sequence[int] = (3, 5, 8, 12, 20, 35),
    factors: Sequence[float] = (0.1, 0.2, 0.35, 0.6, 1.0, 1.7, 3.0),
    roundness: Sequence[float] = (1.0, 0.5, 0.25, 0.1, 0.03),
    uniform_shares: Sequence[float] = (0.0, 0.003, 0.01, 0.03, 0.1),
) -> tuple[KernelMixture, Choice]:
    """A kernel mixture on the unit sphere with one kernel per point, shaped by the point's m nearest neighbours.

    With S_i the second moment of the m nearest neighbours of point i in its tangent space (about the point itself),
    Sigma_i = c ((1 - r) S_i + r tr(S_i)/k I): c scales with the local spacing, as kappa_i = k / (c d^2) does for von
    Mises-Fisher kernels, and r below 1 stretches kernels along what the points follow. m, c, r and the share of a
    uniform law are those of the highest likelihood of the validation points: first m and c with round kernels, then r
    and c with the m found and the two after it. Standard deviations are kept between 1e-4 and 1/2.
    """
    data, held_out = jnp.asarray(points, dtype=float), jnp.asarray(validation, dtype=float)
    n, d = data.shape
    off = float(jnp.max(jnp.abs(jnp.sum(jnp.concatenate([data, held_out]) ** 2, axis=1) - 1)))
    if off > 1e-4:
        raise ValueError(f"the points must be unit vectors, one has a squared length {off:.2g} off 1; normalise them")
    if max(neighbours) >= n:
        raise ValueError(f"{max(neighbours)} neighbours were asked of {n} points; ask for fewer")
    frames = jax.vmap(complement)(data)
    found = self_nearest(data, max(neighbours))[1]
    around = np.asarray(_neighbour_coordinates(data, frames, found), np.float64)
    tried: dict[tuple[int, float, float], tuple[Choice, np.ndarray]] = {}

    def attempt(m: int, r: float, c: float) -> None:
        covariances = _covariances(around[:, :m], r, c)
        values = np.asarray(log_densities(KernelMixture(data, covariances, frames), held_out), np.float64)
        mixed = [np.logaddexp(np.log1p(-s) + values, _log(s) - log_sphere_area(d - 1)).mean() for s in uniform_shares]
        share = uniform_shares[int(np.argmax(mixed))]
        tried[m, r, c] = Choice(m, c, r, share, float(max(mixed))), covariances

    for m, c in itertools.product(neighbours, factors):
        attempt(m, max(roundness), c)
    # The direction of a kernel takes more neighbours than its size.
    m = _best(tried)[0].neighbours
    enough = [each for each in sorted(neighbours) if each >= m][:3]
    for m, r, c in itertools.product(enough, sorted(roundness)[:-1], factors):
        attempt(m, r, c)
    choice, covariances = _best(tried)
    return KernelMixture(data, covariances, frames, choice.uniform_share), choice


def _best(tried):
    return max(tried.values(), key=lambda each: each[0].log_likelihood)


def _covariances(around: np.ndarray, roundness: float, factor: float) -> np.ndarray:
    """c ((1 - r) S + r tr(S)/k I) for each point, its variances kept within bounds."""
    k = around.shape[2]
    moment = np.einsum("nqa,nqb->nab", around, around) / around.shape[1]
    size = np.trace(moment, axis1=1, axis2=2)[:, None, None] / k
    values, vectors = np.linalg.eigh(factor * ((1 - roundness) * moment + roundness * size * np.eye(k)))
    return np.einsum("nab,nb,ncb->nac", vectors, np.clip(values, _FINEST**2, _WIDEST**2), vectors)


def _log(share: float) -> float:
    return math.log(share) if share > 0 else -math.inf


@jax.jit
def _neighbour_coordinates(data, frames, found):
    def one(centre, frame, near):
        return jax.vmap(lambda x: _log_coordinates(x, centre, frame)[0])(data[near])

    return chunked_map(lambda each: one(*each), (data, frames, found), 1024)


@eqx.filter_jit
def log_densities(measure: AbstractMeasure, xs: Points) -> Float[Array, " m"]:
    """`vmap(measure.log_density)` in blocks, for measures whose density is a sum over many kernels."""
    return chunked_map(measure.log_density, xs, _CHUNK)
