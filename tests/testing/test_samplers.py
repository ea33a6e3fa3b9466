"""Each law of samplers is broken by one sampler."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import measures, testing
from manifold_diffusion.geometry import Sphere
from tests.testing.complaints import assert_told, complaint

calls = itertools.count()


def on_the_circle(key):
    """Uniform on the circle."""
    x = jax.random.normal(key, (2,))
    return x / jnp.sqrt(jnp.sum(x * x))


def sometimes_infinite(key):
    return on_the_circle(key) / jnp.where(jax.random.uniform(key) < 0.01, 0.0, 1.0)


def with_a_key_of_its_own(key):
    return on_the_circle(jax.random.key(3))


def with_a_counter(key):
    count = jax.pure_callback(
        lambda key: np.full(key.shape[:-1], next(calls), np.float32),
        jax.ShapeDtypeStruct((), jnp.float32),
        jax.random.key_data(key),
        vmap_method="expand_dims",
    )
    return on_the_circle(key) * (1 + 1e-12 * count.astype(jnp.result_type(float)))


def on_half_of_the_circle(key):
    x = on_the_circle(key)
    return jnp.stack([x[0], jnp.abs(x[1])])


def off_the_circle(key):
    return on_the_circle(key) * jnp.where(jax.random.uniform(jax.random.fold_in(key, 1)) < 0.5, 0.95, 1.05)


FAULTS = {
    sometimes_infinite: ["points are finite", "points have the moments of the measure", "points lie near the manifold"],
    with_a_key_of_its_own: ["different keys give different points", "points have the moments of the measure"],
    with_a_counter: ["the same key gives the same point"],
    on_half_of_the_circle: ["points have the moments of the measure"],
    off_the_circle: ["points lie near the manifold"],
}


def check(sampler, **options):
    return testing.check_sampler(sampler, measure=lambda: measures.Uniform(Sphere(1)), **options)


def test_a_sampler_without_faults_holds_all_laws():
    report = check(on_the_circle, dtype="float64")
    assert {f.law.name for f in report.findings if f.outcome == "holds"} == {law.name for law in testing.SAMPLER_LAWS}


@pytest.mark.parametrize("sampler", FAULTS, ids=lambda sampler: sampler.__name__)
def test_each_law_is_broken_by_a_sampler_and_told(sampler):
    names, message = complaint(check, sampler, dtype="float64")
    assert names == set(FAULTS[sampler]), message
    assert_told(FAULTS[sampler][0], message, has_a_place="moments" not in FAULTS[sampler][0])


def test_what_is_expected_of_a_sampler_can_be_said():
    assert not check(off_the_circle, dtype="float64", budget={"points lie near the manifold": 0.1}).broken


def test_without_measure_and_manifold_only_the_sampler_is_looked_at():
    report = testing.check_sampler(on_half_of_the_circle, dtype="float64")
    assert "not checked (no measure was given): points have the moments of the measure" in str(report)
