"""Derivatives of the sums of `_kernel_sums`: moments of the mixture's posterior, streamed like the sums themselves.

Notation as there. A change (dx, dsigma) of the query changes log p_i by (z_i.dx + |z_i|^2 dsigma) / sigma, less its
mean, hence the posterior mean m = x + sigma e and log Z by (derived)

    dm = E[(z - e) ((z - e).dx + |z|^2 dsigma)],    dlog Z = (e.dx + h dsigma) / sigma,    h = E|z|^2.

So the Jacobian of the denoiser is Cov_p(y) / sigma^2, symmetric, and everything is the matrix E[S S^T] of the
statistics S = (z - e), or S = (z - e, |z|^2, 1) where sigma changes too, times vectors. That product is one
primitive, its own transpose: forward mode, reverse mode and derivatives of those follow, and p is never stored.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from manifold_diffusion import _kernel_sums
from manifold_diffusion._kernel_sums import EXACT_DIM, Atoms, costs, front, per_block
from manifold_diffusion._numerics import dot, exp2_negative, vary_like
from manifold_diffusion._types import Point, Scalar


def _block_moments(mixture: Atoms, x, sigma, e, log_z, v, *, exact: bool):
    """E[S S^T] v for a block of queries: x, e (D, m), sigma, log_z (m,), directions v (r, D, m) or (r, D + 2, m)."""
    d, of_sigma = len(x), v.shape[1] > len(x)
    scale = 0.5 / math.log(2) / sigma**2
    mean = x + sigma[None, :] * e

    @jax.checkpoint
    def body(sums, block):
        rows, weight_costs = block
        u = costs(rows, weight_costs, x, scale, exact)
        p = jax.lax.optimization_barrier(exp2_negative(u + log_z[None, :] / math.log(2)))
        squares = (2 * math.log(2)) * (u - weight_costs[:, None]) if of_sigma else None
        extended = jnp.concatenate([rows, jnp.ones_like(rows[:1])])

        def direction(v):
            g = _along(rows, mean, v[:d] / sigma[None, :])
            if squares is None:
                return dot(extended, p * g)
            g = g + squares * v[d][None, :] + v[d + 1][None, :]
            return jnp.concatenate([dot(extended, p * g), jnp.sum(p * squares * g, axis=0)[None]])

        new = jax.lax.map(direction, v), dot(jnp.ones_like(rows[:1]), p)
        return jax.tree.map(jnp.add, sums, new), None

    start = (jnp.zeros((len(v), d + 1 + of_sigma, len(sigma)), x.dtype), jnp.zeros((1, len(sigma)), x.dtype))
    start = vary_like(start, mixture, x, sigma, e, log_z, v)
    (sums, total), _ = jax.lax.scan(body, start, (mixture.rows, mixture.costs))
    # log Z only steers p away from overflow: where |z| is huge its rounding would be a factor, so p is normalised
    # again.
    sums = sums / total[None]
    first = (sums[:, :d] - mean[None] * sums[:, d : d + 1]) / sigma[None, None, :]
    return jnp.concatenate([first, sums[:, d + 1 :], sums[:, d : d + 1]], axis=1) if of_sigma else first


def _along(rows, mean, v) -> Float[Array, "n m"]:
    """(y_i - mean).v for every atom and query."""
    if len(v) > EXACT_DIM:
        return dot(rows.T, v) - jnp.sum(mean * v, axis=0)[None, :]
    terms = [(y[:, None] - m[None, :]) * c[None, :] for y, m, c in zip(rows, mean, v, strict=True)]
    return functools.reduce(jnp.add, terms)


def _moments(rows, weight_costs, centre, x, sigma, e, log_z, v):
    mixture = Atoms(rows, weight_costs, centre)
    return per_block(mixture, functools.partial(_block_moments, mixture), x, sigma, e, log_z, v)


_moments_p = Primitive("kernel_moments")
"""(rows, costs, centre, x (m, D), sigma (m,), e (m, D), log_z (m,), v (m, r, D or D + 2)) -> E[S S^T] v, of the shape
of v.
"""

_moments_p.def_impl(jax.jit(_moments))
_moments_p.def_abstract_eval(lambda *avals: avals[-1])
mlir.register_lowering(_moments_p, mlir.lower_fun(_moments, multiple_results=False))


def _moments_jvp(primals, tangents):
    *fixed, v = primals
    out = _moments_p.bind(*primals)
    *of_fixed, of_v = tangents
    parts = [] if isinstance(of_v, ad.Zero) else [_moments_p.bind(*fixed, of_v)]
    if not all(isinstance(t, ad.Zero) for t in of_fixed):
        of_fixed = [ad.instantiate_zeros(t) for t in of_fixed] + [jnp.zeros_like(v)]
        parts.append(jax.jvp(_moments, tuple(primals), tuple(of_fixed))[1])
    return out, functools.reduce(jnp.add, parts)


def _moments_transpose(cotangent, *args):
    *fixed, _ = args
    cotangent = cotangent if isinstance(cotangent, ad.Zero) else _moments_p.bind(*fixed, cotangent)
    return [None] * len(fixed) + [cotangent]


def _moments_batching(args, dims):
    size = next(a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
    args = [a if d is None else jnp.moveaxis(a, d, 0) for a, d in zip(args, dims, strict=True)]
    batched = [d is not None for d in dims]
    if not any(batched[:-1]):
        # Only the directions: the posterior p is the same for all, so it is computed once.
        *fixed, v = args
        out = _moments_p.bind(*fixed, jnp.moveaxis(v, 0, 1).reshape(v.shape[1], -1, v.shape[-1]))
        return out.reshape(v.shape[1], size, -1, v.shape[-1]), 1
    if any(batched[:3]):
        args = [front(size, b, a) for b, a in zip(batched, args, strict=True)]
        return jax.lax.map(lambda args: _moments_p.bind(*args), tuple(args)), 0
    queries = [front(size, b, a) for b, a in zip(batched[3:], args[3:], strict=True)]
    out = _moments_p.bind(*args[:3], *[q.reshape(-1, *q.shape[2:]) for q in queries])
    return out.reshape(size, -1, *out.shape[1:]), 0


ad.primitive_jvps[_moments_p] = _moments_jvp
ad.primitive_transposes[_moments_p] = _moments_transpose
batching.primitive_batchers[_moments_p] = _moments_batching


@jax.custom_jvp
def shift(mixture: Atoms, x: Point, sigma: Scalar) -> tuple[Point, Scalar]:
    """(e, log Z) at x, with derivatives in x and sigma; the mixture is a constant."""
    return _kernel_sums.shift(mixture, x, sigma)


def _shift_jvp(primals, tangents):
    mixture, x, sigma = primals
    _, dx, dsigma = tangents
    dx = jnp.zeros_like(x) if isinstance(dx, SymbolicZero) else dx
    e, log_z = shift(mixture, x, sigma)

    def moments(v):
        query = (x[None], sigma[None], e[None], log_z[None], v[None, None])
        return _moments_p.bind(mixture.rows, mixture.costs, mixture.centre, *query)[0, 0]

    if isinstance(dsigma, SymbolicZero):
        return (e, log_z), ((moments(dx) - dx) / sigma, jnp.sum(e * dx) / sigma)
    d, zero, one = len(x), jnp.zeros_like(dsigma)[None], jnp.ones_like(dsigma)[None]
    dm = moments(jnp.concatenate([dx, dsigma[None], zero]))[:d]
    mean_square = moments(jnp.concatenate([jnp.zeros_like(x), zero, one]))[d]
    de = (dm - dx - e * dsigma) / sigma
    return (e, log_z), (de, (jnp.sum(e * dx) + mean_square * dsigma) / sigma)


shift.defjvp(_shift_jvp, symbolic_zeros=True)


def score(mixture: Atoms, x: Point, sigma: Scalar) -> Point:
    """grad_x log sum_i w_i N(x; y_i, sigma^2 I)."""
    return shift(mixture, x, sigma)[0] / sigma


def denoise(mixture: Atoms, x: Point, sigma: Scalar) -> Point:
    """E[X_0 | X_0 + sigma Z = x] = x + sigma e."""
    return x + sigma * shift(mixture, x, sigma)[0]


def log_density(mixture: Atoms, x: Point, sigma: Scalar) -> Scalar:
    """log sum_i w_i N(x; y_i, sigma^2 I) = log Z - D log sigma - (D / 2) log 2 pi."""
    return shift(mixture, x, sigma)[1] - len(x) * (jnp.log(sigma) + 0.5 * math.log(2 * math.pi))
