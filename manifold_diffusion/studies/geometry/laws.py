"""What the claims on stationary laws share: two manifolds, a density, errors, and the grids of noise levels."""

import numpy as np

from manifold_diffusion.studies.claim import Grid, Scale
from manifold_diffusion.studies.geometry.tube import Profile

GEOMETRY = "G"
PAPER = "When Scores Learn Geometry: Rate Separations under the Manifold Hypothesis, arXiv 2509.24912"

CURVE = Profile((1.0, 2.0))
SURFACE = Profile((0.5, 0.5), centre=1.0, revolved=True)
PROFILES = {"curve": CURVE, "surface": SURFACE}


def log_density(x: np.ndarray) -> np.ndarray:
    """Of mu, not normalised: it rises by a factor of e across M."""
    return x[..., 0] / 2


def potential(x: np.ndarray) -> np.ndarray:
    """An error of the log density, which varies along M and across it."""
    return 0.1 * (x[..., 0] + 0.5 * x[..., 1] ** 2)


def outward(x: np.ndarray) -> np.ndarray:
    """An error that is constant on the ellipse and grows outwards, so that it moves the law off M and not along it."""
    return 0.1 * (x[..., 0] ** 2 / CURVE.axes[0] ** 2 + x[..., 1] ** 2 / CURVE.axes[1] ** 2)


def swirl(x: np.ndarray) -> np.ndarray:
    """A vector field with curl, along M and across it."""
    return 0.3 * np.stack([-x[..., 1] * (1 + x[..., 0]), x[..., 0]], axis=-1)


def uniform(areas: np.ndarray, _: np.ndarray) -> np.ndarray:
    """The masses of the uniform law at points of M with those areas."""
    return areas


def data_law(areas: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The masses of mu."""
    return areas * np.exp(log_density(points))


def levels(low: float, high: float, count: int = 5, smoke: int = 4) -> dict[Scale, Grid]:
    """Noise levels from low to high, each once: what is measured has no sampling error. `smoke` of them, or none for
    0.
    """
    grids: dict[Scale, Grid] = {"cpu": _geometric(low, high, count), "gpu": _geometric(low, high, 2 * count)}
    if smoke:
        grids["smoke"] = _geometric(low, high, smoke)
    return grids


def _geometric(low: float, high: float, count: int) -> Grid:
    return Grid(tuple(float(s) for s in np.geomspace(low, high, count)), 1)
