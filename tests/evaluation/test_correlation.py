"""The likelihood of pair distances against laws whose dimension and curvature are given."""

import numpy as np
import pytest
from scipy import integrate, optimize

from manifold_diffusion import evaluation
from manifold_diffusion.evaluation import correlation
from tests.evaluation.clouds import sphere


@pytest.mark.parametrize(("dim", "tilt"), [(1.0, 0.5), (3.0, -1.0), (5.0, 2.0)])
def test_moments_are_those_of_quadrature(dim, tilt):
    means, covariances = correlation._moments(np.array([dim, tilt]), np.array([1.0, 0.7]))
    for mean, covariance, limit in zip(means, covariances, (1.0, 0.7), strict=True):
        statistics = (lambda t: np.log(t), lambda t: t**2)

        def expected(f, limit=limit):
            top = integrate.quad(lambda t: f(t) * t ** (dim - 1) * np.exp(tilt * t**2), 0, limit)[0]
            return top / integrate.quad(lambda t: t ** (dim - 1) * np.exp(tilt * t**2), 0, limit)[0]

        np.testing.assert_allclose(mean, [expected(f) for f in statistics], rtol=1e-6)
        second = [[expected(lambda t, f=f, g=g: f(t) * g(t)) for f in statistics] for g in statistics]
        np.testing.assert_allclose(covariance, np.array(second) - np.outer(mean, mean), rtol=1e-4, atol=1e-8)


def test_the_likeliest_dimension_maximises_the_likelihood():
    generator = np.random.default_rng(0)
    limits = np.where(np.arange(200) % 4 == 0, 0.8, 1.0)
    scaled = np.sort(limits[:, None] * generator.uniform(size=(200, 10)) ** 0.4, axis=1)
    dim, influences = correlation._likeliest(scaled, np.ones_like(scaled, bool), limits, 1)

    def loss(parameters):
        k, a = parameters
        normal = {limit: integrate.quad(lambda t: t ** (k - 1) * np.exp(a * t**2), 0, limit)[0] for limit in (0.8, 1.0)}
        logs = (k - 1) * np.log(scaled) + a * scaled**2 - np.log([[normal[limit]] for limit in limits])
        return -logs.mean()

    best = optimize.minimize(loss, [2.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12}).x
    assert dim == pytest.approx(best[0], rel=1e-4)
    assert influences.sum() == pytest.approx(0, abs=1e-6)


def test_without_extrapolation_it_is_the_estimator_of_takens():
    points = sphere(300, 2, 0)
    distances = np.sort(np.linalg.norm(points[:, None] - points[None], axis=2), axis=1)[:, 1:]
    radius = np.median(distances[:, 9])
    limits = np.minimum(distances[:, 19], radius)[:, None]
    logs = np.where(distances < limits * (1 - 1e-9), np.log(limits / distances), 0)
    assert evaluation.correlation_dimension(points, 10, order=0).value == pytest.approx((logs > 0).sum() / logs.sum())
