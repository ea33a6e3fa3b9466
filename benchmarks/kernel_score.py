"""How fast is the streamed kernel score next to what else computes it, and how exact at small noise? One pinned core.

Times are CPU times of the process, the smallest of several runs taken in turns, so that what else the machine does
matters little; the ratios of one run are what to quote. Peers: jax as it is written first (softmax over the (M, N, D)
differences), the expanded square, autodiff of logsumexp, and torch's attention, KeOps and scikit-learn where they are
installed. Errors are the largest |sigma (score - exact)| against float64.
"""

import importlib.util
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

RESULTS = pathlib.Path(__file__).parent / "results"
PINNED = "MANIFOLD_DIFFUSION_PINNED"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

# (N, M, D, sigma, runs)
CASES = ((10_000, 1_000, 3, 0.01, 7), (100_000, 1_000, 3, 0.01, 3), (10_000, 1_000, 16, 0.1, 5))
TARGETS = {(10_000, 3): 9.0, (100_000, 3): 11.0}
SIGMAS = (1e-1, 1e-2, 1e-3, 1e-4)


def main() -> None:
    """Measure in a process of its own, pinned to one core with one thread in every library."""
    flags = "--xla_cpu_multi_thread_eigen=false " + os.environ.get("XLA_FLAGS", "")
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), PINNED: "1", "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-m", "benchmarks.kernel_score"], env=environment, check=True)


def pin() -> int | None:
    """Bind this process to one core, before any library starts threads; None where the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def measure() -> None:
    core = pin()
    times, errors = time_all(), error_table()
    report(times, errors)
    write({"core": core, "times": times, "errors": errors, "sigmas": SIGMAS})


def contenders(data, x, sigma) -> dict:
    """Name -> function of no arguments that computes all scores and returns them as an array."""
    import jax
    import jax.numpy as jnp

    from manifold_diffusion.scores import KernelScore

    def naive(data, x, sigma):
        squared = jnp.sum((x[:, None, :] - data[None, :, :]) ** 2, axis=-1)
        return (jax.nn.softmax(-squared / (2 * sigma**2), axis=1) @ data - x) / sigma**2

    def expand(data, x, sigma):
        products = jnp.matmul(x, data.T, precision="highest") - 0.5 * jnp.sum(data**2, axis=1)[None, :]
        return (jax.nn.softmax(products / sigma**2, axis=1) @ data - x) / sigma**2

    def autodiff(data, x, sigma):
        def log_density(x):
            return jax.nn.logsumexp(-jnp.sum((x[None, :] - data) ** 2, axis=1) / (2 * sigma**2))

        return jax.vmap(jax.grad(log_density))(x)

    def streamed(kernel, x, sigma):
        return jax.vmap(kernel, (0, None))(x, sigma)

    jitted = {
        "naive jax": jax.jit(naive),
        "expand + softmax": jax.jit(expand),
        "grad of logsumexp": jax.jit(autodiff),
    }
    sigma = jnp.float32(sigma)
    kernel, step = KernelScore(data), jax.jit(streamed)
    runs = {"streamed": lambda: step(kernel, x, sigma).block_until_ready()}
    for name, f in jitted.items():
        runs[name] = lambda f=f: f(data, x, sigma).block_until_ready()
    return runs | peers(data, x, float(sigma))


def peers(data, x, sigma: float) -> dict:
    """The same by other libraries, those that are installed."""
    import numpy as np

    runs, installed = {}, importlib.util.find_spec
    data, x = np.asarray(data), np.asarray(x)
    if installed("torch"):
        runs["torch SDPA"] = torch_attention(data, x, sigma)
    if installed("pykeops") and installed("torch"):
        runs["KeOps"] = keops_attention(data, x, sigma)
    if installed("sklearn"):
        from sklearn.neighbors import KernelDensity

        tree = KernelDensity(bandwidth=sigma).fit(data)
        runs["scikit-learn KDE (density only)"] = lambda: tree.score_samples(x)
    return runs


def torch_attention(data, x, sigma: float):
    """Scaled dot-product attention with a constant column for -|y|^2 / 2: keys are data, values are data."""
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    y, q = torch.from_numpy(data.copy()), torch.from_numpy(x.copy())
    keys = torch.cat([y, -0.5 * (y**2).sum(1, keepdim=True)], 1)[None]
    queries = torch.cat([q, torch.ones(len(q), 1)], 1)[None]
    attend = torch.nn.functional.scaled_dot_product_attention

    def run():
        with torch.no_grad():
            return (attend(queries, keys, y[None], scale=1 / sigma**2)[0] - q) / sigma**2

    return run


def keops_attention(data, x, sigma: float):
    """A lazy softmax reduction over exact differences."""
    import torch  # pyright: ignore[reportMissingImports]
    from pykeops.torch import LazyTensor  # pyright: ignore[reportMissingImports]

    y, q = torch.from_numpy(data.copy()), torch.from_numpy(x.copy())
    i, j = LazyTensor(q[:, None, :]), LazyTensor(y[None, :, :])
    logits = -((i - j) ** 2).sum(-1) / (2 * sigma**2)
    return lambda: (logits.sumsoftmaxweight(j, dim=1) - q) / sigma**2


def sphere(n: int, m: int, d: int, sigma: float):
    """n points on the unit sphere of R^d, and m noised ones."""
    import jax
    import jax.numpy as jnp

    points = jax.random.normal(jax.random.key(0), (n + m, d))
    points = points / jnp.linalg.norm(points, axis=1, keepdims=True)
    return points[:n], points[n:] + sigma * jax.random.normal(jax.random.key(1), (m, d))


def time_all() -> list[dict]:
    """The least CPU milliseconds of each contender in each case, in turns, so that all see the same machine."""
    rows = []
    for n, m, d, sigma, count in CASES:
        data, x = sphere(n, m, d, sigma)
        runs = contenders(data, x, sigma)
        for run in runs.values():
            run()
        best = dict.fromkeys(runs, float("inf"))
        for _ in range(count):
            for name, run in runs.items():
                start = time.process_time()
                run()
                best[name] = min(best[name], 1e3 * (time.process_time() - start))
        ratio = best["naive jax"] / best["streamed"]
        rows.append({"n": n, "m": m, "d": d, "sigma": sigma, "ms": best, "ratio": ratio, "target": TARGETS.get((n, d))})
    return rows


def error_table() -> dict[str, list[float]]:
    """On a circle of 1e5 points, x at distance sigma from data: the largest error in units of 1 / sigma, by noise
    level.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 100_000)
    data = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    table: dict[str, list[float]] = {}
    for sigma in SIGMAS:
        x = (data[:128] + sigma * rng.standard_normal((128, 2))).astype(np.float32)
        exact = float64_score(data, x, np.float64(np.float32(sigma)))
        for name, run in contenders(jnp.asarray(data), jnp.asarray(x), sigma).items():
            if "density" not in name:
                table.setdefault(name, []).append(float(np.abs(sigma * (np.asarray(run()) - exact)).max()))
    jax.clear_caches()
    return table


