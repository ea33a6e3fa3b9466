"""Laws of the numeric helpers. Oracle: numpy in extended precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion._numerics import exp2_negative, lowest


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 4e-7), ("float64", 2e-15)])
def test_exp2_is_accurate_compiled_or_not(dtype, tolerance):
    with jax.enable_x64(dtype == "float64"):
        w = jnp.asarray(np.random.default_rng(0).uniform(0, 120, 10_001), dtype)
        exact = np.longdouble(2) ** -np.asarray(w, np.longdouble)
        for f in (exp2_negative, jax.jit(exp2_negative)):
            assert np.max(np.abs(np.asarray(f(w), np.longdouble) / exact - 1)) < tolerance
        # A running sum is multiplied by 2^-0 thousands of times: it has to be 1, not 1 and a bit.
        assert jax.jit(exp2_negative)(jnp.zeros(1, dtype))[0] == 1
        assert 0 < exp2_negative(jnp.full(1, jnp.finfo(dtype).max, dtype))[0] < 2 * np.finfo(dtype).tiny


def test_exp2_differentiates_to_itself(x64):
    w = jnp.linspace(0.0, 30.0, 13)
    slope = jax.vmap(jax.grad(lambda v: exp2_negative(v)))(w)
    np.testing.assert_allclose(slope, -np.log(2) * 2.0 ** -np.asarray(w), rtol=1e-13)


def test_lowest_is_the_minimum():
    w = (
        jnp.asarray(np.random.default_rng(0).exponential(1e3, (50, 7)), jnp.float32)
        .at[3, 2]
        .set(0.0)
        .at[4, 4]
        .set(jnp.inf)
    )
    np.testing.assert_array_equal(lowest(w), np.min(np.asarray(w), axis=0))
