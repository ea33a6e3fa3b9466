"""`generate --method neural`: new points from a model that `train` keeps."""

import argparse
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from manifold_diffusion import estimators, evaluation, scores, training
from manifold_diffusion._types import Key, Points, Sampler, Score
from manifold_diffusion.cli import models
from manifold_diffusion.cli.console import InputError, number

_SPACINGS, _LOOKED_AT = (2.0, 1.0, 0.5, 0.25), 256
_LONG_TAIL = 1.25
"""The 99 % quantile of the distance to the data, over that of the data to one another; 1 for fresh points."""


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
    if options.normal_only and description["model"] in models.COARSE:
        raise InputError(
            f"{options.checkpoint} holds a model {description['model']!r}, which cannot memorise; "
            "leave out --normal-only"
        )
    return description


def standardisation(description: Mapping[str, Any]) -> tuple[np.ndarray, float]:
    """The centre and the scale of the data that the model was trained on."""
    return np.asarray(description["centre"]), float(description["scale"])


def full(rows: np.ndarray, options: argparse.Namespace, description: Mapping[str, Any]) -> tuple[Sampler, float]:
    """The sampler of the whole score, of standardised points, and the noise level at which it ends."""
    data = jnp.asarray(rows, jnp.float32)
    model = training.load(options.checkpoint, models.build(description))
    return models.sampler(model, data, description), models.SIGMA_MIN * models.deviation(description)


def normal_only(
    key: Key, rows: np.ndarray, options: argparse.Namespace, description: Mapping[str, Any], dim: int
) -> tuple[Sampler, float, tuple[str, ...]]:
    """The sampler of the part across the manifold, the noise level from which it is followed, and remarks on it."""
    data = jnp.asarray(rows, jnp.float32)
    model = training.load(options.checkpoint, models.build(description))
    score, spacing = scores.from_denoiser(model), estimators.median_spacing(data)
    try:
        window = _window(key, score, data, dim)
        level = float(window.spacings[0]) * spacing
        return estimators.normal_only_diffusion(score, dim, sigma_0=level)(key, data), level, _window_notes(window)
    except ValueError as error:
        raise InputError(str(error)) from error


def _window(key: Key, score: Score, data: Points, dim: int) -> evaluation.NormalOnlyWindow:
    """The highest of some noise levels from which samples come back to the data: the more noise, the more is forgotten,
    but in many dimensions noise leads far away, and less of it will do. The lowest where there is none.
    """
    at = lambda spacings: evaluation.normal_only_window(key, score, data, dim, (spacings,), _LOOKED_AT)  # noqa: E731
    window = at(_SPACINGS[0])
    for spacings in _SPACINGS[1:]:
        if float(window.tail[0]) <= _LONG_TAIL:
            break
        window = at(spacings)
    return window


def _window_notes(window: evaluation.NormalOnlyWindow) -> tuple[str, ...]:
    """What the directions are like at the level that is taken, and a warning where samples do not come back."""
    gap, turn, tail = (float(column[0]) for column in (window.low_gap, window.turn, window.tail))
    notes = [
        f"normal steps from {float(window.spacings[0]):g} spacings of the data: eigenvalue gap {number(gap)} "
        f"(5 % quantile), turn {number(turn)}, tail {number(tail)}"
    ]
    if not tail <= _LONG_TAIL:
        notes.append("warning: some points are left far from the data; audit them, or bring more data")
    return tuple(notes)
