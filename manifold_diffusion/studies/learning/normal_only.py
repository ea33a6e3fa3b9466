"""M12: networks that have memorised their data make new points, followed across the manifold alone near it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion import training
from manifold_diffusion._types import Denoiser, Key, Point, Points
from manifold_diffusion.estimators import median_spacing, normal_only_diffusion
from manifold_diffusion.evaluation import normal_only_window, novelty
from manifold_diffusion.geometry import AbstractManifold, Sphere, from_equations
from manifold_diffusion.measures import draw
from manifold_diffusion.scores import from_denoiser
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Grid, Number
from manifold_diffusion.studies.learning.networks import DIM, LEARNING, distances, generated, network, points, recipe
from manifold_diffusion.studies.learning.networks import surface as turned_surface

_SURFACES = ("graph", "ellipsoid")
_FULL, _DATA_FRAMES = "full sampler", "frames from the data"
_FACTORS = (1, 2, 3)
_SAMPLES, _FRESH, _LOOKED_AT = 4000, 20_000, 500
_SIGMA_MIN = 0.002
_STEPS = 30_000


def _on_graph(u: Point) -> Point:
    return jnp.concatenate([u, jnp.stack([u[0] * u[1], u[1] * u[2], u[2] * u[0]])])


def _off_graph(x: Point) -> Point:
    return jnp.concatenate([jnp.sum(x[:3] ** 2)[None] - 1, (x - _on_graph(x[:3]))[3:]])


def surface(name: str) -> AbstractManifold:
    """The graph of (u1 u2, u2 u3, u3 u1) over the unit sphere, in R^6, or the ellipsoid."""
    return from_equations(_off_graph, 6) if name == "graph" else turned_surface(name)


def drawn(name: str, key: Key, size: int) -> Points:
    """Points of the graph over uniform ones of the sphere, or uniform points of the ellipsoid, in float32."""
    if name != "graph":
        return points(turned_surface(name), key, size)
    return jax.vmap(_on_graph)(draw(Sphere(DIM).uniform, key, size).astype(jnp.float32))


def _train(key: Key, data: list[Points]) -> list[Denoiser]:
    keys = [jax.random.split(jax.random.fold_in(key, i)) for i in range(len(data))]
    members = [training.Member(a, network(b, x), x, recipe(x)) for (a, b), x in zip(keys, data, strict=True)]
    return [each.model for each in training.fit_ensemble(members, _STEPS, looks=1)]


def _normal_methods() -> dict[str, dict]:
    """What is compared, by name: from how many spacings on, and whose directions."""
    levels = {f"from {factor} spacings": {"factor": factor} for factor in _FACTORS}
    return {**levels, _DATA_FRAMES: {"factor": 2, "frames": "data"}}


def _sampled(model: Denoiser, data: Points, key: Key) -> dict[str, np.ndarray]:
    """Points of the flow of the network to a noise level of .002, and of the normal steps that end there."""
    score, spacing = from_denoiser(model), median_spacing(data)
    found = {_FULL: generated(model, data, key, _SAMPLES)}
    for name, options in _normal_methods().items():
        factor, frames = options["factor"], options.get("frames", "score")
        estimate = normal_only_diffusion(score, DIM, sigma_0=factor * spacing, sigma_min=_SIGMA_MIN, frames=frames)
        found[name] = np.asarray(draw(estimate(key, data), key, _SAMPLES))
    return found


def _judged(name: str, data: Points, fresh: Points, samples: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    manifold, found = surface(name), {}
    full = None
    for method, new in samples.items():
        far = np.asarray(distances(manifold, jnp.asarray(new)))
        full = far.mean() if full is None else full
        new_or_not = novelty(data, new, fresh, DIM)
        found[method] = {
            "share": new_or_not.memorised.value,
            "share above null": new_or_not.memorised.value - new_or_not.memorised_null.value,
            "novelty": new_or_not.ratio.value,
            "distance": far.mean(),
            "distance, 99 %": np.quantile(far, 0.99),
            "distance / full sampler's": far.mean() / full,
        }
    return found


def _measure(key: Key, size: Number):
    keys = jax.random.split(key, 4)
    data = [drawn(name, jax.random.fold_in(keys[0], i), int(size)) for i, name in enumerate(_SURFACES)]
    found = {}
    for i, (name, model) in enumerate(zip(_SURFACES, _train(keys[1], data), strict=True)):
        fresh = drawn(name, jax.random.fold_in(keys[2], i), _FRESH)
        values = _judged(name, data[i], fresh, _sampled(model, data[i], jax.random.fold_in(keys[3], i)))
        window = normal_only_window(keys[3], from_denoiser(model), data[i], DIM, _FACTORS, _LOOKED_AT)
        for factor, gap, turn in zip(_FACTORS, window.low_gap, window.turn, strict=True):
            values[f"from {factor} spacings"] |= {"gap, 5 %": gap, "turn": turn}
        found |= {f"{name}, {method}": each for method, each in values.items()}
    return found


def _checks(name: str) -> tuple[Check, ...]:
    check = partial(Check, "memorised networks")
    normal = f"{name}, from 2 spacings"
    return (
        check(f"{name}, {_FULL}", "share", "at_least", 0.5, 0.0),
        *(
            found
            for method in (normal, f"{name}, {_DATA_FRAMES}")
            for found in (
                check(method, "share above null", "at_most", 0.0, 0.03),
                check(method, "novelty", "at_least", 0.85, 0.0),
                check(method, "distance / full sampler's", "at_most", 4.0, 0.0),
            )
        ),
    )


M12 = Claim(
    id="M12",
    group=LEARNING,
    title="normal-only sampling",
    statement=(
        "A network that has memorised makes new points, without training, if below two spacings of the data only the "
        "normal part of its denoiser is followed."
    ),
    source="derived: the error of a memorising score is tangential (G9); the bounds are those of three such networks",
    experiments=(
        Experiment(
            "memorised networks",
            _measure,
            tuple(f"{name}, {method}" for name in _SURFACES for method in (_FULL, *_normal_methods())),
            {"smoke": Grid((64,), 1), "cpu": Grid((64,), 5), "gpu": Grid((64,), 10)},
            x64=False,
        ),
    ),
    checks=tuple(check for name in _SURFACES for check in _checks(name)),
    log_y=False,
)
