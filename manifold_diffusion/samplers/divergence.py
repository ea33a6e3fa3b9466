"""The divergence of a vector field, exactly or by random probes: `divergence(key, field, x) -> scalar`.

Notation: J = dfield/dx at x, div = tr J, S = (J + J^T) / 2. A product J v is one forward derivative and costs about two
evaluations of the field.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp

from manifold_diffusion._numerics import chunked_map, dot
from manifold_diffusion._small_matrices import orthonormal_columns
from manifold_diffusion._types import Key, Point, Scalar

Field: TypeAlias = Callable[[Point], Point]

Divergence: TypeAlias = Callable[[Key, Field, Point], Scalar]
"""(key, field, x) -> tr dfield/dx at x, or an unbiased estimate of it that depends on the key."""

_CHUNK = 64


def exact_divergence(key: Key, field: Field, x: Point) -> Scalar:
    """tr J by d products, 64 at a time, so that memory is O(d); the key is not used."""
    indices = jnp.arange(len(x))
    along = lambda i: _product(field, x, (indices == i).astype(x.dtype))[i]  # noqa: E731
    return jnp.sum(jax.vmap(along)(indices) if len(x) <= _CHUNK else chunked_map(along, indices, _CHUNK))


def hutchinson(probes: int = 1, law: Literal["rademacher", "normal"] = "rademacher") -> Divergence:
    """The mean of v.J v over `probes` random v with E v v^T = I (Hutchinson, Comm. Statist. Simul. 18, 1989; in a flow:
    FFJORD, arXiv 1810.01367).

    Unbiased. Its variance is 2 |S|_F^2 / probes for normal v, and less by 2 sum_i S_ii^2 / probes for random signs,
    which are exact where J is diagonal.
    """
    _require_probes(probes, 1)
    if law not in ("rademacher", "normal"):
        raise ValueError(f'the law of the probes must be "rademacher" or "normal", got {law!r}')
    return _Hutchinson(probes, law == "normal")


def hutch_plus_plus(probes: int) -> Divergence:
    """The trace on a subspace exactly and the rest by Hutchinson's estimator: with `probes` products in all, a third of
    them each for Q = orth(J Omega), tr Q^T J Q, and the mean of v.J v over v across Q (Meyer et al., arXiv 2010.09649,
    algorithm 1).

    Unbiased, exact where the rank of J is at most probes // 3, and exact from probes = d on, when it is
    `exact_divergence`. The error is O(1 / probes) for positive semidefinite J, where Hutchinson's is O(1 /
    sqrt(probes)). The v are uniform on the sphere of radius sqrt(d - rank Q) across Q, so that a multiple of the
    identity there costs nothing (the normalisation of arXiv 2301.07825, derived for this split). Q is
    taken as constant by derivatives, which stay unbiased because the estimate is so for every Q (derived).
    """
    _require_probes(probes, 3)
    return _HutchPlusPlus(probes)


class _Hutchinson(eqx.Module):
    probes: int = eqx.field(static=True)
    normal: bool = eqx.field(static=True)

    def __call__(self, key: Key, field: Field, x: Point) -> Scalar:
        shape = (self.probes, len(x))
        vs = (jax.random.normal if self.normal else jax.random.rademacher)(key, shape, x.dtype)
        return jnp.mean(jax.vmap(lambda v: dot(v, _product(field, x, v)))(vs))


class _HutchPlusPlus(eqx.Module):
    probes: int = eqx.field(static=True)

    def __call__(self, key: Key, field: Field, x: Point) -> Scalar:
        d, count = len(x), self.probes // 3
        if self.probes >= d:
            return exact_divergence(key, field, x)
        sketch, rest = jax.random.split(key)
        products = jax.vmap(lambda v: _product(field, x, v))
        # Normal, as signs are dependent with a positive probability where the range of J lies along few axes.
        omega = jax.random.normal(sketch, (count, d), x.dtype)
        Q = orthonormal_columns(jax.lax.stop_gradient(products(omega).T))
        inside = jnp.sum(Q.T * products(Q.T))
        vs = jax.random.normal(rest, (self.probes - 2 * count, d), x.dtype)
        # Twice against rounding.
        for _ in range(2):
            vs = vs - dot(dot(vs, Q), Q.T)
        vs = vs * jnp.sqrt((d - count) / jnp.sum(vs * vs, axis=1, keepdims=True))
        return inside + jnp.mean(jnp.sum(vs * products(vs), axis=1))


def _product(field: Field, x: Point, v: Point) -> Point:
    return jax.jvp(field, (x,), (v,))[1]


def _require_probes(probes: int, least: int) -> None:
    if probes < least:
        raise ValueError(f"the number of probes must be at least {least}, got {probes}")
