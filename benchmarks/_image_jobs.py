"""The measurements of `image_geometry`, each made in a process of its own."""

import itertools
import sys
import time
from collections.abc import Callable
from typing import Any

AXES = (1.0, 1.3, 0.7, 0.9)
# Of a few sizes those with which the peer is fastest.
PATCHES = {2: 100, 3: 20}
# Where the closed form of the blob holds to 1e-12: neither cut off by the frame nor too fine for the pixels.
BLOB_BOX = ((-2.0, 2.0), (-2.0, 2.0), (1.9, 2.2))


def peak_mib() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def seconds(f: Callable[[], Any], runs: int = 2) -> tuple[float, Any]:
    """(the least CPU seconds, the value)."""
    best, value = float("inf"), None
    for _ in range(runs):
        value = None  # so that no two are held at once
        start = time.process_time()
        value = f()
        best = min(best, time.process_time() - start)
    return best, value


# Toy manifolds


def place(np, kind: str, u):
    """The peer's parametrisation, x_i = a_i f_i(u_i) prod_{j < i} h_j(u_j), (n, k) -> (n, k + 1), in any namespace of
    arrays: f, h are cos, sin on ellipsoids; sinh, cosh on hyperboloids, but for the last angle, where they are sin,
    cos.
    """
    k = u.shape[-1]
    columns, rest = [], 1.0
    for i in range(k):
        if kind == "ellipsoid":
            along, across = np.cos(u[..., i]), np.sin(u[..., i])
        elif i < k - 1:
            along, across = np.sinh(u[..., i]), np.cosh(u[..., i])
        else:
            along, across = np.sin(u[..., i]), np.cos(u[..., i])
        columns.append(AXES[i] * along * rest)
        rest = rest * across
    return np.stack([*columns, AXES[k] * rest], axis=-1)


def known(kind: str, u):
    """(metric, volume element, scalar curvature) of a toy: the first by complex steps, which are exact to rounding, the
    others by the peer's closed forms.
    """
    import numpy as np
    from microscope.manifold_examples import ellipsoid, hyperboloid  # pyright: ignore[reportMissingImports]

    module = {"ellipsoid": ellipsoid, "hyperboloid": hyperboloid}[kind]
    step, k = 1e-30, u.shape[1]
    J = np.stack([np.imag(place(np, kind, u + 1j * step * row)) / step for row in np.eye(k)], axis=-1)
    radii = np.asarray(AXES[: k + 1])
    volume, curvature = (getattr(module, f"{kind}_{what}")(radii, u) for what in ("volume_element", "scalar_curvature"))
    return np.einsum("nda,ndb->nab", J, J), volume, curvature


def looked_at(size: int, dim: int):
    """20 000 nodes of the grid, away from its ends, at which errors are taken."""
    import numpy as np

    rng = np.random.default_rng(0)
    return np.stack([*rng.integers(3, size - 3, (dim - 1, 20_000)), rng.integers(0, size, 20_000)])


def errors(found, true) -> dict[str, float]:
    import numpy as np

    names = ("metric", "volume", "curvature")
    return {n: float(np.abs(f - t).max() / np.abs(t).max()) for n, f, t in zip(names, found, true, strict=True)}


def peer_toy(kind: str, dim: int, size: int, runs: int) -> dict:
    """Volume element and curvature on the peer's grid of size^dim points."""
    import numpy as np
    import torch  # pyright: ignore[reportMissingImports]
    from microscope.computations_grid import basic, curvature, volume  # pyright: ignore[reportMissingImports]
    from microscope.cyclic_dimensions import get_difference_intervals  # pyright: ignore[reportMissingImports]
    from microscope.manifold_examples import sampling_grid  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    sample = getattr(sampling_grid, f"sample_{kind}_on_grid")
    grid, _, u, _ = sample(list(AXES[: dim + 1]), [size] * dim, dim + 1, apply_random_isometry=False)
    sides = [float(u[..., i].max() - u[..., i].min()) for i in range(dim - 1)]
    steps = get_difference_intervals([size] * dim, [*sides, 2 * np.pi], [dim - 1])
    arguments = (grid, steps, [dim - 1], [PATCHES[dim]] * dim)
    volume_seconds, elements = seconds(lambda: volume.volume_element(*arguments, device="cpu"), runs)
    curvature_seconds, scalars = seconds(lambda: curvature.scalar_curvature(*arguments, device="cpu"), runs)
    mib = peak_mib()
    nodes = looked_at(size, dim)
    metrics = []
    for node in nodes[:, :2000].T:
        around = tuple(slice(i - 1, i + 2) for i in node[:-1])
        window = grid[around].take(range(node[-1] - 1, node[-1] + 2), axis=dim - 1, mode="wrap")
        metrics.append(basic.riemannian_metric(torch.from_numpy(window), steps).numpy().reshape(dim, dim))
    true = known(kind, u[tuple(nodes)])
    within = [nodes - np.asarray([crop] * (dim - 1) + [0])[:, None] for crop in (1, 3)]
    found = (np.asarray(metrics), elements[tuple(within[0])], scalars[tuple(within[1])])
    error = errors(found, (true[0][:2000], *true[1:]))
    return {"size": size, "volume_s": volume_seconds, "curvature_s": curvature_seconds, "mib": mib, "errors": error}


