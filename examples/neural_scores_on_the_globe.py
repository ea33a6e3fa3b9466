"""The density of events on the globe by a neural score on the sphere: mean test log-likelihood over random splits.

Run `python examples/neural_scores_on_the_globe.py quakes.csv`, the file with latitude and longitude in degrees. The
splits are those of `events_on_the_globe.py`: the permutation of numpy's `default_rng(s)`, cut at 80 % and 90 %. A
network learns the score of the training points noised by Brownian motion on the sphere; the density is that of the
probability flow, stopped at a noise level that the validation points choose, as they choose when training stops.
"""

import argparse

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from manifold_diffusion import geometry, processes, samplers, training
from manifold_diffusion.cli.points import read_points
from manifold_diffusion.scores import neural

SPHERE = geometry.Sphere(2)
LOW, HIGH = 0.002, 3.0
"""Noise levels that are trained, in radians: from 13 km to where the law is uniform up to exp(-9)."""

ENDS = (0.002, 0.003, 0.004, 0.006, 0.01, 0.015, 0.02, 0.03, 0.05)
CHUNK = 400


@eqx.filter_jit
def _densities(score, x, sigma, steps):
    flow = samplers.IntrinsicLogDensity(SPHERE, processes.VarianceExploding(HIGH), score, steps)
    return jax.vmap(lambda x: flow(x, sigma))(x)


