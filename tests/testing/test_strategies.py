"""What the strategies draw is what they say, shrinks to what is simple, and is of use in a law."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import find, given

from manifold_diffusion import geometry
from manifold_diffusion.testing import strategies

# Strategies compile programs, and beartype, which only the tests have on, draws random names when it checks those.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
TORUS, CIRCLE = geometry.Torus(1.0, 0.5), geometry.Sphere(1)


@given(strategies.points(TORUS))
def test_points_lie_on_the_manifold(x):
    assert abs(float(jnp.hypot(jnp.hypot(x[0], x[1]) - 1, x[2])) - 0.5) < 1e-5


@given(strategies.points(TORUS, distance=0.3))
def test_points_are_at_most_as_far_away_as_they_may(x):
    assert abs(float(jnp.hypot(jnp.hypot(x[0], x[1]) - 1, x[2])) - 0.5) < 0.3 + 1e-5


@given(strategies.tangents(TORUS, length=2.0))
def test_tangents_are_tangent_and_not_too_long(pair):
    x, v = pair
    np.testing.assert_allclose(TORUS.tangent(x, v), v, atol=1e-5)
    assert float(jnp.linalg.norm(v)) <= 2 + 1e-5


def test_tangents_shrink_to_zero_and_points_to_the_manifold():
    pair = find(strategies.tangents(CIRCLE), lambda pair: True)
    np.testing.assert_array_equal(pair[1], jnp.zeros(2))
    x = find(strategies.points(CIRCLE, distance=0.5), lambda x: bool(x[0] < 0))
    np.testing.assert_allclose(jnp.linalg.norm(x), 1, atol=1e-6)


def test_a_law_that_fails_for_long_tangents_shrinks_to_the_shortest_of_them():
    """Lengths are eighths, so that of the smallest counterexample to |v| <= 1/2 is 5/8."""
    _, v = find(strategies.tangents(CIRCLE), lambda pair: bool(jnp.linalg.norm(pair[1]) > 0.5))
    np.testing.assert_allclose(jnp.linalg.norm(v), 5 / 8, atol=1e-6)


@given(strategies.manifolds())
def test_manifolds_are_those_of_the_catalogue(manifold):
    assert isinstance(manifold, geometry.Sphere | geometry.Ellipsoid | geometry.FourierCurve | geometry.Torus)
    assert manifold.dim in (1, 2)


def test_manifolds_shrink_to_the_smallest_circle():
    manifold = find(strategies.manifolds(), lambda manifold: True)
    assert isinstance(manifold, geometry.Sphere)
    assert (manifold.dim, float(manifold.radius)) == (1, 0.5)
    assert find(strategies.manifolds(dims=[3]), lambda manifold: True).dim == 3


@given(strategies.keys(), strategies.noise_levels(0.01, 10.0))
def test_keys_are_typed_and_noise_levels_are_in_their_range(key, sigma):
    assert jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    assert sigma.shape == ()
    assert 0.01 * (1 - 1e-5) <= float(sigma) <= 10.0 * (1 + 1e-5)


def test_noise_levels_shrink_to_the_largest():
    assert float(find(strategies.noise_levels(0.01, 10.0), lambda sigma: True)) == 10
    with pytest.raises(ValueError, match="0 < low < high"):
        strategies.noise_levels(0.0, 1.0)


def test_what_is_drawn_has_the_precision_that_is_on(x64):
    x, v = find(strategies.tangents(geometry.Sphere(1)), lambda pair: True)
    assert x.dtype == v.dtype == jnp.float64
    assert find(strategies.noise_levels(), lambda sigma: True).dtype == jnp.float64


def test_without_hypothesis_only_the_strategies_are_missing_and_say_what_to_install():
    command = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from manifold_diffusion import testing\n"
        "testing.check_manifold\n"
        "try:\n    testing.strategies\nexcept ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=120)
    assert done.stdout == (
        "manifold_diffusion.testing.strategies needs hypothesis: pip install 'manifold-diffusion[testing]'\n"
    ), done.stderr
