"""D7: how long noising takes from far away: the cutoff of the Ornstein-Uhlenbeck process."""

from typing import Any

import numpy as np
from scipy import optimize, stats

from manifold_diffusion._types import Key
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Grid, Number, Scale
from manifold_diffusion.studies.discretisation.orders import DISCRETISATION


def normal_variation(mean: float, variance: float) -> float:
    """Total variation between N(mean, variance) and N(0, 1), mean > 0 and 0 < variance <= 1: the difference of masses
    between the points where the densities meet.
    """
    a, b = 1 / variance - 1, mean / variance
    c = mean**2 / variance + np.log(variance)
    # The far one is infinite where the variance rounds to 1.
    q = b + np.sqrt(b**2 - a * c)
    roots = np.array([c / q, q / a if a > 0 else np.inf])
    inside = np.diff(stats.norm.cdf((roots - mean) / np.sqrt(variance)))[0]
    return float(inside - np.diff(stats.norm.cdf(roots))[0])


def _variation(distance: float, time: float) -> float:
    """Of dX = -X dt + sqrt(2) dW from `distance`, to its stationary law N(0, 1)."""
    return normal_variation(distance * np.exp(-time), -np.expm1(-2 * time))


def _mixing(key: Key, size: Number):
    """The times at which the variation is 1/4: of OU, and of Brownian motion from R against one from 0."""
    far = float(size)
    ornstein: Any = optimize.brentq(lambda t: _variation(far, t) - 0.25, 0.5, 10 + np.log(far))
    quantile = stats.norm.ppf((1 + 0.25) / 2)
    shifts = np.linspace(-2, 2, 81)
    profile = 2 * stats.norm.cdf(np.exp(-shifts) / 2) - 1
    gap = max(abs(_variation(far, np.log(far) + s) - p) for s, p in zip(shifts, profile, strict=True))
    return {
        "Ornstein-Uhlenbeck": {"exp(mixing time)": float(np.exp(ornstein)), "distance to the profile": gap},
        "Brownian": {"mixing time": float((far / (2 * quantile)) ** 2)},
    }


_GRID = Grid((100.0, 1000.0, 1e4, 1e5), 1)
_GRIDS: dict[Scale, Grid] = {"smoke": _GRID, "cpu": _GRID, "gpu": _GRID}

D7 = Claim(
    id="D7",
    group=DISCRETISATION,
    title="forward",
    statement=(
        "From distance R the Ornstein-Uhlenbeck process mixes at log R, with the profile 2 Phi(e^-s/2) - 1 at log R + "
        "s; Brownian motion needs a time of order R^2."
    ),
    source="arXiv 2408.13799",
    experiments=(Experiment("cutoff", _mixing, ("Ornstein-Uhlenbeck", "Brownian"), _GRIDS, "R"),),
    checks=(
        Check("cutoff", "Ornstein-Uhlenbeck", "exp(mixing time)", "slope", 1.0, 0.02),
        Check("cutoff", "Brownian", "mixing time", "slope", 2.0, 0.02),
        Check("cutoff", "Ornstein-Uhlenbeck", "distance to the profile", "at_most", 0.0, 1e-3, min_size=1000),
    ),
)
