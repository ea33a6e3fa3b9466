"""Closed forms and numerical integrals that the laws are checked against; numpy and scipy, nothing of the package."""

import math
from decimal import Decimal, localcontext

import numpy as np
from scipy import optimize, special


def unit_sphere_area(dim):
    """2 pi^{(k+1)/2} / Gamma((k+1)/2)."""
    return 2 * np.pi ** ((dim + 1) / 2) / special.gamma((dim + 1) / 2)


def longitude(x):
    """The angle in the first two coordinates, as a share of the circle."""
    return np.mod(np.arctan2(x[:, 1], x[:, 0]) / (2 * np.pi), 1)


def sphere_height_share(dim):
    """x -> the share of S^dim below x's last coordinate: (1 + z) / 2 has the Beta(dim/2, dim/2) law."""
    return lambda x: special.betainc(dim / 2, dim / 2, np.clip((1 + x[:, -1] / np.linalg.norm(x, axis=1)) / 2, 0, 1))


def torus_latitude_share(major, minor):
    """x -> the share of the torus below x's latitude: (R b + r sin b) / (2 pi R)."""

    def share(x):
        ring = np.hypot(x[:, 0], x[:, 1]) - major
        b = np.mod(np.arctan2(x[:, 2], ring), 2 * np.pi)
        return (major * b + minor * np.sin(b)) / (2 * np.pi * major)

    return share


def curve_length(at, nodes=200_000):
    """Length of the closed polygon with many corners: O(1/nodes^2) for smooth curves."""
    points = at(np.linspace(0, 2 * np.pi, nodes + 1))
    return float(np.sum(np.linalg.norm(np.diff(points, axis=0), axis=1)))


def arc_share(at, parameter, nodes=200_000):
    """x -> the share of the curve's length before the parameter of x."""

    def share(x):
        t = np.linspace(0, 2 * np.pi, nodes + 1)
        steps = np.linalg.norm(np.diff(at(t), axis=0), axis=1)
        length = np.concatenate([[0], np.cumsum(steps)])
        return np.interp(np.mod(parameter(x), 2 * np.pi), t, length / length[-1])

    return share


def ellipsoid_sections(axes, heights=2001, angles=256):
    """(h, A): the area A of {z <= h c} of the ellipsoid with semi-axes (a, b, c); trapezoids in angle, Simpson in h.

    With x = (a w cos t, b w sin t, c h), w = sqrt(1 - h^2), the area element per dh dt is
    sqrt(c^2 w^2 (b^2 cos^2 t + a^2 sin^2 t) + a^2 b^2 h^2): smooth, so the angle converges geometrically.
    """
    a, b, c = axes
    fine = np.linspace(-1, 1, 2 * heights - 1)
    t = 2 * np.pi * np.arange(angles) / angles
    circle = (b * np.cos(t)) ** 2 + (a * np.sin(t)) ** 2
    width = 1 - fine**2
    element = np.sqrt(c**2 * width[:, None] * circle + (a * b * fine[:, None]) ** 2).mean(1) * 2 * np.pi
    step = fine[2] - fine[0]
    pieces = step / 6 * (element[:-2:2] + 4 * element[1:-1:2] + element[2::2])
    return fine[::2], np.concatenate([[0], np.cumsum(pieces)])


def ellipsoid_height_share(axes):
    """x -> the share of the ellipsoid's area below x's height."""

    def share(x):
        h, area = ellipsoid_sections(axes)
        return np.interp(x[:, 2] / axes[2], h, area / area[-1])

    return share


def ellipsoid_area(axes):
    """4 pi R_G(a^2 b^2, b^2 c^2, c^2 a^2), Carlson's symmetric integral (DLMF 19.33)."""
    a, b, c = (axis**2 for axis in axes)
    return 4 * np.pi * special.elliprg(a * b, b * c, c * a)


def ellipsoid_volume_by_quadrature(axes, order=60):
    """The 3-volume of an ellipsoid in R^4, by Gauss-Legendre in the two polar angles and trapezoids in the third."""
    node, weight = np.polynomial.legendre.leggauss(order)
    angle, weight = np.pi * (node + 1) / 2, np.pi * weight / 2
    t = 2 * np.pi * np.arange(2 * order) / (2 * order)
    p, q, r = np.meshgrid(angle, angle, t, indexing="ij")
    theta = np.stack(
        [np.sin(p) * np.sin(q) * np.cos(r), np.sin(p) * np.sin(q) * np.sin(r), np.sin(p) * np.cos(q), np.cos(p)]
    )
    element = np.sin(p) ** 2 * np.sin(q) * np.linalg.norm(theta / np.reshape(axes, (4, 1, 1, 1)), axis=0)
    return float(np.prod(axes) * np.einsum("i,j,ijk->", weight, weight, element) * np.pi / order)


