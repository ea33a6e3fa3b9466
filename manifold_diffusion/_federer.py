"""The reach of what points lie on, from pairs of them, on the host in float64.

|y - x|^2 / (2 d(y - x, T_x)) is at least the reach (Federer 1959, theorem 4.18).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def smallest_balls(
    rows: Float[np.ndarray, "n d"],
    centres: Float[np.ndarray, "c d"],
    partners: Float[np.ndarray, "m d"],
    patches: Sequence[np.ndarray] | np.ndarray,
    dim: int,
    least: Float[np.ndarray, " c"],
) -> Float[np.ndarray, " c"]:
    """For each centre x the smallest of those radii over the partners y at a distance of at least `least` (but never
    more than half of them are left out), with T_x from the rows of its patch; infinite where no pair bends away.

    x is the first row of its patch. Nearer pairs would count errors of T_x as curvature.
    """
    return np.array(
        [
            _smallest_ball(partners - x[None, :], tangent_at_first(rows[patch], dim), near)
            for x, patch, near in zip(centres, patches, least, strict=True)
        ]
    )


def tangent_at_first(patch: Float[np.ndarray, "q d"], dim: int) -> Float[np.ndarray, "k d"]:
    """An orthonormal frame of the tangent space at the first point of the patch.

    The plane of local PCA is tangent somewhere near it; a quadratic fitted over that plane says how the surface is
    inclined to it at the point itself. With too few points for one, the plane stands.
    """
    offsets = patch - patch[0]
    frame = np.linalg.svd(patch - patch.mean(axis=0), full_matrices=False)[2][:dim]
    u = offsets @ frame.T
    quadratic = [u[:, i] * u[:, j] for i in range(dim) for j in range(i, dim)]
    design = np.column_stack([u, *quadratic, np.ones(len(u))])
    if len(u) < design.shape[1] + 2:
        return frame
    slopes = np.linalg.lstsq(design, offsets - u @ frame, rcond=None)[0][:dim]
    return np.linalg.qr((frame + slopes).T)[0].T


def _smallest_ball(offsets: Float[np.ndarray, "m d"], frame: Float[np.ndarray, "k d"], least: float) -> float:
    squares = np.einsum("nd,nd->n", offsets, offsets)
    along = offsets @ frame.T
    across = np.sqrt(np.maximum(squares - np.einsum("nk,nk->n", along, along), 0.0))
    far = (squares >= min(least**2, np.median(squares))) & (across > 0)
    return float(np.min(squares[far] / (2 * across[far]))) if far.any() else float("inf")
