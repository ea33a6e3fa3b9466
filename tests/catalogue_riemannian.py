"""Every manifold with a metric of its own by name, with what is known about it by numpy and scipy.

Points x are (n, d) arrays, tangents v at them likewise; all oracles are for float64.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import linalg

from manifold_diffusion import geometry


@dataclasses.dataclass(frozen=True)
class RiemannianEntry:
    """How to make a manifold, and oracles for it.

    points       (rng, n) -> points of the manifold, moderately far from one another
    tangents     (rng, x) -> a tangent at each, of moderate length
    metric       (x, v, w) -> the inner products
    distance     (x, y) -> the distances, by a formula that the package does not use
    isometry     rng -> a map of points that keeps distances
    curvature    the sectional curvature where it is constant
    """

    make: Callable[[], Any]
    points: Callable[[np.random.Generator, int], np.ndarray]
    tangents: Callable[[np.random.Generator, np.ndarray], np.ndarray]
    metric: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    distance: Callable[[np.ndarray, np.ndarray], np.ndarray]
    isometry: Callable[[np.random.Generator], Callable[[np.ndarray], np.ndarray]]
    curvature: float | None = None


# Hyperbolic space


def minkowski(x, y):
    """<x', y'> - x_0 y_0."""
    return np.sum(x * y, axis=-1) - 2 * x[..., 0] * y[..., 0]


def lorentz(rng, k):
    """A boost after a rotation of space: a linear map of R^{k+1} that keeps Minkowski's product and the sheet."""
    generator = np.zeros((k + 1, k + 1))
    generator[0, 1:] = generator[1:, 0] = rng.standard_normal(k) / np.sqrt(k)
    rotation = np.eye(k + 1)
    rotation[1:, 1:] = np.linalg.qr(rng.standard_normal((k, k)))[0]
    return linalg.expm(generator) @ rotation


def hyperboloid(k, curvature):
    """The entry of the sheet of that curvature."""
    R = 1 / np.sqrt(-curvature)

    def lift(p):
        return R * np.concatenate([np.sqrt(1 + np.sum(p * p, -1, keepdims=True)), p], axis=-1)

    def tangents(rng, x):
        v = 0.7 * R * rng.standard_normal(x.shape)
        return v + minkowski(x, v)[:, None] * x / R**2

    def isometry(rng):
        L = lorentz(rng, k)
        return lambda x: x @ L.T

    return RiemannianEntry(
        make=lambda: geometry.Hyperboloid(k, curvature),
        points=lambda rng, n: lift(rng.standard_normal((n, k)) * 1.2 / np.sqrt(k)),
        tangents=tangents,
        metric=lambda x, v, w: minkowski(v, w),
        distance=lambda x, y: R * np.arccosh(-minkowski(x, y) / R**2),
        isometry=isometry,
        curvature=curvature,
    )


def poincare_ball(k, curvature):
    """The entry of the ball of that curvature; its isometries are those of the hyperboloid, seen from (-R, 0)."""
    R = 1 / np.sqrt(-curvature)

    def room(x):
        return 1 - np.sum(x * x, axis=-1) / R**2

    def points(rng, n):
        direction = rng.standard_normal((n, k))
        return R * rng.uniform(0, 0.8, (n, 1)) * direction / np.linalg.norm(direction, axis=1, keepdims=True)

    def isometry(rng):
        L = lorentz(rng, k)

        def move(x):
            up = np.concatenate([(2 - room(x))[:, None], 2 * x / R], axis=1) / room(x)[:, None] @ L.T
            return R * up[:, 1:] / (1 + up[:, :1])

        return move

    return RiemannianEntry(
        make=lambda: geometry.PoincareBall(k, curvature),
        points=points,
        tangents=lambda rng, x: 0.35 * R * room(x)[:, None] * rng.standard_normal(x.shape),
        metric=lambda x, v, w: 4 * np.sum(v * w, axis=-1) / room(x) ** 2,
        distance=lambda x, y: R * np.arccosh(1 + 2 * np.sum((x - y) ** 2, -1) / R**2 / (room(x) * room(y))),
        isometry=isometry,
        curvature=curvature,
    )


