"""Laws of estimators: what they fit is a sampler, decided by the key and by the set of data."""

import numpy as np

from manifold_diffusion.testing.law import DEVIATIONS, ZERO, Found, Law, Seen
from manifold_diffusion.testing.laws.sampler import SAMPLER_LAWS
from manifold_diffusion.testing.statistic import compare_with_sample


def _fits(seen: Seen) -> Found:
    words = seen["fit"]
    return Found(np.asarray([float(bool(words))]), {}, words)


def _decided(seen: Seen) -> Found:
    gaps = np.max(seen["fitted again"], axis=1)
    return Found(gaps, {"key number": np.arange(len(gaps))})


def _same_law(name: str):
    def find(seen: Seen) -> Found:
        return compare_with_sample(seen["points"], seen[name], seen.dtype)

    return find


ESTIMATOR_LAWS = (
    Law(
        "fits",
        "estimator(key, data) returns a sampler of points like the data",
        "take a key and data of shape (n, d), and return a callable key -> (d,)",
        _fits,
        ZERO,
        "failures",
    ),
    *SAMPLER_LAWS,
    Law(
        "the same key fits the same sampler",
        "two fits with one key to the same data give the same points, to the last bit",
        "draw all randomness of the fit from its key: no numpy.random without a seed, no state",
        _decided,
        ZERO,
        "difference",
    ),
    Law(
        "the order of the data does not matter",
        "fitted to a permutation of the data, points have the same moments",
        "no datum may be special for its place, as the first one or the last batch",
        _same_law("permuted"),
        DEVIATIONS,
        "standard errors",
    ),
    Law(
        "rotated data give rotated points",
        "fitted to rotated data, points rotated back have the same moments",
        "treat all directions alike: no scale or split by coordinate",
        _same_law("rotated"),
        DEVIATIONS,
        "standard errors",
    ),
)
