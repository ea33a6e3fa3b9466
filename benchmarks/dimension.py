"""How accurate and how fast are dimensions from data next to scikit-dimension, on its own benchmark manifolds?

Accuracy: the median over manifolds of |estimate - truth|, for pairs of estimators of the same name, at 2500 points and
three seeds. Local PCA of the peer is the mean of its pointwise values (100 neighbours, its default). Time: 10 000
points on spheres in several ambient dimensions, the least wall time of each in turns. Both libraries run as they come:
ours uses all cores for k-d trees and at most 1000 or 2000 centres for all but TwoNN, the peer one core and all points.
Coverage: how often intervals at 95 % hold the dimension of closed manifolds (ours only; the peer has none).

The peer is optional: without it only ours is measured. About 10 minutes.
"""

import importlib.util
import json
import os
import platform
import time

from benchmarks.kernel_score import RESULTS, processor

SEEDS = (0, 1, 2)
SIZE = 2500
TIMED = ((2, 3), (5, 6), (5, 12), (5, 20), (10, 64))
TIMED_SIZE = 10_000
RUNS = 3
COVERED = ((1000, 60), (4000, 20))


def main() -> None:
    """Measure, print tables, write the results."""
    peer = importlib.util.find_spec("skdim") is not None
    result = {"peer": peer, "accuracy": accuracy() if peer else None, "times": times(peer), "coverage": coverage()}
    write(result)


def ours() -> dict:
    """Name -> function of the points that returns a `Dimension`."""
    from manifold_diffusion import evaluation

    return {
        "MLE": evaluation.levina_bickel,
        "TwoNN": evaluation.two_nearest,
        "correlation": evaluation.correlation_dimension,
        "local PCA": evaluation.local_pca,
        "participation": evaluation.participation,
    }


def theirs() -> dict:
    """Name -> function of the points that returns a number."""
    import skdim  # pyright: ignore[reportMissingImports]

    return {
        "MLE": lambda x: skdim.id.MLE().fit(x).dimension_,
        "TwoNN": lambda x: skdim.id.TwoNN().fit(x).dimension_,
        "correlation": lambda x: skdim.id.CorrInt().fit(x).dimension_,
        "local PCA": lambda x: skdim.id.lPCA().fit_transform_pw(x, n_neighbors=100).mean(),
    }


def accuracy() -> dict:
    """Every estimate of both on every manifold and seed, and the medians of their errors."""
    import numpy as np
    import skdim  # pyright: ignore[reportMissingImports]

    rows = []
    for seed in SEEDS:
        generator = skdim.datasets.BenchmarkManifolds(random_state=seed)
        for name, points in generator.generate("all", n=SIZE).items():
            truth = int(generator.truth.loc[name, "Intrinsic Dimension"])
            found = {key: float(f(np.asarray(points)).value) for key, f in ours().items()}
            peer = {key: float(f(np.asarray(points))) for key, f in theirs().items()}
            rows.append({"manifold": name, "seed": seed, "truth": truth, "ours": found, "theirs": peer})
    errors = {
        side: {key: float(np.median([abs(row[side][key] - row["truth"]) for row in rows])) for key in rows[0][side]}
        for side in ("ours", "theirs")
    }
    print(f"median |estimate - dimension| over {len(rows) // len(SEEDS)} manifolds, {SIZE} points, {len(SEEDS)} seeds")
    for key, error in errors["ours"].items():
        print(f"  {key:14} {error:6.3f}   scikit-dimension {errors['theirs'].get(key, float('nan')):6.3f}")
    return {"median_error": errors, "rows": rows}


def sphere(k: int, d: int):
    """Uniform points on the unit k-sphere in a random subspace of R^d."""
    import numpy as np

    generator = np.random.default_rng(0)
    points = generator.normal(size=(TIMED_SIZE, k + 1))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points @ np.linalg.qr(generator.normal(size=(d, k + 1)))[0].T


