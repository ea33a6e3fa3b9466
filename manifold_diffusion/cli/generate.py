"""`generate`: new points from the manifold that the data lie near."""

import argparse
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from manifold_diffusion import estimators, evaluation
from manifold_diffusion._types import Estimator, Key, Points, Sampler
from manifold_diffusion.cli import neural
from manifold_diffusion.cli.console import Console, InputError, number, table
from manifold_diffusion.cli.points import check_output, read_points, write_points
from manifold_diffusion.geometry import default_neighbours, monomial_count

_FLOATS = 2**24
_LARGEST_CHUNK = 1024
_UNIFORM_QUANTILE = 0.99
_FEW_FOLDS = 3


class Fit(NamedTuple):
    """A sampler of standardised points and what was chosen for it; sigma_0 is in the units of the data."""

    sampler: Sampler
    dim: int | None
    degree: int | None
    sigma_0: float
    notes: tuple[str, ...]


def run(options: argparse.Namespace, console: Console) -> int:
    """Fit, draw in chunks, write."""
    start = time.perf_counter()
    out = check_output(options.out)
    data = read_points(options.data, options.array, options.coordinates == "latlon", options.drop_bad)
    for note in data.notes:
        console.note(note)
    key = jax.random.key(options.seed)
    description = neural.describe(options, data.rows.shape[1])
    centre, scale = standardisation(data.rows) if description is None else neural.standardisation(description)
    fit = fit_sampler(jax.random.fold_in(key, 0), (data.rows - centre) / scale, options, scale, description)
    for note in fit.notes:
        console.note(note)
    chunk = _chunk(fit, data.rows.shape[1])
    points = np.empty((options.n, data.rows.shape[1]))
    for first in range(0, options.n, chunk):
        console.progress(first, options.n, "drawing")
        last = min(first + chunk, options.n)
        drawn = _draw(fit.sampler, jax.random.fold_in(key, 1), jnp.arange(first, first + chunk))
        points[first:last] = np.asarray(drawn, np.float64)[: last - first]
    console.clear()
    points = points * scale + centre
    write_points(out, points, data.latlon)
    _report(console, _summary(options, fit, points, time.perf_counter() - start))
    return 0


@eqx.filter_jit
def _draw(sampler: Sampler, key: Key, indices: Int[Array, " chunk"]) -> Points:
    return jax.vmap(lambda i: sampler(jax.random.fold_in(key, i)))(indices)


def standardisation(rows: np.ndarray) -> tuple[np.ndarray, float]:
    """The mean and the root mean square distance to it: one scale for all columns, so that shapes stay."""
    centre = rows.mean(axis=0)
    return centre, float(np.sqrt(((rows - centre) ** 2).sum(axis=1).mean()))


def fit_sampler(
    key: Key,
    rows: np.ndarray,
    options: argparse.Namespace,
    scale: float,
    description: Mapping[str, Any] | None = None,
) -> Fit:
    """Choose what was left to be chosen and fit the method to standardised rows."""
    distinct = evaluation.distinct(rows).points
    if description is not None and not options.normal_only:
        sampler, level = neural.full(rows, options, description)
        return Fit(sampler, None, None, level * scale, ())
    dim, notes = find_dim(distinct, options)
    if description is not None:
        sampler, level, window = neural.normal_only(key, rows, options, description, dim)
        return Fit(sampler, dim, None, level * scale, (*notes, *window))
    if options.method == "coarse":
        degree = _degree(distinct, dim, options, key)
        level = switching(distinct)
        neighbours = min(default_neighbours(dim, degree), len(distinct))
        estimator = estimators.coarse_diffusion(dim, degree, neighbours=neighbours, sigma_0=level)
        return Fit(_fit(estimator, key, distinct), dim, degree, level * scale, notes)
    if options.method == "uniform":
        return _uniform(distinct, dim, notes, options, key, scale)
    if options.method == "inertial":
        level = len(rows) ** (-1.0 / (dim + 4))
        return Fit(
            _fit(estimators.inertial_diffusion(dim, sigma_stop=level), key, rows), dim, None, level * scale, notes
        )
    if options.method == "early-stopped":
        level = switching(distinct)
        estimator = estimators.early_stopped_diffusion(sigma_stop=level)
    else:
        level, estimator = 1e-5, estimators.memorising_diffusion(sigma_min=1e-5)
    return Fit(_fit(estimator, key, rows), None, None, level * scale, notes)


