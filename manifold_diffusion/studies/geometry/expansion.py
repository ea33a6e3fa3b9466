"""G1, G2: near M the log density and the denoiser are geometry first, then density and curvature."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp

from manifold_diffusion._types import Key, Points
from manifold_diffusion.geometry import AbstractManifold, Ellipsoid, Torus
from manifold_diffusion.measures import Density, draw
from manifold_diffusion.scores import ExpansionScore, QuadratureScore, population_score
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Number
from manifold_diffusion.studies.geometry.laws import GEOMETRY, PAPER, levels

_QUERIES, _SHARE = 200, 0.3
_ORDERS = {"ellipse": 2048, "torus": 160}


def _log_weight(x):
    return x[0] / 2 + 0.3 * x[-1]


@functools.cache
def _law(name: str) -> tuple[Density, QuadratureScore]:
    # In the precision of the study, which is float64.
    manifold: AbstractManifold = Ellipsoid((1.0, 2.0)) if name == "ellipse" else Torus(1.0, 0.5)
    law = Density(manifold, _log_weight, 1.5)
    return law, population_score(manifold, law.log_density, _ORDERS[name])


def tube_points(manifold: AbstractManifold, key: Key, size: int, share: float) -> tuple[Points, Points]:
    """Points at up to `share` of the reach from M, and their nearest points."""
    place, direction, depth = jax.random.split(key, 3)
    feet = draw(manifold.uniform, place, size)
    noise = jax.random.normal(direction, feet.shape, feet.dtype)
    normal = jax.vmap(lambda y, v: v - manifold.tangent(y, v))(feet, noise)
    normal = normal / jnp.linalg.norm(normal, axis=1, keepdims=True)
    depths = share * manifold.reach() * jax.random.uniform(depth, (size, 1), feet.dtype)
    return feet + depths * normal, feet


@eqx.filter_jit
def _gaps(law: Density, exact: QuadratureScore, x: Points, y: Points, sigma):
    expansion, manifold = ExpansionScore(law), law.manifold

    def in_the_tube(x):
        gap = exact.log_density(x, sigma) - expansion.log_density(x, sigma)
        denoised = exact.denoise(x, sigma)
        return (
            jnp.abs(gap),
            jnp.abs(gap - expansion.log_curvature(x) / 2),
            jnp.linalg.norm(denoised - manifold.project(x)),
            jnp.linalg.norm(denoised - expansion.denoise(x, sigma)),
        )

    on = jax.vmap(lambda y: jnp.linalg.norm(exact.denoise(y, sigma) - expansion.denoise(y, sigma)))(y)
    return [jnp.max(gap) for gap in (*jax.vmap(in_the_tube)(x), on)]


def _remainders(key: Key, sigma: Number, *, name: str):
    law, exact = _law(name)
    if not bool(exact.resolves(sigma)):
        raise ValueError(f"the nodes are {exact.spacing:.3g} apart, more than sigma = {sigma:.3g}")
    x, y = tube_points(law.manifold, jax.random.key(0), _QUERIES, _SHARE)
    names = ("remainder", "without curvature", "D - Pi", "after two terms", "after two terms, on M")
    return {"exact": {n: float(v) for n, v in zip(names, _gaps(law, exact, x, y, jnp.asarray(sigma)), strict=True)}}


_EXPERIMENTS = (
    Experiment(
        "ellipse",
        functools.partial(_remainders, name="ellipse"),
        ("exact",),
        levels(0.01, 0.06),
        size_name="sigma",
    ),
    Experiment(
        "torus",
        functools.partial(_remainders, name="torus"),
        ("exact",),
        levels(0.032, 0.078, smoke=0),
        size_name="sigma",
    ),
)
_NAMES = ("ellipse", "torus")

G1 = Claim(
    id="G1",
    group=GEOMETRY,
    title="expansion",
    statement=(
        "log p_sigma = -d(x,M)^2/(2 sigma^2) - ((D-k)/2) log(2 pi sigma^2) + log rho(Pi x) - log det(I - S)/2 + "
        "O(sigma^2) in a tube around M."
    ),
    source=PAPER,
    experiments=_EXPERIMENTS,
    checks=tuple(
        check
        for name in _NAMES
        for check in (
            Check(name, "exact", "remainder", "slope", 2.0, 0.05),
            Check(name, "exact", "without curvature", "slope", 0.0, 0.05),
        )
    ),
)

G2 = Claim(
    id="G2",
    group=GEOMETRY,
    title="denoiser",
    statement=(
        "D_sigma is the projection up to O(sigma^2), and Pi + sigma^2 (grad log rho + H/2) on M up to O(sigma^4)."
    ),
    source=PAPER + "; the second order derived",
    experiments=_EXPERIMENTS,
    checks=tuple(
        check
        for name in _NAMES
        for check in (
            Check(name, "exact", "D - Pi", "slope", 2.0, 0.05),
            Check(name, "exact", "after two terms", "slope", 4.0, 0.05),
            Check(name, "exact", "after two terms, on M", "slope", 4.0, 0.05),
        )
    ),
)