def log_densities(score, points, sigma, steps=32):
    """log p_sigma of the flow at each point, by chunks of one size, so that all share one program."""
    padded = np.resize(points, (-(-len(points) // CHUNK) * CHUNK, 3)).astype(np.float32)
    parts = [_densities(score, x, jnp.float32(sigma), steps) for x in padded.reshape(-1, CHUNK, 3)]
    return np.concatenate(parts)[: len(points)]


def learn(key, train, validation, steps, looks=10, **size):
    """The score after the look at which the validation points were most likely, and what was seen."""
    make, draw = jax.random.split(key)
    model = neural.intrinsic_score(make, SPHERE, finest=0.003, **size)
    rate = optax.warmup_cosine_decay_schedule(0.0, 2e-3, min(200, steps // 4), steps, 2e-5)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b2=0.99))
    loss = training.IntrinsicDenoising(SPHERE, training.LogUniform(LOW, HIGH))

    def watch(score, step):
        likely = {"validation": validation, "training": train}
        seen = {name: -float(log_densities(score, x[:CHUNK], 2 * LOW).mean()) for name, x in likely.items()}
        print(f"  step {step}: " + ", ".join(f"{name} {value:.3f}" for name, value in seen.items()), flush=True)
        return seen

    recipe = training.Recipe(loss, optimiser, batch=256, decay=0.998)
    stopping = training.EarlyStopping("validation", patience=3)
    data = jnp.asarray(train, jnp.float32)
    return training.fit(draw, model, data, recipe, steps, looks=looks, watch=watch, stopping=stopping)


def total(score, train, sigma, count=4000, widths=(0.002, 0.006, 0.02, 0.06, 0.3, 1.0)):
    """The integral of p_sigma over the sphere and its standard error, by draws q of von Mises-Fisher laws of all these
    widths around the training points: wide ones too, so that p / q has no heavy tail where p spreads.
    """
    random, kappas = np.random.default_rng(0), 1 / np.square(widths)
    kappa, y = random.choice(kappas, count), random.choice(train, count)
    height = 1 + np.log1p(random.random(count) * np.expm1(-2 * kappa)) / kappa
    across = random.standard_normal((count, 3))
    across -= np.sum(across * y, axis=1, keepdims=True) * y
    across *= np.sqrt(np.maximum(1 - height**2, 0) / np.sum(across**2, axis=1))[:, None]
    x = height[:, None] * y + across
    squares = np.maximum(2 - 2 * x @ train.T, 0)
    each = [k / (2 * np.pi * -np.expm1(-2 * k)) * np.exp(-k * squares / 2).mean(axis=1) for k in kappas]
    ratio = np.exp(log_densities(score, x, sigma)) / np.mean(each, axis=0)
    return float(ratio.mean()), float(ratio.std() / np.sqrt(count))


def globe(score, sigma, rows):
    """log p_sigma on a grid of latitudes and longitudes."""
    latitude = (np.arange(rows) + 0.5) / rows * np.pi - np.pi / 2
    longitude = (np.arange(2 * rows) + 0.5) / rows * np.pi - np.pi
    b, a = np.meshgrid(latitude, longitude, indexing="ij")
    points = np.stack([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)], -1).reshape(-1, 3)
    return log_densities(score, points, sigma).reshape(b.shape)


def draw(trained, points, out, rows, blur=0.05):
    """The learning curve of each split, and the density of the first with the events on it."""
    figure, (curve, world) = plt.subplots(1, 2, figsize=(11, 3.6), width_ratios=(1, 2), layout="constrained")
    for split, fitted in enumerate(trained):
        steps = [seen.step for seen in fitted.history]
        for name, colour in (("training", "tab:orange"), ("validation", "tab:blue")):
            label = None if split else name
            curve.plot(steps, [seen.values[name] for seen in fitted.history], ".-", color=colour, label=label)
    curve.set(xlabel="steps", ylabel=f"negative log-likelihood at $\\sigma$ = {2 * LOW}")
    curve.legend()
    found = globe(trained[0].model, blur, rows)
    image = world.imshow(found, extent=(-180, 180, -90, 90), origin="lower", cmap="Greys", vmin=-5, vmax=3)
    longitude, latitude = np.degrees(np.arctan2(points[:, 1], points[:, 0])), np.degrees(np.arcsin(points[:, 2]))
    world.plot(longitude, latitude, ",", color="tab:red", alpha=0.5)
    world.set(xlabel="longitude", ylabel="latitude", title=f"log density at $\\sigma$ = {blur}")
    figure.colorbar(image, ax=world)
    figure.savefig(out, dpi=120)


def main(
    file: str,
    splits: int = 1,
    steps: int = 8_000,
    out: str | None = None,
    rows: int = 60,
    width: int = 128,
    depth: int = 3,
    waves: int = 256,
) -> list[float]:
    """The mean negative log-likelihood of the test points of each split."""
    points = read_points(file, latlon=True).rows
    found, trained = [], []
    for split in range(splits):
        train, validation, test = np.split(
            np.random.default_rng(split).permutation(points), [int(0.8 * len(points)), int(0.9 * len(points))]
        )
        size = {"width": width, "depth": depth, "waves": waves}
        trained.append(learn(jax.random.key(split), train, validation, steps, **size))
        score = trained[-1].model
        held = {end: -float(log_densities(score, validation[: 2 * CHUNK], end).mean()) for end in ENDS}
        end = min(held, key=held.__getitem__)
        found.append(-float(log_densities(score, test, end).mean()))
        print(f"split {split}: test {found[-1]:.3f}   best at step {trained[-1].best_step}, sigma = {end}", flush=True)
        if split == 0:
            finer = -float(log_densities(score, test, end, 64).mean())
            mass, error = total(score, train, end)
            print(
                f"  with twice the steps of the flow {finer:.3f}; the density integrates to {mass:.3f} +- {error:.3f}"
            )
    spread = np.std(found, ddof=1) if splits > 1 else np.nan
    print(f"{file}: {len(points)} events, mean {np.mean(found):.3f} +- {spread:.3f} over {splits} splits")
    if out:
        draw(trained, points, out, rows)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="CSV, NPY or NPZ with latitude and longitude in degrees")
    parser.add_argument("--splits", type=int, default=1, help="how many random splits (default 1)")
    parser.add_argument("--steps", type=int, default=8_000, help="the most steps of training (default 8000)")
    parser.add_argument("--out", default="learning.png", help="where the figure goes (default learning.png)")
    main(**vars(parser.parse_args()))