def geometry_by_autodiff(chart, u):
    """(what it takes to compile, (CPU seconds, (metrics, volume elements, scalar curvatures)))."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    from manifold_diffusion._numerics import chunked_map
    from manifold_diffusion.geometry import log_volume, metric_tensor, scalar_curvature

    def look(chart, v):
        return metric_tensor(chart, v), jnp.exp(log_volume(chart, v)), scalar_curvature(chart, v)

    compiling = time.process_time()
    most = min(1024, 2**17 // jax.eval_shape(chart.embed, u[0]).shape[0])
    # A block that divides the points, for else the program is compiled once more, for the last block.
    block = max(size for size in range(1, most + 1) if len(u) % size == 0)
    jitted: Any = eqx.filter_jit(lambda chart, u: chunked_map(lambda v: look(chart, v), u, block))
    program = jitted.lower(chart, u).compile()
    compiling = time.process_time() - compiling
    return compiling, seconds(lambda: jax.block_until_ready(program(chart, u)))


def ours_toy(kind: str, dim: int, size: int) -> dict:
    """Metric, volume element and curvature by autodiff at the nodes where the peer has the curvature."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from manifold_diffusion.geometry import AbstractChart

    jax.config.update("jax_enable_x64", True)

    class Toy(AbstractChart):
        def embed(self, u):
            return place(jnp, kind, u)

        def coordinates(self, x):
            raise NotImplementedError("the parameters are given")

    low, high = {"ellipsoid": (0.3 * np.pi, 0.7 * np.pi), "hyperboloid": (-1.0, 1.0)}[kind]
    sides = [np.linspace(low, high, size)[3:-3]] * (dim - 1) + [np.linspace(0, 2 * np.pi, size, endpoint=False)]
    u = jnp.asarray(np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, dim))
    compiling, (taken, found) = geometry_by_autodiff(Toy(), u)
    mib = peak_mib()
    inside = looked_at(size, dim) - np.asarray([3] * (dim - 1) + [0])[:, None]
    at = np.ravel_multi_index(tuple(inside), [len(side) for side in sides])
    error = errors([np.asarray(f)[at] for f in found], known(kind, np.asarray(u)[at]))
    return {"points": len(u), "compile_s": compiling, "run_s": taken, "mib": mib, "errors": error}


# Images


def known_blob(u):
    """(metric, volume element, scalar curvature) of the blob with dimming 1: g = pi s^-2 (|dc|^2 / 2 + ds^2)."""
    import numpy as np

    s = u[:, 2]
    metric = np.pi * s[:, None, None] ** -2 * np.diag([0.5, 0.5, 1.0])[None]
    return metric, np.pi**1.5 / 2 * s**-3, np.full(len(u), -6 / np.pi)


def peer_images(size: int) -> dict:
    """Volume element and curvature of size^3 images of a blob, 1024 numbers each."""
    import numpy as np
    import torch  # pyright: ignore[reportMissingImports]
    from microscope.computations_grid import basic, curvature, volume  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    sides = [np.linspace(*side, size) for side in BLOB_BOX]
    steps = [float(side[1] - side[0]) for side in sides]
    grid = blobs(*sides)
    volume_seconds, elements = seconds(lambda: volume.volume_element(grid, steps, [], [patch(size, 2)] * 3, "cpu"))
    curvature_seconds, scalars = seconds(
        lambda: curvature.scalar_curvature(grid, steps, [], [patch(size, 6)] * 3, device="cpu")
    )
    mib = peak_mib()
    u = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1)[3:-3, 3:-3, 3:-3].reshape(-1, 3)
    metrics = basic.riemannian_metric(torch.from_numpy(grid[2:7, 2:7, 2:-2]), steps).numpy()
    here = np.stack(np.meshgrid(sides[0][3:6], sides[1][3:6], sides[2][3:-3], indexing="ij"), axis=-1).reshape(-1, 3)
    true = known_blob(u)
    found = (metrics.reshape(-1, 3, 3), elements[2:-2, 2:-2, 2:-2].ravel(), scalars.ravel())
    error = errors(found, (known_blob(here)[0], *true[1:]))
    timing = {"volume_s": volume_seconds, "curvature_s": curvature_seconds, "mib": mib}
    return {"size": size, "points": len(u), **timing, "errors": error}


