"""Steps joined into trajectories, and trajectories into a sampler."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import vary_like
from manifold_diffusion._types import Key, Point, Sampler, Scalar
from manifold_diffusion.processes import AbstractSDE
from manifold_diffusion.samplers.step import Corrector, Step, advance, start


def _advance(
    step: Step, sde: AbstractSDE, x: Point, memory: Any, t0: Scalar, t1: Scalar, dw: Array
) -> tuple[Point, Any]:
    after, kept = advance(step, sde, x, memory, t0, t1, dw)
    # A step of length zero stays, even where the drift has no value (t = 0) or dw / sqrt(t1 - t0) none.
    new, old = (after.astype(x.dtype), kept), (x, memory)
    return jax.tree.map(lambda a, b: jnp.where(t0 == t1, b, a), new, old)


def _noise(step: Step, key: Key, x: Point) -> Array:
    draws = getattr(step, "draws", None)
    if draws is None:
        return jax.random.normal(key, x.shape, x.dtype)
    # One by one: XLA repeats a joint draw in each of its uses. The key folded with 1 is the corrector's.
    return jnp.stack([jax.random.normal(jax.random.fold_in(key, 2 + j), x.shape, x.dtype) for j in range(draws)])


def _correct(corrector: Corrector, sde: AbstractSDE, x: Point, t0: Scalar, t1: Scalar, key: Key) -> Point:
    # At t = 0 there is no noise to correct and the score may have no value.
    return jnp.where(t1 == 0, x, corrector(sde, x, jnp.where(t1 == 0, t0, t1), key).astype(x.dtype))


def integrate(
    step: Step, sde: AbstractSDE, ts: Float[Array, " times"], x: Point, dws: Float[Array, "times-1 *draws d"]
) -> Point:
    """x at the last of the times `ts`, from x at the first and the Wiener increments dws[i] of variance |ts[i+1] -
    ts[i]|.
    """
    ts = ts.astype(x.dtype)

    def body(state, interval):
        return _advance(step, sde, state[0], state[1], *interval), None

    state = vary_like((x, start(step, sde, x, ts[0])), step, sde, ts, dws)
    return jax.lax.scan(body, state, (ts[:-1], ts[1:], dws))[0][0]


class _Trajectory(eqx.Module):
    # A pytree, so that a program compiled for one sampler serves every other of the same shapes.
    prior: Sampler
    step: Step
    sde: AbstractSDE
    ts: Float[Array, " times"]
    corrector: Corrector | None = None

    def __call__(self, key: Key) -> Point:
        place, path = jax.random.split(key)
        x = self.prior(place)
        times = self.ts.astype(x.dtype)

        def body(state, interval):
            i, t0, t1 = interval
            key = jax.random.fold_in(path, i)
            dw = jnp.sqrt(jnp.abs(t1 - t0)) * _noise(self.step, key, x)
            after, memory = _advance(self.step, self.sde, state[0], state[1], t0, t1, dw)
            if self.corrector is not None:
                after = _correct(self.corrector, self.sde, after, t0, t1, jax.random.fold_in(key, 1))
            return (after, memory), None

        state = vary_like((x, start(self.step, self.sde, x, times[0])), key, self)
        return jax.lax.scan(body, state, (jnp.arange(len(times) - 1), times[:-1], times[1:]))[0][0]


def generate(prior: Sampler, step: Step, sde: AbstractSDE, ts: Float[Array, " times"]) -> Sampler:
    """The sampler that draws x from the prior at time ts[0] and follows the steps to ts[-1].

    The key of step i is fold_in(key, i): a sample depends on its key alone, and noise is drawn as it is needed, O(d)
    of it.
    """
    return _Trajectory(prior, step, sde, ts)


def predictor_corrector(
    prior: Sampler, step: Step, sde: AbstractSDE, ts: Float[Array, " times"], corrector: Corrector
) -> Sampler:
    """As `generate`, with `corrector(sde, x, t, key)` after the step to each time t > 0 (arXiv 2011.13456, algorithm
    1).

    A corrector that leaves the law at time t as it is, such as `langevin_corrector(eta)`, takes away what the step did
    wrong; one that is tempered leaves the law p_sigma^{sigma^alpha} behind it.
    """
    return _Trajectory(prior, step, sde, ts, corrector)
