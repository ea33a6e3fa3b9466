"""Train a diffusion model on handwritten digits until it is at its best, and see that it does not copy.

Run `python examples/digits.py --out digits` (needs scikit-learn; about three minutes of CPU). It trains four
perceptrons and takes their mean; `--model unet --members 1` is one U-Net, whose steps cost ten times as much.

The 1797 digits of 8 x 8 pixels, 0 to 16, are split in three: what the network learns from, what tells when to stop,
and what judges it. It prints, at each noise level, the denoising loss at digits that it has not seen next to that of
the score of the data, and what an audit says of what it generates; samples.png and curve.png show both.

`--memorise 200` trains another network, on 200 digits and for as long as it takes, until it gives them back.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from manifold_diffusion import estimators, evaluation, measures, scores, training
from manifold_diffusion.studies.palette import INK, dress, new_figure

SHAPE, LEARNED, WATCHED = (8, 8, 1), 1347, 150
MODELS = {
    "unet": lambda key, dim: scores.UNet(key, SHAPE, 16, 3),
    "mlp": lambda key, dim: scores.MLP(key, dim, 256, 3),
    "residual": lambda key, dim: scores.ResidualMLP(key, dim, 256, 4),
}
RATES = {"unet": 3e-3, "mlp": 2e-3, "residual": 2e-3}
REPEATS = 8


def digits() -> tuple[jax.Array, jax.Array, jax.Array]:
    """To learn from, to watch by, and to judge by, in an order that is always the same."""
    from sklearn.datasets import load_digits

    points = load_digits(return_X_y=True)[0].astype(np.float32)
    order = np.random.default_rng(0).permutation(len(points))
    learned, watched, judged = np.split(points[order], [LEARNED, LEARNED + WATCHED])
    return jnp.asarray(learned), jnp.asarray(watched), jnp.asarray(judged)


def build(name: str, seed: int, data: jax.Array):
    """The untrained model: the best denoiser of Gaussian data, and a network for what is left."""
    return scores.gaussian_preconditioned(MODELS[name](jax.random.key(seed), data.shape[1]), data)


class Balanced(eqx.Module):
    """Weights with which the error of the network counts alike at every noise level: 1 over what it is multiplied by,
    squared.
    """

    deviation: jax.Array

    def __call__(self, sigma):
        return ((sigma**2 + self.deviation**2) / (sigma * self.deviation**2)) ** 2


def recipe(data: jax.Array, rate: float, steps: int, median: float, weight: training.Weight) -> training.Recipe:
    """Denoising with the mean of what a noised point can have come from as its target: less variance, the same optimum.

    `median` is that of the noise levels, in deviations of the data per coordinate.
    """
    s = training.deviation(data)
    noise = training.LogNormal(median * s, 1.4)
    loss = training.RaoBlackwellised(noise, weight, scores.KernelScore(data).denoise)
    return training.Recipe(loss, optax.adam(optax.cosine_decay_schedule(rate, steps, 0.02)), 256)


class Mean(eqx.Module):
    """The mean of several denoisers: what they have learned alike stays, what is an accident of each cancels."""

    models: list

    def __call__(self, x, sigma):
        return sum(model(x, sigma) for model in self.models) / len(self.models)


def learn(name: str, members: int, steps: int, data: jax.Array, watched: jax.Array) -> Mean:
    """Train each network, and take it where the worst of its losses at the watched digits, in units of that of the
    score of the data, is least.
    """
    s, points = training.deviation(data), jnp.tile(watched, (REPEATS, 1))
    levels = s * jnp.geomspace(0.1, 16.0, 12)

    def losses(model):
        return evaluation.denoising_losses(model, points, levels, jax.random.key(1))

    least = losses(scores.KernelScore(data).denoise)

    def watch(i, model, step):
        return {"worst": float(jnp.max(losses(model) / least))}

    plan = recipe(data, RATES[name], steps, 5.0, Balanced(s))
    trained = training.fit_ensemble(
        [training.Member(jax.random.key(2 + i), build(name, i, data), data, plan) for i in range(members)],
        steps,
        looks=8,
        watch=watch,
        stopping=training.EarlyStopping("worst", patience=4),
        on_look=lambda i, seen: say(seen, f"network {i}, "),
    )
    print(f"  the best were steps {[each.best_step for each in trained]}")
    return Mean([each.model for each in trained])


def memorise(size: int, steps: int, folder: Path) -> training.Trained:
    """Train a perceptron on the first `size` digits, and keep it; `perceptron(data)` takes what is kept."""
    data = digits()[0][:size]
    description = {"model": "mlp", "width": 256, "depth": 3, "data": f"the first {size} digits to learn from"}
    plan = recipe(data, 2e-3, steps, 1.0, training.BalancedWeight(training.deviation(data)))
    keep = training.Checkpoints(folder, description)
    return training.fit(jax.random.key(3), perceptron(data), data, plan, steps, looks=5, checkpoints=keep, on_look=say)


def perceptron(data: jax.Array):
    """The model that is to memorise, untrained."""
    return scores.preconditioned(MODELS["mlp"](jax.random.key(0), data.shape[1]), data)


def say(seen: training.Seen, whose: str = "") -> None:
    """One line a look."""
    numbers = "".join(f"   {name} {value:.5f}" for name, value in seen.values.items())
    print(
        f"  {whose}step {seen.step:6d}   loss {seen.loss:.4f}{numbers}   ({time.process_time():.0f} s of CPU)",
        flush=True,
    )


def compare(model, data: jax.Array, judged: jax.Array) -> list[tuple[float, float, float]]:
    """(sigma, loss of the model, loss of the kernel score) at the judged digits: E |D(x + sigma z) - x|^2, in the same
    noise.
    """
    spacing = estimators.median_spacing(data)
    radius = float(jnp.sqrt(jnp.sum(jnp.var(data, axis=0))))
    below, above = spacing * np.array([1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2]), np.geomspace(spacing, 20 * radius, 9)
    levels = jnp.asarray(np.concatenate([below, above]), jnp.float32)
    points, key = jnp.tile(judged, (REPEATS, 1)), jax.random.key(4)
    own, kernel = (
        np.asarray(evaluation.denoising_losses(each, points, levels, key) * levels**2)
        for each in (model, scores.KernelScore(data).denoise)
    )
    print(f"\n  sigma     the network   the kernel score   (spacing of the data {spacing:.1f}, radius {radius:.1f})")
    for sigma, a, b in zip(levels, own, kernel, strict=True):
        print(f"  {sigma:8.2f} {a:12.2f} {b:15.2f}   {'' if a < b else 'not better'}")
    return list(zip(np.asarray(levels).tolist(), own.tolist(), kernel.tolist(), strict=True))


def generate(model, data: jax.Array, size: int) -> np.ndarray:
    """New digits, down to a twentieth of the deviation per coordinate."""
    level = float(training.deviation(data)) / 20
    sampler = estimators.neural_diffusion(model, sigma_min=level)(jax.random.key(5), data)
    return np.asarray(measures.draw(sampler, jax.random.key(6), size))


def judge(data: jax.Array, new: np.ndarray, judged: jax.Array) -> evaluation.GeneratedAudit:
    """The audit against digits that the network has not seen, printed."""
    found = evaluation.audit(np.asarray(data), new, np.asarray(judged), key=jax.random.key(7)).generated
    assert found is not None
    memorised, null = found.novelty.memorised, found.novelty.memorised_null
    print(f"\n  {found.verdict}: {found.reason}")
    print(
        f"  novelty ratio {found.novelty.ratio.value:.2f}, memorised {memorised.value:.3f} (unseen digits"
        f" {null.value:.3f}), authentic {found.authenticity.share.value:.2f} ({found.authenticity.null.value:.2f}),"
        f" covered {found.coverage.covered.value:.2f} ({found.coverage.null.value:.2f})"
    )
    return found


def draw_samples(path: Path, data: jax.Array, new: np.ndarray, shown: int = 12) -> None:
    """Generated digits, the digit to learn from that is nearest to each, and others that are real."""
    rows = np.asarray(data)
    nearest = rows[np.argmin(((new[:shown, None] - rows[None]) ** 2).sum(-1), axis=1)]
    figure = new_figure(9.0, 2.9)
    for i, (title, images) in enumerate({"generated": new, "nearest in the data": nearest, "data": rows}.items()):
        axes = figure.add_subplot(3, 1, i + 1)
        strip = np.concatenate([np.pad(each.reshape(8, 8), 1) for each in images[:shown]], axis=1)
        axes.imshow(strip, cmap="gray_r", vmin=0, vmax=16)
        axes.set_title(title, fontsize=9, loc="left", color=INK)
        axes.set_axis_off()
    figure.savefig(path)


def draw_curve(path: Path, rows: list[tuple[float, float, float]], spacing: float) -> None:
    """Both losses over sigma^2 against sigma."""
    sigma, own, kernel = np.asarray(rows).T
    figure = new_figure(6.0, 4.2)
    axes: Any = figure.add_subplot()
    axes.loglog(sigma, kernel, color="#6E6E6E", marker="s", markersize=4, label="score of the data")
    axes.loglog(sigma, own, color="#0072B2", marker="o", markersize=4, label="network")
    axes.axvline(spacing, color=INK, linewidth=0.8, linestyle=":")
    axes.annotate("spacing", (spacing, own.min()), fontsize=8, color=INK, xytext=(3, 0), textcoords="offset points")
    axes.legend(fontsize=8, frameon=False)
    dress(axes, "Denoising digits that were not learned from", "noise level σ", "E |D(x + σz) − x|²")
    figure.savefig(path)


def main(
    model: str = "mlp", steps: int = 6000, members: int = 4, out: str = "digits", new: int = 1000, memorised: int = 0
) -> str:
    """The verdict."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    data, watched, judged = digits()
    if memorised:
        data = data[:memorised]
        denoiser = memorise(memorised, steps, folder / f"memorised-{memorised}").model
    else:
        denoiser = learn(model, members, steps, data, watched)
        draw_curve(folder / "curve.png", compare(denoiser, data, judged), estimators.median_spacing(data))
    points = generate(denoiser, data, new)
    draw_samples(folder / ("memorised.png" if memorised else "samples.png"), data, points)
    return judge(data, points, judged).verdict


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=sorted(MODELS), default="mlp", help="the network (default mlp)")
    parser.add_argument("--steps", type=int, default=6000, help="training steps at most (default 6000)")
    parser.add_argument("--members", type=int, default=4, help="how many networks to take the mean of (default 4)")
    parser.add_argument("--out", default="digits", help="folder for the figures (default digits)")
    parser.add_argument("--new", type=int, default=1000, help="how many digits to generate (default 1000)")
    parser.add_argument(
        "--memorise", dest="memorised", type=int, default=0, metavar="N", help="memorise N digits instead"
    )
    main(**vars(parser.parse_args()))
