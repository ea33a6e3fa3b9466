"""Each law of estimators is broken by one estimator of Gaussian noise around the data."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import testing
from tests.testing.complaints import assert_told, complaint

DATA = np.random.default_rng(0).standard_normal((40, 2)) + np.asarray([3.0, 0.0])
unseeded = np.random.default_rng()


class Blurred(eqx.Module):
    """A datum plus noise of the given size in each coordinate."""

    data: jax.Array
    size: jax.Array

    def __call__(self, key):
        which, noise = jax.random.split(key)
        x = self.data[jax.random.randint(which, (), 0, len(self.data))]
        return x + self.size * jax.random.normal(noise, x.shape, x.dtype)


def sized(data, *sizes):
    return Blurred(data, jnp.asarray(sizes, data.dtype))


def blurred(key, data):
    return sized(data, 0.5, 0.5)


def returns_points(key, data):
    return data


def drops_a_coordinate(key, data):
    return Blurred(data[:, :1], jnp.ones(1, data.dtype))


def fits_at_random(key, data):
    return sized(data, *unseeded.uniform(0.4, 0.6, 2))


def knows_the_first_datum(key, data):
    return sized(data[:1], 0.5, 0.5)


def blurs_one_coordinate(key, data):
    return sized(data, 3.0, 0.0)


FAULTS = {
    returns_points: "fits",
    drops_a_coordinate: "fits",
    fits_at_random: "the same key fits the same sampler",
    knows_the_first_datum: "the order of the data does not matter",
    blurs_one_coordinate: "rotated data give rotated points",
}


def check(estimator, **options):
    return testing.check_estimator(estimator, DATA, rotation=True, **options)


def test_an_estimator_without_faults_holds_all_laws():
    report = check(blurred, dtype="float32")
    checked = {f.law.name for f in report.findings if f.outcome == "holds"}
    given = {"points have the moments of the measure", "points lie near the manifold"}
    assert checked == {law.name for law in testing.ESTIMATOR_LAWS} - given


@pytest.mark.parametrize("estimator", FAULTS, ids=lambda estimator: estimator.__name__)
def test_each_law_is_broken_by_an_estimator_and_told(estimator):
    names, message = complaint(check, estimator, dtype="float32")
    also = {"rotated data give rotated points"} if estimator is knows_the_first_datum else set()
    assert names - also == {FAULTS[estimator]}, message
    assert_told(FAULTS[estimator], message, has_a_place="same key" in FAULTS[estimator])


def test_what_an_estimator_raises_is_told():
    def refuses(key, data):
        raise ValueError("too few data; bring more")

    names, message = complaint(check, refuses, dtype="float32")
    assert names == {"fits"}
    assert "it raises ValueError: too few data; bring more" in message
