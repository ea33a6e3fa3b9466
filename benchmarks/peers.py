"""Do our steps agree with those of other libraries, step by step, and what order have theirs?

k-diffusion, diffusers' schedulers and diffusionjax, those that are installed, get the same exact denoiser, noise
levels, first points and noise as we do, in float64, and return the states after every step (`_peer_samplers.py`). Their
own grids are set aside. Printed are the largest difference to our states, relative to the largest state, and their
measured order: for flows that of the error against the exact flow of a mixture (by scipy's DOP853 at 1e-12) and of a
Gaussian (in closed form); for SDEs that of the distance W2 of the law at the end to the exact one, for Gaussian data,
whose law under a sampler is known without Monte Carlo: its states are affine in the first point and the noise, so unit
inputs give its mean and variance. Last comes the law that a Langevin corrector leaves.
"""

import importlib.metadata
import importlib.util
import json
import platform
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from benchmarks import _peer_samplers as peer
from benchmarks._peer_samplers import Floats, Peer
from benchmarks.kernel_score import RESULTS

TOP, BOTTOM = 3.0, 0.1
START, SINGLE = "of order {} but for its first steps, which are of lower order", "in single precision"
COMPARED, SIZES = 24, (16, 32, 64, 128, 256)


class Case(NamedTuple):
    """A sampler of a library, the step of ours that should be the same, and the order it should have."""

    library: str
    method: str
    theirs: Peer
    ours: str | None
    noisy: bool
    order: int
    note: str = ""


def cases() -> list[Case]:
    """Of the libraries that are installed."""
    k, d, j = peer.k_diffusion, peer.by_levels, peer.diffusionjax
    two, three = "sample_dpmpp_2s_ancestral", "sample_dpmpp_3m_sde"
    order_3 = d("DPMSolverMultistepScheduler", scaled=True, solver_order=3)
    solver, single = "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"
    sde = d(solver, scaled=True, algorithm_type="sde-dpmsolver++")
    found = [
        Case("k_diffusion", "sample_euler", k("sample_euler"), "euler", False, 1),
        Case("k_diffusion", "sample_heun", k("sample_heun"), "heun", False, 2),
        Case("k_diffusion", "sample_dpm_2", k("sample_dpm_2"), None, False, 2),
        Case("k_diffusion", "sample_lms", k("sample_lms"), None, False, 2, START.format(4)),
        Case("k_diffusion", "sample_dpmpp_2s_ancestral, eta=0", k(two, eta=0.0), "2S", False, 2),
        Case("k_diffusion", "sample_dpmpp_2m", k("sample_dpmpp_2m"), "2M", False, 2),
        Case("k_diffusion", "sample_dpmpp_2m_sde, eta=0", k("sample_dpmpp_2m_sde", eta=0.0), "2M", False, 2),
        Case("k_diffusion", "sample_dpmpp_3m_sde, eta=0", k(three, eta=0.0), None, False, 2, START.format(3)),
        Case("k_diffusion", "sample_euler_ancestral", k("sample_euler_ancestral", eta=1.0), "ddpm", True, 1),
        Case("k_diffusion", "sample_dpmpp_2s_ancestral", k(two, eta=1.0), None, True, 2),
        Case("k_diffusion", "sample_dpmpp_2m_sde", k("sample_dpmpp_2m_sde", eta=1.0), "2M", True, 2),
        Case("k_diffusion", "sample_dpmpp_3m_sde", k(three, eta=1.0), None, True, 2),
        Case("diffusers", "EulerDiscrete", d("EulerDiscreteScheduler"), "euler", False, 1, SINGLE),
        Case("diffusers", "HeunDiscrete", d("HeunDiscreteScheduler", twice=True), "heun", False, 2),
        Case("diffusers", "DDIM, eta=0", peer.by_times("DDIMScheduler", eta=0.0), "ddim", False, 1),
        Case("diffusers", f"{solver[:-9]}, dpmsolver++", d(solver, scaled=True), "2M", False, 2, SINGLE),
        Case("diffusers", f"{solver[:-9]}, order 3", order_3, None, False, 2, START.format(3)),
        Case("diffusers", f"{single[:-9]}", d(single, scaled=True), "2S, every other level", False, 2),
        Case("diffusers", "UniPCMultistep", d("UniPCMultistepScheduler", scaled=True), None, False, 3),
        Case("diffusers", "EulerAncestralDiscrete", d("EulerAncestralDiscreteScheduler"), "ddpm", True, 1, SINGLE),
        Case("diffusers", "DDIM, eta=1", peer.by_times("DDIMScheduler", eta=1.0), "ddpm", True, 1),
        Case("diffusers", "DDPM, fixed_small", peer.by_times("DDPMScheduler"), "ddpm", True, 1),
        Case(
            "diffusers", "DDPM, fixed_large", peer.by_times("DDPMScheduler", variance_type="fixed_large"),
            "ddpm_plain", True, 1, "the noise undivided by alpha, as in Ho et al.: the same to leading order",
        ),
        Case("diffusers", f"{solver[:-9]}, sde-dpmsolver++", sde, "2M", True, 2, SINGLE),
        Case("diffusionjax", "EDMEuler", j("EDMEuler"), "euler", False, 1),
        Case(
            "diffusionjax", "EDMHeun", j("EDMHeun"), "heun", False, 2,
            "adds the correction to the Euler step instead of to x, twice the step; and divides by 0 at the last",
        ),
        Case("diffusionjax", "DDIMVP, eta=0", j("DDIMVP", eta=0.0), "ddim", False, 1),
        Case("diffusionjax", "DDIMVE, eta=0", j("DDIMVE", eta=0.0), "ddim", False, 1),
        Case("diffusionjax", "DDIMVP, eta=1", j("DDIMVP", eta=1.0), "ddpm", True, 1),
        Case("diffusionjax", "DDIMVE, eta=1", j("DDIMVE", eta=1.0), "ddpm", True, 1),
        Case("diffusionjax", "DDPM", j("DDPM"), "ddpm", True, 1),
        Case("diffusionjax", "SMLD", j("SMLD"), "ddpm", True, 1),
    ]  # fmt: skip
    found.append(Case("diffusionjax", "EulerMaruyama, VE", peer.diffusionjax_euler, "euler_maruyama", True, 1))
    return [case for case in found if importlib.util.find_spec(case.library)]


