"""What the claims about trained networks share: the surfaces, the recipe, the sampler and what is looked at.

All in float32, as networks are. The recipe is that of the claims: a network of 128 x 3, EDM preconditioning, Adam at
1e-3, batches of 128.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from manifold_diffusion import training
from manifold_diffusion._neighbours import nearest
from manifold_diffusion._types import Denoiser, Key, Points, Scalar
from manifold_diffusion.estimators import GaussianPrior, gaussian_prior
from manifold_diffusion.geometry import Ellipsoid, Embedded, Sphere
from manifold_diffusion.measures import draw
from manifold_diffusion.processes import VarianceExploding, karras_grid, reverse
from manifold_diffusion.samplers import DPMSolver2M, generate
from manifold_diffusion.scores import MLP, Preconditioned, from_denoiser, preconditioned

LEARNING = "M"
DIM, AMBIENT = 2, 6
ADAM = optax.adam(1e-3)
"""One object for all, because programs are compiled anew for another."""

_SIGMA_MAX, _STEPS = 40.0, 32


def surface(name: str) -> Embedded:
    """The unit sphere, or the ellipsoid with axes 1, .8, .6, turned into R^6 by a fixed frame."""
    inner = Sphere(2) if name == "sphere" else Ellipsoid((1.0, 0.8, 0.6))
    frame = np.linalg.qr(np.random.default_rng(0).normal(size=(AMBIENT, 3)))[0]
    return Embedded(inner, frame)


def points(manifold: Embedded, key: Key, size: int) -> Points:
    """Uniform points of the surface, in float32."""
    return draw(manifold.uniform, key, size).astype(jnp.float32)


def recipe(data: Points, **options) -> training.Recipe:
    """Denoising with log sigma ~ N(log .6 s, 1.2^2), s the deviation of the data, and the balanced weight."""
    return training.Recipe(training.karras_denoising(training.deviation(data)), ADAM, **options)


def network(key: Key, data: Points, width: int = 128, depth: int = 3) -> Preconditioned:
    """An untrained model of the data."""
    return preconditioned(MLP(key, data.shape[1], width, depth), data)


def generated(model: Denoiser, data: Points, key: Key, size: int, end: float = 0.002) -> np.ndarray:
    """Points of the probability flow of the model, by DPM-Solver++(2M) from a noise level of 40 to `end`, and the
    denoiser there.
    """
    prior = gaussian_prior(data, jnp.float32(_SIGMA_MAX))
    return np.asarray(_generated(model, prior, jnp.float32(end), key, size))


@partial(jax.jit, static_argnames="size")
def _generated(model: Denoiser, prior: GaussianPrior, end: Scalar, key: Key, size: int) -> Points:
    noising = VarianceExploding(jnp.float32(_SIGMA_MAX))
    ts = karras_grid(noising, end, _STEPS)
    flow = reverse(noising, from_denoiser(model), eta=0.0)
    sampler = generate(prior, DPMSolver2M(), flow, ts)
    return jax.vmap(lambda i: sampler(jax.random.fold_in(key, i)))(jnp.arange(size))


def memorised_share(data: np.ndarray, new: np.ndarray) -> float:
    """The share with d1^2 <= d2^2 / 9; 3^-k for fresh points."""
    distances = nearest(data, new, 2)[0]
    return float(np.mean(9 * distances[:, 0] ** 2 <= distances[:, 1] ** 2))


@jax.jit
def distances(manifold: Embedded, new: Points) -> Points:
    """The distance of each point to the surface."""
    gaps = jax.vmap(manifold.project)(new) - new
    return jnp.sqrt(jnp.sum(gaps * gaps, axis=1))
