"""Sums over the components of a Gaussian mixture, streamed: the hot path under the kernel score.

Notation: atoms y_i with weights w_i that sum to one, queries x with a noise level sigma each, and

    z_i = (y_i - x) / sigma,   p_i ~ w_i exp(-|z_i|^2 / 2) with sum one,   log Z = log sum_i w_i exp(-|z_i|^2 / 2).

Everything is written with costs u_i = |z_i|^2 / (2 log 2) - log2 w_i >= 0, so that p_i = 2^(u* - u_i) / sum.

A batch of queries (`jax.vmap`, nested too, over points, noise levels or both) runs in one layout: data rows as (D,
block), queries minor, an online softmax over blocks of data; memory is O(block), never (n, m, D). In low dimension
the costs are exact differences, scaled after they are taken, because the error of |x|^2 - 2 x.y + |y|^2 is eps |x|^2
/ sigma^2 nats.
"""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import exp2_negative, lowest, vary_like
from manifold_diffusion._types import Point, Points, Scalar

# Measured on one core, 10k x 1k: (1024, 128) is within the noise of the best of 256 .. 4096 by 64 .. 512.
DATA_BLOCK = 1024
QUERY_BLOCK = 128
# Up to this dimension differences cost less than a matrix product, so they are always exact. Above it the product is
# faster by a tenth to a half up to D = 64, and not at all at D = 784 (one core, 10k x 1k).
EXACT_DIM = 8
# A product is used for the costs while its rounding, in nats, stays under this.
PRODUCT_ERROR = 1e-3


class Atoms(eqx.Module):
    """A mixture in padded blocks: rows are data minus `centre`, costs -log2 of the weights, huge for the padding."""

    rows: Float[Array, "blocks d block"]
    costs: Float[Array, "blocks block"]
    centre: Float[Array, " d"]


def atoms(data: Points, log_weights: Float[Array, " n"] | None = None) -> Atoms:
    """The mixture of points with the given log-weights (equal ones by default), normalised to total weight one."""
    n, d = data.shape
    uniform = jnp.full(n, -math.log(n), data.dtype)
    log_w = uniform if log_weights is None else jax.nn.log_softmax(jnp.asarray(log_weights, data.dtype))
    huge = float(jnp.finfo(data.dtype).max) / 4
    costs = jnp.clip(-log_w / math.log(2), 0.0, huge)
    centre = _centre(data)
    size, padding = _split(n, DATA_BLOCK)
    rows = jnp.pad(data - centre[None, :], ((0, padding), (0, 0)), mode="edge").reshape(-1, size, d)
    return Atoms(jnp.swapaxes(rows, 1, 2), jnp.pad(costs, (0, padding), constant_values=huge).reshape(-1, size), centre)


def _centre(data: Points) -> Point:
    """The mean, in the coordinates where data minus mean has no rounding (Sterbenz: they differ by less than half);
    else 0.
    """
    mean = jnp.mean(data, axis=0)
    spread = jnp.max(jnp.abs(data - mean[None, :]), axis=0)
    return jnp.where(spread < jnp.abs(mean) / 2, mean, 0.0)


