"""The samplers of other libraries behind one signature, for peers.py.

Each takes the same exact denoiser, the same noise levels (falling, the last one 0), the same first points and the same
standard normal draws, and returns the states after every step, as x / alpha, in float64: (steps + 1, points, dim). The
grids of the libraries themselves are set aside, so that only what a step does is compared.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Denoise = Callable[[Floats, float], Floats]
Peer = Callable[[Denoise, Floats, Floats, Floats], Floats]
"""(denoiser, levels, points, noise of shape (steps, points, dim)) -> states."""


def k_diffusion(name: str, **options: Any) -> Peer:
    """A `sample_...` function of k-diffusion, which works with x / alpha as we do."""

    def run(denoise: Denoise, levels: Floats, x: Floats, noise: Floats) -> Floats:
        import torch  # pyright: ignore[reportMissingImports]

        states, draws = [], iter(noise)
        extra = {"noise_sampler": lambda *_: torch.from_numpy(next(draws))} if "eta" in options else {}
        last = getattr(k_sampling(), name)(
            lambda x, sigma: torch.from_numpy(denoise(x.numpy(), float(sigma[0]))),
            torch.from_numpy(x),
            torch.from_numpy(levels),
            callback=lambda info: states.append(info["x"].numpy().copy()),
            disable=True,
            **options,
            **extra,
        )
        return np.stack([*states, last.numpy()])

    return run


def k_sampling() -> ModuleType:
    """k_diffusion.sampling alone: the rest of the package asks for a whole training stack."""
    import importlib.util
    import sys

    if "k_diffusion.sampling" not in sys.modules:
        package = importlib.util.find_spec("k_diffusion")
        assert package is not None
        assert package.submodule_search_locations is not None
        parent = ModuleType("k_diffusion")
        parent.__path__ = list(package.submodule_search_locations)
        append_dims = lambda x, dims: x[(...,) + (None,) * (dims - x.ndim)]  # noqa: E731
        utils = ModuleType("k_diffusion.utils")
        utils.append_dims = append_dims  # pyright: ignore[reportAttributeAccessIssue]
        parent.utils = utils  # pyright: ignore[reportAttributeAccessIssue]
        sys.modules |= {"k_diffusion": parent, "k_diffusion.utils": utils}
    return importlib.import_module("k_diffusion.sampling")


def by_levels(name: str, *, scaled: bool = False, twice: bool = False, **options: Any) -> Peer:
    """A scheduler of diffusers that steps through its `sigmas`; `scaled` where it works with x itself, variance
    preserved, and `twice` where it is called twice a step.
    """

    def run(denoise: Denoise, levels: Floats, x: Floats, noise: Floats) -> Floats:
        import diffusers  # pyright: ignore[reportMissingImports]
        import torch  # pyright: ignore[reportMissingImports]

        scheduler = getattr(diffusers, name)(**options)
        scheduler.set_timesteps(len(levels) - 1)
        grid = np.concatenate([levels[:1], np.repeat(levels[1:-1], 2), levels[-1:]]) if twice else levels
        scheduler.sigmas = torch.from_numpy(grid)
        size = np.sqrt(1 + grid**2) if scaled else np.ones_like(grid)
        state, states, draws = x / size[0], [x], iter(noise)
        for i, t in enumerate(scheduler.timesteps):
            at = grid[i + 1] if twice and i % 2 else grid[i]
            scale = size[i]
            direction = (state * scale - denoise(state * scale, float(at))) / at
            with drawing(f"diffusers.schedulers.{_file(scheduler)}", draws):
                state = scheduler.step(torch.from_numpy(direction), t, torch.from_numpy(state)).prev_sample.numpy()
            # The last step, to 0, is a single one.
            if not twice or i % 2 or i == len(grid) - 2:
                states.append(state * size[i + 1])
        return np.stack(states)

    return run


def by_times(name: str, *, eta: float | None = None, **options: Any) -> Peer:
    """DDIMScheduler and DDPMScheduler of diffusers, with the betas that give the levels."""

    def run(denoise: Denoise, levels: Floats, x: Floats, noise: Floats) -> Floats:
        import diffusers  # pyright: ignore[reportMissingImports]
        import torch  # pyright: ignore[reportMissingImports]

        bars, steps = alpha_bars(levels), len(levels) - 1
        betas = 1 - bars / np.append(1.0, bars[:-1])
        scheduler = getattr(diffusers, name)(
            num_train_timesteps=steps, trained_betas=betas, clip_sample=False, **options
        )
        scheduler.alphas_cumprod = torch.from_numpy(bars)
        scheduler.set_timesteps(steps)
        size = np.sqrt(1 + levels**2)
        state, states, draws = x / size[0], [x], iter(noise)
        for i, t in enumerate(scheduler.timesteps):
            direction = (state * size[i] - denoise(state * size[i], float(levels[i]))) / levels[i]
            extra = {} if eta is None else {"eta": eta}
            with drawing(f"diffusers.schedulers.{_file(scheduler)}", draws):
                state = scheduler.step(torch.from_numpy(direction), t, torch.from_numpy(state), **extra)
            state = state.prev_sample.numpy()
            states.append(state * size[i + 1])
        return np.stack(states)

    return run


def alpha_bars(levels: Floats) -> Floats:
    """alpha^2 after each of the steps of noising, from the levels but the last."""
    return 1 / (1 + levels[-2::-1] ** 2)


def _file(scheduler: Any) -> str:
    return type(scheduler).__module__.rsplit(".", 1)[-1]


@contextmanager
def drawing(module: str, draws: Iterator[Floats]):
    """While it lasts, the module's normal draws are the given ones."""
    import importlib

    import torch  # pyright: ignore[reportMissingImports]

    found: Any = importlib.import_module(module)
    own = getattr(found, "randn_tensor", None)
    found.randn_tensor = lambda *_, **__: torch.from_numpy(next(draws))
    try:
        yield
    finally:
        found.randn_tensor = own


