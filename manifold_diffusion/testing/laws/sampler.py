"""Laws of samplers: a key decides, keys differ, and the points are where and as often as they should be."""

import numpy as np

from manifold_diffusion.testing.law import DEVIATIONS, ZERO, Found, Law, Seen
from manifold_diffusion.testing.laws.structure import STRUCTURE_LAWS


def _finite(seen: Seen) -> Found:
    bad = np.sum(~np.isfinite(seen["points"]), axis=1)
    return Found(bad, {"key number": np.arange(len(bad)), "x": seen["points"]})


def _decides(seen: Seen) -> Found:
    return Found(np.max(seen["again"], axis=1), {"key number": np.arange(len(seen["again"]))})


def _most_frequent(seen: Seen) -> Found:
    points, counts = np.unique(seen["points"], axis=0, return_counts=True)
    share = 0.0 if len(seen["points"]) == 1 else np.max(counts) / len(seen["points"])
    return Found(np.asarray([share]), {"x": points[np.argmax(counts)][None]})


def _moments(seen: Seen) -> Found:
    return seen["moments"]


def _near(seen: Seen) -> Found:
    distance = np.linalg.norm(seen["points"] - seen["projected"], axis=1)
    worst = seen["points"][np.argmax(distance)]
    return Found(np.asarray([distance.mean()]), {"x": worst[None]}, f"the furthest point is {distance.max():.3g} off")


DRAW_LAWS = (
    Law(
        "points are finite",
        "no draw has a NaN or an infinity",
        "look for a division by a noise level, or a log, that reaches 0",
        _finite,
        ZERO,
        "numbers that are not finite",
    ),
    Law(
        "the same key gives the same point",
        "two calls with one key agree to the last bit",
        "draw all randomness from the key, which is all that may differ from call to call",
        _decides,
        ZERO,
        "difference",
    ),
)

SAMPLER_LAWS = (
    *STRUCTURE_LAWS,
    *DRAW_LAWS,
    Law(
        "different keys give different points",
        "the share of draws that are the most frequent point",
        "use the key that is given; a key that is made inside is always the same",
        _most_frequent,
        {"float64": 0.9, "float32": 0.9},
        "share",
    ),
    Law(
        "points have the moments of the measure",
        "means of x and of its products are those of the measure",
        "the law is another; a fitted sampler differs by the error of its data: raise this law's budget=",
        _moments,
        DEVIATIONS,
        "standard errors",
    ),
    Law(
        "points lie near the manifold",
        "the mean of |x - project(x)|",
        "steps too long, or stopped at too high a noise level; say what you expect by this law's budget=",
        _near,
        {"float64": 1e-2, "float32": 1e-2},
    ),
)