def times(peer: bool) -> list[dict]:
    """The least wall milliseconds of each, in turns, so that all see the same machine."""
    rows = []
    print(f"\nms at {TIMED_SIZE} points (times slower than ours) on {len(os.sched_getaffinity(0))} cores")
    for k, d in TIMED:
        points = sphere(k, d)
        runs = {("ours", key): f for key, f in ours().items()}
        runs |= {("theirs", key): f for key, f in theirs().items()} if peer else {}
        best = dict.fromkeys(runs, float("inf"))
        for turn in range(RUNS):
            for key, run in runs.items():
                # Their local PCA takes seconds: once is enough.
                if turn and key == ("theirs", "local PCA"):
                    continue
                start = time.perf_counter()
                run(points)
                best[key] = min(best[key], 1e3 * (time.perf_counter() - start))
        row = {"dim": k, "ambient_dim": d, "ms": {side: {} for side in ("ours", "theirs")}, "ratio": {}}
        for (side, key), value in best.items():
            row["ms"][side][key] = value
        for key, value in row["ms"]["theirs"].items():
            row["ratio"][key] = value / row["ms"]["ours"][key]
        ratios = ", ".join(
            f"{key} {row['ms']['ours'][key]:.0f} ({row['ratio'].get(key, float('nan')):.1f}x)" for key in ours()
        )
        print(f"  {k}-sphere in R^{d}: {ratios}", flush=True)
        rows.append(row)
    return rows


def closed() -> dict:
    """Name -> dimension, and a function that draws n points from a numpy generator: all closed and smooth."""
    import numpy as np

    def product(*dims):
        def draw(generator, n):
            factors = [generator.normal(size=(n, dim + 1)) for dim in dims]
            return np.concatenate([x / np.linalg.norm(x, axis=1, keepdims=True) for x in factors], axis=1)

        return sum(dims), draw

    def torus(generator, n):
        around, along = generator.uniform(0, 2 * np.pi, (2, 4 * n))
        kept = generator.uniform(0, 1.4, 4 * n) < 1 + 0.4 * np.cos(around)
        around, along = around[kept][:n], along[kept][:n]
        radius = 1 + 0.4 * np.cos(around)
        return np.stack([radius * np.cos(along), radius * np.sin(along), 0.4 * np.sin(around)], axis=1)

    spheres = {f"S^{k}": product(k) for k in range(1, 6)}
    tori = {f"T^{k}": product(*[1] * k) for k in range(2, 6)}
    mixed = {"S^2 x S^1": product(2, 1), "S^2 x S^2": product(2, 2), "S^2 x S^3": product(2, 3)}
    return {**spheres, **tori, **mixed, "torus in R^3": (2, torus)}


def coverage() -> list[dict]:
    """The share of repeats in which the interval holds the dimension, bias and half width relative to it."""
    import numpy as np

    rows = []
    for n, repeats in COVERED:
        print(f"\ncoverage (bias %, half width %) at {n} points, {repeats} repeats")
        for name, (k, draw) in closed().items():
            row = {"manifold": name, "dim": k, "n": n, "repeats": repeats, "estimators": {}}
            samples = [draw(np.random.default_rng([seed, n]), n) for seed in range(repeats)]
            for key, f in ours().items():
                found = [f(points) for points in samples]
                row["estimators"][key] = {
                    "coverage": float(np.mean([e.ci_low <= k <= e.ci_high for e in found])),
                    "bias": float(np.mean([e.value for e in found]) / k - 1),
                    "half_width": float(np.median([e.ci_high - e.ci_low for e in found]) / (2 * k)),
                }
            line = "  ".join(
                f"{key} {e['coverage']:.2f} ({100 * e['bias']:+.1f}, {100 * e['half_width']:.1f})"
                for key, e in row["estimators"].items()
            )
            print(f"  {name:13} {line}", flush=True)
            rows.append(row)
    return rows


def write(result: dict) -> None:
    """results/dimension-cpu.json, with what one needs to compare it to another."""
    about = {"device": processor(), "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "dimension-cpu.json"
    path.write_text(json.dumps({**about, **result}, indent=1) + "\n")
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
