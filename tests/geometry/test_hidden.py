"""The hidden manifold model: its coordinates, metric and law against formulas in numpy, projection against search."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats
from scipy.spatial import KDTree

from manifold_diffusion.geometry import (
    HiddenManifold,
    hidden_manifold,
    log_volume,
    metric_tensor,
    second_fundamental_form,
)
from manifold_diffusion.measures import draw

F = np.random.default_rng(3).standard_normal((7, 2))
LINE = np.asarray([[1.2], [-0.5], [0.8], [0.1]])


@eqx.filter_jit
def look(manifold, z):
    """What a manifold says about the points of latent numbers z, all at once."""

    def one(z):
        x, chart = manifold.embedding(z), manifold.whole()
        return (
            x,
            manifold.latent(x),
            metric_tensor(chart, z),
            second_fundamental_form(chart, z),
            manifold.log_density(x),
        )

    return jax.vmap(one)(z)


def latent_numbers(count=50, dim=2):
    return jnp.asarray(np.random.default_rng(0).uniform(-2, 2, (count, dim)), dtype=float)


def test_latent_numbers_come_back_from_their_points(x64):
    """By the inverse hyperbolic tangent and unweighted least squares, and by the manifold."""
    z = latent_numbers()
    x, back, *_ = look(HiddenManifold(F), z)
    plain = np.linalg.lstsq(F, np.sqrt(2) * np.arctanh(np.asarray(x)).T)[0].T
    np.testing.assert_allclose(x, np.tanh(np.asarray(z) @ F.T / np.sqrt(2)), atol=1e-14)
    np.testing.assert_allclose(plain, z, atol=1e-9)
    np.testing.assert_allclose(back, z, atol=1e-12)


def test_latent_numbers_come_back_in_single_precision_where_tanh_saturates():
    """With fields up to 16, where tanh is 1 to rounding, the components that are not saturated decide."""
    manifold = HiddenManifold(np.concatenate([F, 2.5 * F[:2]]))
    z = latent_numbers()
    x, back, *_ = look(manifold, z)
    assert back.dtype == jnp.float32
    assert float(jnp.max(jnp.abs(x))) > 1 - 4 * jnp.finfo(jnp.float32).eps
    np.testing.assert_allclose(back, z, atol=2e-4)


def test_metric_and_second_form_follow_the_chain_rule(x64):
    """g = F^T D^2 F / k with D = 1 - x^2, and d_ij x = g''(a) F_i F_j / k, g'' = -2 x (1 - x^2)."""
    z = latent_numbers()
    x, _, metric, form, _ = (np.asarray(values) for values in look(HiddenManifold(F), z))
    slope = 1 - x**2
    np.testing.assert_allclose(metric, np.einsum("di,nd,dj->nij", F, slope**2, F) / 2, atol=1e-13)
    second = np.einsum("nd,di,dj->nijd", -2 * x * slope, F, F) / 2
    for found, whole, J in zip(form, second, slope[:, :, None] * F[None], strict=True):
        across = np.eye(7) - J @ np.linalg.pinv(J)
        np.testing.assert_allclose(found, whole @ across, atol=1e-12)


def test_the_density_has_mass_one_and_is_that_of_the_latent_law(x64):
    for manifold, order in ((HiddenManifold(LINE), 80), (HiddenManifold(F, radius=1.5), 48)):
        points, weights = manifold.quadrature(order)
        values = jax.jit(jax.vmap(manifold.log_density))(points)
        np.testing.assert_allclose(jnp.sum(weights * jnp.exp(values)), 1.0, atol=1e-9)
    z = latent_numbers()
    _, _, metric, _, found = (np.asarray(values) for values in look(HiddenManifold(F), z))
    law = stats.truncnorm(-2, 2).logpdf(np.asarray(z)).sum(axis=1)
    np.testing.assert_allclose(found, law - np.log(np.linalg.det(metric)) / 2, atol=1e-11)


def test_samples_have_the_law_of_the_model(x64, key):
    manifold = HiddenManifold(F)
    z = jax.jit(jax.vmap(manifold.latent))(draw(manifold.sample, key, 5000))
    for column in np.asarray(z).T:
        assert stats.kstest(column, stats.truncnorm(-2, 2).cdf).pvalue > 1e-3


def speed(z):
    a = LINE[:, 0] * np.reshape(z, (-1, 1))
    return np.sqrt(np.sum((LINE[:, 0] / np.cosh(a) ** 2) ** 2, axis=1))


def test_volume_and_uniform_points_of_a_curve(x64, key):
    manifold = HiddenManifold(LINE)
    length = integrate.quad(lambda z: speed(z)[0], -2, 2, epsabs=1e-12)[0]
    np.testing.assert_allclose(manifold.volume(), length, rtol=1e-11)
    z = np.sort(np.asarray(jax.jit(jax.vmap(manifold.latent))(draw(manifold.uniform, key, 5000)))[:, 0])
    grid = np.linspace(-2, 2, 4001)
    share = np.interp(z, grid, integrate.cumulative_simpson(speed(grid), x=grid, initial=0) / length)
    assert stats.kstest(share, "uniform").pvalue > 1e-3


def test_no_point_of_a_dense_grid_is_nearer_than_the_projection(x64, key):
    manifold = HiddenManifold(F)
    line = np.linspace(-2, 2, 401)
    dense = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    x = draw(manifold.sample, key, 500) + 0.15 * jax.random.normal(jax.random.key(1), (500, 7))
    projected = np.asarray(jax.jit(jax.vmap(manifold.project))(x))
    nearest = KDTree(np.tanh(dense @ F.T / np.sqrt(2))).query(np.asarray(x))[0]
    assert np.all(np.linalg.norm(np.asarray(x) - projected, axis=1) <= nearest + 1e-9)
    z = np.linalg.lstsq(F, np.sqrt(2) * np.arctanh(projected).T)[0].T
    assert np.abs(z).max() <= 2 + 1e-9


def test_other_nonlinearities_and_inverses_by_bisection(x64):
    """erf has an inverse of its own; one that the library does not know is inverted by bisection, derivatives too."""
    z = latent_numbers()
    x, back, *_ = look(HiddenManifold(F, jax.scipy.special.erf), z)
    np.testing.assert_allclose(x, special.erf(np.asarray(z) @ F.T / np.sqrt(2)), atol=1e-14)
    np.testing.assert_allclose(back, z, atol=1e-11)
    known, unknown = HiddenManifold(F), HiddenManifold(F, lambda a: jnp.tanh(a))
    y = jnp.linspace(-0.97, 0.97, 7)
    for derive in (lambda f: f, jax.jacfwd, jax.jacrev, jax.hessian):
        found, expected = jax.jit(lambda y, d=derive: (d(unknown.inverse)(y), d(known.inverse)(y)))(y)
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


def test_frames_and_radii_may_be_traced(x64):
    """d volume / d radius against a difference, through the constructor."""

    def volume(radius):
        return HiddenManifold(LINE, radius=radius).volume()

    found = jax.jit(jax.grad(volume))(2.0)
    np.testing.assert_allclose(found, speed(2.0)[0] + speed(-2.0)[0], rtol=1e-9)


def test_random_frames_are_normal_and_the_bound_holds(x64, key):
    manifold = hidden_manifold(key, 3, 400)
    assert stats.kstest(np.asarray(manifold.frame).ravel(), "norm").pvalue > 1e-3
    z = jnp.concatenate([latent_numbers(200, 3), jnp.zeros((1, 3))])
    elements = jax.jit(jax.vmap(lambda v: log_volume(manifold.whole(), v)))(z)
    assert float(jnp.max(elements)) <= float(manifold.log_bound)
    # At the origin the slope is largest, and the bound is its margin away.
    np.testing.assert_allclose(elements[-1], manifold.log_bound - 3 * np.log(1.01), atol=1e-9)


def test_what_makes_no_manifold_is_refused(key):
    for nonlinearity, message in (
        (jax.nn.relu, "slope at .* is 0"),
        (jnp.sign, "slope at .* is 0"),
        (jnp.cos, "increasing"),
        (jax.nn.leaky_relu, "its slope jumps"),
    ):
        with pytest.raises(ValueError, match=message):
            HiddenManifold(F, nonlinearity)
    with pytest.raises(ValueError, match="rank k < d"):
        HiddenManifold(np.concatenate([F, F], axis=1)[:, [0, 2]])
    with pytest.raises(ValueError, match="0 < dim < ambient_dim"):
        hidden_manifold(key, 3, 3)
    with pytest.raises(ValueError, match="radius of the latent box"):
        HiddenManifold(F, radius=0.0)
    with pytest.raises(ValueError, match="k <= 4"):
        hidden_manifold(key, 6, 20).volume()
