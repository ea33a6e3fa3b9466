"""Samples whose manifold is known."""

import numpy as np


def sphere(n, dim, seed):
    """n uniform points on the unit sphere of the dimension."""
    x = np.random.default_rng(seed).normal(size=(n, dim + 1))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def noise(points, scale, seed):
    """The points with isotropic Gaussian noise."""
    return points + scale * np.random.default_rng(seed).normal(size=points.shape)


def product(n, dims, seed):
    """n uniform points on the product of unit spheres of these dimensions."""
    return np.concatenate([sphere(n, dim, [seed, i]) for i, dim in enumerate(dims)], axis=1)


def torus(n, tube, seed):
    """n uniform points on the torus in R^3 around the unit circle, by rejection."""
    generator = np.random.default_rng(seed)
    around, along = generator.uniform(0, 2 * np.pi, (2, 4 * n))
    kept = generator.uniform(0, 1 + tube, 4 * n) < 1 + tube * np.cos(around)
    around, along = around[kept][:n], along[kept][:n]
    radius = 1 + tube * np.cos(around)
    return np.stack([radius * np.cos(along), radius * np.sin(along), tube * np.sin(around)], axis=1)