# Positive matrices


def square(x):
    """(n, m m) -> (n, m, m)."""
    m = round(x.shape[-1] ** 0.5)
    return x.reshape(*x.shape[:-1], m, m)


def positive_points(rng, n, size):
    """Q exp(diag) Q^T with standard normal exponents."""
    Q = np.linalg.qr(rng.standard_normal((n, size, size)))[0]
    values = np.exp(0.7 * rng.standard_normal((n, 1, size)))
    return (Q * values @ Q.swapaxes(1, 2)).reshape(n, -1)


def positive_tangents(rng, x):
    """L S L^T with S symmetric and X = L L^T."""
    L, S = np.linalg.cholesky(square(x)), rng.standard_normal(square(x).shape) / np.sqrt(2)
    return (L @ (S + S.swapaxes(1, 2)) @ L.swapaxes(1, 2)).reshape(x.shape) * 0.5


def positive_matrices(size):
    """The entry of the affine-invariant metric."""

    def distance(x, y):
        values = [linalg.eigvalsh(Y, X) for X, Y in zip(square(x), square(y), strict=True)]
        return np.sqrt(np.sum(np.log(values) ** 2, axis=-1))

    def metric(x, v, w):
        inverse = np.linalg.inv(square(x))
        return np.trace(inverse @ square(v) @ inverse @ square(w), axis1=1, axis2=2)

    def isometry(rng):
        A = rng.standard_normal((size, size)) + 2 * np.eye(size)
        return lambda x: (A @ square(x) @ A.T).reshape(x.shape)

    return RiemannianEntry(
        make=lambda: geometry.PositiveMatrices(size),
        points=lambda rng, n: positive_points(rng, n, size),
        tangents=positive_tangents,
        metric=metric,
        distance=distance,
        isometry=isometry,
    )


def log_euclidean_matrices(size):
    """The entry of the metric for which log is an isometry."""

    def logs(x):
        values, Q = np.linalg.eigh(square(x))
        return Q * np.log(values)[:, None, :] @ Q.swapaxes(1, 2)

    def slope(x, v):
        """D log_X(V), the integral over t in [0, 1] of R V R with R = ((1 - t) I + t X)^{-1}."""
        nodes, weights = np.polynomial.legendre.leggauss(48)
        one, total = np.eye(size), 0
        for t, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            R = np.linalg.inv((1 - t) * one + t * square(x))
            total = total + weight * R @ square(v) @ R
        return total

    def isometry(rng):
        """Inversion, a turn and a change of scale."""
        Q = np.linalg.qr(rng.standard_normal((size, size)))[0]
        return lambda x: (1.5 * Q @ np.linalg.inv(square(x)) @ Q.T).reshape(x.shape)

    return RiemannianEntry(
        make=lambda: geometry.LogEuclideanMatrices(size),
        points=lambda rng, n: positive_points(rng, n, size),
        tangents=positive_tangents,
        metric=lambda x, v, w: np.sum(slope(x, v) * slope(x, w), axis=(1, 2)),
        distance=lambda x, y: np.linalg.norm((logs(x) - logs(y)).reshape(len(x), -1), axis=1),
        isometry=isometry,
        curvature=0.0,
    )


RIEMANNIAN = {
    "hyperboloid": hyperboloid(2, -1.0),
    "3-hyperboloid of curvature -2": hyperboloid(3, -2.0),
    "Poincare disc": poincare_ball(2, -1.0),
    "Poincare ball of curvature -2": poincare_ball(3, -2.0),
    "positive 2 x 2": positive_matrices(2),
    "positive 3 x 3": positive_matrices(3),
    "log-Euclidean 2 x 2": log_euclidean_matrices(2),
}
