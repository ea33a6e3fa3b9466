"""Laws of scores from outside: PyTorch modules and numpy functions. Oracle: the same function written in jax."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import scores

RNG = np.random.default_rng(0)
WEIGHTS, BIAS, OUT = RNG.normal(size=(16, 4)), RNG.normal(size=16), RNG.normal(size=(3, 16)) / 4
POINTS, LEVEL = RNG.normal(size=(5, 3)), 0.375


def in_jax(y, c):
    weights, bias, out = (jnp.asarray(a, y.dtype) for a in (WEIGHTS, BIAS, OUT))
    return out @ jnp.tanh(weights @ jnp.append(y, c) + bias)


def in_numpy(y, c):
    assert y.dtype == c.dtype == np.float64
    assert c.shape == y.shape[:1]
    return np.tanh(np.concatenate([y, c[:, None]], 1) @ WEIGHTS.T + BIAS) @ OUT.T


def jvp_in_numpy(y, c, dy, dc):
    slope = 1 - np.tanh(np.concatenate([y, c[:, None]], 1) @ WEIGHTS.T + BIAS) ** 2
    return (slope * (np.concatenate([dy, dc[:, None]], 1) @ WEIGHTS.T)) @ OUT.T


def in_torch(dtype="float64"):
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = torch.nn.Linear(4, 16)
            self.out = torch.nn.Linear(16, 3, bias=False)
            for mine, value in ((self.hidden.weight, WEIGHTS), (self.hidden.bias, BIAS), (self.out.weight, OUT)):
                mine.data = torch.tensor(value, dtype=getattr(torch, dtype))
            self.batches = []

        def forward(self, y, c):
            self.batches.append(len(y))
            return self.out(torch.tanh(self.hidden(torch.cat([y, c[:, None]], dim=1))))

    return Net().eval()


def log_level(sigma):
    return jnp.log(sigma) / 4


def converted(predicts, noise):
    """What the adapter should make of the model: (x, sigma) -> score, by the definitions."""

    def score(x, sigma):
        alpha = 1 / jnp.sqrt(1 + sigma**2) if noise == "vp" else jnp.ones_like(sigma)
        f = in_jax(alpha * x, log_level(sigma) if noise == "vp" else sigma)
        # The score of y is that of x over alpha; the noise in y is alpha sigma.
        of_y = {"score": f, "epsilon": -f / (alpha * sigma), "denoiser": (alpha * f - alpha * x) / (alpha * sigma) ** 2}
        return alpha * of_y[predicts]

    return score


def look(score):
    def at(x, sigma):
        derivatives = jax.jacfwd(score, (0, 1))(x, sigma), jax.jacrev(score, (0, 1))(x, sigma)
        return score(x, sigma), *derivatives

    return at


@eqx.filter_jit
def batch(score, x, sigma):
    return jax.vmap(look(score), (0, None))(x, sigma)


@functools.cache
def seen(kind, predicts, noise):
    condition = log_level if noise == "vp" else None
    with jax.enable_x64(True):
        x, sigma = jnp.asarray(POINTS), jnp.asarray(LEVEL)
        if kind == "torch":
            score = scores.from_torch(in_torch(), predicts, noise, condition)
        else:
            jvp = jvp_in_numpy if kind == "numpy with a jvp" else None
            score = scores.from_numpy(in_numpy, predicts, noise, condition, jvp=jvp)
        expected = batch(converted(predicts, noise), x, sigma)
        denoised = jax.vmap(score.denoise, (0, None))(x, sigma)
        return jax.tree.map(np.asarray, (batch(score, x, sigma), expected, denoised))


KINDS = [("torch", "score", "ve"), ("torch", "denoiser", "ve"), ("torch", "epsilon", "vp")]
KINDS += [("numpy", "score", "vp"), ("numpy", "denoiser", "vp"), ("numpy with a jvp", "epsilon", "ve")]


@pytest.mark.parametrize(("kind", "predicts", "noise"), KINDS)
def test_a_model_from_outside_is_the_function_that_it_computes(kind, predicts, noise):
    """Values to rounding; derivatives too where they are given, else to the error of differences."""
    found, expected, denoised = seen(kind, predicts, noise)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(denoised, POINTS + LEVEL**2 * expected[0], atol=1e-12)
    tolerance = 1e-7 if kind == "numpy" else 1e-11
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=tolerance), found[1:], expected[1:])


def test_a_batch_is_one_call():
    net = in_torch("float32")
    score = scores.from_torch(net, "denoiser")
    x = jnp.asarray(POINTS, jnp.float32)
    values = jax.vmap(score.denoise, (0, None))(x, 0.5)
    net.batches.clear()
    jax.block_until_ready(jax.vmap(score.denoise, (0, None))(x, 0.5))
    assert net.batches == [5]
    net.batches.clear()
    small = scores.from_torch(net, "denoiser", batch=2)
    np.testing.assert_allclose(jax.vmap(small.denoise, (0, None))(x, 0.5), values, rtol=1e-5)
    assert net.batches[-3:] == [2, 2, 1]
    jax.block_until_ready(jax.vmap(lambda x: jax.jacfwd(score.denoise)(x, jnp.float32(0.5)))(x))
    assert net.batches[-1] == 15


def test_precision_is_that_of_the_points():
    """A float32 module in a float64 program, and the other way round."""
    exact = np.stack([in_jax(jnp.asarray(x, jnp.float32), LEVEL) for x in POINTS])
    for dtype in ("float32", "float64"):
        with jax.enable_x64(True):
            single = scores.from_torch(in_torch(dtype), "score")(jnp.asarray(POINTS[0], jnp.float32), LEVEL)
            double = scores.from_torch(in_torch(dtype), "score")(jnp.asarray(POINTS[0]), LEVEL)
        assert (single.dtype, double.dtype) == (jnp.float32, jnp.float64)
        np.testing.assert_allclose(single, exact[0], rtol=1e-5)
        np.testing.assert_allclose(double, exact[0], rtol=1e-5)


def test_a_second_derivative_is_refused():
    score = scores.from_numpy(in_numpy, "score")
    with pytest.raises(NotImplementedError, match="differentiates once"):
        jax.hessian(lambda x: score(x, LEVEL)[0])(jnp.ones(3))


def test_differences_in_single_precision_take_larger_steps():
    """The error of f in float32 is 6e-8, so steps of 6e-6 would leave one digit."""
    score = scores.from_numpy(lambda y, c: in_numpy(y, c).astype(np.float32), "score")
    with jax.enable_x64(True):
        x = jnp.asarray(POINTS[0])
        found, exact = (jax.jacfwd(f)(x, jnp.asarray(LEVEL)) for f in (score, in_jax))
    np.testing.assert_allclose(found, exact, atol=2e-4)
    assert np.max(np.abs(found - exact)) > 1e-9


def test_values_that_are_not_finite_pass_on():
    score = scores.from_numpy(lambda y, c: np.where(y[:, :1] > 0, np.nan, 1.0) * y, "score")
    out = jax.vmap(score, (0, None))(jnp.array([[1.0, 2.0], [-1.0, 2.0]]), 0.5)
    np.testing.assert_array_equal(np.isnan(out).all(axis=1), [True, False])


def raises(y, c):
    raise RuntimeError("shapes (3,3) and (4,) do not fit\nand a second line")


BAD = {
    "returns shape (3, 2)": lambda y, c: y[:, :2],
    "returns int64": lambda y, c: np.ones(y.shape, int),
    "returns complex128": lambda y, c: y + 0j,
    "returns a list": lambda y, c: y.tolist(),
    "alone than in a batch": lambda y, c: y - y.mean(axis=0),
    "raised RuntimeError (shapes (3,3) and (4,) do not fit)": raises,
}


@pytest.mark.parametrize("complaint", BAD)
def test_a_bad_function_gets_one_line(complaint):
    score = scores.from_numpy(BAD[complaint], "denoiser")
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        jax.jit(lambda x: score(x, 0.5))(jnp.ones(3))
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_function_of_chance_or_in_training_is_told_to_stop():
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(3, 64), torch.nn.Dropout(0.5), torch.nn.Linear(64, 3))
    take = type("Take", (torch.nn.Module,), {"forward": lambda self, y, c: self.net(y)})
    module = take()
    module.net = net
    with pytest.raises(ValueError, match=r"call module.eval\(\)"):
        scores.from_torch(module, "score")(jnp.ones(3), 0.5)
    assert np.all(np.isfinite(scores.from_torch(module.eval(), "score")(jnp.ones(3), 0.5)))


def test_examples_are_tried_at_once():
    bad = lambda y, c: np.where(y[:, :1] > 0, np.nan, y)  # noqa: E731
    with pytest.raises(ValueError, match=r"not finite at 1 of 2 examples at sigma = 0\.5, first at row 1"):
        scores.from_numpy(bad, "score", examples=np.array([[-1.0, 0.0], [1.0, 0.0]]), sigma=0.5)
    scores.from_numpy(in_numpy, "score", examples=POINTS, sigma=0.5)
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        scores.from_numpy(in_numpy, "score", examples=np.ones(2))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"predicts": "velocity"}, "predicts must be"),
        ({"predicts": "score", "noise": "subvp"}, "noise must be"),
        ({"predicts": "score", "noise": "vp"}, "pass condition="),
        ({"predicts": "score", "step": 0.0}, "step must be positive"),
        ({"predicts": "score", "batch": 0}, "batch must be"),
    ],
)
def test_bad_arguments_are_named(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        scores.from_numpy(in_numpy, **arguments)
