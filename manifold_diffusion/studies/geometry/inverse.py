"""G8: a posterior under the uniform prior of M forgives larger errors of the score than one under the data's law."""

from functools import partial

import numpy as np

from manifold_diffusion._types import Key
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Number
from manifold_diffusion.studies.geometry.laws import GEOMETRY, PAPER, PROFILES, data_law, levels, log_density, potential
from manifold_diffusion.studies.geometry.tempered import tempered_tube
from manifold_diffusion.studies.geometry.tube import compare, gibbs, tube

_ERRORS = (0.0, 0.5, 1.0)
_OBSERVED = np.asarray([0.8, 0.5])


def loss(x: np.ndarray) -> np.ndarray:
    """v(x), minus the log likelihood of an observation of x with unit noise."""
    return np.sum((x - _OBSERVED) ** 2, axis=-1) / 2


def _posteriors(key: Key, sigma: Number, *, name: str):
    """The laws of dX = (sigma^alpha s - grad v) dt + sqrt(2) dW, alpha = 1 + a/2, and of alpha = 0."""
    profile, found = PROFILES[name], {}
    for a in _ERRORS:
        alpha = 1 + a / 2
        near = tempered_tube(profile, sigma, alpha)
        log_prior = near.leading + near.rest + sigma**-a * potential(near.points)
        likelihood = np.exp(-loss(profile.point(near.t)))
        law = compare(near, gibbs(near, sigma**alpha * log_prior - loss(near.points)), near.areas * likelihood)
        found[f"maximum entropy, a={a:g}"] = {"TV to the posterior": law.total_variation, "edge": law.edge}
    near = tube(profile, log_density, sigma, 8 * sigma)
    on = profile.point(near.t)
    masses = gibbs(near, near.leading + near.rest + potential(near.points) - loss(near.points))
    law = compare(near, masses, data_law(near.areas, on) * np.exp(-loss(on)))
    return found | {"plain prior, a=0": {"TV to the posterior": law.total_variation, "edge": law.edge}}


G8 = Claim(
    id="G8",
    group=GEOMETRY,
    title="inverse problems",
    statement=(
        "Langevin with drift sigma^alpha s - grad v reaches the posterior exp(-v) dM at rate sigma^{1-a/2} for alpha = "
        "1 + a/2; under the plain prior it stalls at a = 0."
    ),
    source=PAPER + "; the exponents derived",
    experiments=tuple(
        Experiment(
            name,
            partial(_posteriors, name=name),
            (*(f"maximum entropy, a={a:g}" for a in _ERRORS), "plain prior, a=0"),
            levels(1e-7, 1e-5),
            size_name="sigma",
        )
        for name in PROFILES
    ),
    checks=(
        *(
            Check(name, f"maximum entropy, a={a:g}", "TV to the posterior", "slope", 1 - a / 2, 0.05)
            for name in PROFILES
            for a in _ERRORS
        ),
        *(Check(name, "plain prior, a=0", "TV to the posterior", "slope", 0.0, 0.05) for name in PROFILES),
    ),
)