def main() -> None:
    """Compare, print, write."""
    import jax

    with jax.enable_x64(True):
        rows = [compare(case) for case in cases()]
        corrector = corrector_variance() if importlib.util.find_spec("diffusionjax") else None
    if not rows:
        print("none of k-diffusion, diffusers and diffusionjax is installed: nothing to compare with")
        return
    write(rows, corrector)


@dataclass(eq=False, frozen=True)
class Mixture:
    """sum_i w_i N(m_i, v_i I)."""

    weights: Floats
    means: Floats
    variances: Floats

    @cache  # noqa: B019
    def denoiser(self) -> peer.Denoise:
        """(points, level) -> E[x_0 | x], compiled once; its formula is Tweedie's with the score by hand."""
        import jax
        import jax.numpy as jnp

        @jax.jit
        def run(x, level):
            return x + level**2 * jax.vmap(lambda y: self.score(y, level))(x)

        return lambda x, level: np.array(run(jnp.asarray(x), level))

    def score(self, x: Any, sigma: Any) -> Any:
        """grad log p_sigma at one point."""
        import jax
        import jax.numpy as jnp

        spread = self.variances + sigma**2
        gaps = self.means - x[None]
        logits = jnp.log(self.weights) - jnp.sum(gaps**2, axis=1) / (2 * spread) - len(x) / 2 * jnp.log(spread)
        return jnp.sum((jax.nn.softmax(logits) / spread)[:, None] * gaps, axis=0)


MIXTURE = Mixture(
    np.array([0.3, 0.5, 0.2]), np.array([[-1.2, 0.4], [0.3, -0.8], [1.5, 0.9]]), np.array([0.1, 0.05, 0.15])
)
GAUSSIAN = Mixture(np.array([1.0]), np.array([[0.5, -1.0]]), np.array([0.3]))
# Far below TOP times BOTTOM: near it the errors of first order of Euler-Maruyama cancel on a geometric grid (derived).
LINE = Mixture(np.array([1.0]), np.array([[0.5]]), np.array([0.05]))


def levels(steps: int) -> Floats:
    """Falling geometrically, then 0: the states before the last step are those that orders are measured at."""
    return np.append(np.geomspace(TOP, BOTTOM, steps), 0.0)


