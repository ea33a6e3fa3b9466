"""Each law of manifolds is broken by one fault of a circle, and held by manifolds of the catalogue."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from manifold_diffusion import testing
from manifold_diffusion.geometry import AbstractChart, AbstractManifold
from tests.testing.complaints import assert_told, complaint
from tests.testing.faults import choose, number

FROM_TANGENT = [
    "residual is normal",
    "chart spans the tangent space",
    "project has the tangent projector as its derivative",
    "forward derivative of project",
    "reverse derivative of project",
]
# fault -> the laws that it breaks, the one that it is about first
FAULTS = {
    "stops before it lands": [
        "project lands",
        "chart contains its centre",
        "reach is a lower bound",
        "exp lands",
        "exp starts at x with velocity v",
        "exp and log are inverse",
        "log_exp_volume is the log determinant",
    ],
    "twisted away from the manifold": ["residual is normal"],
    "the far side": ["no point is nearer"],
    "oblique": [
        "tangent is an orthogonal projector",
        *FROM_TANGENT,
        "log_exp_volume is the log determinant",
    ],
    "the whole space": [
        "tangent has rank dim",
        *FROM_TANGENT,
        "exp starts at x with velocity v",
        "exp and log are inverse",
    ],
    "twisted at the manifold": ["project has the tangent projector as its derivative"],
    "wrong rule of derivation": ["forward derivative of project", "reverse derivative of project"],
    "off its centre": ["chart contains its centre", "chart spans the tangent space"],
    "wrong inverse": ["coordinates invert embed"],
    "leaves the manifold": ["chart maps into the manifold"],
    "crosses the manifold": ["chart spans the tangent space"],
    "a root at zero": ["chart is differentiable at its centre"],
    "negative volume": ["volume is positive", "quadrature sums to the volume"],
    "too large a volume": ["quadrature sums to the volume"],
    "nodes outside": ["quadrature nodes lie on the manifold"],
    "uniform outside": ["uniform points lie on the manifold"],
    "not uniform": ["uniform points have the moments of the quadrature"],
    "too large a reach": ["reach is a lower bound"],
    "exp outside": ["exp lands", "exp and log are inverse", "log_exp_volume is the log determinant"],
    "exp divides by zero": ["exp starts at x with velocity v"],
    "log too long": ["exp and log are inverse"],
    "distance from the pole": ["distance is symmetric"],
    "distance to itself": ["distance is zero at x = y"],
    "distance too short": ["distance exceeds the chord"],
    "distance with a root": ["distance is differentiable at x = y"],
    "wrong determinant": ["log_exp_volume is the log determinant"],
}
WITHOUT_PLACE = {
    "volume is positive",
    "quadrature sums to the volume",
    "uniform points have the moments of the quadrature",
}


def length(x):
    return jnp.sqrt(jnp.sum(x * x))


def at(angle):
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def turned(x, angle):
    return jnp.stack([x[0] * jnp.cos(angle) - x[1] * jnp.sin(angle), x[0] * jnp.sin(angle) + x[1] * jnp.cos(angle)])


def without_value(x):
    """0 with derivative 1."""
    return x - jax.lax.stop_gradient(x)


class ArcChart(AbstractChart):
    fault: jax.Array
    origin: jax.Array

    def embed(self, u):
        p = at(self.origin + u[0])
        changes = {
            "leaves the manifold": lambda: p * (1 + 1e-3 * u[0] ** 2),
            "crosses the manifold": lambda: p * (1 + 1e-3 * without_value(u[0])),
        }
        return choose(FAULTS, self.fault, changes, lambda: p)

    def coordinates(self, x):
        offset = jnp.arctan2(x[1], x[0]) - self.origin
        u = jnp.mod(offset + jnp.pi, 2 * jnp.pi) - jnp.pi
        changes = {
            "off its centre": lambda: u + jnp.where(jnp.abs(u) < 1e-2, 1e-3, 0.0),
            "wrong inverse": lambda: 1.001 * u,
            "a root at zero": lambda: u + 0 * jnp.sqrt(u * u),
        }
        return choose(FAULTS, self.fault, changes, lambda: u)[None]


class Circle(AbstractManifold):
    """The unit circle with one fault, or with none."""

    fault: jax.Array
    dim: int = eqx.field(static=True, default=1)
    ambient_dim: int = eqx.field(static=True, default=2)

    def project(self, x):
        y = x / length(x)
        above = length(x) - 1
        changes = {
            "stops before it lands": lambda: y * (1 + 1e-6 * above**2),
            "twisted away from the manifold": lambda: turned(y, 1e-4 * above**2),
            "the far side": lambda: jnp.where((above > 0.1) & (x[0] > 0), -1.0, 1.0) * y,
            "twisted at the manifold": lambda: turned(
                y, jax.lax.stop_gradient(jnp.where(jnp.abs(above) < 1e-4, 1e-3 * above, 0.0))
            ),
            "wrong rule of derivation": lambda: y * (1 + 1e-3 * without_value(above)),
        }
        return choose(FAULTS, self.fault, changes, lambda: y)

    def tangent(self, x, v):
        normal = x / length(x)
        changes = {
            "oblique": lambda: v - jnp.sum(normal * v) * turned(normal, 0.01) / jnp.cos(0.01),
            "the whole space": lambda: v,
        }
        return choose(FAULTS, self.fault, changes, lambda: v - jnp.sum(normal * v) * normal)

    def chart(self, x):
        return ArcChart(self.fault, jnp.arctan2(x[1], x[0]))

    def volume(self):
        changes = {"negative volume": lambda: -2 * jnp.pi, "too large a volume": lambda: 2.02 * jnp.pi}
        return choose(FAULTS, self.fault, changes, lambda: 2 * jnp.pi)

    def quadrature(self, order):
        angles = jnp.arange(order) * (2 * jnp.pi / order)
        size = choose(FAULTS, self.fault, {"nodes outside": lambda: 1.001}, lambda: 1.0)
        return size * jnp.stack([jnp.cos(angles), jnp.sin(angles)], -1), jnp.full(order, 2 * jnp.pi / order)

    def uniform(self, key):
        angle = jax.random.uniform(key, dtype=jnp.result_type(float)) * 2 * jnp.pi
        changes = {
            "uniform outside": lambda: 1.001 * at(angle),
            "not uniform": lambda: at(angle + 0.5 * jnp.sin(angle)),
        }
        return choose(FAULTS, self.fault, changes, lambda: at(angle))

    def reach(self):
        return choose(FAULTS, self.fault, {"too large a reach": lambda: 1.1}, lambda: 1.0)

    def exp(self, x, v):
        angle = jnp.sum(jnp.stack([-x[1], x[0]]) * v)
        end = turned(x, angle)
        changes = {
            "exp outside": lambda: end * (1 + 1e-7 * angle**2),
            "exp divides by zero": lambda: end + 0 * (v / length(v)),
        }
        return choose(FAULTS, self.fault, changes, lambda: end)

    def log(self, x, y):
        v = jnp.arctan2(x[0] * y[1] - x[1] * y[0], jnp.sum(x * y)) * jnp.stack([-x[1], x[0]])
        return choose(FAULTS, self.fault, {"log too long": lambda: 1.001 * v}, lambda: v)

    def distance(self, x, y):
        d = jnp.abs(jnp.arctan2(x[0] * y[1] - x[1] * y[0], jnp.sum(x * y)))
        changes = {
            "distance from the pole": lambda: d * (1 + 1e-3 * (1 + x[0])),
            "distance to itself": lambda: d + 1e-3,
            "distance too short": lambda: 0.99 * 2 * jnp.sin(d / 2),
            "distance with a root": lambda: 2 * jnp.arcsin(jnp.sqrt(jnp.sum((x - y) ** 2)) / 2),
        }
        return choose(FAULTS, self.fault, changes, lambda: d)

    def log_exp_volume(self, x, v):
        changes = {"wrong determinant": lambda: 0.01 + 0 * length(x)}
        return choose(FAULTS, self.fault, changes, lambda: 0 * length(x))


def circle(fault=None):
    return Circle(number(FAULTS, fault))


def test_a_circle_without_faults_holds_all_laws():
    report = testing.check_manifold(lambda: circle(), dtype="float64")
    assert {f.law.name for f in report.findings} == {law.name for law in testing.MANIFOLD_LAWS}
    assert all(f.outcome == "holds" for f in report.findings), report


@pytest.mark.parametrize("fault", FAULTS)
def test_each_law_is_broken_by_a_fault_and_told(fault):
    laws = FAULTS[fault]
    names, message = complaint(testing.check_manifold, lambda: circle(fault), dtype="float64")
    assert names == set(laws), message
    assert_told(laws[0], message, has_a_place=laws[0] not in WITHOUT_PLACE)


def test_every_law_about_manifolds_has_a_fault():
    structure = {law.name for law in testing.MANIFOLD_LAWS} & {law.name for law in testing.SCORE_LAWS}
    assert {law.name for law in testing.MANIFOLD_LAWS} - structure == {law for laws in FAULTS.values() for law in laws}
