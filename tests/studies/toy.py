"""Small claims with known answers, and a study of them as a program that a test can kill."""

import sys
import time

import numpy as np

from manifold_diffusion.studies import Check, Claim, Experiment, Grid, verify


def noise(key, scale=0.1):
    """A number that depends on nothing but the key, without compiling anything."""
    import jax

    return float(scale * np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist()).normal())


def power(key, size):
    """Errors that fall as size^-2 and size^-1/2."""
    error = float(np.exp(noise(key)))
    return {
        "coarse p=1": {"distance": error * size**-2.0, "ratio": 1.0 + noise(key)},
        "memoriser": {"distance": error * size**-0.5, "ratio": 0.01},
    }


def slow(key, size):
    time.sleep(0.02)
    return power(key, size)


def claim(id="T1", measure=power, sizes=(10, 20, 40, 80), replicates=5, checks=None, **options):
    """A claim on one experiment, "curve", that `measure` gives two methods of."""
    grid = Grid(sizes, replicates)
    experiment = Experiment("curve", measure, ("coarse p=1", "memoriser"), {"smoke": grid, "cpu": grid})
    if checks is None:
        checks = (
            Check("curve", "coarse p=1", "distance", "slope", -2.0, 0.3),
            Check("curve", "memoriser", "distance", "slope", -2.0, 0.3),
            Check("curve", "coarse p=1", "ratio", "at_least", 0.5, 0.0),
        )
    return Claim(id, "toy", "A law of powers", "Errors fall as powers.", "none", (experiment,), checks, **options)


CLAIMS = (claim("T1", slow), claim("T2", slow, sizes=(10, 20, 40), replicates=4))

if __name__ == "__main__":
    verify(CLAIMS, "smoke", out=sys.argv[1], resume=True, plot=False)
