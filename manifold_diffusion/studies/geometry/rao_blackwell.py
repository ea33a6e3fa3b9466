"""G10: the tangential denoising target given the nearest point: its variance, and what its mean is.

On the sphere S^k with density q ~ exp(kappa n.y) and X = Y + sigma Z, the target at m = X / |X| is T = P_m (Y - X) /
sigma^2 = P_m Y / sigma^2. Given X = r m, Y is von Mises-Fisher with natural parameter v = r m / sigma^2 + kappa n, so
E[Y | X] = a v and E[Y Y^T | X] = a I + (1 - (k + 1) a) v v^T / |v|^2 with a = A(|v|) / |v|; given m alone, r has the
density r^k exp(-r^2 / (2 sigma^2)) |v|^{(1-k)/2} I_{(k-1)/2}(|v|) (derived): one integral.
"""

import math
from functools import partial

import numpy as np
from scipy import special

from manifold_diffusion._types import Key
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Number
from manifold_diffusion.studies.geometry.laws import GEOMETRY, levels

SOURCE = "Rao-Blackwellized Score Matching on Manifolds, arXiv 2605.25567"
_CONCENTRATION, _ANGLE = 1.0, 1.0
_DIMS = (1, 2, 3, 4)


def conditional_moments(k: int, sigma: float, kappa: float, angle: float) -> tuple[float, float]:
    """(E[T | m] / (kappa P_m n), Var[T | m] = E|T - E[T | m]|^2) at the angle between m and n."""
    z, weights = np.polynomial.hermite_e.hermegauss(80)
    r = 1 + sigma * z
    r, weights = r[r > 0], weights[r > 0]
    # v in the plane of m and n.
    along, across = r / sigma**2 + kappa * math.cos(angle), kappa * math.sin(angle)
    length = np.hypot(along, across)
    order = (k - 1) / 2
    # exp(-(r - 1)^2 / (2 sigma^2)) is in the weights; what is left of the exponents is |v| - r / sigma^2, O(1).
    log_density = k * np.log(r) - order * np.log(length) + np.log(special.ive(order, length)) + length - r / sigma**2
    density = weights * np.exp(log_density - log_density.max())
    density = density / density.sum()
    a = special.ive(order + 1, length) / special.ive(order, length) / length
    mean = np.sum(density * a) / sigma**2
    square = np.sum(density * (k * a + (1 - (k + 1) * a) * (across / length) ** 2)) / sigma**4
    return float(mean), float(square - (mean * across) ** 2)


def extrinsic_factor(k: int, sigma: float, kappa: float, angle: float) -> float:
    """The c of E[T | m] = grad log q + sigma^2 (grad(Lap q / q) / 2 + c grad log q) + O(sigma^4).

    Here Lap q / q = -k kappa cos + kappa^2 sin^2, of gradient (-k - 2 kappa cos) kappa P_m n.
    """
    mean, _ = conditional_moments(k, sigma, kappa, angle)
    return (mean - 1) / sigma**2 + k / 2 + kappa * math.cos(angle)


def _sphere(key: Key, sigma: Number, *, k: int):
    _, variance = conditional_moments(k, sigma, _CONCENTRATION, _ANGLE)
    factor = extrinsic_factor(k, sigma, _CONCENTRATION, _ANGLE)
    return {"exact": {"variance": variance, "sigma^2 variance / k": sigma**2 * variance / k, "factor": factor}}


G10 = Claim(
    id="G10",
    group=GEOMETRY,
    title="Rao-Blackwell",
    statement=(
        "Given Pi(x) the tangential denoising target has variance k/sigma^2; its mean is the Riemannian score up to "
        "sigma^2, with extrinsic factor 1 - k/2 on S^k."
    ),
    source=SOURCE + "; the moments derived",
    experiments=tuple(
        Experiment(f"S^{k}", partial(_sphere, k=k), ("exact",), levels(0.005, 0.03), size_name="sigma") for k in _DIMS
    ),
    checks=tuple(
        check
        for k in _DIMS
        for check in (
            Check(f"S^{k}", "exact", "variance", "slope", -2.0, 0.05),
            Check(f"S^{k}", "exact", "sigma^2 variance / k", "mean", 1.0, 0.02),
            Check(f"S^{k}", "exact", "factor", "mean", 1 - k / 2, 0.02),
        )
    ),
)