def compare(case: Case) -> dict:
    """One row of the table."""
    generator = np.random.default_rng(0)
    grid, x = levels(COMPARED), TOP * generator.standard_normal((32, 2))
    noise = generator.standard_normal((COMPARED, 32, 2))
    gap = None
    if case.ours is not None:
        theirs, mine = case.theirs(MIXTURE.denoiser(), grid, x, noise), ours(case, grid, x, noise)
        if case.ours.startswith("2S,"):
            theirs = theirs[:-1:2]
        elif case.ours == "euler_maruyama":
            theirs = theirs[:-1]
        else:
            # A step that is not a number says so, and hides what comes before: that is compared without it.
            theirs = theirs if np.all(np.isfinite(theirs)) else theirs[:-1]
        gap = float(np.max(np.abs(theirs - mine[: len(theirs)])) / np.max(np.abs(mine)))
    orders = weak_order(case) if case.noisy else flow_orders(case)
    row = {key: value for key, value in case._asdict().items() if key != "theirs"}
    row |= {"difference": gap, "orders": orders}
    slopes = ", ".join(f"{name} {found['slope']:.2f}" for name, found in orders.items())
    same = "-" if gap is None else f"{gap:.0e}"
    print(
        f"{case.library:13} {case.method:37} {case.ours or '-':22} {same:8} order {case.order}: {slopes}  {case.note}",
        flush=True,
    )
    return row


