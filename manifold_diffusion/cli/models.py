"""Models by their description: what `train` builds, a checkpoint says, and `generate` builds again."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from manifold_diffusion import estimators, scores, training
from manifold_diffusion._types import Denoiser, Points, Sampler
from manifold_diffusion.cli.console import InputError

SIGMA_MIN = 0.004
"""The noise level at which sampling ends, in deviations of the data per coordinate (arXiv 2206.00364 ends at .002 for
deviations of .5)."""
_STEPS = 128


def describe(options, rows: np.ndarray, fingerprint: str, centre: np.ndarray, scale: float) -> dict[str, Any]:
    """What a checkpoint has to say for its model to be built and its training resumed: plain JSON."""
    found = {
        "model": options.model,
        "ambient_dim": rows.shape[1],
        "size": len(rows),
        "data": fingerprint,
        "centre": centre.tolist(),
        "scale": scale,
        "width": options.width,
        "depth": options.depth,
        "batch": options.batch,
        "learning_rate": options.learning_rate,
        "decay": options.decay,
        "hold_out": options.hold_out,
        "stop_on": options.stop_on,
        "seed": options.seed,
        "jax": jax.__version__,
    }
    if options.model == "unet":
        found["image"] = list(image_shape(options, rows.shape[1]))
    if options.model in ("chart", "implicit"):
        found |= {"dim": options.dim, "latent": options.latent}
    return found


def image_shape(options, ambient: int) -> tuple[int, int, int]:
    """Height, width and channels: as given, or a square of one channel."""
    if options.image is not None:
        shape = tuple(options.image) if len(options.image) == 3 else (*options.image, 1)
        if len(shape) != 3 or int(np.prod(shape)) != ambient:
            raise InputError(f"--image {'x'.join(map(str, options.image))} is not {ambient} numbers, as each row is")
        return shape
    side = round(ambient**0.5)
    if side * side != ambient:
        raise InputError(f"rows of {ambient} numbers are no square image; say --image HEIGHT WIDTH [CHANNELS]")
    return side, side, 1


def deviation(description: Mapping[str, Any]) -> float:
    """The deviation per coordinate of the standardised points that models are trained on."""
    return description["ambient_dim"] ** -0.5


def build(description: Mapping[str, Any]) -> Denoiser:
    """The untrained model of standardised points; it depends on the description alone."""
    key = jax.random.fold_in(jax.random.key(description["seed"]), 1)
    d, width, depth = description["ambient_dim"], description["width"], description["depth"]
    if description["model"] == "mlp":
        return scores.Preconditioned(scores.MLP(key, d, width, depth), 0.0, deviation(description))
    raise InputError(f"the checkpoint holds a model {description['model']!r}, which this release does not know")


def recipe(description: Mapping[str, Any]) -> training.Recipe:
    """How the model is trained."""
    s = jnp.float32(deviation(description))
    optimiser = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(description["learning_rate"]))
    loss = training.Denoising(training.LogNormal(0.6 * s, jnp.float32(1.2)), training.BalancedWeight(s))
    return training.Recipe(loss, optimiser, description["batch"], description["decay"])


def sampler(model: Denoiser, data: Points, description: Mapping[str, Any]) -> Sampler:
    """The reverse diffusion of the model."""
    level = SIGMA_MIN * deviation(description)
    return estimators.reverse_diffusion(data, scores.from_denoiser(model), level, steps=_STEPS, final_zero=True)
