"""The expansion of a score near its manifold, against quadrature: its rate, its terms, and where it has no value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import geometry, measures, scores


def near(manifold, size, share, seed=0):
    """Points at up to `share` of the reach from the manifold, and their feet."""
    place, direction, depth = jax.random.split(jax.random.key(seed), 3)
    feet = measures.draw(manifold.uniform, place, size)
    noise = jax.random.normal(direction, feet.shape)
    normal = jax.vmap(lambda y, v: v - manifold.tangent(y, v))(feet, noise)
    normal = normal / jnp.linalg.norm(normal, axis=1, keepdims=True)
    return feet + share * manifold.reach() * jax.random.uniform(depth, (size, 1)) * normal, feet


@pytest.mark.slow
def test_the_error_is_of_the_order_it_says(x64):
    """log p to sigma^2 and the denoiser to sigma^4, on an ellipse with a density, in a tube and not on it alone."""
    law = measures.Density(geometry.Ellipsoid((1.0, 2.0)), lambda x: x[0] / 2 + 0.3 * x[1], 1.2)
    expansion, exact = scores.ExpansionScore(law), scores.population_score(law.manifold, law.log_density, 1024)
    x, _ = near(law.manifold, 64, 0.3)

    @jax.jit
    def errors(sigma):
        logs = jax.vmap(lambda x: exact.log_density(x, sigma) - expansion.log_density(x, sigma))(x)
        offsets = jax.vmap(lambda x: exact.denoise(x, sigma) - expansion.denoise(x, sigma))(x)
        return jnp.max(jnp.abs(logs)), jnp.max(jnp.linalg.norm(offsets, axis=1))

    low, high = (np.asarray(errors(jnp.asarray(sigma))) for sigma in (0.02, 0.04))
    np.testing.assert_allclose(np.log2(high / low), [2, 4], atol=0.05)


@pytest.mark.slow
def test_on_the_manifold_it_is_the_gradient_of_the_density_and_half_the_mean_curvature(x64):
    torus = geometry.Torus(1.0, 0.4)
    law = measures.Density(torus, lambda x: x[0] + x[2] ** 2, 1.6, order=64)
    y = near(torus, 8, 0.3)[1]

    def halves(y):
        chart = torus.chart(y)
        along = torus.tangent(y, jax.grad(lambda x: x[0] + x[2] ** 2)(y))
        return along + geometry.mean_curvature_vector(chart, chart.coordinates(y)) / 2

    np.testing.assert_allclose(
        jax.vmap(scores.ExpansionScore(law).correction)(y), jax.vmap(halves)(y), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.slow
def test_on_spheres_it_is_the_closed_form_to_leading_order(k, x64):
    """log det(I - S_v) = k log |x| on the unit sphere, whose second form is -<a, b> y."""
    law = measures.Uniform(geometry.Sphere(k))
    x = jnp.asarray(np.r_[1.2, np.zeros(k)])
    np.testing.assert_allclose(scores.ExpansionScore(law).log_curvature(x), k * np.log(1.2), rtol=1e-12)
    exact = scores.VonMisesFisherScore(jnp.eye(k + 1)[0], 0.0)
    gap = exact.denoise(x, 0.01) - scores.ExpansionScore(law).denoise(x, jnp.asarray(0.01))
    assert float(jnp.linalg.norm(gap)) < 5 * k**2 * 0.01**4
