"""G4-G6: the stationary law of tempered-score Langevin, dX = sigma^alpha s dt + sqrt(2) dW, is nearly uniform on M."""

from functools import partial

from manifold_diffusion._types import Key
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Number
from manifold_diffusion.studies.geometry.laws import GEOMETRY, PAPER, PROFILES, levels, log_density, potential, uniform
from manifold_diffusion.studies.geometry.tube import Profile, Tube, compare, gibbs, tube

_SIDES = 8.0
_LOW, _HIGH = 1e-7, 1e-5
_EXPONENTS = {"curve": (0.25, 0.5, 0.75, 1.0), "surface": (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)}
_ERRORS = (0.0, 0.5, 1.0)


def tempered_tube(profile: Profile, sigma: Number, alpha: Number) -> Tube:
    """Eight standard deviations sigma^{1-alpha/2} of the tempered law wide."""
    return tube(profile, log_density, sigma, _SIDES * sigma ** (1 - alpha / 2))


def method(alpha: Number) -> str:
    """The name of a tempering."""
    return f"alpha={alpha:g}"


def _laws(key: Key, sigma: Number, *, name: str):
    profile, found = PROFILES[name], {}
    for alpha in _EXPONENTS[name]:
        near = tempered_tube(profile, sigma, alpha)
        law = compare(near, gibbs(near, sigma**alpha * (near.leading + near.rest)), uniform(near.areas, near.t))
        found[method(alpha)] = {
            "TV to uniform": law.total_variation,
            "distance": law.distance,
            "distance / thickness": law.distance / sigma ** (1 - alpha / 2),
            "edge": law.edge,
        }
    return found


def _perturbed(key: Key, sigma: Number, *, name: str):
    """At the best tempering, alpha = 1 + a/2, and at alpha = 1."""
    profile, found = PROFILES[name], {}
    for a in _ERRORS:
        for label, alpha in ((f"a={a:g}, best alpha", 1 + a / 2), (f"a={a:g}, alpha=1", 1.0)):
            near = tempered_tube(profile, sigma, alpha)
            log_law = near.leading + near.rest + sigma**-a * potential(near.points)
            law = compare(near, gibbs(near, sigma**alpha * log_law), uniform(near.areas, near.t))
            found[label] = {"TV to uniform": law.total_variation, "edge": law.edge}
    return found


def _expected(name: str, alpha: Number) -> float:
    return min(alpha, 2.0 if name == "curve" else 2.0 - alpha)


_METHODS = tuple(f"a={a:g}, {which}" for a in _ERRORS for which in ("best alpha", "alpha=1"))
_TEMPERED = tuple(
    Experiment(name, partial(_laws, name=name), tuple(map(method, alphas)), levels(_LOW, _HIGH), size_name="sigma")
    for name, alphas in _EXPONENTS.items()
)

G4 = Claim(
    id="G4",
    group=GEOMETRY,
    title="uniform law",
    statement=(
        "Tempered-score Langevin tends to the uniform law on M: TV of its projection falls as sigma^min(alpha,2) on "
        "plane curves and sigma^min(alpha,2-alpha) for k >= 2."
    ),
    source=PAPER + "; the exponents derived",
    experiments=_TEMPERED,
    checks=(
        *(
            Check(name, method(alpha), "TV to uniform", "slope", _expected(name, alpha), 0.03)
            for name, alphas in _EXPONENTS.items()
            for alpha in alphas
        ),
        *(Check(name, method(_EXPONENTS[name][-1]), "edge", "at_most", 0.0, 1e-4) for name in PROFILES),
    ),
)

G5 = Claim(
    id="G5",
    group=GEOMETRY,
    title="thickness",
    statement="The root mean square distance of that law to M is sigma^{1-alpha/2}.",
    source=PAPER + " (derived)",
    experiments=_TEMPERED,
    checks=tuple(
        check
        for name, alphas in _EXPONENTS.items()
        for alpha in alphas
        for check in (
            Check(name, method(alpha), "distance", "slope", 1 - alpha / 2, 0.02),
            Check(name, method(alpha), "distance / thickness", "mean", 1.0, 0.02),
        )
    ),
)

G6 = Claim(
    id="G6",
    group=GEOMETRY,
    title="robustness",
    statement=(
        "Under an error sigma^-a of the score the TV to uniform falls as sigma^{alpha-a}; the best tempering for k >= "
        "2, alpha = 1 + a/2, gives sigma^{1-a/2}."
    ),
    source=PAPER + "; the exponents derived",
    experiments=tuple(
        Experiment(name, partial(_perturbed, name=name), _METHODS, levels(_LOW, _HIGH), size_name="sigma")
        for name in PROFILES
    ),
    checks=(
        *(
            Check(name, f"a={a:g}, best alpha", "TV to uniform", "slope", 1 - a / 2, 0.05)
            for name in PROFILES
            for a in _ERRORS
        ),
        *(Check("curve", f"a={a:g}, alpha=1", "TV to uniform", "slope", 1 - a, 0.05) for a in _ERRORS),
        *(Check(name, "a=1, best alpha", "edge", "at_most", 0.0, 1e-4) for name in PROFILES),
    ),
)
