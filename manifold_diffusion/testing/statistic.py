"""Samples against integrals and against one another: moments in standard errors, and cells by chi-square."""

import numpy as np
from scipy import stats

from manifold_diffusion.testing.law import Found

MOST = 8
CELLS = 20
DIRECTIONS = 3


def moments(x: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """x (n, d) -> its coordinates and their products (only the squares above d = 8), (n, m), and their names."""
    d = x.shape[1]
    pairs = [(i, j) for i in range(d) for j in range(i, d) if d <= MOST or i == j]
    first, second = np.asarray(pairs).T
    names = [*(f"x[{i}]" for i in range(d)), *(f"x[{i}] x[{j}]" for i, j in pairs)]
    return np.concatenate([x, x[:, first] * x[:, second]], axis=1), names


def _in_errors(mean, expected, error, size, names, dtype, words) -> Found:
    # Values that do not vary have no error but rounding.
    error = np.sqrt(error**2 + (1e3 * np.finfo(dtype).eps * size) ** 2)
    texts = [
        f"the mean of {name} is {a:.4g}, {words} {b:.4g} +- {e:.2g}"
        for name, a, b, e in zip(names, mean, expected, error, strict=True)
    ]
    return Found(np.abs(mean - expected) / np.where(error > 0, error, 1.0), {}, texts)


def compare_with_nodes(x: np.ndarray, nodes: np.ndarray, mass: np.ndarray, dtype: str) -> Found:
    """Means over a sample against sums over nodes with those masses (normalised here), in standard errors."""
    f, names = moments(x)
    g, _ = moments(nodes)
    mass = mass / np.sum(mass)
    expected = mass @ g
    error = np.sqrt(mass @ (g - expected[None]) ** 2 / len(x))
    return _in_errors(f.mean(0), expected, error, np.max(np.abs(g), axis=0), names, dtype, "the integral is")


def compare_with_sample(x: np.ndarray, y: np.ndarray, dtype: str, weights: np.ndarray | None = None) -> Found:
    """Means over a sample against means over another, weighted (self-normalised) if weights are given."""
    f, names = moments(x)
    g, _ = moments(y)
    w = np.full(len(y), 1 / len(y)) if weights is None else weights / np.sum(weights)
    expected = w @ g
    error = np.sqrt(f.var(0) / len(x) + (w * w) @ (g - expected[None]) ** 2)
    return _in_errors(f.mean(0), expected, error, np.max(np.abs(g), axis=0), names, dtype, "the other mean is")


def cells(x: np.ndarray, nodes: np.ndarray, mass: np.ndarray, rng: np.random.Generator) -> Found:
    """-log10 of the p-value of chi-square tests: counts in cells across random directions, of equal mass by the nodes;
    times the number of directions (Bonferroni).
    """
    mass, errors, directions = mass / np.sum(mass), [], []
    for _ in range(DIRECTIONS):
        direction = rng.standard_normal(x.shape[1])
        direction = direction / np.linalg.norm(direction)
        height = nodes @ direction
        order = np.argsort(height)
        edges = np.interp(np.arange(1, CELLS) / CELLS, np.cumsum(mass[order]), height[order])
        expected = np.bincount(np.searchsorted(edges, height), weights=mass, minlength=CELLS)
        counts = np.bincount(np.searchsorted(edges, x @ direction), minlength=CELLS)
        held = expected > 0
        p = stats.chisquare(counts[held], len(x) * expected[held] * (counts[held].sum() / len(x))).pvalue
        lost = counts[~held].sum() > 0
        errors.append(np.inf if lost else -np.log10(max(p * DIRECTIONS, 1e-300)))
        directions.append(direction)
    return Found(np.maximum(errors, 0.0), {"across": np.asarray(directions)})