def blobs(x, y, s):
    """Images of blobs with dimming 1 at all (x, y, s): (x, y, s, pixels), rows from the top."""
    import numpy as np

    along = np.arange(32) - 15.5
    rows, columns = (
        np.exp(-((pixels - c[:, None, None]) ** 2) / (2 * s[:, None] ** 2)) for c, pixels in ((y, -along), (x, along))
    )
    grid = np.empty((len(x), len(y), len(s), 32, 32))
    for images, wave in zip(grid, columns / s[:, None], strict=True):
        np.multiply(rows[:, :, :, None], wave[:, None, :], out=images)
    return grid.reshape(len(x), len(y), len(s), -1)


def patch(size: int, overlap: int) -> int:
    """A patch that divides the grid, for else the peer copies all images to pad them."""
    steps = [step for step in range(8, 15) if (size - overlap) % step == 0]
    return overlap + (max(steps) if steps else 10)


def images_of(name: str, count: int):
    """(manifold, random parameters, how large a step of one pixel is in each of them)."""
    import jax
    import jax.numpy as jnp

    from manifold_diffusion.geometry import Blobs, blurred_corner, image_manifold

    jax.config.update("jax_enable_x64", True)
    if name == "blob":
        box = {"shift": BLOB_BOX[0][1], "scales": BLOB_BOX[2]}
        manifold = image_manifold(Blobs(), 32, ("translation", "scale"), **box, dimming=1.0, grid=2)
    else:
        manifold = image_manifold(blurred_corner(), 32, shift=2, grid=(2, 2, 8, 2))
    u = jax.random.uniform(jax.random.key(0), (count, manifold.dim), minval=manifold.lower, maxval=manifold.upper)
    return manifold, u, jnp.asarray([1.0, 1.0, 1.0] if name == "blob" else [1.0, 1.0, 0.25, 0.25])


def ours_images(name: str, count: int) -> dict:
    """Metric, volume element and curvature by autodiff at random parameters."""
    import numpy as np

    manifold, u, _ = images_of(name, count)
    compiling, (taken, found) = geometry_by_autodiff(manifold.whole(), u)
    error = errors(map(np.asarray, found), known_blob(np.asarray(u))) if name == "blob" else None
    timing = {"compile_s": compiling, "run_s": taken, "mib": peak_mib()}
    return {"shape": name, "dim": manifold.dim, "points": count, **timing, "errors": error}


def peer_stencils(name: str, spacing: float, count: int) -> dict:
    """Errors against the closed form of the blob, and for the letter against autodiff."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import torch  # pyright: ignore[reportMissingImports]
    from microscope.computations_grid import basic, curvature, volume  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    manifold, u, pixel = images_of(name, count)
    steps = [float(step) for step in spacing * pixel]
    k = manifold.dim
    offsets = np.asarray(list(itertools.product(range(-3, 4), repeat=k))) * np.asarray(steps)
    render = jax.jit(lambda v: jax.lax.map(manifold.embedding, v[None, :] + offsets, batch_size=343))
    render(u[0])
    rendering, spent, found = 0.0, 0.0, []
    for v in u:
        start = time.process_time()
        grid = torch.from_numpy(np.array(render(v))).reshape(*[7] * k, -1)
        rendering += time.process_time() - start
        around = grid[(slice(2, 5),) * k]
        start = time.process_time()
        scalar = curvature.scalar_curvature_batch(grid, steps)
        element = volume.volume_element_batch(around, steps)
        spent += time.process_time() - start
        found.append((basic.riemannian_metric(around, steps).numpy().reshape(k, k), element.item(), scalar.item()))
    stacked = [np.stack(values) for values in zip(*found, strict=True)]
    if name == "blob":
        true = known_blob(np.asarray(u))
    else:
        true = [np.asarray(values) for values in geometry_by_autodiff(manifold.whole(), jnp.asarray(u))[1][1]]
    timing = {"run_s": spent, "render_s": rendering}
    return {"spacing": spacing, "points": count, **timing, "errors": errors(stacked, true)}
