"""What does a sampler's step cost besides its score evaluations, and next to diffrax on the same fixed-step SDE?

Steps: N steps of `generate`, noise and schedule and all, against a hand-written scan of as many bare evaluations of the
same kernel score, ratio by ratio. Steps that differentiate the score are compared with a scan of that derivative.
diffrax: Euler-Maruyama for the reverse SDE of Gaussian data, whose score costs next to nothing, against
`diffeqsolve` with `Euler` and either of its Brownian motions; without diffrax that part is left out.

All contenders run in turns, so that all see the same machine; a ratio is the median over turns of the ratio within a
turn. On a CPU times are those of the process, pinned to one core; on an accelerator they are wall times. Compilation is
timed apart. `python -m benchmarks.samplers --quick` takes fewer turns.
"""

import importlib.util
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.kernel_score import PINNED, RESULTS, THREADS, pin, processor, sphere

QUICK = "--quick"
SCORE = {"data": 10_000, "points": 1_000, "dim": 3}
SDE = {"paths": 1_000, "steps": 256, "dim": 3}
TARGETS = {"step": 1.05, "tree": 10.0, "unsafe": 1.05}


def main() -> None:
    """Measure: on a CPU in a process of its own, pinned to one core with one thread in every library."""
    import jax

    if jax.default_backend() != "cpu":
        measure(time.perf_counter)
        return
    flags = "--xla_cpu_multi_thread_eigen=false " + os.environ.get("XLA_FLAGS", "")
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), PINNED: "1", "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-m", "benchmarks.samplers", *sys.argv[1:]], env=environment, check=True)


def measure(clock: Callable[[], float]) -> None:
    """Both questions, printed and written."""
    quick = QUICK in sys.argv
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    steps = step_costs(clock, evaluations=8, turns=7 if quick else 31)
    peer = against_diffrax(clock, turns=7 if quick else 15) if importlib.util.find_spec("diffrax") else None
    report(steps, peer)
    write({"quick": quick, "load": load, "targets": TARGETS, "steps": steps, "diffrax": peer})


def in_turns(runs: dict[str, Callable], clock: Callable[[], float], turns: int) -> dict[str, list[float]]:
    """Name -> milliseconds in each turn; first turns warm up, and the order is reversed every other turn."""
    import jax

    names, found = list(runs), {name: [] for name in runs}
    for turn in range(turns + 1):
        for name in names if turn % 2 else names[::-1]:
            start = clock()
            jax.block_until_ready(runs[name]())
            if turn:
                found[name].append(1e3 * (clock() - start))
    return found


def ratio(over: list[float], under: list[float]) -> dict[str, float]:
    """The median of the ratios within a turn, and the ratio of the least times, which load disturbs least."""
    return {
        "median": statistics.median(a / b for a, b in zip(over, under, strict=True)),
        "least": min(over) / min(under),
    }


def contenders() -> dict[str, tuple]:
    """Name -> step, eta, what a step evaluates and how often."""
    from manifold_diffusion import samplers

    return {
        "euler_maruyama": (samplers.euler_maruyama, 1.0, "score", 1),
        "stochastic_heun": (samplers.stochastic_heun, 1.0, "score", 2),
        "ddpm": (samplers.ddpm, 1.0, "denoiser", 1),
        "ddpm_plain": (samplers.ddpm_plain, 1.0, "score", 1),
        "ddpm_training_free": (samplers.ddpm_training_free, 1.0, "score", 1),
        "ddpm_accelerated": (samplers.ddpm_accelerated, 1.0, "score and one derivative", 1),
        "ddpm_hessian": (samplers.ddpm_hessian, 1.0, "score and its Jacobian", 1),
        "2M, SDE": (samplers.DPMSolver2M(), 1.0, "denoiser", 1),
        "euler": (samplers.euler, 0.0, "score", 1),
        "ddim": (samplers.ddim, 0.0, "denoiser", 1),
        "exponential_euler": (samplers.exponential_euler, 0.0, "score", 1),
        "heun": (samplers.heun, 0.0, "score", 2),
        "midpoint": (samplers.midpoint, 0.0, "score", 2),
        "runge_kutta_4": (samplers.runge_kutta_4, 0.0, "score", 4),
        "2S": (samplers.dpm_solver_2s, 0.0, "denoiser", 2),
        "2M": (samplers.DPMSolver2M(), 0.0, "denoiser", 1),
        "accelerated flow": (samplers.AcceleratedFlow(), 0.0, "score", 2),
    }


