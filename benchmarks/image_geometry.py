"""How exact and how fast is the geometry of images and of toy manifolds by autodiff next to differences on a grid?

The peer, manifold-microscope, estimates metric, volume element and scalar curvature by central differences on a grid of
parameters. It is given its finest grid of at most 2 GiB (the peak of its whole process) of its own toy manifolds, whose
volume and curvature it knows in closed form; autodiff gets the same points. Images of 32 x 32 pixels follow: a round
blob whose geometry is known (hyperbolic, see `manifold_diffusion.geometry.image`) and a letter L under all motions.

Each measurement is a process of its own, pinned to the same core with one thread in every library; times are its CPU
seconds, the smaller of two runs. Making the points or images is not part of the peer's times; errors are the largest
ones, relative to the largest true value. About 15 minutes.
"""

import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys

from benchmarks import _image_jobs
from benchmarks.kernel_score import RESULTS, THREADS, pin, processor

JOB = "MANIFOLD_DIFFUSION_JOB"
LIMIT_MIB = 2048
TOYS = (("ellipsoid", 2), ("hyperboloid", 2), ("ellipsoid", 3), ("hyperboloid", 3))
FIRST_SIZES = {2: (800, 1600), 3: (70, 110)}
IMAGE_SIZES = (56, 54, 52, 50, 46, 40)
SPACINGS = (0.1, 0.03, 0.01, 0.003, 0.001)
POINTS = 1000


def main() -> None:
    """Measure all, print tables and write the results."""
    if importlib.util.find_spec("microscope") is None:
        sys.exit("image_geometry needs its peer: pip install manifold-microscope (it brings torch)")
    toys = [toy(kind, dim) for kind, dim in TOYS]
    images = {"grid": finest_images(), "ours": [run("ours_images", shape, POINTS) for shape in ("blob", "corner")]}
    images["stencils"] = [stencils(shape) for shape in ("blob", "corner")]
    report(toys, images)
    write({"limit_mib": LIMIT_MIB, "toys": toys, "images": images})


def run(name: str, *arguments) -> dict:
    """One measurement in a fresh process."""
    flags = "--xla_cpu_multi_thread_eigen=false " + os.environ.get("XLA_FLAGS", "")
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    environment[JOB] = json.dumps([name, *arguments])
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.image_geometry"]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def work() -> None:
    """What that process does: the job, and the most memory it ever had."""
    name, *arguments = json.loads(os.environ[JOB])
    pin()
    print(json.dumps(getattr(_image_jobs, name)(*arguments)))


def toy(kind: str, dim: int) -> dict:
    """The peer on its finest grid within the limit, on coarser ones, and autodiff at the points of the finest."""
    rows = [run("peer_toy", kind, dim, size, 1) for size in FIRST_SIZES[dim]]
    # Memory is about linear in the number of points, so the limit is near where the line through two sizes meets it.
    (n0, m0), (n1, m1) = ((row["size"] ** dim, row["mib"]) for row in rows)
    size, high = int((n1 + (LIMIT_MIB - m1) * (n1 - n0) / (m1 - m0)) ** (1 / dim)), None
    low = FIRST_SIZES[dim][-1]
    for _ in range(6):
        rows.append(run("peer_toy", kind, dim, size, 1))
        high = size if rows[-1]["mib"] > LIMIT_MIB else high
        low = max(row["size"] for row in rows if row["mib"] <= LIMIT_MIB)
        if high and high - low <= 0.02 * low:
            break
        size = int(1.04 * low) if high is None else (low + high) // 2
    fitting = [row for row in rows if row["mib"] <= LIMIT_MIB and row["size"] < low]
    fitting.append(run("peer_toy", kind, dim, low, 2))
    ours = run("ours_toy", kind, dim, low)
    return {"manifold": kind, "dim": dim, "peer": fitting, "ours": ours}


def finest_images() -> dict:
    """The finest grid of blobs with which the peer stays within the limit."""
    rows = (run("peer_images", size) for size in IMAGE_SIZES)
    return next(row for row in rows if row["mib"] <= LIMIT_MIB)


def stencils(name: str) -> dict:
    """The peer at given images, on a grid of 7 images a parameter around each: the best of a few spacings."""
    rows = [run("peer_stencils", name, spacing, 20) for spacing in SPACINGS]
    best = min(rows, key=lambda row: row["errors"]["curvature"])
    timed = run("peer_stencils", name, best["spacing"], POINTS if name == "blob" else POINTS // 10)
    return {"shape": name, "spacings": rows, "best": timed}


# Results


def report(toys: list[dict], images: dict) -> None:
    """Tables, for people."""
    heads = f"{'metric':>9} {'volume':>9} {'curvature':>9}  errors"
    print(f"{'CPU seconds on one core':44} {'s':>8} {'MiB':>6} {heads}")
    for row in toys:
        for peer in row["peer"]:
            name = f"{row['manifold']} {row['dim']}, peer, {peer['size']}^{row['dim']} points"
            line(name, peer["volume_s"] + peer["curvature_s"], peer)
        ours, finest = row["ours"], row["peer"][-1]
        line("  autodiff at the points of the finest", ours["run_s"], ours)
        line("  and compiled first", ours["run_s"] + ours["compile_s"], ours)
        ratio = (finest["volume_s"] + finest["curvature_s"]) / (ours["run_s"] + ours["compile_s"])
        exact = finest["errors"]["curvature"] / ours["errors"]["curvature"]
        print(f"  {ratio:.1f} times faster with compilation, curvature {exact:.1g} times more exact")
    grid = images["grid"]
    print()
    line(f"blob, peer, {grid['size']}^3 images, {grid['points']} points", grid["volume_s"] + grid["curvature_s"], grid)
    for ours, stencil in zip(images["ours"], images["stencils"], strict=True):
        best, name = stencil["best"], ours["shape"]
        line(f"{name}, peer, {best['points']} points, spacing {best['spacing']:g} pixels", best["run_s"], best)
        print(f"  and {best['render_s']:.2f} s to draw them, {7 ** ours['dim']} images a point")
        line(f"{name}, autodiff, {ours['points']} points", ours["run_s"], ours)
        line("  and compiled first", ours["run_s"] + ours["compile_s"], ours)


def line(name: str, taken: float, row: dict) -> None:
    """One row of the table."""
    mib = f"{row['mib']:6.0f}" if "mib" in row else " " * 6
    shown = "".join(f"{value:10.1e}" for value in (row["errors"] or {}).values())
    print(f"{name:44} {taken:8.2f} {mib}{shown}")


def write(result: dict) -> None:
    """results/image_geometry-cpu.json, with what one needs to compare it to another."""
    packages = ("jax", "manifold-microscope", "torch", "numpy")
    about = {
        "device": processor(),
        "platform": "cpu",
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "image_geometry-cpu.json"
    path.write_text(json.dumps({**about, **result}, indent=1) + "\n")
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    work() if os.environ.get(JOB) else main()
