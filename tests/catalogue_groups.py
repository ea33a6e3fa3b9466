"""Entries of the catalogue: flat spaces, products, and manifolds of matrices, with oracles in numpy."""

import jax
import numpy as np
from scipy import special

from manifold_diffusion import geometry
from tests import oracles


def volume_by_angles(at, box, order=10):
    """The integral of sqrt(det J^T J) over a box, for a parametrisation (n, k) -> (n, d) whose Jacobian J is taken by
    complex steps: Gauss-Legendre in every angle.
    """
    node, weight = np.polynomial.legendre.leggauss(order)
    lower, upper = np.array(box, float).T
    k, half = len(lower), (upper - lower) / 2
    grid = np.stack(np.meshgrid(*[node] * k, indexing="ij"), -1).reshape(-1, k)
    weights = np.prod(np.stack(np.meshgrid(*[weight] * k, indexing="ij"), -1).reshape(-1, k), axis=1)
    angles = lower + half * (grid + 1)
    J = np.stack([at(angles + 1e-30j * row).imag / 1e-30 for row in np.eye(k)], -1)
    return float(np.prod(half) * weights @ np.sqrt(np.linalg.det(J.swapaxes(1, 2) @ J)))


def euler_rotation(angles):
    """Rz(a) Ry(b) Rz(c), (n, 3) -> (n, 3, 3)."""

    def about(axis, t):
        zero, one = np.zeros_like(t), np.ones_like(t)
        c, s = np.cos(t), np.sin(t)
        rows = [c, -s, zero, s, c, zero, zero, zero, one] if axis == "z" else [c, zero, s, zero, one, zero, -s, zero, c]
        return np.stack(rows, -1).reshape(-1, 3, 3)

    a, b, c = angles.T
    return about("z", a) @ about("y", b) @ about("z", c)


EULER_BOX = [(0, 2 * np.pi), (0, np.pi), (0, 2 * np.pi)]


def sphere_at(angles):
    """Points of S^2 by longitude and colatitude, (n, 2) -> (n, 3)."""
    a, b = angles.T
    return np.stack([np.sin(b) * np.cos(a), np.sin(b) * np.sin(a), np.cos(b)], -1)


SPHERE_BOX = [(0, 2 * np.pi), (0, np.pi)]


def square(x):
    """(.., n n) -> (.., n, n)."""
    n = round(x.shape[-1] ** 0.5)
    return x.reshape(*x.shape[:-1], n, n)


def rotation_equation(x):
    """|R^T R - I| and det R - 1."""
    R = square(x)
    return float(np.hypot(np.linalg.norm(R.T @ R - np.eye(len(R))), np.linalg.det(R) - 1))


def rotation_angle_share(x):
    """The angle w of a uniform rotation has the density (1 - cos w) / pi on [0, pi]."""
    w = np.arccos(np.clip((np.trace(square(x), axis1=1, axis2=2) - 1) / 2, -1, 1))
    return (w - np.sin(w)) / np.pi


def rotation_curvatures(x):
    """Towards R S, S diagonal: the second derivative of R exp(t hat(w)) is R hat(w)^2, and |R hat(w)|^2 = 2 |w|^2."""
    s = np.array([1.0, 2.0, 3.0]) / np.sqrt(14)
    return (square(x) * s).ravel(), (s - s.sum()) / 2


ROTATION_PARAMETERS = (
    rotation_angle_share,
    lambda x: oracles.longitude(square(x)[:, :, 2]),
    lambda x: oracles.longitude(square(x)[:, 2, :]),
    lambda x: oracles.sphere_height_share(2)(square(x)[:, :, 2]),
)


def stiefel_equation(n, p):
    """|X^T X - I|."""
    return lambda x: float(np.linalg.norm(x.reshape(n, p).T @ x.reshape(n, p) - np.eye(p)))


