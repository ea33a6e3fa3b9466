"""Kent's law against quadrature, von Mises-Fisher's law and its own envelope."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from manifold_diffusion import measures

POLE, EAST = [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]
SHAPES = [(1e-3, 4e-4), (0.5, 0.2), (1.2, 0.59), (10.0, 0.0), (10.0, 4.99), (1e4, 4999.9), (1e8, 4e7)]


@pytest.mark.parametrize(("kappa", "beta"), SHAPES)
def test_the_normaliser_is_an_integral_over_the_height(kappa, beta, x64):
    """int 2 pi I_0(beta (1 - u^2)) e^{kappa u} du, the integral over the longitude being Bessel's."""

    def integrand(s):
        fall = 2 * s / kappa - (s / kappa) ** 2
        return 2 * np.pi / kappa * np.exp(-s + beta * fall) * special.i0e(beta * fall)

    edges = [0, *(s for s in (1, 10, 100, 1e3, 1e4, 1e5) if s < 2 * kappa), 2 * kappa]
    accuracy = {"epsabs": 0, "epsrel": 1e-13, "limit": 200}
    pieces = [integrate.quad(integrand, *ends, **accuracy)[0] for ends in itertools.pairwise(edges)]
    at_pole = measures.Kent(POLE, EAST, kappa, beta).log_density(jnp.asarray(POLE))
    np.testing.assert_allclose(-at_pole, np.log(sum(pieces)), atol=1e-12)


@pytest.mark.parametrize(("kappa", "beta"), SHAPES)
def test_no_proposal_is_above_the_bound(kappa, beta, x64):
    """Density at x plus density at -x against the envelope, on points that crowd where the ratio is largest."""
    law = measures.Kent(POLE, EAST, kappa, beta)
    s = float(law.envelope)
    rates = np.array([kappa / 2 - beta, kappa / 2 + beta])
    size = np.concatenate([np.linspace(0, 1, 2001), np.geomspace(1e-6, 1, 4000) * min(1.0, 4 / np.sqrt(rates[0]))])
    for angle in np.linspace(0, np.pi / 2, 13):
        a, b = size * np.cos(angle), size * np.sin(angle)
        height = np.sqrt(np.maximum(1 - a**2 - b**2, 0))
        density = kappa * (height - 1) + beta * (a**2 - b**2) + np.log1p(np.exp(-2 * kappa * height))
        envelope = float(law.log_bound) - 1.5 * np.log1p(2 * (rates[0] * a**2 + rates[1] * b**2) / s)
        assert np.max(density - envelope) < 1e-9 * max(1, kappa * 1e-3)


def test_round_laws_are_von_mises_fisher_laws(x64):
    law, other = measures.Kent(POLE, EAST, 7.0, 0.0), measures.VonMisesFisher(POLE, 7.0)
    x = jnp.asarray([0.48, -0.6, 0.64])
    np.testing.assert_allclose(law.log_density(x), other.log_density(x), rtol=1e-12)


def test_narrow_laws_are_normal_laws_also_in_single_precision(key):
    """At kappa = 1e8, coordinates across are normal with the variances 1 / (kappa -+ 2 beta), and densities right."""
    kappa, beta = 1e8, 4e7
    law = measures.Kent(POLE, EAST, kappa, beta)
    x = np.asarray(measures.draw(law.sample, key, 4000), np.float64)
    scales = np.array([kappa - 2 * beta, kappa + 2 * beta]) ** -0.5
    for column, scale in zip(x.T[:2], scales, strict=True):
        assert stats.kstest(column / scale, "norm").pvalue > 1e-4
    found = jax.jit(jax.vmap(lambda x: law.log_density(x)))(jnp.asarray(x[:50], jnp.float32))
    np.testing.assert_allclose(found, stats.norm.logpdf(x[:50, :2] / scales).sum(1) - np.log(scales).sum(), atol=1e-4)


def test_the_axes_are_those_asked_for(key):
    """The axis is made orthogonal to the mean, and points spread along it."""
    law = measures.Kent([0.0, 3.0, 4.0], [1.0, 0.6, 0.8], 50.0, 20.0)
    np.testing.assert_allclose(law.frame, [[0, 0.6, 0.8], [1, 0, 0], [0, 0.8, -0.6]], atol=1e-6)
    spread = np.var(np.asarray(measures.draw(law.sample, key, 4000)) @ np.asarray(law.frame).T, axis=0)
    assert spread[1] > 4 * spread[2] > spread[0]


def test_misuse_says_what_to_do():
    with pytest.raises(ValueError, match="2 ovalness < concentration"):
        measures.Kent(POLE, EAST, 1.0, 0.5)
    with pytest.raises(ValueError, match="parallel"):
        measures.Kent(POLE, POLE, 1.0, 0.1)
    with pytest.raises(ValueError, match="lives on"):
        measures.Kent([1.0, 0.0], [0.0, 1.0], 1.0, 0.1)
