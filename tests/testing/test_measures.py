"""Each law of measures is broken by one fault of a measure on the circle."""

import jax
import jax.numpy as jnp
import pytest

from manifold_diffusion import testing
from manifold_diffusion.geometry import AbstractManifold, Sphere
from manifold_diffusion.measures import AbstractMeasure
from tests.testing.complaints import assert_told, complaint
from tests.testing.faults import choose, number

FAULTS = {
    "off by a factor": ["the density integrates to one"],
    "next to the circle": ["samples lie on the manifold"],
    "one point": [
        "different keys give different points",
        "samples have the moments of the density",
        "samples fill cells in proportion to their mass",
    ],
    "uniform": ["samples have the moments of the density", "samples fill cells in proportion to their mass"],
    "five petals": ["samples fill cells in proportion to their mass"],
    "log of zero": [
        "log_density is finite",
        "log_density has a finite gradient",
        "the density integrates to one",
        "samples have the moments of the density",
        "samples fill cells in proportion to their mass",
    ],
    "root of zero": ["log_density has a finite gradient"],
    "no numbers": [
        "points are finite",
        "samples lie on the manifold",
        "log_density is finite",
        "log_density has a finite gradient",
        "samples have the moments of the density",
    ],
}
WITHOUT_PLACE = {"the density integrates to one", "samples have the moments of the density"}


class Tilted(AbstractMeasure):
    """(1 + x_0 / 2) / 2 pi on the circle, with one fault, or with none."""

    manifold: AbstractManifold
    fault: jax.Array

    def __init__(self, fault=None):
        self.manifold, self.fault = Sphere(1), number(FAULTS, fault)

    def sample(self, key):
        angle, coin = (u * 2 * jnp.pi for u in jax.random.uniform(key, (2,)))
        # Mirrored in half of the cases in which the mirror image is the likelier one: that gives the density 1 + f.
        tilted = jnp.where(coin < jnp.pi * (1 - jnp.cos(angle) / 2), angle + jnp.pi, angle)
        changes = {
            "next to the circle": lambda: 1.001 * at(tilted),
            "one point": lambda: at(0.0 * angle),
            "uniform": lambda: at(angle),
            "five petals": lambda: at(tilted + 0.15 * jnp.sin(5 * tilted)),
            "no numbers": lambda: jnp.where(coin < 0.1, jnp.nan, 1.0) * at(tilted),
        }
        return choose(FAULTS, self.fault, changes, lambda: at(tilted))

    def log_density(self, x):
        value = jnp.log1p(x[0] / 2) - jnp.log(2 * jnp.pi)
        changes = {
            "off by a factor": lambda: value + 0.01,
            "log of zero": lambda: value + 0 * jnp.log(jnp.where(x[1] > 0.9, 0.0, 1.0) * x[1]),
            "root of zero": lambda: value + 0 * jnp.sqrt(jnp.sum((x - jax.lax.stop_gradient(x)) ** 2)),
        }
        return choose(FAULTS, self.fault, changes, lambda: value)


def at(angle):
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def test_a_measure_without_faults_holds_all_laws():
    report = testing.check_measure(Tilted, dtype="float64")
    assert {f.law.name for f in report.findings if f.outcome == "holds"} == {law.name for law in testing.MEASURE_LAWS}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_law_is_broken_by_a_fault_and_told(fault):
    names, message = complaint(testing.check_measure, lambda: Tilted(fault), dtype="float64")
    assert names == set(FAULTS[fault]), message
    assert_told(FAULTS[fault][0], message, has_a_place=FAULTS[fault][0] not in WITHOUT_PLACE)


def test_every_law_about_measures_has_a_fault_or_is_one_of_samplers():
    shared = {law.name for law in testing.SAMPLER_LAWS} - {"different keys give different points"}
    ours = {law.name for law in testing.MEASURE_LAWS} - shared
    assert ours <= {law for laws in FAULTS.values() for law in laws}
