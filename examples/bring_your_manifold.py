"""A manifold that is not in the package: what a coarse model and a memoriser make of data on a twisted ribbon.

Run `python examples/bring_your_manifold.py`; it writes `ribbon.png` (choose with --out) and prints what the pictures do
not show: how far the points are from the ribbon, and how new they are.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion import estimators, evaluation, geometry, measures, studies


def ribbon(u):
    """The vertical ribbon over a wave on the unit circle, at the angle u[0] and the height u[1]."""
    return jnp.stack([jnp.cos(u[0]), jnp.sin(u[0]), jnp.sin(2 * u[0]) / 2 + u[1]])


def main(size: int = 1500, new: int = 1500, out: str = "ribbon.png") -> dict[str, tuple[float, float]]:
    """{kind: (median distance to the ribbon, novelty ratio)}, and a picture."""
    key = jax.random.key(0)
    manifold = geometry.from_embedding(ribbon, [(0, 2 * jnp.pi), (-0.5, 0.5)], ends=("wrap", "edge"))
    data = measures.draw(manifold.uniform, key, size)
    models = {
        "memorised": estimators.memorising_diffusion(),
        "early-stopped": estimators.early_stopped_diffusion(),
        "coarse": estimators.coarse_diffusion(dim=2, degree=3),
    }
    samples = {kind: measures.draw(model(key, data), jax.random.key(1), new) for kind, model in models.items()}
    figures = {
        kind: (
            evaluation.support_distance(manifold, points).median,
            evaluation.novelty(data, points, dim=2).ratio.value,
        )
        for kind, points in samples.items()
    }
    for kind, (distance, ratio) in figures.items():
        print(f"{kind:14s} median distance {distance:.1e}   novelty ratio {ratio:.2f} (fresh data: 1, copies: 0)")
    pictures = {kind: np.asarray(points) for kind, points in {"data": data, **samples}.items()}
    studies.samples_figure(pictures, title="A twisted ribbon").savefig(out, dpi=120)
    print(f"wrote {out}")
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1500, help="how many data (default 1500)")
    parser.add_argument("--new", type=int, default=1500, help="how many new points of each kind (default 1500)")
    parser.add_argument("--out", default="ribbon.png", help="the picture (default ribbon.png)")
    main(**vars(parser.parse_args()))
