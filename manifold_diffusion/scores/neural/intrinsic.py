"""Neural scores on a known manifold: tangent fields that vanish where noise has made the law uniform.

Notation: M a manifold in R^d, P the orthogonal projection onto its tangent space at x, lambda the smallest positive
eigenvalue of minus its Laplacian. At the noise level sigma the law of the data is convolved with the heat kernel of the
time sigma^2 (see `scores.HeatKernelScore`), which multiplies a mode of eigenvalue l by exp(-l sigma^2 / 2).
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot
from manifold_diffusion._types import Key, Point, Scalar
from manifold_diffusion.measures import spectral_gap
from manifold_diffusion.measures.tangent import Manifold
from manifold_diffusion.scores.neural.mlp import ResidualMLP
from manifold_diffusion.scores.neural.network import Constant, Network


class HeatFeatures(eqx.Module):
    """(x, sigma) -> x, e^{-|w_j|^2 sigma^2 / 2} cos(w_j.x), e^{-|w_j|^2 sigma^2 / 2} sin(w_j.x): waves of R^d, smaller
    where noise blurs them.

    A network of waves finds detail that one of x alone does not (Fourier features: Tancik et al., arXiv 2006.10739).
    The factor is that of heat flow in R^d. A score at the level sigma has no detail below sigma, and is given none.
    """

    frequencies: Constant

    def __call__(self, x: Point, sigma: Scalar) -> Float[Array, " f"]:
        w = self.frequencies.value.astype(x.dtype)
        phase, size = dot(w, x), jnp.exp(-jnp.sum(w * w, axis=1) * sigma**2 / 2)
        return jnp.concatenate([x, size * jnp.cos(phase), size * jnp.sin(phase)])


class IntrinsicScore(eqx.Module):
    """s(x, sigma) = e^{-lambda sigma^2 / 2} / sigma P F(features(x, sigma), log(sigma) / 4), x on M.

    It is a *score*, tangent at x, and no denoiser. F stays of order 1 at all levels: the score of noised data is of the
    order 1 / sigma at most where sigma is small, and falls like the slowest mode where it is large. The network takes
    the features and the level to R^d. `gap` is lambda, of order one where M is of size one.
    """

    network: Network
    features: HeatFeatures
    manifold: Constant
    gap: Constant

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        manifold: Manifold = self.manifold.value
        sigma, gap = jnp.asarray(sigma, x.dtype), self.gap.value.astype(x.dtype)
        out = self.network(self.features(x, sigma), jnp.log(sigma) / 4)
        return jnp.exp(-gap * sigma**2 / 2) / sigma * manifold.tangent(x, out)


def intrinsic_score(
    key: Key,
    manifold: Manifold,
    *,
    width: int = 128,
    depth: int = 3,
    waves: int = 128,
    finest: float = 0.03,
    gap: float | None = None,
) -> IntrinsicScore:
    """`IntrinsicScore` with a `ResidualMLP` of random waves, to be trained by `training.IntrinsicDenoising`; it is 0
    before.

    The lengths 1 / |w| of the waves are log-uniform from `finest` to 1, their directions uniform. `finest` belongs near
    the spacing of the data, 1 near the size of the manifold. `gap` is `measures.spectral_gap(manifold)` by default.
    ValueError where there is no wave, or `finest` is not in (0, 1).
    """
    if waves < 1 or not 0 < finest < 1:
        raise ValueError(f"waves must be at least 1 and 0 < finest < 1; got {waves} and {finest}")
    d = manifold.ambient_dim
    directions, lengths, weights = jax.random.split(key, 3)
    z = jax.random.normal(directions, (waves, d))
    length = jnp.exp(math.log(finest) * jax.random.uniform(lengths, (waves, 1)))
    w = z / (length * jnp.sqrt(jnp.sum(z * z, axis=1, keepdims=True)))
    network = ResidualMLP(weights, d + 2 * waves, width, depth, outputs=d)
    slowest = spectral_gap(manifold) if gap is None else gap
    return IntrinsicScore(network, HeatFeatures(Constant(w)), Constant(manifold), Constant(slowest))