def ellipse_length(a, b):
    """4 a E(1 - b^2 / a^2)."""
    return 4 * a * special.ellipe(1 - b**2 / a**2)


def ellipsoid_curvatures(axes):
    """x -> (outward normal, principal curvatures): the Hessian of sum (x_i / a_i)^2 on the tangent space."""
    inverse = 1 / np.asarray(axes) ** 2

    def at(x):
        gradient = x * inverse
        size = np.linalg.norm(gradient)
        normal = gradient / size
        tangent = np.linalg.svd(normal[None])[2][1:]
        return normal, -np.linalg.eigvalsh(tangent @ np.diag(inverse / size) @ tangent.T)

    return at


def torus_curvatures(major, minor):
    """x -> (outward normal, (-1/r, -cos b / (R + r cos b)))."""

    def at(x):
        ring = np.hypot(x[0], x[1])
        radial = np.array([x[0] / ring, x[1] / ring, 0])
        normal = (x - major * radial) / minor
        return normal, np.array([-1 / minor, -(normal @ radial) / ring])

    return at


def sphere_curvatures(radius):
    """x -> (outward normal, k copies of -1/R)."""
    return lambda x: (x / np.linalg.norm(x), np.full(len(x) - 1, -1 / radius))


def sphere_heat_kernel(dim, height, tau):
    """log of the heat kernel of the unit sphere S^k at the height u = cos(theta) and the time tau.

    sum_l d_l e^{-l (l + k - 1) tau / 2} G_l(u) / |S^k|, d_l the number of harmonics and G_l Gegenbauer's polynomial
    with G_l(1) = 1. In decimals, as the terms cancel down to e^{-pi^2 / (2 tau)}.
    """
    with localcontext() as context:
        context.prec = int(60 + 3 / tau)
        u, decay = Decimal(height), (-Decimal(tau) / 2).exp()
        before, now, total, l = Decimal(1), Decimal(height), Decimal(1), 1
        while True:
            count = Decimal(2) if dim == 1 else Decimal((2 * l + dim - 1) * math.comb(l + dim - 2, l)) / (dim - 1)
            weight = count * decay ** (l * (l + dim - 1))
            if weight < Decimal(10) ** (3 - context.prec):
                return float(total.ln()) - np.log(unit_sphere_area(dim))
            total += weight * now
            before, now = now, ((2 * l + dim - 1) * u * now - l * before) / (l + dim - 1)
            l += 1


def rotation_heat_kernel(half_angle_cosine, time):
    """log of the heat kernel of SO(3), by Peter and Weyl's sum over characters.

    sum_l (2 l + 1) e^{-l (l + 1) t / 4} U_{2 l}(cos(w / 2)) / (16 sqrt 2 pi^2): Frobenius' metric is twice that of |w|.
    """
    with localcontext() as context:
        context.prec = int(60 + 6 / time)
        u, decay = Decimal(half_angle_cosine), (-Decimal(time) / 4).exp()
        even, odd, total, l = Decimal(1), 2 * Decimal(half_angle_cosine), Decimal(0), 0
        while (weight := (2 * l + 1) * decay ** (l * (l + 1))) > Decimal(10) ** (3 - context.prec):
            total += weight * even
            even = 2 * u * odd - even
            odd = 2 * u * even - odd
            l += 1
        return float(total.ln()) - np.log(16 * np.sqrt(2) * np.pi**2)


def distance_to_curve(at, x, nodes=4000):
    """min_t |at(t) - x|: the best of a grid, then Brent's method around it."""
    t = np.linspace(0, 2 * np.pi, nodes, endpoint=False)
    best = t[np.argmin(np.linalg.norm(at(t) - x, axis=1))]
    step = 2 * np.pi / nodes
    found = optimize.minimize_scalar(
        lambda s: np.linalg.norm(at(np.array([s]))[0] - x), bounds=(best - step, best + step), method="bounded",
        options={"xatol": 1e-14},
    )  # fmt: skip
    return float(found.fun)