def _split(n: int, block: int) -> tuple[int, int]:
    """(size, padding): blocks of at most `block` things, a multiple of 8 unless there is one thing, with little
    padding.
    """
    size = -(-n // -(-n // block))
    size = size if n == 1 else size + -size % 8
    return size, -n % size


def costs(rows, weight_costs, x, scale, exact: bool) -> Float[Array, "n m"]:
    """u for one block of data, rows (D, n), and one of queries, x (D, m), with scale = 1 / (2 log 2 sigma^2) of each
    (m,).
    """
    if not exact:
        squares = jnp.concatenate([rows, jnp.sum(rows**2, axis=0)[None], jnp.ones_like(rows[:1])])
        queries = jnp.concatenate([-2 * x, jnp.ones_like(x[:1]), jnp.sum(x**2, axis=0)[None]])
        squared = jax.lax.dot_general(squares, queries, (((0,), (0,)), ((), ())), precision="highest")
        squared = jnp.maximum(squared, 0.0)
    elif len(x) <= EXACT_DIM:
        squared = _squared_distances(rows, x)
    else:
        squared = _squared_distances_grouped(rows, x)
    return squared * scale[None, :] + weight_costs[:, None]


def _squared_distances(rows, x) -> Float[Array, "n m"]:
    return functools.reduce(jnp.add, [jnp.square(y[:, None] - q[None, :]) for y, q in zip(rows, x, strict=True)])


def _squared_distances_grouped(rows, x) -> Float[Array, "n m"]:
    """The same for many dimensions, four at a time, four times: the fastest of the groupings that were tried."""
    whole = len(x) - len(x) % 4
    rest = _squared_distances(rows[whole:], x[whole:]) if whole < len(x) else jnp.zeros_like(rows[0][:, None] * x[:1])
    groups = tuple(a[:whole].reshape(-1, 4, a.shape[1]) for a in (rows, x))
    return jax.lax.scan(lambda total, yx: (total + _squared_distances(*yx), None), rest, groups, unroll=4)[0]


def _block_shift(mixture: Atoms, x, sigma, exact: bool):
    """One block of queries, x (D, m), sigma (m,): the mean (D, m) less the centre, and log Z (m,)."""
    scale = 0.5 / math.log(2) / sigma**2

    def body(carry, block):
        best, sums = carry
        rows, weight_costs = block
        # The barrier stops XLA from recomputing the costs inside the reduction, over the wrong axis: ten times slower.
        u = jax.lax.optimization_barrier(costs(rows, weight_costs, x, scale, exact))
        new = jnp.minimum(best, lowest(u))
        p = exp2_negative(u - new[None, :])
        extended = jnp.concatenate([rows, jnp.ones_like(rows[:1])])
        return (new, sums * exp2_negative(best - new)[None, :] + jnp.dot(extended, p, precision="highest")), None

    start = (jnp.full_like(sigma, jnp.finfo(x.dtype).max), jnp.zeros((len(x) + 1, len(sigma)), x.dtype))
    (best, sums), _ = jax.lax.scan(body, vary_like(start, mixture, x, sigma), (mixture.rows, mixture.costs))
    return sums[:-1] / sums[-1:], math.log(2) * (jnp.log2(sums[-1]) - best)


def per_block(mixture: Atoms, f, x: Float[Array, "m d"], sigma: Float[Array, " m"], *others):
    """f(x, sigma, *others, exact=...) over blocks of queries, queries minor, results back in front.

    `exact` is decided per block in high dimension: whether a matrix product would be too inexact for these costs.
    """
    m = len(sigma)
    size, padding = _split(m, QUERY_BLOCK)

    def blocked(a):
        return jnp.pad(a, ((0, padding), *[(0, 0)] * (a.ndim - 1)), mode="edge").reshape(-1, size, *a.shape[1:])

    largest = jnp.max(jnp.sum(mixture.rows**2, axis=1))

    def one(block):
        x, sigma, *others = [jnp.moveaxis(a, 0, -1) for a in block]
        x = x - mixture.centre[:, None]
        if len(x) <= EXACT_DIM:
            return f(x, sigma, *others, exact=True)
        error = jnp.finfo(x.dtype).eps * jnp.max((jnp.sum(x**2, axis=0) + largest) / sigma**2)
        return jax.lax.cond(
            error < PRODUCT_ERROR,
            functools.partial(f, exact=False),
            functools.partial(f, exact=True),
            x,
            sigma,
            *others,
        )

    out = jax.lax.map(one, tuple(blocked(a) for a in (x, sigma, *others)))
    return jax.tree.map(lambda a: jnp.moveaxis(a, -1, 1).reshape(-1, *a.shape[1:-1])[:m], out)


# Compiled once per shape, so that a call outside of jit does not compile its loops anew.
@jax.jit
def _shift(mixture: Atoms, x: Float[Array, "m d"], sigma: Float[Array, " m"]):
    mean, log_z = per_block(mixture, functools.partial(_block_shift, mixture), x, sigma)
    return (mean - (x - mixture.centre[None, :])) / sigma[:, None], log_z


def front(size: int, batched: bool, a: Array) -> Array:
    """a with a leading axis of the given size, repeated if it had none."""
    return a if batched else jnp.broadcast_to(a[None], (size, *a.shape))


@jax.custom_batching.custom_vmap
def _shift_batched(mixture, x, sigma):
    return _shift(mixture, x, sigma)


@_shift_batched.def_vmap
def _shift_rule(size, in_batched, mixture, x, sigma):
    of_mixture, *of_queries = in_batched
    x, sigma = (front(size, b, a) for b, a in zip(of_queries, (x, sigma), strict=True))
    if any(jax.tree.leaves(of_mixture)):
        mixtures = jax.tree.map(functools.partial(front, size), of_mixture, mixture)
        out = jax.lax.map(lambda args: _shift_batched(*args), (mixtures, x, sigma))
    else:
        out = _shift_batched(mixture, x.reshape(-1, x.shape[-1]), sigma.reshape(-1))
        out = jax.tree.map(lambda a: a.reshape(size, -1, *a.shape[1:]), out)
    return out, (True, True)


def shift(mixture: Atoms, x: Point, sigma: Scalar) -> tuple[Point, Scalar]:
    """(e, log Z) at x, with e = sum_i p_i z_i: the denoiser is x + sigma e, the score e / sigma.

    No derivatives: `_kernel_covariance` has them.
    """
    e, log_z = _shift_batched(mixture, x[None], sigma[None])
    return e[0], log_z[0]
