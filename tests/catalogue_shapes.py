"""Entries of the catalogue for the well-known shapes, with what is known about them by other routes."""

import jax.numpy as jnp
import numpy as np

from manifold_diffusion import geometry
from tests import oracles

TREFOIL = (2.0, 0.7)
KLEIN = (2.0, 0.7)


def trefoil_at(t):
    """((R + r cos 3t) cos 2t, (R + r cos 3t) sin 2t, r sin 3t)."""
    ring = TREFOIL[0] + TREFOIL[1] * np.cos(3 * t)
    return np.stack([ring * np.cos(2 * t), ring * np.sin(2 * t), TREFOIL[1] * np.sin(3 * t)], -1)


def trefoil_angles(x):
    """Longitude 2t and latitude 3t on the torus of the knot."""
    return np.arctan2(x[..., 1], x[..., 0]), np.arctan2(x[..., 2], np.hypot(x[..., 0], x[..., 1]) - TREFOIL[0])


def trefoil_equation(x):
    """On the torus, and 3 longitude = 2 latitude."""
    a, b = trefoil_angles(x)
    off = np.hypot(np.hypot(x[0], x[1]) - TREFOIL[0], x[2]) - TREFOIL[1]
    return float(np.hypot(off, 2 * np.sin((3 * a - 2 * b) / 2)))


def trefoil_parameter(x):
    """t = latitude - longitude."""
    a, b = trefoil_angles(x)
    return b - a


def klein_angles(x):
    """(a, b) of points of the bottle; a in [0, 2 pi)."""
    a = np.mod(np.arctan2(x[..., 1], x[..., 0]), 2 * np.pi)
    height = x[..., 2] * np.cos(a / 2) + x[..., 3] * np.sin(a / 2)
    return a, np.arctan2(height, np.hypot(x[..., 0], x[..., 1]) - KLEIN[0])


def klein_at(a, b):
    """The point at the angles."""
    ring, height = KLEIN[0] + KLEIN[1] * np.cos(b), KLEIN[1] * np.sin(b)
    return np.stack([ring * np.cos(a), ring * np.sin(a), height * np.cos(a / 2), height * np.sin(a / 2)], -1)


def klein_element(b):
    """The area element, which depends on b alone."""
    return KLEIN[1] * np.hypot(KLEIN[0] + KLEIN[1] * np.cos(b), KLEIN[1] * np.sin(b) / 2)


def klein_share(x):
    """The share of the area below b."""
    nodes = np.linspace(-np.pi, np.pi, 4001)
    middle = klein_element((nodes[1:] + nodes[:-1]) / 2)
    share = np.concatenate([[0], np.cumsum(middle)])
    return np.interp(klein_angles(x)[1], nodes, share / share[-1])


def dense_grid(at, *counts):
    """Points at equal angles."""
    angles = np.meshgrid(*(2 * np.pi * np.arange(count) / count for count in counts), indexing="ij")
    return at(*(a.ravel() for a in angles))


def double_torus_equation(x):
    """F / |grad F|: the distance, to first order."""
    lemniscate = x[0] ** 2 * (1 - x[0] ** 2) - x[1] ** 2
    slope = 2 * lemniscate * np.array([2 * x[0] - 4 * x[0] ** 3, -2 * x[1], 0]) + np.array([0, 0, x[2] / 2])
    return float((lemniscate**2 + x[2] ** 2 / 4 - 0.04) / np.linalg.norm(slope))


def from_pole(sign):
    """The stereographic chart of the unit sphere that is centred at sign e_3."""

    def embed(u):
        square = jnp.sum(u * u)
        return jnp.stack([2 * u[0], 2 * u[1], sign * (1 - square)]) / (1 + square)

    return embed


def two_charts():
    """The sphere by two stereographic charts."""
    return geometry.from_embedding([from_pole(1.0), from_pole(-1.0)], [[(-1.5, 1.5)] * 2] * 2, grid=24)


def manifolds():
    """The entries by name."""
    from tests.catalogue import ManifoldEntry

    return {
        "trefoil": ManifoldEntry(
            make=lambda: geometry.trefoil(*TREFOIL),
            reach=0.4,
            equation=trefoil_equation,
            volume=lambda: oracles.curve_length(trefoil_at),
            dense=lambda manifold: trefoil_at(np.linspace(0, 2 * np.pi, 200_000)),
            uniform_parameters=(oracles.arc_share(trefoil_at, trefoil_parameter),),
            quadrature=256,
            far=False,
            reach_is_exact=False,
            rounding=200.0,
            slow=True,
        ),
        "Klein bottle": ManifoldEntry(
            make=lambda: geometry.klein_bottle(*KLEIN, grid=32),
            reach=0.5,
            equation=lambda x: float(np.linalg.norm(x - klein_at(*klein_angles(x)))),
            volume=lambda: float(4 * np.pi**2 * np.mean(klein_element(2 * np.pi * np.arange(200) / 200))),
            dense=lambda manifold: dense_grid(klein_at, 800, 400),
            uniform_parameters=(oracles.longitude, klein_share),
            total_curvature=0.0,
            quadrature=64,
            far=False,
            reach_is_exact=False,
            rounding=200.0,
            slow=True,
        ),
        "sphere by two charts": ManifoldEntry(
            make=two_charts,
            reach=1.0,
            equation=lambda x: float(np.linalg.norm(x) - 1),
            volume=lambda: 4 * np.pi,
            uniform_parameters=(oracles.longitude, oracles.sphere_height_share(2)),
            curvatures=oracles.sphere_curvatures(1.0),
            total_curvature=4 * np.pi,
            quadrature=96,
            quadrature_tolerance=1e-8,
            chart_radius=0.1,
            far=False,
            reach_is_exact=False,
            rounding=200.0,
            slow=True,
        ),
        "double torus": ManifoldEntry(
            make=geometry.double_torus,
            reach=0.05,
            equation=double_torus_equation,
            total_curvature=-4 * np.pi,
            quadrature=320,
            quadrature_tolerance=1e-4,
            chart_radius=0.02,
            far=False,
            has_reach=False,
            slow=True,
        ),
    }
