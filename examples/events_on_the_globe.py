"""The density of events on the globe by an adaptive kernel mixture: mean test log-likelihood over random splits.

Run `python examples/events_on_the_globe.py quakes.csv`, the file with latitude and longitude in degrees. Split s of 5
is the permutation of numpy's `default_rng(s)`, cut at 80 % and 90 % into training, validation and test points. The
figure to compare with the literature is the mean negative log-likelihood of the test points in nats, with respect to
the area of the unit sphere.
"""

import argparse

import jax.numpy as jnp
import numpy as np

from manifold_diffusion import measures
from manifold_diffusion.cli.points import read_points


def main(file: str, splits: int = 5, round_only: bool = False) -> list[float]:
    """The mean negative log-likelihood of the test points of each split."""
    points = read_points(file, latlon=True).rows
    roundness = (1.0,) if round_only else (1.0, 0.5, 0.25, 0.1, 0.03)
    found = []
    for split in range(splits):
        train, validation, test = np.split(
            np.random.default_rng(split).permutation(points), [int(0.8 * len(points)), int(0.9 * len(points))]
        )
        mixture, choice = measures.adaptive_kernel_mixture(train, validation, roundness=roundness)
        found.append(-float(jnp.mean(measures.log_densities(mixture, jnp.asarray(test)))))
        print(f"split {split}: test {found[-1]:.3f}   {choice}", flush=True)
    spread = np.std(found, ddof=1) if splits > 1 else np.nan
    print(f"{file}: {len(points)} events, mean {np.mean(found):.3f} +- {spread:.3f} over {splits} splits")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="CSV, NPY or NPZ with latitude and longitude in degrees")
    parser.add_argument("--splits", type=int, default=5, help="how many random splits (default 5)")
    parser.add_argument("--round-only", action="store_true", help="round kernels only")
    main(**vars(parser.parse_args()))
