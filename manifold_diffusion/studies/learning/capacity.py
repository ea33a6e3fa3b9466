"""M2: what a model has to lose to stop memorising: the gap of the losses, and networks with fewer weights.

With l(x, s) = E_z |s(x + sigma z) + z / sigma|^2, the denoising loss at a datum, phat the law of the noised data and p
the law of the noised population,

    (1/n) sum_i [l(x_i, grad log p) - l(x_i, grad log phat)] = E_phat |grad log p - grad log phat|^2,

because grad log phat is the minimiser and the loss is quadratic (arXiv 2511.03202; derived again). For a Gaussian
population in R^d and sigma far below the spacing it tends to d / sigma^2.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion import training
from manifold_diffusion._types import Denoiser, Key, Points
from manifold_diffusion.evaluation import novelty
from manifold_diffusion.geometry import Embedded
from manifold_diffusion.scores import MLP, KernelScore, preconditioned
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Grid, Number
from manifold_diffusion.studies.learning.networks import (
    AMBIENT,
    DIM,
    LEARNING,
    distances,
    generated,
    network,
    points,
    recipe,
    surface,
)

SOURCE = "Provable Separations between Memorization and Generalization in Diffusion Models, arXiv 2511.03202"
_POINTS, _DRAWS = 64, 64
_SIZE, _STEPS, _SAMPLES = 64, 25_000, 4000
_WIDEST = 128
_CUTS = (0.2, 0.4, 0.5, 0.6)
_SMALL, _LARGE = (0.02, 0.1), (0.3, 2.0)


@partial(jax.jit, static_argnames="dim")
def _gap(key: Key, sigma, dim: int):
    """Both sides of the identity for N(0, I), over the same noise, and their common size d / sigma^2."""
    place, noise = jax.random.split(key)
    data = jax.random.normal(place, (_POINTS, dim))
    empirical = KernelScore(data)

    def one(x, key):
        z = jax.random.normal(key, x.shape)
        y = x + sigma * z
        population, memorised = -y / (1 + sigma**2), empirical(y, sigma)
        aim = -z / sigma
        losses = jnp.sum((population - aim) ** 2) - jnp.sum((memorised - aim) ** 2)
        return losses, jnp.sum((population - memorised) ** 2)

    keys = jax.random.split(noise, (_POINTS, _DRAWS))
    losses, fisher = jax.vmap(jax.vmap(one, (None, 0)))(data, keys)
    return jnp.mean(losses), jnp.mean(fisher)


def _identity(key: Key, sigma: Number, *, dim: int):
    gap, fisher = _gap(key, jnp.asarray(sigma), dim)
    return {"Gaussian": {"gap": float(gap), "gap / Fisher divergence": float(gap / fisher)}}


def _in_dimension(key: Key, dim: Number):
    gap, _ = _gap(key, jnp.asarray(0.01), int(dim))
    return {"Gaussian": {"gap": float(gap)}}


def _judged(model: Denoiser, manifold: Embedded, data: Points, key: Key) -> dict[str, float]:
    new = generated(model, data, key, _SAMPLES)
    judged = novelty(data, new, points(manifold, jax.random.fold_in(key, 1), _SAMPLES), DIM)
    return {
        "share": judged.memorised.value,
        "share above null": judged.memorised.value - judged.memorised_null.value,
        "novelty": judged.ratio.value,
        "distance": float(np.median(distances(manifold, jnp.asarray(new)))),
    }


def _widths(key: Key, width: Number):
    """A network of this width, stored in arrays for 128 units or more, so that the narrow ones share one program."""
    manifold, keys = surface("ellipsoid"), jax.random.split(key, 4)
    data = points(manifold, keys[0], _SIZE)
    model = preconditioned(MLP(keys[1], AMBIENT, max(_WIDEST, int(width)), live=int(width)), data)
    trained = training.fit(keys[2], model, data, recipe(data), _STEPS, looks=1)
    return {"network": _judged(trained.model, manifold, data, keys[3])}


def _pruned(key: Key, size: Number):
    """One memorised network, and what is left of it and of its memory as weights are left out."""
    manifold, keys = surface("ellipsoid"), jax.random.split(key, 5)
    data = points(manifold, keys[0], int(size))
    model = training.fit(keys[1], network(keys[2], data), data, recipe(data), _STEPS, looks=1).model
    whole = _judged(model, manifold, data, keys[3])
    s, found = training.deviation(data), {"whole": whole}
    for name, (low, high) in {"small noise": _SMALL, "large noise": _LARGE}.items():
        loss = training.Denoising(training.LogUniform(low * s, high * s), training.BalancedWeight(s))
        scores = training.importance(model, data, loss, keys[4])
        for cut in _CUTS:
            judged = _judged(training.prune(model, scores, cut), manifold, data, keys[3])
            judged["share / whole"] = judged["share"] / whole["share"]
            judged["distance / whole"] = judged["distance"] / whole["distance"]
            found[f"{cut:.0%} cut, {name}"] = judged
    for cut in _CUTS:
        small, large = (found[f"{cut:.0%} cut, {name}"] for name in ("small noise", "large noise"))
        small["distance, large / small noise"] = large["distance"] / small["distance"]
    return found


_LEVELS = tuple(float(s) for s in np.geomspace(0.005, 0.02, 4))
_SPACINGS = (0.1, 0.3, 1.0)
"""About the spacing of 64 points of the plane and above: far below it both sides are equal for every draw."""

_CUT_METHODS = tuple(f"{cut:.0%} cut, {name}" for name in ("small noise", "large noise") for cut in _CUTS)

M2 = Claim(
    id="M2",
    group=LEARNING,
    title="what memory takes",
    statement=(
        "The loss gap between the scores of the population and of the data is their Fisher divergence, d/sigma^2 at "
        "small sigma; networks with fewer weights memorise less."
    ),
    source=SOURCE + "; the networks are measurements",
    experiments=(
        Experiment(
            "loss gap",
            partial(_identity, dim=8),
            ("Gaussian",),
            {"smoke": Grid(_LEVELS, 4), "cpu": Grid(_LEVELS, 16), "gpu": Grid(_LEVELS, 64)},
            size_name="sigma",
        ),
        Experiment(
            "identity",
            partial(_identity, dim=2),
            ("Gaussian",),
            {"smoke": Grid(_SPACINGS, 16), "cpu": Grid(_SPACINGS, 64), "gpu": Grid(_SPACINGS, 256)},
            size_name="sigma",
        ),
        Experiment(
            "dimension",
            _in_dimension,
            ("Gaussian",),
            {"smoke": Grid((4, 16), 4), "cpu": Grid((4, 8, 16, 32), 16), "gpu": Grid((4, 8, 16, 32, 64), 64)},
            size_name="d",
        ),
        Experiment(
            "widths",
            _widths,
            ("network",),
            {"cpu": Grid((16, 32, 64, 128), 3), "gpu": Grid((16, 32, 64, 128, 256, 512, 1024), 10)},
            size_name="width",
            x64=False,
        ),
        Experiment(
            "pruning",
            _pruned,
            ("whole", *_CUT_METHODS),
            {"cpu": Grid((_SIZE,), 3), "gpu": Grid((_SIZE,), 10)},
            x64=False,
        ),
    ),
    checks=(
        Check("identity", "Gaussian", "gap / Fisher divergence", "mean", 1.0, 0.02, smoke_tolerance=0.05),
        Check("loss gap", "Gaussian", "gap", "slope", -2.0, 0.05),
        Check("dimension", "Gaussian", "gap", "slope", 1.0, 0.05),
        Check("widths", "network", "share", "slope_at_least", 0.5, 0.0),
        Check("widths", "network", "share above null", "at_most", 0.0, 0.03, max_size=16),
        Check("pruning", "50% cut, small noise", "share / whole", "at_most", 0.75, 0.0),
        Check("pruning", "40% cut, small noise", "distance, large / small noise", "at_least", 1.5, 0.0),
    ),
)
"""The gap is judged against sigma, on which it depends as sigma^-2: the slope -1 of the claim in sigma^2."""