def ours(case: Case, grid: Floats, x: Floats, noise: Floats) -> Floats:
    """Our states, as x / alpha: variance exploding, but where theirs is in discrete time our `tabulated` schedule."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    from manifold_diffusion import processes, samplers

    steps = {
        "euler": samplers.euler,
        "heun": samplers.heun,
        "euler_maruyama": samplers.euler_maruyama,
        "ddim": samplers.ddim,
        "ddpm": samplers.ddpm,
        "ddpm_plain": samplers.ddpm_plain,
        "2M": samplers.DPMSolver2M(),
        "2S": samplers.dpm_solver_2s,
    }
    name = str(case.ours)
    grid = grid[:-1:2] if name.startswith("2S,") else grid
    preserving = case.method.startswith(("DDPM", "DDIM")) and "VE" not in case.method
    if preserving:
        noising = processes.VariancePreserving(processes.tabulated(peer.alpha_bars(grid)))
        ts = jnp.linspace(1.0, 0.0, len(grid))
    else:
        noising = processes.VarianceExploding(grid[0])
        ts = processes.level_grid(noising, jnp.asarray(grid))
    sde = processes.reverse(noising, MIXTURE.score, float(case.noisy))
    if name == "euler_maruyama":
        rate = np.log(grid[0] / grid[-2])
        level = lambda t: grid[-2] * jnp.exp(rate * t)  # noqa: E731
        g = lambda t: level(t) * np.sqrt(2 * rate)  # noqa: E731
        sde = processes.SDE(lambda x, t: -(g(t) ** 2) * MIXTURE.score(x, level(t)), g)
        ts = jnp.linspace(1.0, 0.0, len(grid) - 1)
    size = jax.vmap(noising.alpha)(ts)
    dws = jnp.sqrt(-jnp.diff(ts))[:, None, None] * noise[: len(ts) - 1]

    @eqx.filter_jit
    def states(x, dws):
        # A step of length zero stays, so a grid that is cut short keeps its length.
        cut = lambda i: jnp.minimum(jnp.arange(len(ts)), i)  # noqa: E731
        until = lambda i: samplers.integrate(steps[name[:2] if name[0] == "2" else name], sde, ts[cut(i)], x, dws)  # noqa: E731
        return jax.vmap(until)(jnp.arange(len(ts)))

    found = jax.vmap(states, (0, 1), 1)(jnp.asarray(x) * size[0], dws)
    return np.asarray(found / size[:, None, None])


def flow_orders(case: Case) -> dict[str, dict]:
    """From 64 to 256 steps, at the level before the last step."""
    x = TOP * np.random.default_rng(1).standard_normal((16, 2))
    exact = {"mixture": (MIXTURE, reference(x)), "Gaussian": (GAUSSIAN, gaussian_flow(x))}
    found = {}
    for name, (law, end) in exact.items():
        errors = []
        for size in SIZES:
            # The solver of single steps is of second order at every other level.
            steps = size + 1 if case.ours == "2S, every other level" else size
            states = case.theirs(law.denoiser(), levels(steps), x, np.zeros((steps, *x.shape)))
            errors.append(float(np.max(np.abs(states[-2] - end))))
        found[name] = order(errors)
    return found


def reference(x: Floats) -> Floats:
    """dx / dsigma = (x - D(x, sigma)) / sigma from the first level to the last but one."""
    from scipy.integrate import solve_ivp

    denoise = MIXTURE.denoiser()
    slope = lambda sigma, y: ((y.reshape(x.shape) - denoise(y.reshape(x.shape), sigma)) / sigma).ravel()  # noqa: E731
    return solve_ivp(slope, (TOP, BOTTOM), x.ravel(), "DOP853", rtol=1e-12, atol=1e-13).y[:, -1].reshape(x.shape)


def gaussian_flow(x: Floats) -> Floats:
    """The flow scales x - mean by the standard deviation."""
    mean, variance = GAUSSIAN.means[0], GAUSSIAN.variances[0]
    return mean + (x - mean) * np.sqrt((variance + BOTTOM**2) / (variance + TOP**2))


def weak_order(case: Case) -> dict[str, dict]:
    """Of W2 between the exact law and that of the sampler, started from the exact one."""
    mean, variance = float(LINE.means[0, 0]), float(LINE.variances[0])
    errors = []
    for steps in SIZES:
        # The first row is 0, the second the first point at 1, each further one a draw at 1.
        x, noise = np.zeros((SIZES[-1] + 2, 1)), np.zeros((steps, SIZES[-1] + 2, 1))
        x[1], noise[np.arange(steps), np.arange(steps) + 2, 0] = 1.0, 1.0
        end = case.theirs(LINE.denoiser(), levels(steps), x, noise)[-2, :, 0]
        slopes = end[1:] - end[0]
        deviation = np.sqrt(slopes[0] ** 2 * (variance + TOP**2) + np.sum(slopes[1:] ** 2))
        errors.append(float(np.hypot(end[0] + slopes[0] * mean - mean, deviation - np.sqrt(variance + BOTTOM**2))))
    return {"Gaussian, W2": order(errors)}


def order(errors: list[float]) -> dict:
    """The errors, and minus the slope of their logarithm against that of the number of steps, from 64 steps on."""
    kept = [i for i, steps in enumerate(SIZES) if steps >= 64]
    slope = np.polyfit(np.log([SIZES[i] for i in kept]), np.log([errors[i] for i in kept]), 1)[0]
    return {"slope": float(-slope), "errors": errors}


def corrector_variance() -> list[dict]:
    """Of Langevin at one noise level, as a corrector: the variance of its stationary law over the exact one."""
    import jax
    import jax.numpy as jnp

    from manifold_diffusion import samplers

    rows = []
    for ratio in (0.16, 0.04):
        # The signal-to-noise ratio r is a step of 2 r^2, here relative to the variance.
        eta, steps = 2 * ratio**2, int(4 / ratio**2)
        move = samplers.langevin(lambda x, sigma: -x, 1.0, eta=eta, steps=steps)
        keys = jax.random.split(jax.random.key(2), 20_000)
        starts = jax.random.normal(jax.random.key(3), (len(keys), 2))
        mine = jnp.var(jax.vmap(move)(keys, starts))
        found = {"ratio": ratio, "theirs": peer.annealed_variance(ratio, steps), "ours": float(mine)}
        rows.append({**found, "ours, derived": 1 / (1 - eta / 2)})
        print(f"diffusionjax  Annealed, snr={ratio}: variance {found['theirs']:.3f} of 1, ours {found['ours']:.3f}")
    return rows


def write(rows: list[dict], corrector: list[dict] | None) -> None:
    """results/peers.json."""
    libraries = {str(row["library"]) for row in rows}
    versions = {name: importlib.metadata.version(name.replace("_", "-")) for name in sorted(libraries)}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "peers.json"
    path.write_text(
        json.dumps(
            {
                "python": platform.python_version(),
                "versions": versions,
                "sizes": SIZES,
                "rows": rows,
                "corrector": corrector,
            },
            indent=1,
        )
        + "\n"
    )
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
