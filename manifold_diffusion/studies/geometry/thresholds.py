"""G3: which errors of a score the law forgives, and which it does not."""

from functools import partial

from manifold_diffusion._types import Key
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Number
from manifold_diffusion.studies.geometry.laws import (
    CURVE,
    GEOMETRY,
    PAPER,
    data_law,
    levels,
    log_density,
    outward,
    potential,
    swirl,
)
from manifold_diffusion.studies.geometry.stationary import stationary
from manifold_diffusion.studies.geometry.tube import compare, gibbs, tube

_SIDES = 8.0
_TV_EXPONENTS = (-3.0, -1.0, 0.0)
_UNRECOVERED = 0.5
_DISTANCE_EXPONENTS = (0.0, 1.0, 1.5, 2.0)
# Along and across: for a > 1 the law gathers at two points of M, in widths of about sqrt(sigma) and sigma.
_NODES = {0.0: (256, 64), 1.0: (256, 64), 1.5: (2048, 96), 2.0: (2048, 128)}


def method(exponent: Number) -> str:
    """The name of an error of size sigma^-a."""
    return f"a={exponent:g}"


def _density(key: Key, sigma: Number, *, exponents: tuple[float, ...]):
    """An error sigma^-a phi of log p_sigma: the law is known."""
    near = tube(CURVE, log_density, sigma, _SIDES * sigma, size=1024)
    target = data_law(near.areas, CURVE.point(near.t))
    log_law = near.leading + near.rest
    found = {a: compare(near, gibbs(near, log_law + sigma**-a * potential(near.points)), target) for a in exponents}
    return {method(a): {"TV to mu": law.total_variation, "edge": law.edge} for a, law in found.items()}


def _swirl(key: Key, sigma: Number, *, exponents: tuple[float, ...]):
    """An error sigma^-a e of the score, e not a gradient: the law solves an equation."""
    near = tube(CURVE, log_density, sigma, 7 * sigma, size=160, across=40)
    target, found = data_law(near.areas, CURVE.point(near.t)), {}
    for a in exponents:
        masses = stationary(CURVE, near, near.leading + near.rest, lambda x, a=a: sigma**-a * swirl(x))
        law = compare(near, masses, target)
        found[method(a)] = {"TV to mu": law.total_variation, "distance": law.distance, "edge": law.edge}
    return found


def _distance(key: Key, sigma: Number, *, exponents: tuple[float, ...]):
    """An error that moves the law off M, by about sigma^{2-a} where that is more than sigma."""
    found = {}
    for a in exponents:
        half_width = min(_SIDES * sigma + 0.3 * sigma ** (2 - a), 0.95 * CURVE.reach())
        near = tube(CURVE, log_density, sigma, half_width, *_NODES[a])
        masses = gibbs(near, near.leading + near.rest + sigma**-a * outward(near.points))
        law = compare(near, masses, near.areas)
        found[method(a)] = {"distance": law.distance, "edge": law.edge}
    return found


def _experiment(
    name: str, measure, exponents: tuple[float, ...], low: float, high: float, smoke: int = 4
) -> Experiment:
    return Experiment(
        name,
        partial(measure, exponents=exponents),
        tuple(map(method, exponents)),
        levels(low, high, smoke=smoke),
        size_name="sigma",
    )


G3 = Claim(
    id="G3",
    group=GEOMETRY,
    title="thresholds",
    statement=(
        "An error sigma^-a of the score: mu is recovered for a < 0 only, at rate sigma^min(2,-a); M as long as a < 2, "
        "at distance sigma^min(1,2-a)."
    ),
    source=PAPER + "; the exponents derived",
    experiments=(
        _experiment("gradient error", _density, _TV_EXPONENTS, 0.001, 0.02),
        _experiment("gradient error, a > 0", _density, (_UNRECOVERED,), 0.005, 0.05),
        _experiment("error with curl", _swirl, (*_TV_EXPONENTS, _UNRECOVERED), 0.005, 0.04),
        _experiment("outward error", _distance, _DISTANCE_EXPONENTS[:2], 0.0005, 0.01),
        _experiment("outward error, a = 3/2", _distance, _DISTANCE_EXPONENTS[2:3], 1e-5, 1e-3, smoke=0),
        _experiment("outward error, a = 2", _distance, _DISTANCE_EXPONENTS[3:], 0.008, 0.03, smoke=0),
    ),
    checks=(
        *(
            Check(name, method(a), "TV to mu", "slope", min(2.0, -a), 0.07)
            for name in ("gradient error", "error with curl")
            for a in _TV_EXPONENTS
        ),
        Check("gradient error, a > 0", method(_UNRECOVERED), "TV to mu", "slope_at_most", 0.0, 0.07),
        Check("error with curl", method(_UNRECOVERED), "TV to mu", "slope_at_most", 0.0, 0.07),
        *(Check("error with curl", method(a), "distance", "slope", 1.0, 0.07) for a in (0.0, _UNRECOVERED)),
        Check("outward error", method(0.0), "distance", "slope", 1.0, 0.07),
        Check("outward error", method(1.0), "distance", "slope", 1.0, 0.07),
        Check("outward error, a = 3/2", method(1.5), "distance", "slope", 0.5, 0.07),
        Check("outward error, a = 2", method(2.0), "distance", "slope", 0.0, 0.07),
        *(
            Check(name, method(a), "edge", "at_most", 0.0, 1e-6)
            for name, a in (("gradient error", 0.0), ("outward error", 1.0), ("outward error, a = 2", 2.0))
        ),
    ),
)
