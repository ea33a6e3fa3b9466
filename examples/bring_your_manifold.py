"""A manifold that is not in the package: what a coarse model and a memoriser make of data on a twisted ribbon.

Run `python examples/bring_your_manifold.py`; it writes `ribbon.png` (choose with --out) and prints what the pictures do
not show: how far the points are from the ribbon, and how new they are.
"""

import argparse

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion import estimators, evaluation, geometry, measures, studies


class RibbonChart(geometry.AbstractChart):
    """u -> the point at the angle origin[0] + u[0] and the height origin[1] + u[1] of the ribbon."""

    origin: jax.Array

    def embed(self, u):
        """(cos a, sin a, sin(2 a) / 2) + h (0, 0, 1)."""
        angle, height = self.origin + u
        return jnp.stack([jnp.cos(angle), jnp.sin(angle), jnp.sin(2 * angle) / 2 + height])

    def coordinates(self, x):
        """The angle and the height of x, from the origin."""
        angle = jnp.arctan2(x[1], x[0])
        offset = jnp.stack([angle, x[2] - jnp.sin(2 * angle) / 2]) - self.origin
        return offset.at[0].set(jnp.mod(offset[0] + jnp.pi, 2 * jnp.pi) - jnp.pi)


class Ribbon(geometry.AbstractManifold):
    """The vertical ribbon |h| <= width / 2 over a wave on the unit circle: part of a cylinder, hence flat.

    A point's nearest point is on the cylinder at the same angle and height, or on the ribbon's edge.
    """

    width: float = eqx.field(static=True, default=1.0)
    dim: int = eqx.field(static=True, default=2)
    ambient_dim: int = eqx.field(static=True, default=3)

    def project(self, x):
        """Exact for points nearer to the inside of the ribbon than to its edge; edges by Newton steps along them."""
        chart = RibbonChart(jnp.zeros(2, x.dtype))
        inside = x.at[:2].divide(jnp.sqrt(jnp.sum(x[:2] ** 2)))
        angle, height = chart.coordinates(inside)
        edge = RibbonEdge(angle, jnp.clip(height, -self.width / 2, self.width / 2))
        along = geometry.nearest_coordinates(edge, x, jnp.zeros(1, x.dtype))
        return jnp.where(jnp.abs(height) <= self.width / 2, inside, edge.embed(along))

    def tangent(self, x, v):
        """v without its radial part."""
        normal = jnp.append(x[:2], 0.0)
        return v - jnp.sum(normal * v) * normal

    def chart(self, x):
        """The chart around x."""
        angle = jnp.arctan2(x[1], x[0])
        return RibbonChart(jnp.stack([angle, x[2] - jnp.sin(2 * angle) / 2]))

    def uniform(self, key):
        """Angle and height are uniform because the ribbon's area element, 1, does not depend on them."""
        angle, height = jax.random.uniform(key, (2,)) * jnp.array([2 * jnp.pi, self.width])
        return RibbonChart(jnp.zeros(2)).embed(jnp.stack([angle, height - self.width / 2]))


class RibbonEdge(geometry.AbstractChart):
    """The curve of constant height through one point of the ribbon."""

    angle: jax.Array
    height: jax.Array

    def embed(self, u):
        """The point at angle + u."""
        angle = self.angle + u[0]
        return jnp.stack([jnp.cos(angle), jnp.sin(angle), jnp.sin(2 * angle) / 2 + self.height])

    def coordinates(self, x):
        """The angle of x."""
        return (jnp.arctan2(x[1], x[0]) - self.angle)[None]


def main(size: int = 1500, new: int = 1500, out: str = "ribbon.png") -> dict[str, tuple[float, float]]:
    """{kind: (median distance to the ribbon, novelty ratio)}, and a picture."""
    key, ribbon = jax.random.key(0), Ribbon()
    data = measures.draw(ribbon.uniform, key, size)
    models = {
        "memorised": estimators.memorising_diffusion(),
        "early-stopped": estimators.early_stopped_diffusion(),
        "coarse": estimators.coarse_diffusion(dim=2, degree=3),
    }
    samples = {kind: measures.draw(model(key, data), jax.random.key(1), new) for kind, model in models.items()}
    figures = {
        kind: (
            evaluation.support_distance(ribbon, points).median,
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
