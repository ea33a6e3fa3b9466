"""M11: models whose denoiser is a projection, on what a decoder draws or where equations vanish, do not memorise.

Their samples are data plus noise of 1.5 median spacings, projected: the law in which the kernel score leaves a sample
at that level, and where the flow of the projection score ends from there. The plain network is stopped at the look,
and its flow at the noise level, at which its samples are nearest to the manifold, which only an oracle can do, among
those that are as new as is asked.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from manifold_diffusion import training
from manifold_diffusion._neighbours import nearest
from manifold_diffusion._numerics import chunked_map
from manifold_diffusion._types import Key, Points
from manifold_diffusion.estimators import median_spacing
from manifold_diffusion.evaluation import coverage, novelty
from manifold_diffusion.geometry import Sphere
from manifold_diffusion.scores.neural import CoarseModel, chart_autoencoder, implicit_network
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Grid, Number
from manifold_diffusion.studies.learning.networks import DIM, LEARNING, distances, generated, network, recipe
from manifold_diffusion.studies.learning.normal_only import drawn, surface
from manifold_diffusion.studies.learning.training_times import looks

_SURFACES = ("graph", "ellipsoid")
_PLAIN, _CHART, _ZEROS = "plain network", "chart autoencoder", "equations"
_STEPS = {_PLAIN: 8000, _CHART: 40_000, _ZEROS: 10_000}
_RATE, _NEW = 2e-3, 0.75
_OPTIMISERS = {each: optax.adam(optax.cosine_decay_schedule(_RATE, _STEPS[each])) for each in (_CHART, _ZEROS)}
_SAMPLES, _LOOKED_AT, _FRESH = 2000, 1024, 4096
_ENDS = (0.002, 0.02, 0.05, 0.1, 0.2)
"""Noise levels at which a plain network is left for its denoiser: it is nearest to the manifold at some of them."""


def untrained(kind: str, key: Key, data: Points) -> tuple[CoarseModel, training.Recipe]:
    """A model that is coarse by construction and how it is trained: networks of 64 x 2, Adam at 2e-3, decaying."""
    s = training.deviation(data)
    if kind == _CHART:
        loss = training.Reconstruction(training.LogUniform(0.05 * s, 0.6 * s))
        return chart_autoencoder(key, Sphere(DIM), data), training.Recipe(loss, _OPTIMISERS[kind])
    loss = training.Projection(training.LogUniform(0.05 * s, 0.8 * s), clean=2000.0, upright=0.3)
    return implicit_network(key, DIM, data), training.Recipe(loss, _OPTIMISERS[kind])


@eqx.filter_jit
def _projected(model: CoarseModel, points: Points) -> Points:
    return chunked_map(model.manifold.project, points, 250)


def coarse_samples(model: CoarseModel, data: Points, key: Key, size: int) -> np.ndarray:
    """Data with noise of 1.5 median spacings, projected."""
    which, noise = jax.random.split(key)
    chosen = data[jax.random.randint(which, (size,), 0, len(data))]
    noised = chosen + 1.5 * median_spacing(data) * jax.random.normal(noise, chosen.shape, chosen.dtype)
    return np.asarray(_projected(model, noised))


def _judged(name: str, data: Points, new: np.ndarray, key: Key) -> dict[str, float]:
    fresh = drawn(name, key, _FRESH)
    far = np.asarray(distances(surface(name), jnp.asarray(new)))
    found, finite = novelty(data, new, fresh, DIM), far[np.isfinite(far)]
    covered = coverage(data, new, held_out=fresh, key=key)
    return {
        "distance": float(np.median(finite)),
        "distance, 95 %": float(np.quantile(finite, 0.95)),
        "novelty": found.ratio.value,
        "share": found.memorised.value,
        "share off null": abs(found.memorised.value - found.memorised_null.value),
        "coverage": covered.covered.value,
        "coverage of fresh": covered.null.value,
        "non_finite": int(len(far) - len(finite)),
    }


def _ensemble(key: Key, data: list[Points], make, steps: int, **options) -> list[training.Trained]:
    members = []
    for i, each in enumerate(data):
        order, start = jax.random.split(jax.random.fold_in(key, i))
        model, how = make(start, each)
        members.append(training.Member(order, model, each, how))
    return training.fit_ensemble(members, steps, **options)


def _plain(key: Key, data: list[Points]) -> list[float]:
    """The least median distance of the samples of a plain network, over the looks and endings at which they are new."""
    fresh = [np.asarray(drawn(name, key, _FRESH)) for name in _SURFACES]
    scales = [np.median(nearest(np.asarray(d), f, 1)[0]) for d, f in zip(data, fresh, strict=True)]

    def ended(i, model, end):
        new = generated(model, data[i], key, _LOOKED_AT, end)
        is_new = np.median(nearest(np.asarray(data[i]), new, 1)[0]) >= _NEW * scales[i]
        return float(np.median(distances(surface(_SURFACES[i]), new))) if is_new else float("inf")

    def watch(i, model, step):
        return {"distance": min(ended(i, model, end) for end in _ENDS)}

    def make(start, each):
        return network(start, each), recipe(each)

    steps = _STEPS[_PLAIN]
    trained = _ensemble(key, data, make, steps, looks=looks(steps, 200, 1.25), watch=watch)
    return [min(seen.values["distance"] for seen in each.history) for each in trained]


def _measure(key: Key, size: Number, *, kind: str):
    keys = jax.random.split(key, 5)
    data = [drawn(name, jax.random.fold_in(keys[0], i), int(size)) for i, name in enumerate(_SURFACES)]
    trained = _ensemble(keys[1], data, partial(untrained, kind), _STEPS[kind], looks=1)
    plain = _plain(keys[2], data) if kind == _CHART else None
    found = {}
    for i, (name, each) in enumerate(zip(_SURFACES, trained, strict=True)):
        found[name] = _judged(name, data[i], coarse_samples(each.model, data[i], keys[3], _SAMPLES), keys[4])
        if plain is not None:
            found[name] |= {"plain network": plain[i], "plain network / this": plain[i] / found[name]["distance"]}
    return found


def _checks(kind: str, name: str) -> tuple[Check, ...]:
    common = (
        Check(kind, name, "distance", "at_most", 0.0025, 0.0),
        Check(kind, name, "novelty", "at_least", _NEW, 0.0),
        Check(kind, name, "share off null", "at_most", 0.0, 0.04),
    )
    return (*common, Check(kind, name, "plain network / this", "at_least", 3.0, 0.0)) if kind == _CHART else common


M11 = Claim(
    id="M11",
    group=LEARNING,
    title="coarse by construction",
    statement=(
        "A model whose denoiser is a projection on a learned surface comes nearer to the manifold than a plain network "
        "at its best, with new points, and does not memorise however long it is trained."
    ),
    source="derived: denoising score matching of a projection is reconstruction; the bounds are those of a prototype",
    experiments=tuple(
        Experiment(
            kind,
            partial(_measure, kind=kind),
            _SURFACES,
            {"smoke": Grid((64,), 1), "cpu": Grid((64,), 3), "gpu": Grid((64,), 10)},
            x64=False,
        )
        for kind in (_CHART, _ZEROS)
    ),
    checks=tuple(check for kind in (_CHART, _ZEROS) for name in _SURFACES for check in _checks(kind, name)),
    log_y=False,
)