def _uniform(
    rows: np.ndarray, dim: int, notes: tuple[str, ...], options: argparse.Namespace, key: Key, scale: float
) -> Fit:
    """The sampler and what became of its mixing; its noise level is the size of a step, at which data are forgotten."""
    degree = _degree(rows, dim, options, key)
    neighbours = min(default_neighbours(dim, degree), len(rows))
    estimator = estimators.uniform_on_manifold(dim, degree, neighbours=neighbours, quantile=_UNIFORM_QUANTILE)
    sampler = _fit(estimator, key, rows)
    mixing = sampler.mixing
    step = float(mixing.step) * scale
    return Fit(sampler, dim, degree, step, (*notes, *_mixing_notes(mixing, step)))


def _mixing_notes(mixing: estimators.Mixing, step: float) -> tuple[str, ...]:
    folds, pieces, left_out = float(mixing.e_folds), int(mixing.components), 1 - float(mixing.supported)
    notes = [f"{folds:.3g} e-folds of mixing in {int(mixing.steps)} steps of {number(step)}"]
    if folds < _FEW_FOLDS:
        notes.append(
            f"warning: below {_FEW_FOLDS} e-folds points still remember the density of the data over long distances"
        )
    if pieces > 1:
        notes.append(
            f"the data fall into {pieces} pieces too far apart to walk between; "
            "each is given the share of its estimated volume"
        )
    if left_out > 0:
        notes.append(f"{left_out:.2g} of the data lie alone and have no points drawn around them")
    return tuple(notes)


def _fit(estimator: Estimator, key: Key, rows: np.ndarray) -> Any:
    try:
        return estimator(key, jnp.asarray(rows, jnp.float32))
    except ValueError as error:
        raise InputError(str(error)) from error


def switching(rows: np.ndarray) -> float:
    """Half the median distance to the ceil(log n)-th neighbour: where the kernel score hands over to the projection.

    The theory takes the largest distance, which for data on all of a manifold is twice that; but real data have
    outliers, and one lonely point would then smooth away everything else.
    """
    return estimators.switching_noise_level(jnp.asarray(rows, jnp.float32), 0.5)


def find_dim(rows: np.ndarray, options: argparse.Namespace) -> tuple[int, tuple[str, ...]]:
    """The dimension asked for, or found in the distinct rows, and a remark on it; InputError where it cannot be."""
    ambient = rows.shape[1]
    if options.dim == "auto" and len(rows) < 4:
        raise InputError(
            f"{options.data} has {len(rows)} distinct points; the dimension needs at least 4, or name it with --dim"
        )
    dim = evaluation.consensus(evaluation.dimensions(rows), ambient) if options.dim == "auto" else options.dim
    if dim >= ambient:
        raise InputError(
            f"--dim {dim} is not below the ambient dimension {ambient} of {options.data}; choose a smaller one"
        )
    if len(rows) < 2 * dim + 2:
        raise InputError(
            f"{options.data} has {len(rows)} distinct points, dimension {dim} needs at least {2 * dim + 2}; "
            "bring more, or lower --dim"
        )
    return dim, (f"dimension {dim}, found in the data",) if options.dim == "auto" else ()


def _degree(rows: np.ndarray, dim: int, options: argparse.Namespace, key: Key) -> int:
    if options.degree == "auto":
        return evaluation.choose_degree(rows, dim, key=jax.random.fold_in(key, 0)).degree
    needed = monomial_count(dim, options.degree) + 1
    if len(rows) < needed:
        raise InputError(
            f"{options.data} has {len(rows)} distinct points, "
            f"--degree {options.degree} in dimension {dim} needs {needed}; lower it"
        )
    return options.degree


def _chunk(fit: Fit, ambient: int) -> int:
    """How many samples to draw at a time, so that neighbourhoods and design matrices take a few hundred MB at most.

    It does not depend on how many are asked for, so that sample i is the same to the last bit whatever --n is.
    """
    if fit.degree is None or fit.dim is None:
        return _LARGEST_CHUNK
    size = default_neighbours(fit.dim, fit.degree) * (ambient + monomial_count(fit.dim, fit.degree))
    return min(_LARGEST_CHUNK, 1 << max(_FLOATS // size, 16).bit_length() - 1)


def _summary(options: argparse.Namespace, fit: Fit, points: np.ndarray, seconds: float) -> dict[str, Any]:
    return {
        "n": options.n,
        "dim": fit.dim,
        "degree": fit.degree,
        "sigma_0": fit.sigma_0,
        "seconds": round(seconds, 3),
        "non_finite": int((~np.isfinite(points).all(axis=1)).sum()),
        "method": options.method,
        "seed": options.seed,
        "out": options.out,
    }


def _report(console: Console, summary: dict[str, Any]) -> None:
    console.document(summary)
    if summary["non_finite"]:
        console.note(
            f"warning: {summary['non_finite']} of {summary['n']} points are not finite and written as they are"
        )
    shown = [(name, number(v) if isinstance(v, float) else str("-" if v is None else v)) for name, v in summary.items()]
    for line in table(shown):
        console.line(line)
