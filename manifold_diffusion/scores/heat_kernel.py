"""The score of data noised on their manifold, by its heat kernel."""

import functools
import math
from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot, vary_like
from manifold_diffusion._types import Point, Scalar
from manifold_diffusion.geometry import AbstractRiemannian
from manifold_diffusion.measures import log_heat_kernel
from manifold_diffusion.measures.tangent import Manifold

LogKernel: TypeAlias = Callable[[Point, Point, Scalar], Scalar]
"""(x, y, tau) -> the log of a heat kernel of the time tau."""

_BLOCK = 64


class HeatKernelScore(eqx.Module):
    """grad log p_sigma(x) on a manifold, p_sigma(x) = sum_i w_i h_tau(x, y_i), tau = sigma^2, h_tau the heat kernel, at
    the points x of the manifold: the tangent sum_i v_i grad_x log h_tau(x, y_i), v_i ~ w_i h_tau(x, y_i) with sum one.

    It is the score of the law of Brownian motion that starts from the points y_i with the weights w_i (equal ones
    by default) after the time tau, and `processes.reverse` makes of it the way back (De Bortoli et al., arXiv
    2202.02763, theorem 1). Nodes and weights of a quadrature, with log_weights = log(weight density), give the score of
    a density instead of that of data.

    The kernel is `log_heat_kernel`: exact on spheres up to dimension 3, rotations, flat space and products of these. On
    others give `log_kernel`, (x, y, tau) -> log h: such as that of `short_time_heat_kernel`, for small noise levels.
    The points are streamed in blocks.
    """

    manifold: Manifold
    blocks: Float[Array, "blocks block d"]
    log_weights: Float[Array, "blocks block"]
    log_kernel: LogKernel = eqx.field(static=True)

    def __init__(
        self,
        manifold: Manifold,
        data: Float[Array | np.ndarray, "n d"],
        log_weights: Float[Array | np.ndarray, " n"] | None = None,
        log_kernel: LogKernel | None = None,
    ):
        data = jnp.asarray(data, dtype=float)
        if data.shape[1] != manifold.ambient_dim:
            raise ValueError(f"the points must lie in R^{manifold.ambient_dim}, as the manifold does, got {data.shape}")
        n = len(data)
        uniform = jnp.full(n, -math.log(n), data.dtype)
        log_w = uniform if log_weights is None else jax.nn.log_softmax(jnp.asarray(log_weights, data.dtype))
        size = min(n, _BLOCK)
        padding = -n % size
        self.manifold = manifold
        self.blocks = jnp.pad(data, ((0, padding), (0, 0)), mode="edge").reshape(-1, size, data.shape[1])
        # Of a finite size, so that no difference of two of them is NaN.
        nothing = float(jnp.finfo(data.dtype).min) / 4
        self.log_weights = jnp.pad(log_w, (0, padding), constant_values=nothing).reshape(-1, size)
        self.log_kernel = log_kernel  # pyright: ignore[reportAttributeAccessIssue]

    def __call__(self, x: Point, sigma: Scalar | float) -> Point:
        slope = self._sums(x, sigma)[1]
        if isinstance(self.manifold, AbstractRiemannian):
            frame = self.manifold.frame(x)
            return dot(frame, dot(frame.T, slope))
        return self.manifold.tangent(x, slope)

    def log_density(self, x: Point, sigma: Scalar | float) -> Scalar:
        """log p_sigma(x), with respect to the volume of the manifold."""
        return self._sums(x, sigma)[0]

    def _sums(self, x: Point, sigma: Scalar | float) -> tuple[Scalar, Point]:
        """log p_sigma(x), and its derivative in R^d along the manifold."""
        tau = jnp.asarray(sigma, x.dtype) ** 2
        kernel = functools.partial(log_heat_kernel, self.manifold) if self.log_kernel is None else self.log_kernel
        each = jax.vmap(jax.value_and_grad(kernel), in_axes=(None, 0, None))

        def body(carry, block):
            best, mass, pull = carry
            points, log_w = (a.astype(x.dtype) for a in block)
            log_p, slopes = each(x, points, tau)
            log_p = log_p + log_w
            new = jnp.maximum(best, jnp.max(log_p))
            p, kept = jnp.exp(log_p - new), jnp.exp(best - new)
            return (new, kept * mass + jnp.sum(p), kept * pull + dot(p, slopes)), None

        start = jnp.asarray(jnp.finfo(x.dtype).min / 4, x.dtype), jnp.zeros((), x.dtype), jnp.zeros_like(x)
        (best, mass, pull), _ = jax.lax.scan(body, vary_like(start, x, tau, self), (self.blocks, self.log_weights))
        return best + jnp.log(mass), pull / mass
