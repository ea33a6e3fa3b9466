"""`generate --method neural`: new points from a model that `train` keeps."""

import argparse
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from manifold_diffusion import estimators, evaluation, scores, training
from manifold_diffusion._types import Key, Sampler
from manifold_diffusion.cli import models
from manifold_diffusion.cli.console import InputError, number

_SPACINGS, _LOOKED_AT = 2.0, 256
_SMALL_GAP, _LONG_TAIL = 0.1, 2.0


def describe(options: argparse.Namespace, ambient: int) -> Mapping[str, Any] | None:
    """The description of the checkpoint, None for a method that needs none; InputError where the options do not fit one
    another, or the model the points.
    """
    if options.method != "neural":
        if options.checkpoint is not None or options.normal_only:
            raise InputError("--checkpoint and --normal-only belong to --method neural; leave them out, or say it")
        return None
    if options.checkpoint is None:
        raise InputError("--method neural needs --checkpoint CKPT, a folder that `manifold-diffusion train` wrote")
    description = training.describe(options.checkpoint)["description"]
    if description["ambient_dim"] != ambient:
        raise InputError(
            f"{options.checkpoint} is a model of points of {description['ambient_dim']} coordinates, "
            f"{options.data} has {ambient}; name the data that it was trained on"
        )
    return description


def standardisation(description: Mapping[str, Any]) -> tuple[np.ndarray, float]:
    """The centre and the scale of the data that the model was trained on."""
    return np.asarray(description["centre"]), float(description["scale"])


def fit(
    key: Key, rows: np.ndarray, options: argparse.Namespace, description: Mapping[str, Any], dim: int
) -> tuple[Sampler, float, tuple[str, ...]]:
    """A sampler of standardised points, the noise level at which it ends or hands over to normal steps, and remarks."""
    data = jnp.asarray(rows, jnp.float32)
    model = training.load(options.checkpoint, models.build(description))
    if not options.normal_only:
        return models.sampler(model, data, description), models.SIGMA_MIN * models.deviation(description), ()
    score, level = scores.from_denoiser(model), _SPACINGS * estimators.median_spacing(data)
    try:
        sampler = estimators.normal_only_diffusion(score, dim, sigma_0=level)(key, data)
        window = evaluation.normal_only_window(key, score, data, dim, (_SPACINGS,), _LOOKED_AT)
    except ValueError as error:
        raise InputError(str(error)) from error
    return sampler, level, _window_notes(window)


def _window_notes(window: evaluation.NormalOnlyWindow) -> tuple[str, ...]:
    """What the directions are like at the level that is taken, and a warning where they are not to be trusted."""
    gap, turn, tail = (float(column[0]) for column in (window.low_gap, window.turn, window.tail))
    notes = [
        f"normal steps from {_SPACINGS:g} spacings of the data: eigenvalue gap {number(gap)} (5 % quantile), "
        f"turn {number(turn)}, tail {number(tail)}"
    ]
    if gap < _SMALL_GAP or tail > _LONG_TAIL:
        notes.append(
            "warning: the directions along the manifold are not clear there; see evaluation.normal_only_window for "
            "other levels, and audit the points"
        )
    return tuple(notes)
