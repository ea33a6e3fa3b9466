"""Laws of scores, (x, sigma) -> grad log p_sigma(x): for all noise levels, far from the data and near a manifold.

D = x + sigma^2 score(x, sigma) is the denoiser.
"""

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion._numerics import dot
from manifold_diffusion.testing.law import DIFFERENCES, EXACT, ZERO, Found, Law, Seen, Unseen
from manifold_diffusion.testing.laws.structure import STRUCTURE_LAWS

DIRECTIONS = 64


def shared(score, xs, sigma):
    """The score at points of one noise level, which is not part of the batch."""
    return jax.vmap(score, in_axes=(0, None))(xs, sigma)


def log_density_rise(score, x, sigma, a, b):
    """The difference quotient of log_density along a, less the score along a; the step belongs to the noise level."""
    step = jnp.finfo(x.dtype).eps ** (1 / 3) * sigma * a
    ahead, behind = x + step, x - step
    rise = score.log_density(ahead, sigma) - score.log_density(behind, sigma)
    return rise / dot(a, ahead - behind) - dot(a, score(x, sigma))


def twist(score, x, sigma, a, b):
    """<b, J a> and <a, J b>, for the Jacobian J of the score."""
    along = [jax.jvp(lambda x: score(x, sigma), (x,), (v,))[1] for v in (a, b)]
    return jnp.stack([dot(b, along[0]), dot(a, along[1])])


def _finite(seen: Seen) -> Found:
    bad = np.sum(~np.isfinite(seen["score"]), axis=1)
    return Found(bad, {"x": seen["x"], "sigma": seen["sigma"]})


def _together(seen: Seen) -> Found:
    together = seen["shared"][0]
    alone = seen["score"][: len(together)]
    scale = max(float(np.max(np.abs(alone))), np.finfo(float).tiny)
    places = {"x": seen["x"][: len(together)], "sigma": seen["sigma"][: len(together)]}
    return Found(np.max(np.abs(together - alone), axis=1) / scale, places)


def _tweedie(seen: Seen) -> Found:
    sigma = seen["sigma"][:, None]
    gap = seen["denoise"] - (seen["x"] + sigma**2 * seen["score"])
    errors = np.linalg.norm(gap, axis=1) / (seen.extent + seen["sigma"])
    return Found(errors, {"x": seen["x"], "sigma": seen["sigma"]})


def _ascends(seen: Seen) -> Found:
    size = np.maximum(1.0, seen["sigma"] * np.linalg.norm(seen["score"], axis=1))
    errors = seen["sigma"] * np.abs(seen["log_density"]) / size
    return Found(errors, {"x": seen["x"], "sigma": seen["sigma"]})


def _symmetric(seen: Seen) -> Found:
    one, other = seen["twist"].T * seen["sigma"] ** 2
    errors = np.abs(one - other) / np.maximum(1.0, np.maximum(np.abs(one), np.abs(other)))
    return Found(errors, {"x": seen["x"], "sigma": seen["sigma"]})


def _hull(seen: Seen) -> Found:
    """How far D leaves the data's extent in some direction, for noise levels of at least the extent."""
    data, far = seen["data"], seen["sigma"] >= seen.extent
    if not far.any():
        raise Unseen("not there", "no noise level as large as the extent")
    x, sigma = seen["x"][far], seen["sigma"][far]
    denoised = x + sigma[:, None] ** 2 * seen["score"][far]
    directions = np.random.default_rng(0).standard_normal((data.shape[1], DIRECTIONS))
    directions = directions / np.linalg.norm(directions, axis=0)
    heights = data @ directions
    over = np.maximum(denoised @ directions - heights.max(0), heights.min(0) - denoised @ directions)
    # D is the difference of two numbers of the size of x.
    rounding = 1e2 * np.finfo(seen.dtype).eps * np.linalg.norm(x, axis=1)
    return Found(np.max(over, axis=1) - rounding, {"x": x, "sigma": sigma, "D": denoised})


def _points_back(seen: Seen) -> Found:
    """2 minus the slope of log |D - project(x)| in log sigma, by least squares; rounding counts as zero."""
    gaps, levels, x = seen["near"]
    floor = 1e3 * np.finfo(seen.dtype).eps * seen.extent
    size = np.maximum(np.sqrt(np.mean(gaps**2, axis=1)), floor)
    if size[0] == floor:
        slope = 2.0
    else:
        held = np.append(True, size[1:] > floor)
        slope = float(np.polyfit(np.log(levels[held]), np.log(size[held]), 1)[0]) if held.sum() > 1 else 2.0
    worst = int(np.argmax(gaps[-1])) if np.isfinite(gaps[-1]).all() else 0
    words = ", ".join(f"{a:.2g} at sigma {s:.2g}" for a, s in zip(size, levels, strict=True))
    return Found(np.asarray([2 - slope]), {"x": x[worst][None]}, f"|D - project(x)| is {words}: slope {slope:.2g}")


SCORE_LAWS = (
    *STRUCTURE_LAWS,
    Law(
        "score is finite",
        "score(x, sigma) is finite at all noise levels, for x = point + sigma z",
        "sum exponentials by logsumexp, after subtracting the largest exponent",
        _finite,
        ZERO,
        "numbers that are not finite",
    ),
    Law(
        "a shared noise level changes nothing",
        "jax.vmap over points at one noise level gives the points' values",
        "look at custom batching rules: sigma may come with the batch or without",
        _together,
        EXACT,
        "one",
    ),
    Law(
        "denoise and score obey Tweedie",
        "denoise(x, sigma) = x + sigma^2 score(x, sigma), in units of extent + sigma",
        "a sign or a power of sigma differs between the two",
        _tweedie,
        EXACT,
        "one",
    ),
    Law(
        "score is the gradient of its log_density",
        "differences of log_density(x, sigma) in x are the score, in units of 1/sigma",
        "log_density and score belong to different laws, or to different noise levels",
        _ascends,
        DIFFERENCES,
        "one",
    ),
    Law(
        "score is a gradient",
        "its Jacobian is symmetric: <a, J b> = <b, J a>, in units of 1/sigma^2",
        "only scores in closed form are gradients; a network's is not, leave is_gradient off",
        _symmetric,
        EXACT,
        "one",
    ),
    Law(
        "denoiser stays in the hull of the data",
        "for sigma >= the extent D lies between the data in every direction",
        "the sign, or the power of sigma: score = (D - x) / sigma^2",
        _hull,
        {"float64": 1e-6, "float32": 1e-3},
    ),
    Law(
        "denoiser tends to the projection",
        "|D - manifold.project(x)| = O(sigma^2) for x near the manifold: 2 minus the slope in log sigma",
        "another manifold, a wrong power of sigma, or noise levels below what the score resolves: give noise_levels=",
        _points_back,
        {"float64": 0.5, "float32": 0.5},
        "slope",
    ),
)