def float64_score(data, x, sigma):
    """The definition, one query at a time."""
    import numpy as np

    data, x = data.astype(np.float64), x.astype(np.float64)
    scores = []
    for q in x:
        differences = data - q
        logits = -(differences**2).sum(1) / (2 * sigma**2)
        p = np.exp(logits - logits.max())
        scores.append(p @ differences / p.sum() / sigma**2)
    return np.array(scores)


def report(times: list[dict], errors: dict[str, list[float]]) -> None:
    """Both tables, for people."""
    print("CPU ms on one core (times slower than streamed)")
    for row in times:
        target = f", target {row['target']:g}x" if row["target"] else ""
        print(
            f"\nN={row['n']}, M={row['m']}, D={row['d']}, sigma={row['sigma']:g}: {row['ratio']:.1f}x naive jax{target}"
        )
        for name, ms in row["ms"].items():
            print(f"  {name:32} {ms:9.1f}  ({ms / row['ms']['streamed']:.1f}x)")
    print("\nlargest |sigma (score - exact)|, float32, circle of 1e5 points")
    print("  " + " " * 32 + "".join(f"  sigma={s:<8g}" for s in SIGMAS))
    for name, values in errors.items():
        print(f"  {name:32}" + "".join(f"  {v:<14.1e}" for v in values))


def write(result: dict) -> None:
    """results/kernel_score-DEVICE.json, with what one needs to compare it to another."""
    import jax

    device = jax.devices()[0]
    about = {
        "device": processor(),
        "platform": device.platform,
        "jax": jax.__version__,
        "python": platform.python_version(),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"kernel_score-{device.platform}.json"
    path.write_text(json.dumps({**about, **result}, indent=1) + "\n")
    print(f"\nwritten to {path.relative_to(pathlib.Path.cwd()) if path.is_relative_to(pathlib.Path.cwd()) else path}")


def processor() -> str:
    """The model name that Linux gives, else what the standard library knows."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    measure() if os.environ.get(PINNED) else main()
