"""The flow by adaptive steps. Oracle: Gaussian data, whose flow scales what is left of the mean by the deviation."""

import sys

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion.processes import SDE, VarianceExploding, VariancePreserving, linear, reverse
from manifold_diffusion.samplers import AdaptiveFlow, integrate
from tests.samplers.test_step import MEAN, SCORE, marginal

NOISINGS = {"exploding": VarianceExploding(20.0), "preserving": VariancePreserving(linear())}
STARTS = np.array([[1.3, -2.0], [0.1, 0.4]])


def flow(name):
    """The flow of N(MEAN, VARIANCE I)."""
    return reverse(NOISINGS[name], SCORE, eta=0.0)


def follow(step, sde, x, *times):
    """From x at the first of the times to the last."""
    x = jnp.asarray(x)
    if len(times) == 2:
        return step(sde, x, *(jnp.asarray(t, x.dtype) for t in times), x)
    return integrate(step, sde, jnp.array(times), x, jnp.zeros((len(times) - 1, len(x))))


def exact(name, x, t1, t0=1.0):
    """The flow of Gaussian data from t0 to t1."""
    (m0, v0), (m1, v1) = (marginal(NOISINGS[name], jnp.asarray(t)) for t in (t0, t1))
    return m1 + jnp.sqrt(v1 / v0) * (x - m0)


@pytest.mark.parametrize("name", NOISINGS)
def test_the_error_follows_the_tolerance_to_any_time(name, x64):
    """To t = 0 the last step is the denoiser, from the noise level atol: as exact as the rest."""
    tolerances, ends = jnp.array([1e-4, 1e-6, 1e-8, 1e-10]), jnp.array([0.02, 0.0])
    x = jnp.asarray(STARTS[0]) * NOISINGS[name].sigma(jnp.ones(()))
    run = lambda tolerance, t1: AdaptiveFlow(tolerance, tolerance)(flow(name), x, jnp.ones(()), t1, x)  # noqa: E731
    found = jax.jit(jax.vmap(jax.vmap(run, (None, 0)), (0, None)))(tolerances, ends)
    wanted = jnp.stack([exact(name, x, t1) for t1 in ends])
    errors = np.max(np.abs(found - wanted[None]), axis=(1, 2))
    assert np.all(errors < 20 * tolerances)
    assert np.all(errors[1:] < errors[:-1] / 10)


def test_a_point_has_its_own_steps_whatever_the_batch(x64):
    sde, step = flow("preserving"), AdaptiveFlow(1e-8, 1e-8)
    whole = jax.jit(jax.vmap(lambda x: follow(step, sde, x, 1.0, 0.05)))(jnp.asarray(STARTS))
    np.testing.assert_allclose(follow(step, sde, STARTS[0], 1.0, 0.05), whole[0], rtol=1e-12)


@pytest.mark.slow
def test_neither_the_times_between_nor_the_solver_matter(x64):
    sde, step = flow("preserving"), AdaptiveFlow(1e-8, 1e-8)
    whole = follow(step, sde, STARTS[0], 1.0, 0.05)
    np.testing.assert_allclose(follow(step, sde, STARTS[0], 1.0, 0.6, 0.59, 0.05), whole, atol=1e-7)
    other = AdaptiveFlow(1e-8, 1e-8, diffrax.Dopri5())
    np.testing.assert_allclose(follow(other, sde, STARTS[0], 1.0, 0.05), whole, atol=1e-7)
    np.testing.assert_allclose(follow(step, sde, whole, 0.05, 1.0), STARTS[0], atol=1e-6)


@pytest.mark.slow
def test_derivatives_are_those_of_the_flow_in_both_modes(x64):
    sde, x = flow("exploding"), jnp.asarray(STARTS[0])
    end = lambda x, adjoint: follow(AdaptiveFlow(1e-8, 1e-8, adjoint=adjoint), sde, x, 1.0, 0.01)  # noqa: E731
    slope = exact("exploding", 1.0, 0.01) - exact("exploding", 0.0, 0.01)
    backwards = jax.jit(jax.grad(lambda x: end(x, None)[0]))(x)
    forwards = jax.jit(lambda x: jax.jvp(lambda x: end(x, diffrax.ForwardMode()), (x,), (jnp.array([1.0, 0.0]),))[1])(x)
    for found in (backwards, forwards):
        np.testing.assert_allclose(found, [slope, 0.0], atol=1e-7)


def test_what_does_not_end_is_nan_and_leaves_the_others_alone():
    """The mean does not move, and takes a step or two; no other point arrives in six."""
    sde, x = flow("exploding"), jnp.array([[MEAN, MEAN], [30.0, -20.0]])
    found = jax.vmap(lambda x: follow(AdaptiveFlow(max_steps=6), sde, x, 1.0, 0.0))(x)
    np.testing.assert_allclose(found[0], x[0], atol=1e-5)
    assert np.all(np.isnan(found[1]))


def test_single_precision_meets_the_default_tolerance():
    """Rounding of each of some 60 inner steps, at the size of the start, adds to the tolerance."""
    x = 20 * STARTS[0]
    found = follow(AdaptiveFlow(), flow("exploding"), x, 1.0, 0.0)
    assert found.dtype == jnp.float32
    budget = 20 * (1e-5 + 60 * float(jnp.finfo(jnp.float32).eps))
    np.testing.assert_allclose(found, exact("exploding", x, 0.0), atol=budget)


def test_any_equation_without_noise_is_followed_forwards_too(x64):
    sde = SDE(lambda x, t: -x * jnp.cos(t), lambda t: 0 * t)
    np.testing.assert_allclose(
        follow(AdaptiveFlow(1e-9, 1e-9), sde, STARTS[0], 0.0, 1.0), STARTS[0] * np.exp(-np.sin(1.0)), rtol=1e-7
    )


def test_misuse_is_explained_in_one_line(monkeypatch):
    x, t = jnp.zeros(2), jnp.ones(())
    with pytest.raises(ValueError, match=r"^AdaptiveFlow solves a flow, got eta=1.0: use .*$"):
        AdaptiveFlow()(reverse(NOISINGS["exploding"], SCORE), x, t, t / 2, x)
    with pytest.raises(ValueError, match=r"^tolerances must be positive"):
        AdaptiveFlow(atol=0.0)
    with pytest.raises(ValueError, match=r"^max_steps must be at least 1, got 0$"):
        AdaptiveFlow(max_steps=0)
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(ValueError, match=r'^AdaptiveFlow needs diffrax.*pip install "manifold-diffusion\[ode\]"$'):
        AdaptiveFlow()
