"""The probability flow with steps that adapt to a tolerance, by diffrax (the extra `ode`)."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from manifold_diffusion._numerics import known_false
from manifold_diffusion._types import Point, Scalar
from manifold_diffusion.processes import AbstractSDE, Reverse, time_of
from manifold_diffusion.samplers.step import refuse_noise


class AdaptiveFlow(eqx.Module):
    """The flow from t0 to t1 in as many inner steps as a local error of atol + rtol |x| takes; dw is not used.

    rtol, atol  1e-5 by default, as in arXiv 2011.13456, sec. 4.3; in float32 little is gained below 1e-6
    solver      one of diffrax, by default `Tsit5()`, of order 5; `Dopri8()` for tolerances below 1e-8
    max_steps   how many inner steps a step may take; where they do not suffice the result is NaN, for the caller to
                count
    adjoint     of diffrax; the default differentiates in reverse mode only, `ForwardMode()` in forward mode only

    As a step it is meant for few times: `generate(prior, AdaptiveFlow(), sde, jnp.array([1.0, 0.0]))`. Each point has
    its own inner steps, whatever the batch. To t1 = 0, where the drift has no value, the flow of a `Reverse` is
    followed down to the noise level atol and ends with the denoiser: O(atol^2) from the end of the flow where the
    posterior is smooth (derived: dD/dsigma = O(sigma) along the flow), and O(atol) at most.
    """

    rtol: Scalar = eqx.field(converter=lambda a: jnp.asarray(a, dtype=float), default=1e-5)
    atol: Scalar = eqx.field(converter=lambda a: jnp.asarray(a, dtype=float), default=1e-5)
    solver: Any = None
    max_steps: int = eqx.field(static=True, default=4096)
    adjoint: Any = None

    def __check_init__(self):
        if known_false((self.rtol >= 0) & (self.atol > 0)):
            raise ValueError(f"tolerances must be positive (rtol may be 0), got rtol={self.rtol} and atol={self.atol}")
        if self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {self.max_steps}")
        _diffrax()

    def __call__(self, sde: AbstractSDE, x: Point, t0: Scalar, t1: Scalar, dw: Point) -> Point:
        refuse_noise(sde, "AdaptiveFlow", "euler_maruyama")
        if not isinstance(sde, Reverse):
            return self._solve(sde, x, t0, t1)
        smallest = time_of(sde.noising, jax.lax.stop_gradient(self.atol).astype(x.dtype))
        end = jnp.where(t1 == 0, jnp.minimum(t0, smallest), t1)
        after = self._solve(sde, x, t0, end)
        return jnp.where(t1 == 0, sde.denoise(after, end), after)

    def _solve(self, sde: AbstractSDE, x: Point, t0: Scalar, t1: Scalar) -> Point:
        diffrax = _diffrax()
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, x, sde: sde.drift(x, t)),
            diffrax.Tsit5() if self.solver is None else self.solver,
            t0,
            t1,
            None,
            x,
            sde,
            stepsize_controller=diffrax.PIDController(self.rtol.astype(x.dtype), self.atol.astype(x.dtype)),
            adjoint=diffrax.RecursiveCheckpointAdjoint() if self.adjoint is None else self.adjoint,
            max_steps=self.max_steps,
            throw=False,
        )
        # Data, not an error: one point of a batch that fails must not take the others with it.
        return jnp.where(found.result == diffrax.RESULTS.successful, found.ys[0], jnp.nan)


def _diffrax() -> Any:
    try:
        import diffrax
    except ImportError:
        raise ValueError(
            'AdaptiveFlow needs diffrax, which is not installed: pip install "manifold-diffusion[ode]"'
        ) from None
    return diffrax
