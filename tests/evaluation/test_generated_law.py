"""The closed form of the projected law against sampling, and of ball masses against counting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion._neighbours import nearest
from manifold_diffusion.evaluation.generated_law import (
    ball_ratio,
    coverage_radius,
    generated_density,
    hypersurface_frame,
    local_generated_density,
)
from manifold_diffusion.geometry import Ellipsoid, Sphere, Torus
from manifold_diffusion.measures import draw

MANIFOLDS = {"ellipse": (Ellipsoid((1.0, 0.6)), 300), "torus": (Torus(1.0, 0.5), 100), "circle": (Sphere(1), 300)}


@pytest.mark.slow
@pytest.mark.parametrize("name", MANIFOLDS)
def test_the_projected_law_has_mass_one_and_the_moments_of_samples(name, x64, key):
    manifold, order = MANIFOLDS[name]
    x = manifold.uniform(key)
    sigma = float(manifold.reach()) / 6
    points, weights = manifold.quadrature(order)
    frames = jax.vmap(lambda y: hypersurface_frame(manifold, y))(points)
    density = generated_density(frames, x[None, :], sigma, manifold.reach())
    np.testing.assert_allclose(jnp.sum(density * weights), 1, atol=1e-5)
    noise = jax.random.normal(jax.random.key(1), (100_000, manifold.ambient_dim))
    samples = jax.vmap(manifold.project)(x[None, :] + sigma * noise)
    for f in (lambda y: y[:, 0], lambda y: y[:, 0] * y[:, 1], lambda y: jnp.sum((y - x[None, :]) ** 2, axis=1)):
        values = f(samples)
        error = float(jnp.std(values)) / len(samples) ** 0.5
        assert abs(float(jnp.sum(f(points) * density * weights) - jnp.mean(values))) < 4.5 * error


@pytest.mark.slow
def test_nearby_data_are_all_the_density_needs(x64, key):
    manifold = Torus()
    data, centres = draw(manifold.uniform, key, 2000), draw(manifold.uniform, jax.random.key(1), 64)
    frames = jax.vmap(lambda y: hypersurface_frame(manifold, y))(centres)
    whole = generated_density(frames, data, 0.06, manifold.reach())
    np.testing.assert_allclose(
        local_generated_density(frames, data, 0.06, nearest(data, frames.point, 200)[1]), whole, rtol=2e-3
    )


def test_ball_ratios_are_those_of_counting_on_a_sheet():
    """A flat sheet at height r over a flat disc: the share of its points within `radius` of the disc's centre."""
    rng = np.random.default_rng(0)
    sheet = rng.uniform(-1, 1, size=(400_000, 2))
    r, radius = 0.3, 0.5
    counted = np.mean(np.sum(sheet**2, axis=1) + r**2 <= radius**2) * 4 / (np.pi * radius**2)
    assert float(ball_ratio(jnp.asarray(1.0), jnp.asarray(r), radius, 2)) == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize("dim", [1, 2])
def test_the_coverage_radius_is_where_the_ratio_is_a_quarter(dim, x64):
    radius = coverage_radius(jnp.asarray(0.7), jnp.asarray(0.02), dim)
    assert float(ball_ratio(jnp.asarray(0.7), jnp.asarray(0.02), radius, dim)) == pytest.approx(0.25, rel=1e-12)
    assert float(coverage_radius(jnp.asarray(0.2), jnp.asarray(0.0), dim)) == np.inf
    assert float(coverage_radius(jnp.asarray(4.5), jnp.asarray(0.0), dim)) == np.inf


def test_the_closed_form_is_refused_where_it_does_not_hold():
    with pytest.raises(ValueError, match="plane curves and surfaces"):
        hypersurface_frame(Sphere(3), jnp.eye(4)[0])