def stiefel_curvatures(n):
    """p = 2, towards X diag(1, 0): the second derivative along V = X A + X' B is -X V^T V, and the form -|V e_1|^2."""

    def at(x):
        normal = x.reshape(n, 2) * np.array([1.0, 0.0])
        return normal.ravel(), np.concatenate([np.full(n - 2, -1.0), np.zeros(n - 2), [-0.5]])

    return at


def stiefel_parameters(n):
    """p = 2: any fixed combination of the columns is uniform on a sphere, and a row has a uniform direction and a
    square with the law Beta(1, (n - 2) / 2).
    """
    return (
        lambda x: oracles.sphere_height_share(n - 1)(x.reshape(-1, n, 2) @ np.array([0.6, 0.8])),
        lambda x: oracles.longitude(x[:, :2]),
        lambda x: special.betainc(1, (n - 2) / 2, np.clip(np.sum(x[:, :2] ** 2, axis=1), 0, 1)),
    )


def grassmann_equation(p):
    """P symmetric, P^2 = P, tr P = p."""

    def equation(x):
        P = square(x)
        return float(np.linalg.norm(P - P.T) + np.linalg.norm(P @ P - P) + abs(np.trace(P) - p))

    return equation


def grassmann_curvatures(dim):
    """Towards P itself: projectors of rank p lie on a sphere of radius sqrt(p) around 0."""

    def at(x):
        size = np.linalg.norm(x)
        return x / size, np.full(dim, -1 / size)

    return at


def twice_the_angle(x):
    """The block of P in the plane of the first two axes turns twice as fast as that plane is turned."""
    P = square(x)
    return np.mod(np.arctan2(2 * P[:, 0, 1], P[:, 0, 0] - P[:, 1, 1]) / (2 * np.pi), 1)


def isoclinic_projector(angles):
    """The planes l q = q r of R^4, for unit imaginary quaternions l, r: P = (I - L R) / 2 with L = l *, R = * r."""
    (lx, ly, lz), (rx, ry, rz) = sphere_at(angles[:, :2]).T, sphere_at(angles[:, 2:]).T
    o = 0 * lx
    L = np.stack([o, -lx, -ly, -lz, lx, o, -lz, ly, ly, lz, o, -lx, lz, -ly, lx, o], -1).reshape(-1, 4, 4)
    R = np.stack([o, -rx, -ry, -rz, rx, o, rz, -ry, ry, -rz, o, rx, rz, ry, -rx, o], -1).reshape(-1, 4, 4)
    return ((np.eye(4) - L @ R) / 2).reshape(-1, 16)


def scattered(size, dim):
    """`size` normal vectors, the same in every run."""
    return np.random.default_rng(13).standard_normal((size, dim))


def motions(manifold, keys):
    """Uniform rotations of the plane with normal translations: rigid motions have no uniform law."""
    angle = np.random.default_rng(12).uniform(0, 2 * np.pi, len(keys))
    c, s = np.cos(angle), np.sin(angle)
    dtype = np.float64 if jax.config.read("jax_enable_x64") else np.float32
    return np.concatenate([np.stack([c, -s, s, c], -1), scattered(len(keys), 2)], axis=1).astype(dtype)


