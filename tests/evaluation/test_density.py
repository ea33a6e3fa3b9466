"""Distances of densities on quadrature nodes against closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import evaluation


def gaussians(shift):
    x = np.linspace(-12, 12, 4001)
    law = [np.exp(-((x - m) ** 2) / 2) / np.sqrt(2 * np.pi) for m in (0, shift)]
    return jnp.asarray(law[1]), jnp.asarray(law[0]), jnp.full(len(x), x[1] - x[0])


@pytest.mark.parametrize("shift", [0.1, 1.0])
def test_gaussians_have_their_closed_forms(x64, shift):
    p, q, weights = gaussians(shift)
    assert float(evaluation.squared_hellinger(p, q, weights)) == pytest.approx(1 - np.exp(-(shift**2) / 8), rel=1e-6)
    assert float(evaluation.chi_square(p, q, weights)) == pytest.approx(np.expm1(shift**2), rel=1e-6)


def test_close_densities_differ_by_an_eighth_of_chi_square(x64):
    p, q, weights = gaussians(0.01)
    ratio = evaluation.squared_hellinger(p, q, weights) / evaluation.chi_square(p, q, weights)
    assert float(ratio) == pytest.approx(1 / 8, rel=1e-3)


def test_disjoint_laws_are_as_far_apart_as_can_be():
    p, q, weights = jnp.array([2.0, 0.0]), jnp.array([0.0, 2.0]), jnp.array([0.5, 0.5])
    assert float(evaluation.squared_hellinger(p, q, weights)) == pytest.approx(1)
    assert float(evaluation.total_variation(p, q, weights)) == pytest.approx(1)
    assert float(evaluation.chi_square(p, q, weights)) == np.inf


def test_a_node_without_mass_adds_nothing():
    p, q, weights = jnp.array([1.0, 0.0]), jnp.array([1.0, 0.0]), jnp.array([1.0, 3.0])
    assert float(evaluation.chi_square(p, q, weights)) == 0