def diffusionjax(name: str, *, eta: float | None = None) -> Peer:
    """A solver of diffusionjax, given the levels as a function of its time."""

    def run(denoise: Denoise, levels: Floats, x: Floats, noise: Floats) -> Floats:
        import jax
        import jax.numpy as jnp
        from diffusionjax import solvers, utils  # pyright: ignore[reportMissingImports]

        preserving, steps = name in ("DDPM", "DDIMVP"), len(levels) - 1
        bars, rising = alpha_bars(levels), levels[-2::-1]
        betas = 1 - bars / np.append(1.0, bars[:-1])
        ts, dt = utils.get_times(steps)
        table = jnp.asarray(betas / float(dt) if preserving else rising)
        schedule = lambda t: table[jnp.rint(t * steps).astype(int) - 1]  # noqa: E731
        solver_of = getattr(solvers, name)
        size = np.sqrt(1 + levels**2) if preserving else np.ones_like(levels)
        # Their solvers ask for the noise of the forward process, its score, or the denoiser.
        at = lambda level: float(np.ravel(level)[0])  # noqa: E731

        def of_time(x, t):
            i = steps - int(np.rint(float(np.ravel(t)[0]) * steps))
            y = np.asarray(x) * size[i]
            direction = (y - denoise(y, float(levels[i]))) / levels[i]
            deviation = levels[i] / size[i]
            return jnp.asarray(direction if name.startswith("DDIM") else -direction / deviation)

        if name.startswith("EDM"):
            solver = solver_of(
                lambda x, sigma: jnp.asarray(_denoise(denoise, np.asarray(x), at(sigma))), schedule, ts=ts
            )
        elif name.startswith("DDIM"):
            solver = solver_of(of_time, eta, schedule, ts=ts)
        else:
            solver = solver_of(of_time, schedule, ts=ts)
        state, states = jnp.asarray(x / size[0]), [x]
        with _normal(solvers, iter(noise)):
            for i in range(steps):
                state = solver.update(jax.random.key(0), state, jnp.full(len(x), ts[steps - 1 - i, 0]))[0]
                states.append(np.asarray(state) * size[i + 1])
        return np.stack(states)

    return run


def diffusionjax_euler(denoise: Denoise, levels: Floats, x: Floats, noise: Floats) -> Floats:
    """diffusionjax's EulerMaruyama on its reverse SDE with sigma exponential in t, so that levels must fall
    geometrically; the step to 0, which it does not make, by the denoiser.
    """
    import jax
    import jax.numpy as jnp
    from diffusionjax import sde, solvers, utils  # pyright: ignore[reportMissingImports]

    steps = len(levels) - 2
    ts, _ = utils.get_times(steps)
    sigma = utils.get_exponential_sigma_function(levels[-2], levels[0])

    def score(x, t):
        level = levels[steps - int(np.rint(float(np.ravel(t)[0]) * steps))]
        return jnp.asarray((denoise(np.asarray(x), float(level)) - np.asarray(x)) / level**2)

    solver, draws, states = solvers.EulerMaruyama(sde.VE(sigma).reverse(score), ts), iter(noise), [x]
    with _normal(solvers, draws):
        for i in range(steps):
            states.append(solver.update(jax.random.key(0), jnp.asarray(states[-1]), jnp.full(len(x), ts[-1 - i, 0]))[0])
    states = [np.asarray(state) for state in states]
    return np.stack([*states, denoise(states[-1], float(levels[-2]))])


def annealed_variance(ratio: float, steps: int) -> float:
    """Of diffusionjax's Annealed corrector on N(0, I) in the plane, relative to the exact 1, after many steps at the
    signal-to-noise ratio.
    """
    import jax
    import jax.numpy as jnp
    from diffusionjax import solvers  # pyright: ignore[reportMissingImports]

    law = SimpleNamespace(score=lambda x, t: -x, mean_coeff=jnp.ones_like, prior=None)
    solver = solvers.Annealed(law, snr=ratio, ts=jnp.ones((2, 1)))
    update = jax.vmap(lambda key, x: solver.update(key, x, jnp.ones(len(x)))[0], axis_name="batch")
    x = jax.random.normal(jax.random.key(0), (1, 20_000, 2))
    keys = jax.random.split(jax.random.key(1), (steps, 1))
    end = jax.lax.scan(lambda x, key: (update(key, x), None), x, keys)[0]
    return float(jnp.var(end))


@contextmanager
def _normal(solvers: Any, draws: Iterator[Floats]):
    import jax.numpy as jnp

    own = solvers.random
    solvers.random = SimpleNamespace(normal=lambda *_: jnp.asarray(next(draws)))
    try:
        yield
    finally:
        solvers.random = own


def _denoise(denoise: Denoise, x: Floats, level: float) -> Floats:
    # At level 0 the denoiser is the identity, and they divide by 0 themselves.
    return denoise(x, level) if level > 0 else x
