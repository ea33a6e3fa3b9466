"""The safety net itself: each of its parts has to catch what it is there to catch."""

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError

from manifold_diffusion._numerics import safe_norm
from manifold_diffusion.geometry import manifold


def test_wrong_shapes_are_caught_in_top_level_modules():
    with pytest.raises(TypeCheckError):
        safe_norm(jnp.ones((2, 3)))


def test_wrong_shapes_are_caught_in_subpackages():
    class Line(manifold.AbstractChart):
        def embed(self, u):
            return u

        def coordinates(self, x):
            return x

    with pytest.raises(TypeCheckError):
        manifold.metric_tensor(Line(), jnp.ones((2, 1)))


def test_silent_rank_promotion_is_an_error():
    with pytest.raises(ValueError, match="rank"):
        jnp.ones((2, 3)) + jnp.ones(3)


def test_the_x64_fixture_gives_float64(x64):
    assert jnp.ones(()).dtype == jnp.float64
    assert jax.jit(lambda: jnp.zeros(1))().dtype == jnp.float64


def test_without_the_fixture_numbers_are_float32():
    assert jnp.ones(()).dtype == jnp.float32