def bare(evaluated: str):
    """(score, levels, points) -> points after a hand-written loop that moves along one evaluation a level."""
    import jax
    import jax.numpy as jnp

    def one(score, x, level):
        if evaluated == "score":
            return level**2 * score(x, level)
        if evaluated == "denoiser":
            return score.denoise(x, level) - x
        if evaluated == "score and one derivative":
            value, along = jax.jvp(lambda x: score(x, level), (x,), (jnp.ones_like(x),))
            return level**2 * (value + level**2 * along)
        value, jacobian = _value_and_jacobian(lambda x: score(x, level), x)
        return level**2 * (value + level**2 * jnp.sum(jacobian, axis=1))

    def run(score, levels, points):
        def body(x, pair):
            return x + (1 - pair[1] / pair[0]) * one(score, x, pair[0]), None

        return jax.vmap(lambda x: jax.lax.scan(body, x, (levels[:-1], levels[1:]))[0])(points)

    return jax.jit(run)


def _value_and_jacobian(f, x):
    import jax

    jacobian, value = jax.jacfwd(lambda x: (f(x),) * 2, has_aux=True)(x)
    return value, jacobian


def step_costs(clock: Callable[[], float], evaluations: int, turns: int) -> list[dict]:
    """Each step's time over that of its evaluations alone, in scans of the same number of evaluations."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    from manifold_diffusion import samplers
    from manifold_diffusion.processes import VarianceExploding, geometric_grid, reverse
    from manifold_diffusion.scores import KernelScore

    n, m, d = SCORE.values()
    data, _ = sphere(n, m, d, 0.01)
    score, noising = KernelScore(data), VarianceExploding(2.0)
    keys = jax.random.split(jax.random.key(0), m)

    def prior(key):
        return 2.0 * jax.random.normal(key, (d,))

    points = jax.vmap(prior)(keys)
    run = eqx.filter_jit(lambda sampler, keys: jax.vmap(sampler)(keys))
    rows = []
    for name, (step, eta, evaluated, count) in contenders().items():
        ts = geometric_grid(noising, 1e-2, evaluations // count, final_zero=False)
        levels = noising.sigma(geometric_grid(noising, 1e-2, evaluations, final_zero=False))
        sampler, loop = samplers.generate(prior, step, reverse(noising, score, eta), ts), bare(evaluated)
        start = time.perf_counter()
        jax.block_until_ready(run(sampler, keys))
        first = time.perf_counter() - start
        pair = {"step": lambda s=sampler: run(s, keys), "bare": lambda f=loop, v=levels: f(score, v, points)}
        ms = in_turns(pair, clock, turns)
        assert jnp.all(jnp.isfinite(run(sampler, keys)))
        row = {"step": name, "evaluates": evaluated, "evaluations": count, "ratio": ratio(ms["step"], ms["bare"])}
        row["ms_per_evaluation"] = {k: statistics.median(v) / evaluations for k, v in ms.items()}
        rows.append({**row, "first_call_s": first})
        print(f"  {name:20} {row['ratio']['median']:.3f}", flush=True)
    return rows


def against_diffrax(clock: Callable[[], float], turns: int) -> dict:
    """Milliseconds of all, our ratio to each, and seconds to the end of the first call."""
    import jax

    from manifold_diffusion.processes import VarianceExploding, reverse

    sde = reverse(VarianceExploding(2.0), gaussian)
    runs = {"ours": ours(sde), **{name: theirs(sde, name) for name in ("VirtualBrownianTree", "UnsafeBrownianPath")}}
    keys = jax.random.split(jax.random.key(0), SDE["paths"])
    first, spread = {}, {}
    for name, run in runs.items():
        start = time.perf_counter()
        ends = jax.block_until_ready(run(keys))
        first[name], spread[name] = time.perf_counter() - start, float(ends.std())
    ms = in_turns({name: lambda run=run: run(keys) for name, run in runs.items()}, clock, turns)
    return {
        **SDE,
        "ms": {name: statistics.median(values) for name, values in ms.items()},
        "tree_over_ours": ratio(ms["VirtualBrownianTree"], ms["ours"]),
        "ours_over_unsafe": ratio(ms["ours"], ms["UnsafeBrownianPath"]),
        "first_call_s": first,
        "deviation_of_the_ends": spread,
    }


def gaussian(x, sigma):
    """The score of N(0, 0.3 I) noised."""
    return -x / (0.3 + sigma**2)


def _prior(key):
    import jax

    return 2.0 * jax.random.normal(key, (SDE["dim"],))


def ours(sde):
    """Keys -> ends of the paths."""
    import jax
    import jax.numpy as jnp

    from manifold_diffusion import samplers

    ts = jnp.linspace(1.0, 0.01, SDE["steps"] + 1)
    sampler = samplers.generate(_prior, samplers.euler_maruyama, sde, ts)
    return jax.jit(jax.vmap(sampler))


def theirs(sde, motion: str):
    """The same by diffrax, in the time 1 - t, which grows: constant steps, nothing saved but the end."""
    import diffrax
    import jax
    import jax.numpy as jnp
    import lineax

    end, dim = 0.99, SDE["dim"]

    def diffusion(s, x, _):
        return lineax.DiagonalLinearOperator(jnp.broadcast_to(sde.diffusion(1 - s), (dim,)))

    def path(key):
        start, noise = jax.random.split(key)
        if motion == "VirtualBrownianTree":
            # The coarsest tolerance that tells steps apart.
            w = diffrax.VirtualBrownianTree(0.0, end, tol=end / SDE["steps"] / 2, shape=(dim,), key=noise)
        else:
            w = diffrax.UnsafeBrownianPath(shape=(dim,), key=noise)
        terms = diffrax.MultiTerm(
            diffrax.ODETerm(lambda s, x, _: -sde.drift(x, 1 - s)), diffrax.ControlTerm(diffusion, w)
        )
        # Adjoint, max_steps and ways of giving the steps change its times by little more than runs differ.
        solution = diffrax.diffeqsolve(
            terms,
            diffrax.Euler(),
            t0=0.0,
            t1=end,
            dt0=end / SDE["steps"],
            y0=_prior(start),
            saveat=diffrax.SaveAt(t1=True),
            adjoint=diffrax.DirectAdjoint(),
            max_steps=None,
        )
        assert solution.ys is not None
        return solution.ys[0]

    return jax.jit(jax.vmap(path))


def report(steps: list[dict], peer: dict | None) -> None:
    """Both tables, for people."""
    print(
        f"\ntime over that of its evaluations alone, median (least) (target {TARGETS['step']}), kernel score, {SCORE}"
    )
    for row in steps:
        ms, times = row["ms_per_evaluation"], row["ratio"]
        print(
            f"  {row['step']:20} {times['median']:.3f} ({times['least']:.3f})   {ms['step']:.2f} ms an evaluation, bare"
            f" {ms['bare']:.2f}   ({row['evaluations']} x {row['evaluates']}; first call {row['first_call_s']:.1f} s)"
        )
    if peer is None:
        print("\ndiffrax is not installed: not compared")
        return
    print(f"\nEuler-Maruyama of a cheap score, {SDE}")
    for name, ms in peer["ms"].items():
        print(f"  {name:20} {ms:9.2f} ms   first call {peer['first_call_s'][name]:.1f} s")
    print(f"  VirtualBrownianTree over ours: {peer['tree_over_ours']['median']:.1f} (target {TARGETS['tree']:g})")
    print(f"  ours over UnsafeBrownianPath:  {peer['ours_over_unsafe']['median']:.3f} (target {TARGETS['unsafe']:g})")


def write(result: dict, question: str = "samplers") -> None:
    """results/QUESTION-DEVICE.json, with what one needs to compare it to another."""
    import jax

    device = jax.devices()[0]
    on_cpu = device.platform == "cpu"
    about = {
        "device": processor() if on_cpu else device.device_kind,
        "platform": device.platform,
        "jax": jax.__version__,
        "python": platform.python_version(),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{question}-{device.platform}.json"
    path.write_text(json.dumps({**about, **result}, indent=1) + "\n")
    print(f"\nwritten to {path.relative_to(pathlib.Path.cwd()) if path.is_relative_to(pathlib.Path.cwd()) else path}")


if __name__ == "__main__":
    if os.environ.get(PINNED):
        pin()
        measure(time.process_time)
    else:
        main()