def manifolds():
    """The entries by name that the laws are tested on whenever the tests run."""
    from tests.catalogue import ManifoldEntry, uniform_dense

    return {
        "Euclidean plane": ManifoldEntry(
            make=lambda: geometry.Euclidean(2),
            reach=1.0,
            reach_is_exact=False,
            equation=lambda x: 0.0,
            draw=lambda manifold, keys: scattered(len(keys), 2).astype(np.float32),
            dense=lambda manifold: scattered(1000, 2),
        ),
        "flat torus": ManifoldEntry(
            make=lambda: geometry.flat_torus(1.0, 2.0),
            reach=1.0,
            equation=lambda x: float(np.hypot(np.hypot(x[0], x[1]) - 1, np.hypot(x[2], x[3]) - 2)),
            volume=lambda: 8 * np.pi**2,
            uniform_parameters=(oracles.longitude, lambda x: oracles.longitude(x[:, 2:])),
            curvatures=lambda x: (np.array([x[0], x[1], 0, 0]), np.array([-1.0, 0.0])),
            total_curvature=0.0,
            quadrature=32,
        ),
        "SO(3)": ManifoldEntry(
            make=lambda: geometry.SpecialOrthogonal(3),
            reach=np.sqrt(2),
            equation=rotation_equation,
            volume=lambda: volume_by_angles(lambda a: euler_rotation(a).reshape(-1, 9), EULER_BOX),
            dense=uniform_dense,
            uniform_parameters=ROTATION_PARAMETERS,
            chart_radius=1.0,
        ),
        "Gr(3, 1)": ManifoldEntry(
            make=lambda: geometry.Grassmann(3, 1),
            reach=np.sqrt(0.5),
            equation=grassmann_equation(1),
            volume=lambda: (
                volume_by_angles(
                    lambda a: (sphere_at(a)[:, :, None] * sphere_at(a)[:, None, :]).reshape(-1, 9), SPHERE_BOX, 20
                )
                / 2
            ),
            uniform_parameters=(twice_the_angle, lambda x: np.sqrt(np.clip(x[:, 8], 0, 1))),
            total_curvature=2 * np.pi,
            quadrature=16,
        ),
    }


def more_manifolds():
    """Entries that the laws are tested on when the slow tests run, in tests/geometry/test_groups.py."""
    from tests.catalogue import ManifoldEntry, uniform_dense

    return {
        "rotations": ManifoldEntry(
            make=lambda: geometry.SpecialOrthogonal(3),
            reach=np.sqrt(2),
            equation=rotation_equation,
            dense=uniform_dense,
            curvatures=rotation_curvatures,
        ),
        "rigid motions": ManifoldEntry(
            make=lambda: geometry.SpecialEuclidean(2),
            reach=np.sqrt(2),
            equation=lambda x: rotation_equation(x[:4]),
            draw=motions,
            dense=lambda manifold: motions(manifold, range(40_000)),
            curvatures=lambda x: (np.array([*x[:4], 0, 0]) / np.sqrt(2), np.array([-np.sqrt(0.5), 0, 0])),
        ),
        "sphere x circle": ManifoldEntry(
            make=lambda: geometry.Product(geometry.Sphere(2), geometry.Sphere(1, 0.5)),
            reach=0.5,
            equation=lambda x: float(np.hypot(np.linalg.norm(x[:3]) - 1, np.linalg.norm(x[3:]) - 0.5)),
            volume=lambda: 4 * np.pi * np.pi,
            dense=uniform_dense,
            uniform_parameters=(
                oracles.longitude,
                lambda x: oracles.sphere_height_share(2)(x[:, :3]),
                lambda x: oracles.longitude(x[:, 3:]),
            ),
            curvatures=lambda x: (np.array([*x[:3], 0, 0]), np.array([-1.0, -1.0, 0.0])),
        ),
        "St(3, 2)": ManifoldEntry(
            make=lambda: geometry.Stiefel(3, 2),
            reach=1.0,
            equation=stiefel_equation(3, 2),
            volume=lambda: volume_by_angles(lambda a: euler_rotation(a)[:, :, :2].reshape(-1, 6), EULER_BOX),
            dense=uniform_dense,
            uniform_parameters=stiefel_parameters(3),
            curvatures=stiefel_curvatures(3),
        ),
        "Gr(4, 2)": ManifoldEntry(
            make=lambda: geometry.Grassmann(4, 2),
            reach=np.sqrt(0.5),
            equation=grassmann_equation(2),
            # Two pairs (l, r) and (-l, -r) have the same plane.
            volume=lambda: volume_by_angles(isoclinic_projector, SPHERE_BOX * 2) / 2,
            dense=uniform_dense,
            uniform_parameters=(twice_the_angle, lambda x: x[:, 0]),
            curvatures=grassmann_curvatures(4),
        ),
    }
