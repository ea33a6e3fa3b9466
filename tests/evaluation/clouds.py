"""Samples whose manifold is known."""

import numpy as np


def sphere(n, dim, seed):
    """n uniform points on the unit sphere of the dimension."""
    x = np.random.default_rng(seed).normal(size=(n, dim + 1))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def noise(points, scale, seed):
    """The points with isotropic Gaussian noise."""
    return points + scale * np.random.default_rng(seed).normal(size=points.shape)
