"""Laws of measures: a density with respect to volume, and samples that follow it."""

import numpy as np

from manifold_diffusion.testing.law import DEVIATIONS, INTEGRALS, RARE, ZERO, Found, Law, Seen
from manifold_diffusion.testing.laws.sampler import DRAW_LAWS
from manifold_diffusion.testing.laws.structure import STRUCTURE_LAWS
from manifold_diffusion.testing.statistic import cells


def _on(seen: Seen) -> Found:
    foot = seen["projected"]
    x = seen["points"][: len(foot)]
    return Found(np.linalg.norm(x - foot, axis=1), {"x": x})


def _repeats(seen: Seen) -> Found:
    points, counts = np.unique(seen["points"], axis=0, return_counts=True)
    share = 1 - len(points) / len(seen["points"])
    return Found(np.asarray([share]), {"x": points[np.argmax(counts)][None]})


def _one(seen: Seen) -> Found:
    total, error = seen["mass"]
    return Found(np.asarray([abs(total - 1)]), {}, f"the integral is {total:.6g}, known to {error:.1g}", error)


def _moments(seen: Seen) -> Found:
    return seen["moments"]


def _cells(seen: Seen) -> Found:
    rng = np.random.default_rng(0)
    nodes, mass = seen["nodes"]
    return cells(seen["points"], nodes, mass, rng)


def _finite(name: str):
    def find(seen: Seen) -> Found:
        values = seen[name].reshape(len(seen[name]), -1)
        return Found(np.sum(~np.isfinite(values), axis=1), {"x": seen["points"]})

    return find


MEASURE_LAWS = (
    *STRUCTURE_LAWS,
    *DRAW_LAWS,
    Law(
        "different keys give different points",
        "the share of draws that repeat another (a measure with a density has none but by rounding)",
        "use the key that is given; a key that is made inside is always the same",
        _repeats,
        {"float64": 0.02, "float32": 0.02},
        "share",
    ),
    Law(
        "samples lie on the manifold",
        "manifold.project(x) = x for x = sample(key)",
        "sample and manifold do not belong together",
        _on,
    ),
    Law(
        "log_density is finite",
        "log_density(x) is finite at samples",
        "where points are drawn the density is positive: look for log(0)",
        _finite("density"),
        ZERO,
        "numbers that are not finite",
    ),
    Law(
        "log_density has a finite gradient",
        "jax.grad(log_density)(x) is finite at samples",
        "guard square roots and norms where they vanish (jnp.where twice)",
        _finite("gradient"),
        ZERO,
        "numbers that are not finite",
    ),
    Law(
        "the density integrates to one",
        "the integral of exp(log_density) over the volume, by quadrature, else by uniform points",
        "the normaliser is wrong, or is with respect to the coordinates and not to the volume",
        _one,
        INTEGRALS,
        "one",
    ),
    Law(
        "samples have the moments of the density",
        "means of x and of its products are their integrals against the density",
        "sample and log_density are different laws",
        _moments,
        DEVIATIONS,
        "standard errors",
    ),
    Law(
        "samples fill cells in proportion to their mass",
        "chi-square tests of counts in cells across random directions",
        "sample and log_density are different laws, or the quadrature is too coarse: raise order=",
        _cells,
        RARE,
        "-log10 of p",
    ),
)
