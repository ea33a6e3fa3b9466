"""Each law of charts is broken by one fault of a graph over the plane."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import testing
from manifold_diffusion.geometry import AbstractChart, Sphere
from tests.testing.complaints import assert_told, complaint
from tests.testing.faults import choose, number

FAULTS = {
    "wrong inverse": ["coordinates invert embed"],
    "cusp": ["embed is an immersion"],
    "flat": ["the metric is positive", "embed is an immersion"],
    "derivative without value": ["Jacobian agrees with differences"],
    "root in the branch not taken": ["reverse derivative agrees with the Jacobian"],
    "rule that cannot be differentiated": ["second derivative agrees with differences"],
    "rule that is half differentiable": [
        "second fundamental form is symmetric and normal",
        "second derivative agrees with differences",
    ],
}
PLACES = np.random.default_rng(0).uniform([-0.5, 0.2], [0.5, 1.0], (32, 2))


@jax.custom_jvp
def square(u):
    return u * u


@square.defjvp
def _(primals, tangents):
    return square(*primals), 2 * jax.lax.stop_gradient(primals[0]) * tangents[0]


@jax.custom_jvp
def product(u, v):
    return u * v


@product.defjvp
def _(primals, tangents):
    return product(*primals), jax.lax.stop_gradient(primals[1]) * tangents[0] + primals[0] * tangents[1]


class Graph(AbstractChart):
    """u -> (u, u_0^2 + u_0 u_1) with one fault, or with none."""

    fault: jax.Array

    def embed(self, u):
        a, b = u
        height = a * a + a * b
        images = {
            "wrong inverse": lambda: (a, b, height),
            "cusp": lambda: (a**3, b, a * a),
            "flat": lambda: (a, 0 * b, a * a),
            "derivative without value": lambda: (a, b + 0.1 * (a - jax.lax.stop_gradient(a)), height),
            "root in the branch not taken": lambda: (a, b, height + jnp.where(a > 5, jnp.sqrt(a - 5), 0.0)),
            "rule that cannot be differentiated": lambda: (a, b, square(a) + a * b),
            "rule that is half differentiable": lambda: (a, b, a * a + product(a, b)),
        }
        changes = {name: lambda f=f: jnp.stack(f()) for name, f in images.items()}
        return choose(FAULTS, self.fault, changes, lambda: jnp.stack((a, b, height)))

    def coordinates(self, x):
        changes = {
            "wrong inverse": lambda: x[:2] * 1.01,
            "cusp": lambda: jnp.stack([jnp.cbrt(x[0]), x[1]]),
        }
        return choose(FAULTS, self.fault, changes, lambda: x[:2])


def graph(fault=None):
    return Graph(number(FAULTS, fault))


def test_a_graph_without_faults_holds_all_laws():
    report = testing.check_chart(graph, PLACES, dtype="float64")
    checked = {f.law.name for f in report.findings if f.outcome == "holds"}
    assert checked == {law.name for law in testing.CHART_LAWS} - {"chart maps into the manifold"}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_law_is_broken_by_a_fault_and_told(fault):
    names, message = complaint(testing.check_chart, lambda: graph(fault), PLACES, dtype="float64")
    assert names == set(FAULTS[fault]), message
    assert_told(FAULTS[fault][0], message)


def test_the_cusp_is_found_where_it_is():
    """Its Jacobian loses rank at u_0 = 0 alone, where none of the places is."""
    with pytest.raises(testing.BrokenLaws) as raised:
        testing.check_chart(lambda: graph("cusp"), PLACES, dtype="float64")
    found = next(f for f in raised.value.report.findings if f.outcome == "broken")
    place = float(found.place.removeprefix("u = [").split(",")[0])
    assert abs(place) < 1e-6 < np.min(np.abs(PLACES[:, 0]))


def test_a_chart_of_another_manifold_is_told():
    names, message = complaint(testing.check_chart, graph, PLACES, manifold=lambda: Sphere(2), dtype="float64")
    assert names == {"chart maps into the manifold"}
    assert_told("chart maps into the manifold", message)


def test_coordinates_must_be_rows():
    with pytest.raises(ValueError, match=r"\(n, k\)"):
        testing.check_chart(graph, np.zeros(2))
