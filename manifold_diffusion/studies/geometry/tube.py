"""Laws near a closed plane curve and near a surface of revolution, by quadrature: no Monte Carlo, any noise level.

Notation: an ellipse t -> c(t) of the plane, M itself (k = 1, D = 2) or the meridian of a surface (k = 2, D = 3) around
the second axis; n(t) its outward normal, kappa(t) < 0 its curvature towards n. A point of the tube is x = c(t) + s
n(t), with volume element (1 - kappa s) |c'| dt ds, times 2 pi x_1 where the curve is revolved. Everything is in
float64, on the host.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import special

_HALF_WIDTH, _NODES = 9.0, 65
"""Of the quadrature of p_sigma, in standard deviations of the posterior: spacing 0.28, so its error is e^-40."""

Field = Callable[[np.ndarray], np.ndarray]
"""A function of points (..., 2)."""


@dataclass(frozen=True)
class Profile:
    """The ellipse around (centre, 0) with half axes `axes`; revolved around the second axis if `revolved`."""

    axes: tuple[float, float]
    centre: float = 0.0
    revolved: bool = False

    @property
    def dim(self) -> int:
        """1, or 2 for a surface of revolution."""
        return 1 + self.revolved

    def point(self, t: np.ndarray) -> np.ndarray:
        """c(t), (..., 2)."""
        return np.stack([self.centre + self.axes[0] * np.cos(t), self.axes[1] * np.sin(t)], -1)

    def speed(self, t: np.ndarray) -> np.ndarray:
        """|c'(t)|."""
        return np.hypot(self.axes[0] * np.sin(t), self.axes[1] * np.cos(t))

    def tangent(self, t: np.ndarray) -> np.ndarray:
        """c'(t) / |c'(t)|."""
        return np.stack([-self.axes[0] * np.sin(t), self.axes[1] * np.cos(t)], -1) / self.speed(t)[..., None]

    def normal(self, t: np.ndarray) -> np.ndarray:
        """n(t), outward."""
        along = self.tangent(t)
        return np.stack([along[..., 1], -along[..., 0]], -1)

    def curvature(self, t: np.ndarray) -> np.ndarray:
        """kappa(t) towards n: negative."""
        return -self.axes[0] * self.axes[1] / self.speed(t) ** 3

    def circumference(self, x: np.ndarray) -> np.ndarray:
        """2 pi x_1, or 1 for a curve."""
        return 2 * np.pi * x[..., 0] if self.revolved else np.ones(x.shape[:-1])

    def log_circle(self, x: np.ndarray, y: np.ndarray, sigma: float) -> np.ndarray:
        """log int y_1 exp(-x_1 y_1 (1 - cos phi) / sigma^2) dphi = log(2 pi y_1 e^-z I_0(z)), z = x_1 y_1 / sigma^2."""
        if not self.revolved:
            return np.zeros(np.broadcast_shapes(x.shape, y.shape)[:-1])
        return np.log(2 * np.pi * y[..., 0] * special.i0e(x[..., 0] * y[..., 0] / sigma**2))

    def reach(self) -> float:
        """The smallest radius of curvature of the curve; the hole of a surface is taken to be wider."""
        return min(self.axes) ** 2 / max(self.axes)


class Tube(NamedTuple):
    """Nodes x_ij = c(t_i) + s_j n(t_i), their volumes, the area of M at t_i, and log p_sigma = leading + rest there,
    where leading = -s^2 / (2 sigma^2); p_sigma is normalised.
    """

    t: Float[np.ndarray, " t"]
    offsets: Float[np.ndarray, " s"]
    points: Float[np.ndarray, "t s 2"]
    volumes: Float[np.ndarray, "t s"]
    areas: Float[np.ndarray, " t"]
    leading: Float[np.ndarray, "1 s"]
    rest: Float[np.ndarray, "t s"]


def tube(
    profile: Profile, log_density: Field, sigma: float, half_width: float, size: int = 256, across: int = 64
) -> Tube:
    """`size` nodes along the curve and `across` over |s| <= half_width, which must stay inside the reach.

    log_density is that of mu at points of the curve, not normalised. With z = (c(t') - c(t)) / sigma and r = s n /
    sigma, |x - c(t')|^2 - s^2 = sigma^2 z.(z - 2 r): nothing of the order of s^2 / sigma^2 cancels. The integral over
    t' is a trapezoid sum around t, as wide as the posterior, sigma / sqrt(1 - kappa s).
    """
    if half_width >= profile.reach():
        raise ValueError(f"the tube {half_width:.3g} must be inside the reach {profile.reach():.3g}; lower sigma")
    t, s = 2 * np.pi * np.arange(size) / size, np.linspace(-half_width, half_width, across)
    normal, curve = profile.normal(t), profile.point(t)
    points = curve[:, None] + s[None, :, None] * normal[:, None]
    narrowing = 1 - profile.curvature(t)[:, None] * s[None]
    element = narrowing * profile.speed(t)[:, None] * (t[1] - t[0]) * (s[1] - s[0])
    step = np.minimum(sigma / np.sqrt(narrowing) / profile.speed(t)[:, None], np.pi / _HALF_WIDTH)
    nodes = np.linspace(-_HALF_WIDTH, _HALF_WIDTH, _NODES)
    around = t[:, None, None] + step[..., None] * nodes
    y = profile.point(around)
    z = (y - curve[:, None, None]) / sigma
    rise = np.sum(z * (z - 2 * s[None, :, None, None] * normal[:, None, None] / sigma), axis=-1)
    weights = log_density(y) + np.log(profile.speed(around)) + profile.log_circle(points[:, :, None], y, sigma)
    integral = special.logsumexp(weights - rise / 2, axis=-1) + np.log(step * (nodes[1] - nodes[0]))
    areas = profile.speed(t) * profile.circumference(curve) * (t[1] - t[0])
    mass = np.log(np.sum(areas * np.exp(log_density(curve))))
    constant = (profile.dim + 1) * np.log(np.sqrt(2 * np.pi) * sigma) + mass
    return Tube(
        t,
        s,
        points,
        element * profile.circumference(points),
        areas,
        -(s[None] ** 2) / (2 * sigma**2),
        integral - constant,
    )


class Stationary(NamedTuple):
    """What is asked of a law on a tube: the total variation between its projection on M and a target, the root mean
    square distance to M, and the mass in the outermost nodes, which says what the tube cuts off.
    """

    total_variation: float
    distance: float
    edge: float


def gibbs(tube: Tube, log_weight: Float[np.ndarray, "t s"]) -> Float[np.ndarray, "t s"]:
    """The masses of the nodes under the law exp(log_weight) dx, normalised."""
    masses = np.exp(log_weight - np.max(log_weight)) * tube.volumes
    return masses / np.sum(masses)


def compare(tube: Tube, masses: Float[np.ndarray, "t s"], target: Float[np.ndarray, " t"]) -> Stationary:
    """`target` (t,) are masses on M, which need not be normalised."""
    gap = np.sum(masses, axis=1) - target / np.sum(target)
    distance = np.sqrt(np.sum(masses * tube.offsets[None] ** 2))
    return Stationary(float(np.abs(gap).sum()) / 2, float(distance), float(np.sum(masses[:, [0, -1]])))
