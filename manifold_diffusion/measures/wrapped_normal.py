"""Normal laws of a tangent space, wrapped onto the manifold by the exponential map."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot, safe_norm
from manifold_diffusion._types import Key, Point, Scalar
from manifold_diffusion.geometry import AbstractRiemannian, Euclidean, SpecialOrthogonal, Sphere
from manifold_diffusion.measures.measure import AbstractMeasure
from manifold_diffusion.measures.tangent import Manifold, frames_at, inner_products, parts_of, split

_MOST = 20_000


class WrappedNormal(AbstractMeasure):
    """The law of exp_c(F z), z ~ N(0, Sigma), F an orthonormal frame of the tangent space at c: Sigma is in its basis.

    Its density at x is the sum, over all geodesics from c to x, of N(F^T v; 0, Sigma) / |det d exp_c(v)|, v the
    initial velocity. Where exp is one to one (flat, hyperbolic, positive matrices) there is one geodesic. On the sphere
    S^k of radius R all are on one great circle: v_j = (theta + 2 pi j) R u, u the direction of x, with the determinant
    |sin(theta) / (theta + 2 pi j)|^{k-1}. SO(3) is S^3 of radius 2 sqrt(2) with antipodes taken as one: the same with
    theta + pi j. On products (flat tori, rigid motions) every choice in each part.

    The sum runs to |j| <= J in each part, J >= 1 the least that leaves out only geodesics beyond c_k standard
    deviations, c_k^2 = 74 + 8 k. What is left out has a mass below 1e-17, and, where Sigma does not mix parts, is below
    1e-15 of the density everywhere.

    For k >= 2 the density is infinite at the antipode on a sphere and, where windings have weight, at the centre on
    spheres and SO(3): the value there is that of a rounding away. Sampling is exact.
    """

    manifold: Manifold
    centre: Point
    frames: tuple[Float[Array, "..."], ...]
    root: Float[Array, "k k"]
    whitening: Float[Array, "k k"]
    log_height: Scalar
    windings: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, manifold: Manifold, centre, covariance):
        k = manifold.dim
        sigma = np.asarray(covariance, np.float64)
        if sigma.shape != (k, k) or not np.allclose(sigma, sigma.T, rtol=1e-5) or not np.linalg.eigvalsh(sigma)[0] > 0:
            raise ValueError(f"the covariance must be symmetric, positive and {(k, k)}, got {covariance}")
        self.windings = _enough(manifold, sigma)
        self.manifold = manifold  # pyright: ignore[reportIncompatibleVariableOverride]
        self.centre = manifold.project(jnp.asarray(centre, dtype=float))
        self.frames = tuple(frames_at(manifold, self.centre))
        root = np.linalg.cholesky((sigma + sigma.T) / 2)
        self.root = jnp.asarray(root, dtype=float)
        self.whitening = jnp.asarray(np.linalg.solve(root, np.eye(k)), dtype=float)
        log_height = -np.sum(np.log(np.diag(root))) - 0.5 * k * math.log(2 * math.pi)
        self.log_height = jnp.asarray(log_height, dtype=float)

    @property
    def frame(self) -> Float[Array, "d k"]:
        """F."""
        return jax.scipy.linalg.block_diag(*self.frames)

    def sample(self, key: Key) -> Point:
        z = jax.random.normal(key, (self.manifold.dim,), self.root.dtype)
        return self.manifold.exp(self.centre, dot(self.frame, dot(self.root, z)))

    def log_density(self, x: Point) -> Scalar:
        pieces = zip(
            parts_of(self.manifold),
            split(self.manifold, self.centre.astype(x.dtype)),
            self.frames,
            split(self.manifold, x),
            self.windings,
            strict=True,
        )
        found = [_geodesics(part, c, frame.astype(x.dtype), y, J) for part, c, frame, y, J in pieces]
        choices = np.indices([len(log_volume) for _, log_volume in found]).reshape(len(found), -1)
        v = jnp.concatenate([each[i] for (each, _), i in zip(found, choices, strict=True)], axis=1)
        log_volume = sum(each[i] for (_, each), i in zip(found, choices, strict=True))
        white = dot(v, self.whitening.astype(x.dtype).T)
        terms = -0.5 * jnp.sum(white * white, axis=1) - log_volume
        return self.log_height.astype(x.dtype) + jax.scipy.special.logsumexp(terms)


def _geodesics(
    part: Manifold, centre: Point, frame: Float[Array, "d k"], x: Point, windings: int
) -> tuple[Float[Array, "m k"], Float[Array, " m"]]:
    """The initial velocities, in the frame, of the geodesics from the centre to x, and log |det d exp| at each."""
    velocity = part.log(centre, x)
    along = inner_products(part, centre, frame, velocity[:, None])[:, 0]
    if not windings:
        return along[None, :], part.log_exp_volume(centre, velocity)[None]
    radius, turn = _closed(part)
    k, R, tiny = part.dim, radius.astype(x.dtype), jnp.finfo(x.dtype).eps
    angle, length = part.distance(centre, x) / R, safe_norm(along)
    # Any direction leads to the antipode, where the logarithm gives none.
    axis = jnp.where(jnp.arange(k) == 0, 1.0, 0.0).astype(x.dtype)
    direction = jnp.where(length > 0, along / jnp.where(length > 0, length, 1.0), axis)
    arcs = angle + turn * jnp.asarray([j for j in range(-windings, windings + 1) if j], x.dtype)
    # Volume shrinks to |sin / arc|^{k-1}, with the same sine whatever the number of turns.
    log_sine = jnp.log(jnp.maximum(_sine(part, centre, frame, x, angle), tiny))
    near = angle < 1
    log_sinc = jnp.log(jnp.sinc(jnp.where(near, angle, 0.0) / math.pi))
    first = jnp.where(near, log_sinc, log_sine - jnp.log(jnp.where(near, 1.0, angle)))
    log_volume = (k - 1) * jnp.concatenate([first[None], log_sine - jnp.log(jnp.abs(arcs))])
    shortest = jnp.where(near, along, R * angle * direction)
    return jnp.concatenate([shortest[None, :], R * arcs[:, None] * direction[None, :]]), log_volume


def _closed(part: Manifold) -> tuple[Scalar, float]:
    """(R, turn): geodesics close up after the length R turn, and |det d exp| is |sin(s/R) / (s/R)|^{k-1} at the length
    s.
    """
    if isinstance(part, Sphere):
        return part.radius, 2 * math.pi
    return (jnp.asarray(math.sqrt(8)), math.pi) if part.dim == 3 else (jnp.asarray(math.sqrt(2)), 2 * math.pi)


def _sine(part: Manifold, centre: Point, frame: Float[Array, "d k"], x: Point, angle: Scalar) -> Scalar:
    """sin(angle), with all its digits where the angle is close to pi."""
    if not isinstance(part, Sphere):
        return jnp.abs(jnp.sin(angle))
    # F^T c = 0, so either offset has the tangential part of x.
    offset = jnp.where(angle < math.pi / 2, x - centre, x + centre)
    return safe_norm(dot(frame.T, offset)) / part.radius.astype(x.dtype)


def _enough(manifold: Manifold, sigma: np.ndarray) -> tuple[int, ...]:
    """J of the class for each part; 0 where exp is one to one."""
    windings, first = [], 0
    for part in parts_of(manifold):
        block = sigma[first : first + part.dim, first : first + part.dim]
        first += part.dim
        if isinstance(part, Sphere | SpecialOrthogonal):
            radius, turn = _closed(part)
            reach = math.sqrt((74 + 8 * manifold.dim) * np.linalg.eigvalsh(block)[-1])
            windings.append(max(1, math.ceil(reach / (float(radius) * turn))))
        elif isinstance(part, AbstractRiemannian | Euclidean):
            windings.append(0)
        else:
            raise ValueError(
                f"not all geodesics of {type(part).__name__} are known in closed form, so neither is a wrapped density"
            )
    if (count := math.prod(2 * J + 1 for J in windings)) > _MOST:
        raise ValueError(f"{count} geodesics count on so wide a law; take a smaller covariance, or HeatKernel")
    return tuple(windings)
