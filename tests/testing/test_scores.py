"""Each law of scores is broken by one score of Gaussian data, or of a circle."""

import re

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import testing
from manifold_diffusion.geometry import Sphere
from manifold_diffusion.scores import ProjectionScore, VonMisesFisherScore
from tests.testing.complaints import assert_told, complaint

DATA = np.random.default_rng(0).standard_normal((64, 2))


class Gaussian(eqx.Module):
    """The score of noised N(0, I), with what it may bring."""

    def __call__(self, x, sigma):
        return -x / (1 + sigma**2)

    def denoise(self, x, sigma):
        return x / (1 + sigma**2)

    def log_density(self, x, sigma):
        return -jnp.sum(x * x) / (2 * (1 + sigma**2))


class Overflows(Gaussian):
    def __call__(self, x, sigma):
        return -x / (1 + sigma**2) + 0 * jnp.exp(jnp.sum(x * x) * sigma)


class DenoisesTooMuch(Gaussian):
    def denoise(self, x, sigma):
        return x / (1 + sigma)


class HasAnotherDensity(Gaussian):
    def log_density(self, x, sigma):
        return -jnp.sum(x * x) / (2 * (1 + sigma))


class Turns(eqx.Module):
    def __call__(self, x, sigma):
        return -x / (1 + sigma**2) + jnp.stack([x[1], -x[0]]) / (1 + sigma**2) ** 2


class HasTheWrongSign(eqx.Module):
    def __call__(self, x, sigma):
        return x / (1 + sigma**2)


FAULTS = {
    Overflows: {"score is finite"},
    DenoisesTooMuch: {"denoise and score obey Tweedie"},
    HasAnotherDensity: {"score is the gradient of its log_density"},
    Turns: {"score is a gradient"},
    HasTheWrongSign: {"denoiser stays in the hull of the data"},
}


def test_a_score_without_faults_holds_all_laws_but_that_of_a_manifold():
    report = testing.check_score(Gaussian, data=DATA, is_gradient=True, dtype="float64")
    held = {f.law.name for f in report.findings if f.outcome == "holds"}
    assert held == {law.name for law in testing.SCORE_LAWS} - {"denoiser tends to the projection"}


@pytest.mark.parametrize("score", FAULTS, ids=lambda score: score.__name__)
def test_each_law_is_broken_by_a_score_and_told(score):
    names, message = complaint(testing.check_score, score, data=DATA, is_gradient=True, dtype="float64")
    assert FAULTS[score] <= names, message
    if score is not Overflows:  # what is not finite breaks every law that it enters
        assert names == FAULTS[score], message
    assert_told(*FAULTS[score], message)


def test_a_score_of_a_manifold_tends_to_its_projection_and_to_no_other():
    def check(radius):
        return testing.check_score(ProjectionScore(Sphere(1, radius)), manifold=Sphere(1), dtype="float32")

    assert not check(1.0).broken
    names, message = complaint(check, 1.1)
    assert names == {"denoiser tends to the projection"}
    assert re.search(r"\|D - project\(x\)\| is 0\.1 at sigma 0\.3, .*slope -?\d", message)
    assert_told("denoiser tends to the projection", message)


def test_the_leading_order_of_a_population_score_is_found():
    """D - project(x) is of order sigma^2: 2 less the slope is small and not zero."""
    score, levels = VonMisesFisherScore(jnp.asarray([1.0, 0.0]), 1.0), [0.05, 0.1, 0.2]
    report = testing.check_score(score, manifold=Sphere(1), dtype="float32", noise_levels=levels)
    found = next(f for f in report.findings if f.law.name == "denoiser tends to the projection")
    assert 1e-6 < abs(found.error) < 0.3


def test_a_score_needs_to_be_told_where_to_look():
    with pytest.raises(ValueError, match="points=, data= or manifold="):
        testing.check_score(Gaussian)
