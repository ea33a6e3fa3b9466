"""Models by their description: what `train` builds, a checkpoint says, and `generate` builds again."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from manifold_diffusion import estimators, geometry, scores, training
from manifold_diffusion._types import Denoiser, Points, Sampler
from manifold_diffusion.cli.console import InputError
from manifold_diffusion.scores import neural

SIGMA_MIN = 0.004
"""The noise level at which sampling ends, in deviations of the data per coordinate (arXiv 2206.00364 ends at .002 for
deviations of .5)."""
COARSE = ("chart", "implicit")
"""Models that are coarse by construction."""

_STEPS = 128
_LARGEST_GRADIENT = 10.0


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
    if options.model in COARSE:
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
    unit = _unit_data(d)
    makers = {
        "mlp": lambda: neural.preconditioned(neural.MLP(key, d, width, depth), unit),
        "unet": lambda: neural.preconditioned(neural.UNet(key, tuple(description["image"]), width, depth), unit),
        "chart": lambda: neural.chart_autoencoder(key, _latent(description), unit, width, depth),
        "implicit": lambda: neural.implicit_network(key, description["dim"], unit, width, depth),
    }
    if description["model"] not in makers:
        raise InputError(f"the checkpoint holds a model {description['model']!r}, which this release does not know")
    try:
        return makers[description["model"]]()
    except ValueError as error:
        raise InputError(str(error)) from error


def recipe(description: Mapping[str, Any]) -> training.Recipe:
    """How the model is trained."""
    s = jnp.float32(deviation(description))
    optimiser = optax.chain(optax.clip_by_global_norm(_LARGEST_GRADIENT), optax.adam(description["learning_rate"]))
    near = training.LogUniform(0.05 * s, 0.6 * s)
    losses: dict[str, Callable[[], Any]] = {
        "chart": lambda: training.Reconstruction(near),
        "implicit": lambda: training.Projection(near, clean=2000.0, upright=0.3),
    }
    loss = losses.get(description["model"], lambda: training.karras_denoising(s))()
    return training.Recipe(loss, optimiser, description["batch"], description["decay"])


def sampler(model: Denoiser, data: Points, description: Mapping[str, Any]) -> Sampler:
    """The reverse diffusion of the model. Models that are coarse by construction know no density: above half the
    distance to the ceil(log n)-th neighbour the score is that of the noised data, as in `estimators.coarse_diffusion`.
    """
    level = SIGMA_MIN * deviation(description)
    score = scores.from_denoiser(model)
    if description["model"] in COARSE:
        score = scores.switch(score, scores.KernelScore(data), estimators.switching_noise_level(data, 0.5))
    return estimators.reverse_diffusion(data, score, level, steps=_STEPS, final_zero=True)


def _unit_data(ambient_dim: int) -> Points:
    """Two points with the centre and the deviation of standardised data."""
    one = jnp.full((ambient_dim,), ambient_dim**-0.5, jnp.float32)
    return jnp.stack([one, -one])


def _latent(description: Mapping[str, Any]) -> geometry.AbstractManifold:
    dim = description["dim"]
    latents = {
        "sphere": geometry.Sphere,
        "torus": lambda k: geometry.flat_torus(*k * [1.0]),
        "plane": geometry.Euclidean,
    }
    return latents[description["latent"]](dim)
