"""The window of normal-only sampling. Oracles: a perfect memoriser below the spacing and above it, and a linear
denoiser, whose gap is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import estimators, evaluation, scores


def on_sphere(size):
    z = np.random.default_rng(0).normal(size=(size, 3))
    return jnp.asarray(z / np.linalg.norm(z, axis=1, keepdims=True), jnp.float32)


@pytest.mark.slow
def test_the_window_of_a_perfect_memoriser_is_above_the_spacing():
    """Far below it one sample in twenty has no directions and more than the null are copies; at two spacings, which
    is a fourth of the reach, neither, and frames stay what they were.
    """
    data = on_sphere(150)
    found = evaluation.normal_only_window(
        jax.random.key(1), scores.KernelScore(data), data, 2, (2.0, 0.25), size=400, steps=20
    )
    np.testing.assert_allclose(found.spacings, [0.25, 2])
    np.testing.assert_allclose(found.levels, found.spacings * estimators.median_spacing(data), rtol=1e-6)
    assert found.best == pytest.approx(found.levels[1])
    assert found.low_gap[0] < 0.01 < 0.1 < found.low_gap[1]
    assert found.memorised[0] - found.memorised_null[0] > 0.2
    assert abs(found.memorised[1] - found.memorised_null[1]) < 0.08
    assert found.turn[1] < 0.2
    assert np.all(found.non_finite == 0)


@pytest.mark.slow
def test_what_is_known_of_a_linear_denoiser_is_found():
    """Eigenvalues .9, .4 and 0: the gap is .4 everywhere, and frames do not turn; what is not finite is counted."""
    matrix = jnp.diag(jnp.array([0.9, 0.4, 0.0]))
    data = on_sphere(50)

    def denoise(x, sigma):
        return matrix @ x / jnp.where(x[0] > 1.0, 0.0, 1.0)

    found = evaluation.normal_only_window(
        jax.random.key(1), scores.from_denoiser(denoise), data, 2, (1.0,), size=300, steps=8
    )
    np.testing.assert_allclose([found.gap[0], found.low_gap[0]], 0.4, rtol=1e-5)
    np.testing.assert_allclose(found.turn, 0, atol=1e-3)
    assert 0 < found.non_finite[0] < 300
    with pytest.raises(ValueError, match="dim must be from 1"):
        evaluation.normal_only_window(jax.random.key(1), scores.KernelScore(data), data, 3)
