"""From which noise level on may only the normal part of a score be followed: whether there is one, and which.

Below the spacing of the data the Jacobian of a memorising denoiser knows no directions, and above the reach of the
manifold they differ from place to place within the noise: between them its spectrum has a gap after the k-th
eigenvalue, and the frame at a noised point is that of the point where it ends. Both are seen from the score and the
data alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from manifold_diffusion._neighbours import nearest, self_nearest
from manifold_diffusion._numerics import chunked_map, dot
from manifold_diffusion._small_matrices import symmetric_eigen
from manifold_diffusion._types import Key, Points, Score
from manifold_diffusion.estimators import NormalOnlySampler, median_spacing, normal_only_diffusion
from manifold_diffusion.evaluation.novelty import novelty
from manifold_diffusion.samplers import leading_spectrum

_CHUNK = 256
_LOW, _HIGH = 0.05, 0.99

Column = Float[np.ndarray, " candidates"]


class NormalOnlyWindow(NamedTuple):
    """What normal-only sampling gives from each of some noise levels, lowest first.

    spacings        the levels sigma_0 in units of the median spacing of the data
    levels          sigma_0
    gap             median over samples of lambda_k - lambda_{k+1} of the denoiser's Jacobian at sigma_0 where they end
    low_gap         its 5 % quantile: near 0, directions are arbitrary for one sample in twenty
    turn            median of the sine of the largest angle between the frames of a sample at its start and its end
    tail            99 % quantile of the distance to the nearest datum, over that of the data to one another: about 1,
                    and above where samples are left far away
    memorised       share of samples with d1 <= d2 / 3, as in `novelty`, and `memorised_null` that of the data
    ratio           median distance to the nearest datum, over that of the data to one another
    non_finite      samples with NaN or infinities, left out of everything else
    """

    spacings: Column
    levels: Column
    gap: Column
    low_gap: Column
    turn: Column
    tail: Column
    memorised: Column
    memorised_null: Column
    ratio: Column
    non_finite: Column

    @property
    def best(self) -> float:
        """The sigma_0 with the largest `low_gap`. The window is empty where that is near 0, too."""
        return float(self.levels[int(np.argmax(self.low_gap))])


def normal_only_window(
    key: Key,
    score: Score,
    data: Points,
    dim: int,
    spacings: Sequence[float | int] = (1.0, 1.5, 2.0, 3.0),
    size: int = 1000,
    steps: int = 40,
) -> NormalOnlyWindow:
    """`size` samples of `estimators.normal_only_diffusion` from each level, all with the same keys, and what they show.

    What is asked of the directions is derived; that the window lies between 1 and 3 spacings on two surfaces in R^6 is
    claim M12.
    """
    spacing = median_spacing(data)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(size))
    rows = []
    for factor in sorted(spacings):
        sampler = normal_only_diffusion(score, dim, sigma_0=float(factor) * spacing, steps=steps)(key, data)
        rows.append((float(factor), *_row(data, sampler, keys)))
    return NormalOnlyWindow(*np.asarray(rows).T)


def _row(data: Points, sampler: NormalOnlySampler, keys) -> tuple[float, ...]:
    ends, gaps, turns = map(np.asarray, _look(sampler, keys))
    kept = np.isfinite(ends).all(axis=1) & np.isfinite(gaps)
    found = novelty(data, ends)
    statistics = (np.nan,) * 4
    if kept.any():
        train = np.unique(np.asarray(data), axis=0)
        far = np.quantile(nearest(train, ends[kept], 1)[0], _HIGH) / np.quantile(self_nearest(train, 1)[0], _HIGH)
        statistics = np.median(gaps[kept]), np.quantile(gaps[kept], _LOW), np.median(turns[kept]), far
    shares = found.memorised.value, found.memorised_null.value, found.ratio.value
    return float(sampler.levels[0]), *map(float, statistics), *shares, float((~kept).sum())


@eqx.filter_jit
def _look(sampler: NormalOnlySampler, keys: Shaped[Array, " m"]):
    """Where each sample ends, the gap there, and the sine of the angle by which its frame has turned."""
    dim, level = sampler.dim, sampler.levels[0]

    def one(key):
        x = sampler.noisy(key)
        y = sampler.follow(x)
        before = leading_spectrum(sampler.score, x, level, dim).vectors
        after = leading_spectrum(sampler.score, y, level, dim + 1)
        common = dot(before.T, after.vectors[:, :dim])
        least = symmetric_eigen(dot(common, common.T))[0][0]
        return y, after.values[dim - 1] - after.values[dim], jnp.sqrt(jnp.clip(1 - least, 0, 1))

    return chunked_map(one, keys, _CHUNK)
