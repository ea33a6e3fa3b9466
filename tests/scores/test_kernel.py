"""Laws of the kernel score. Oracles: the definition in float64 numpy, dense autodiff, closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import _kernel_sums
from manifold_diffusion.scores import KernelScore, denoiser, from_denoiser, switch


def dense(data, x, sigma, weights=None):
    """(score, log density) from the definition, in float64 with differences."""
    data, x = np.asarray(data, np.float64), np.asarray(x, np.float64)
    weights = np.ones(len(data)) if weights is None else np.asarray(weights, np.float64)
    sigma = np.broadcast_to(np.asarray(sigma, np.float64), x.shape[:1])
    scores, densities = [], []
    for q, s in zip(x, sigma, strict=True):
        with np.errstate(divide="ignore"):
            logits = np.log(weights / weights.sum()) - ((q - data) ** 2).sum(1) / (2 * s**2)
        top = logits.max()
        p = np.exp(logits - top)
        scores.append((p / p.sum()) @ (data - q) / s**2)
        densities.append(top + np.log(p.sum()) - len(q) / 2 * np.log(2 * np.pi * s**2))
    return np.array(scores), np.array(densities)


def dense_score(data, x, sigma):
    p = jax.nn.softmax(-jnp.sum((x[None, :] - data) ** 2, axis=1) / (2 * sigma**2))
    return (p @ data - x) / sigma**2


def sample(n, m, d, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((n, d)).astype(dtype)
    return jnp.asarray(data), jnp.asarray(
        (data[rng.integers(n, size=m)] + 0.1 * rng.standard_normal((m, d))).astype(dtype)
    )


@jax.jit
def score_and_density(kernel, x, sigma):
    return jax.vmap(lambda p: (kernel(p, sigma), kernel.log_density(p, sigma)))(x)


@jax.jit
def scores_of(kernel, x, sigma):
    return jax.vmap(kernel, (0, None))(x, sigma)


SHAPES = [(1, 1, 1), (1, 3, 2), (2, 1, 3), (7, 9, 1), (1025, 130, 3), (3000, 5, 8), (300, 7, 33)]


@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
@pytest.mark.parametrize("sigma", [0.05, 3.0])
def test_score_and_density_are_those_of_the_definition(n, m, d, sigma):
    data, x = sample(n, m, d)
    score, density = dense(data, x, sigma)
    streamed = score_and_density(KernelScore(data), x, sigma)
    np.testing.assert_allclose(sigma * streamed[0], sigma * score, atol=2e-4, rtol=1e-5)
    np.testing.assert_allclose(streamed[1], density, atol=1e-4, rtol=2e-6)


@pytest.mark.parametrize("d", [1, 3, 12])
def test_double_precision_is_kept(x64, d):
    data, x = sample(1500, 10, d, np.float64)
    score, density = dense(data, x, 0.3)
    streamed = score_and_density(KernelScore(data), x, 0.3)
    np.testing.assert_allclose(streamed[0], score, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(streamed[1], density, rtol=1e-13)


def test_weights_are_those_of_repeated_points():
    data, x = sample(40, 6, 3)
    counts = np.random.default_rng(1).integers(0, 4, size=40)
    weighted, repeated = KernelScore(data, jnp.asarray(counts)), KernelScore(jnp.repeat(data, counts, axis=0))
    np.testing.assert_allclose(scores_of(weighted, x, 0.4), scores_of(repeated, x, 0.4), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("far_block_first", [False, True])
def test_blocks_without_weight_leave_no_trace(far_block_first):
    data, x = sample(3 * _kernel_sums.DATA_BLOCK, 5, 2)
    kept = slice(_kernel_sums.DATA_BLOCK, None) if far_block_first else slice(_kernel_sums.DATA_BLOCK)
    weights = np.zeros(len(data))
    weights[kept] = 1
    with_zeros, without = KernelScore(data, jnp.asarray(weights)), KernelScore(data[kept])
    np.testing.assert_allclose(scores_of(with_zeros, x, 0.2), scores_of(without, x, 0.2), rtol=1e-4, atol=1e-4)


def test_small_noise_is_resolved_in_single_precision():
    """On a circle of 1e5 points, at sigma = 1e-4, sigma times the score is within 1e-2 of float64."""
    rng = np.random.default_rng(0)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 100_000))
    data = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    x = (data[:64] + 1e-4 * rng.standard_normal((64, 2))).astype(np.float32)
    error = 1e-4 * (jax.vmap(KernelScore(jnp.asarray(data)), (0, None))(jnp.asarray(x), 1e-4) - dense(data, x, 1e-4)[0])
    assert np.abs(error).max() < 1e-2


@pytest.mark.parametrize("d", [3, 40])
def test_offset_of_the_data_costs_no_digits(d):
    data, x = sample(200, 8, d)
    data, x = data + 1000, x + 1000
    score = scores_of(KernelScore(data), x, 0.2)
    np.testing.assert_allclose(0.2 * score, 0.2 * dense(data, x, 0.2)[0], atol=2e-3)


def test_high_dimension_falls_back_to_differences_at_small_noise():
    """Clusters as tight as the noise, far from one another, so that no choice of origin helps the product form."""
    sigma, rng = 2e-4, np.random.default_rng(0)
    centres = rng.standard_normal((4, 1, 64))
    data = (centres + 0.2 * sigma * rng.standard_normal((4, 100, 64))).reshape(-1, 64).astype(np.float32)
    x = (data[::25] + sigma * rng.standard_normal((16, 64))).astype(np.float32)
    score = scores_of(KernelScore(data), jnp.asarray(x), sigma)
    np.testing.assert_allclose(sigma * score, sigma * dense(data, x, float(np.float32(sigma)))[0], atol=1e-2)


def test_product_form_is_accurate_where_it_is_chosen_and_not_where_it_is_not():
    data, x = sample(64, 8, 64)
    zero = jnp.zeros(64)

    def error(sigma):
        scale = jnp.full(8, 0.5 / np.log(2) / sigma**2)
        by_product, by_difference = (_kernel_sums.costs(data.T, zero, x.T, scale, exact) for exact in (False, True))
        return jnp.max(jnp.abs(by_product - by_difference))

    assert error(3.0) < 1e-4
    assert error(1e-3) > 1.0


def test_every_way_to_batch_gives_the_same():
    data, x = sample(500, 12, 3)
    kernel, sigmas = KernelScore(data), jnp.linspace(0.1, 1.0, 4)
    over_x = jax.vmap(kernel, (0, None))
    expected = np.stack([dense(data, x, float(s))[0] for s in sigmas])
    one_by_one = jax.lax.map(lambda s: jax.lax.map(lambda p: kernel(p, s), x), sigmas)
    deep = jax.vmap(jax.vmap(jax.vmap(kernel, (0, None)), (0, None)), (None, 0))
    for scores in (
        one_by_one,
        jax.vmap(over_x, (None, 0))(x, sigmas),
        jnp.swapaxes(jax.vmap(jax.vmap(kernel, (None, 0)), (0, None))(x, sigmas), 0, 1),
        jax.lax.scan(lambda c, s: (c, over_x(x, s)), 0, sigmas)[1],
        deep(x.reshape(3, 4, 3), sigmas).reshape(4, 12, 3),
    ):
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)


def test_several_data_sets_can_be_batched():
    data, x = sample(60, 4, 2)
    kernels = jax.vmap(KernelScore)(data.reshape(3, 20, 2))
    scores = jax.jit(jax.vmap(scores_of, (0, None, None)))(kernels, x, 0.5)
    for i in range(3):
        np.testing.assert_allclose(scores[i], dense(data[20 * i : 20 * i + 20], x, 0.5)[0], rtol=1e-4, atol=1e-4)
    of = lambda k: jax.jacfwd(k)(x[0], 0.5)  # noqa: E731
    jacobians = jax.jit(jax.vmap(of))(kernels)
    np.testing.assert_allclose(jacobians[1], jax.jit(of)(KernelScore(data[20:40])), rtol=1e-5, atol=1e-5)


DERIVATIVES = {
    "jacfwd": lambda f: jax.jacfwd(f),
    "jacrev": lambda f: jax.jacrev(f),
    "jvp": lambda f: lambda x, s: jax.jvp(f, (x, s), (jnp.cos(jnp.arange(1.0, len(x) + 1)), jnp.ones_like(s)))[1],
    "vjp": lambda f: lambda x, s: jax.vjp(f, x, s)[1](jnp.cos(jnp.arange(1.0, len(x) + 1)))[0],
    "in sigma, forward": lambda f: jax.jacfwd(f, 1),
    "in sigma, reverse": lambda f: jax.jacrev(f, 1),
    "gradient of a function of the score": lambda f: jax.grad(lambda x, s: jnp.sum(f(x, s) ** 2)),
    "Hessian of a function of the score": lambda f: jax.hessian(lambda x, s: jnp.sum(f(x, s) ** 2)),
    "gradient of the divergence": lambda f: jax.grad(lambda x, s: jnp.trace(jax.jacfwd(f)(x, s))),
    "twice in sigma, reverse": lambda f: jax.grad(jax.grad(lambda x, s: jnp.sum(f(x, s) ** 2), 1), 1),
}


HIGH = ("jacfwd", "jacrev", "in sigma, reverse")
CASES = [pytest.param(name, 1100, 2, id=f"{name}, D=2") for name in DERIVATIVES] + [
    pytest.param(name, 30, 11, id=f"{name}, D=11", marks=[] if name in HIGH else [pytest.mark.slow])
    for name in DERIVATIVES
]


@pytest.mark.parametrize(("name", "n", "d"), CASES)
def test_derivatives_are_those_of_dense_autodiff(x64, name, n, d):
    data, x = sample(n, 3, d, np.float64)
    sigmas, of = jnp.array([0.5, 0.8, 1.1]), DERIVATIVES[name]
    expected = jax.jit(jax.vmap(of(functools.partial(dense_score, data))))(x, sigmas)
    np.testing.assert_allclose(jax.jit(jax.vmap(of(KernelScore(data))))(x, sigmas), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_derivatives_need_neither_jit_nor_vmap(x64):
    data, x = sample(20, 1, 3, np.float64)
    for name in ("jacfwd", "jacrev", "gradient of a function of the score"):
        exact = DERIVATIVES[name](functools.partial(dense_score, data))(x[0], jnp.array(0.5))
        np.testing.assert_allclose(
            DERIVATIVES[name](KernelScore(data))(x[0], jnp.array(0.5)), exact, rtol=1e-9, atol=1e-9
        )


def test_score_is_the_gradient_of_the_log_density(x64):
    data, x = sample(1100, 4, 3, np.float64)
    kernel, sigma, step = KernelScore(data, jnp.linspace(1.0, 2.0, 1100)), 0.4, 1e-6

    @jax.jit
    @jax.vmap
    def laws(p):
        gradient, slope = jax.grad(kernel.log_density, (0, 1))(p, sigma)
        difference = (kernel.log_density(p, sigma + step) - kernel.log_density(p, sigma - step)) / (2 * step)
        return gradient, kernel(p, sigma), slope, difference, jnp.trace(jax.jacfwd(kernel)(p, sigma))

    gradient, score, slope, difference, divergence = laws(x)
    np.testing.assert_allclose(gradient, score, rtol=1e-12)
    np.testing.assert_allclose(slope, difference, rtol=1e-7)
    # The heat equation: dp / dsigma = sigma Laplacian p, so d log p / dsigma = sigma (div s + |s|^2).
    np.testing.assert_allclose(slope, sigma * (divergence + jnp.sum(score**2, axis=1)), rtol=1e-10)


def test_jacobian_of_the_denoiser_is_the_posterior_covariance(x64):
    data, x = sample(200, 1, 3, np.float64)
    p = jax.nn.softmax(-jnp.sum((x[0][None, :] - data) ** 2, axis=1) / (2 * 0.5**2))
    expected = jnp.cov(data.T, aweights=p, bias=True) / 0.5**2
    np.testing.assert_allclose(jax.jacrev(KernelScore(data).denoise)(x[0], 0.5), expected, rtol=1e-10)


def test_derivatives_hold_in_single_precision_at_small_noise():
    data, _ = sample(4000, 1, 2)
    data = data / jnp.linalg.norm(data, axis=1, keepdims=True)
    x = data[:20] * 1.003
    of = jax.jit(lambda kernel, x: jax.vmap(jax.jacfwd(kernel.denoise), (0, None))(x, 0.01))
    jacobian = of(KernelScore(data), x)
    with jax.enable_x64(True):
        exact = KernelScore(jnp.asarray(np.asarray(data, np.float64)))
        expected = of(exact, jnp.asarray(np.asarray(x, np.float64)))
    np.testing.assert_allclose(jacobian, expected, atol=2e-3)


def test_no_array_of_pairs_is_ever_made():
    data, x = sample(20_000, 2_000, 3)
    for f in (KernelScore(data), lambda p, s: jax.grad(lambda q: jnp.sum(KernelScore(data)(q, s) ** 2))(p)):
        compiled = jax.jit(jax.vmap(f, (0, None))).lower(x, jnp.float32(0.1)).compile()
        assert compiled.memory_analysis().temp_size_in_bytes < 16e6  # the pairs alone would be 160 MB, with D 480 MB


def test_bad_points_stay_bad_and_spoil_no_other():
    data, x = sample(300, 20, 3)
    x = x.at[3].set(jnp.nan)
    score = scores_of(KernelScore(data), x, 0.3)
    assert not jnp.any(jnp.isfinite(score[3]))
    np.testing.assert_allclose(
        jnp.delete(score, 3, axis=0), dense(data, np.delete(x, 3, axis=0), 0.3)[0], rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("shape", [(0, 3), (3,), (3, 0)])
def test_empty_data_are_refused(shape):
    with pytest.raises((ValueError, TypeError)):
        KernelScore(jnp.zeros(shape))


def test_wrong_number_of_weights_is_refused():
    with pytest.raises(ValueError, match="one per point"):
        KernelScore(jnp.zeros((4, 2)), jnp.ones(3))


def test_denoiser_and_score_are_inverse_to_each_other():
    data, x = sample(50, 1, 3)
    kernel = KernelScore(data)
    plain = lambda p, s: kernel(p, s)  # noqa: E731  (without a `denoise` of its own)
    sigma = jnp.float32(0.5)
    np.testing.assert_allclose(denoiser(plain)(x[0], sigma), kernel.denoise(x[0], sigma), rtol=1e-5)
    np.testing.assert_allclose(from_denoiser(kernel.denoise)(x[0], sigma), kernel(x[0], sigma), rtol=1e-4)


def test_switch_takes_one_score_above_and_the_other_below():
    above, below = (lambda p, s: 0 * p + 1.0), (lambda p, s: 0 * p - 1.0)
    both = switch(below, above, 0.5)
    x = jnp.zeros(2)
    values = jax.vmap(both, (None, 0))(x, jnp.array([0.1, 0.49, 0.5, 2.0]))
    np.testing.assert_array_equal(values[:, 0], [-1, -1, 1, 1])
    np.testing.assert_allclose(both.denoise(x, jnp.float32(0.1)), -0.01 * jnp.ones(2), rtol=1e-6)


def test_switch_computes_one_branch_when_the_noise_level_is_shared():
    calls = []

    def counting(name):
        def score(p, s):
            jax.debug.callback(lambda: calls.append(name))
            return p

        return score

    both = switch(counting("below"), counting("above"), 0.5)
    jax.block_until_ready(jax.jit(jax.vmap(both, (0, None)))(jnp.zeros((3, 2)), jnp.float32(0.1)))
    jax.effects_barrier()
    assert set(calls) == {"below"}
