"""Projections that are certain: an error that says where a point has no nearest one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion._types import Points, Scalar
from manifold_diffusion.geometry.manifold import AbstractManifold


def checked_projection(manifold: AbstractManifold, xs: Points, reach: float | Scalar | None = None) -> Points:
    """`vmap(manifold.project)(xs)`, or a ValueError that names the first point without a certain nearest one.

    A point is refused where its projection is not finite, where x - y has a part along the manifold of more than
    sqrt(eps) of the coordinates, where y is not its own projection to the same accuracy, and where |x - y| is not below
    the reach: the argument, or else `manifold.reach()` where the manifold knows it. Not for compiled programs.
    """
    ys, feet, slopes = _look(manifold, xs)
    x, y = np.asarray(xs, float), np.asarray(ys, float)
    tolerance = np.sqrt(np.finfo(xs.dtype).eps) * max(1.0, float(np.max(np.abs(x))))
    gaps = np.linalg.norm(x - y, axis=1)
    limit = float(_reach(manifold) if reach is None else reach)
    reasons = {
        "its projection is not finite": ~np.isfinite(y).all(axis=1),
        "x - y is not normal: the search ended short of the nearest point": np.asarray(slopes) > tolerance,
        "its projection is off the manifold": np.linalg.norm(np.asarray(feet, float) - y, axis=1) > tolerance,
        f"it is not within the reach, {limit:.4g}, of the manifold": ~(gaps < limit),
    }
    for reason, bad in reasons.items():
        if bad.any():
            i = int(np.argmax(bad))
            where = ", ".join(f"{each:.6g}" for each in x[i, :6]) + (", ..." if x.shape[1] > 6 else "")
            raise ValueError(
                f"{int(bad.sum())} of {len(x)} points have no certain nearest point; the first is x = ({where}), "
                f"at the distance {gaps[i]:.4g}: {reason}"
            )
    return ys


def _reach(manifold: AbstractManifold) -> Scalar | float:
    try:
        return manifold.reach()
    except (AttributeError, ValueError):  # not every manifold knows it
        return np.inf


@eqx.filter_jit
def _look(manifold: AbstractManifold, xs: Points):
    def one(x):
        y = manifold.project(x)
        along = manifold.tangent(y, x - y)
        return y, manifold.project(y), jnp.sqrt(jnp.sum(along * along))

    return jax.vmap(one)(xs)
