"""Sums over the components of a Gaussian mixture, streamed: the hot path under the kernel score.

Notation: atoms y_i with weights w_i that sum to one, queries x with a noise level sigma each, and

    z_i = (y_i - x) / sigma,   p_i ~ w_i exp(-|z_i|^2 / 2) with sum one,   log Z = log sum_i w_i exp(-|z_i|^2 / 2).

`shift` returns e = sum_i p_i z_i and log Z for one query. A batch of queries (`jax.vmap`, nested too) runs in one
layout: data rows as (D, block), queries minor, O(block) memory, never an (n, m, D) array. The differences come before
the scaling, so that e and log Z keep their digits where |x|^2 eps / sigma^2 is not small.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion._types import Point, Scalar

DATA_BLOCK = 1024
QUERY_BLOCK = 128


class Atoms(eqx.Module):
    """Data and log-weights in padded blocks; the padding has a weight that underflows to zero."""

    rows: Float[Array, "blocks d block"]
    log_weights: Float[Array, "blocks block"]


def atoms(data: Float[Array, "n d"], weights: Float[Array, " n"] | None = None) -> Atoms:
    """The mixture of points with the given weights (equal ones by default), normalised to sum one."""
    n, d = data.shape
    blocks = -(-n // DATA_BLOCK)
    block = -(-n // blocks)
    block += -block % 8
    padding = blocks * block - n
    uniform = jnp.zeros(n, data.dtype) - np.log(n)
    log_weights = uniform if weights is None else jnp.log(weights / jnp.sum(weights))
    floor = float(jnp.finfo(data.dtype).min) / 4
    log_weights = jnp.pad(jnp.maximum(log_weights, floor), (0, padding), constant_values=floor)
    rows = jnp.pad(data, ((0, padding), (0, 0)), mode="edge").reshape(blocks, block, d)
    return Atoms(jnp.swapaxes(rows, 1, 2), log_weights.reshape(blocks, block))


def _block_shift(mixture: Atoms, x, inverse):
    """One block of queries, x (D, m) and 1 / sigma (m,): e (D, m) and log Z (m,)."""

    def body(carry, block):
        top, total, sums = carry
        y, log_w = block
        z = [(y[j][:, None] - x[j][None, :]) * inverse[None, :] for j in range(len(x))]
        logits = log_w[:, None] - 0.5 * functools.reduce(jnp.add, [c * c for c in z])
        logits = jax.lax.optimization_barrier(logits)
        new = jnp.maximum(top, jnp.max(logits, axis=0))
        decay, p = jnp.exp(top - new), jnp.exp(logits - new[None, :])
        sums = [s * decay + jnp.sum(p * c, axis=0) for s, c in zip(sums, z, strict=True)]
        return (new, total * decay + jnp.sum(p, axis=0), sums), None

    zero = jnp.zeros_like(inverse)
    start = (zero + jnp.finfo(x.dtype).min / 2, zero, [zero] * len(x))
    (top, total, sums), _ = jax.lax.scan(body, start, (mixture.rows, mixture.log_weights))
    return jnp.stack(sums) / total[None, :], top + jnp.log(total)


def _shift(mixture: Atoms, x: Float[Array, "m d"], sigma: Float[Array, " m"]):
    """All queries, by blocks of them."""
    m, d = x.shape
    block = min(QUERY_BLOCK, m + (-m % 8))
    padding = -m % block
    xs = jnp.pad(x, ((0, padding), (0, 0)), mode="edge").reshape(-1, block, d)
    sigmas = jnp.pad(sigma, (0, padding), mode="edge").reshape(-1, block)
    e, log_z = jax.lax.map(lambda q: _block_shift(mixture, q[0].T, 1 / q[1]), (xs, sigmas))
    return jnp.swapaxes(e, 1, 2).reshape(-1, d)[:m], log_z.reshape(-1)[:m]


def _batched(f):
    """Give f(mixture, *queries), whose queries and results have a leading axis, a vmap rule that flattens into that
    axis.
    """
    f = jax.custom_batching.custom_vmap(f)

    @f.def_vmap
    def rule(size, in_batched, mixture, *queries):
        of_mixture, *of_queries = in_batched
        spread = [
            q if b else jnp.broadcast_to(q[None], (size, *q.shape)) for q, b in zip(queries, of_queries, strict=True)
        ]
        if any(jax.tree.leaves(of_mixture)):
            mixtures = jax.tree.map(
                lambda a, b: a if b else jnp.broadcast_to(a[None], (size, *a.shape)), mixture, of_mixture
            )
            out = jax.lax.map(lambda args: f(*args), (mixtures, *spread))
        else:
            flat = f(mixture, *[q.reshape(-1, *q.shape[2:]) for q in spread])
            out = jax.tree.map(lambda a: a.reshape(size, -1, *a.shape[1:]), flat)
        return out, jax.tree.map(lambda _: True, out)

    return f


_shift_batched = _batched(_shift)


def shift(mixture: Atoms, x: Point, sigma: Scalar) -> tuple[Point, Scalar]:
    """(e, log Z) at x: the denoiser is x + sigma e, the score e / sigma, the density Z / (2 pi sigma^2)^(D/2)."""
    e, log_z = _shift_batched(mixture, x[None], sigma[None])
    return e[0], log_z[0]
