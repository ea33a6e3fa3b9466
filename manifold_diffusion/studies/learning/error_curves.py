"""M10: the error of a network's score at noise level sigma, along the manifold and across it.

The truth is the score of the uniform law on the sphere in R^6, which is exact: in the three coordinates of the sphere
that of `VonMisesFisherScore` without concentration, and 0 for the denoiser in the other three. Errors are those of the
denoiser, sigma^2 times those of the score.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manifold_diffusion import training
from manifold_diffusion._types import Denoiser, Key, Point, Points, Scalar
from manifold_diffusion.evaluation import spacing
from manifold_diffusion.geometry import Embedded, fit_atlas
from manifold_diffusion.scores import ProjectionScore, VonMisesFisherScore
from manifold_diffusion.studies.claim import Cell, Check, Claim, Experiment, Grid, Number, Result
from manifold_diffusion.studies.learning.networks import DIM, LEARNING, network, points, recipe, surface
from manifold_diffusion.studies.palette import INK, dress, new_figure

if TYPE_CHECKING:
    import matplotlib.figure

SOURCE = "When Scores Learn Geometry, arXiv 2509.24912, and arXiv 2603.23792; the errors are measurements"
_LEVELS = tuple(float(f"{s:.2g}") for s in np.geomspace(0.01, 0.5, 10))
_AT, _SIGNAL, _FINE = 0.05, 0.1, 0.02
_STEPS = (3000, 10_000, 30_000)
_QUERIES, _DEGREE, _COARSE_FROM = 4096, 3, 1024
_ORANGE, _BLUE = "#D55E00", "#0072B2"


class _Uniform(eqx.Module):
    """The denoiser of the uniform law on the sphere, turned into R^d."""

    manifold: Embedded

    def __call__(self, x: Point, sigma: Scalar) -> Point:
        pole = jnp.zeros(3, x.dtype).at[2].set(1.0)
        score = VonMisesFisherScore(pole, jnp.zeros((), x.dtype))
        return self.manifold.outside(score.denoise(self.manifold.inside(x), sigma))


@eqx.filter_jit
def errors(
    model: Denoiser, manifold: Embedded, fresh: Points, levels: Float[Array, " levels"], key: Key
) -> tuple[Float[Array, " levels"], Float[Array, " levels"]]:
    """Root mean squares of the tangential and the normal part of D - D_exact at x + sigma z, for each level."""
    exact = _Uniform(manifold)

    def one(i, x, sigma):
        y = x + sigma * jax.random.normal(jax.random.fold_in(key, i), x.shape, x.dtype)
        error = model(y, sigma) - exact(y, sigma)
        along = manifold.tangent(manifold.project(y), error)
        return jnp.sum(along * along), jnp.sum((error - along) ** 2)

    def at(sigma):
        along, across = jax.vmap(one, (0, 0, None))(jnp.arange(len(fresh)), fresh, sigma)
        return jnp.sqrt(jnp.mean(along)), jnp.sqrt(jnp.mean(across))

    return jax.lax.map(at, levels)


def _measure(key: Key, size: Number, *, steps: tuple[int, ...] = _STEPS, networks: int = 2):
    manifold = surface("sphere")
    keys = [jax.random.split(jax.random.fold_in(key, i), 4) for i in range(networks)]
    fresh = points(manifold, jax.random.fold_in(key, networks), _QUERIES)
    data = [points(manifold, k[0], int(size)) for k in keys]
    levels = jnp.asarray((*_LEVELS, _FINE, _AT, _SIGNAL), jnp.float32)
    members = [training.Member(k[1], network(k[2], d), d, recipe(d)) for k, d in zip(keys, data, strict=True)]

    def watch(i, model, step):
        along, across = errors(model, manifold, fresh, levels, keys[i][3])
        named = {"tangential": np.asarray(along), "normal": np.asarray(across)}
        return {f"{part} at {s:.2g}": float(v) for part, vs in named.items() for s, v in zip(levels, vs, strict=True)}

    trained = training.fit_ensemble(members, steps[-1], looks=steps, watch=watch)
    # The mean over the networks of a cell; they are several so that no core waits.
    seen = {
        step: {
            name: float(np.mean([t.history[j].values[name] for t in trained])) for name in trained[0].history[j].values
        }
        for j, step in enumerate(steps)
    }
    first, last = seen[steps[0]], seen[steps[-1]]
    outcome = {f"network, {step} steps": dict(values) for step, values in seen.items()}
    outcome[f"network, {steps[-1]} steps"] |= {
        "tangential growth": last[f"tangential at {_SIGNAL:.2g}"] / first[f"tangential at {_SIGNAL:.2g}"],
        "normal growth": last[f"normal at {_SIGNAL:.2g}"] / first[f"normal at {_SIGNAL:.2g}"],
        "spacing": float(np.mean([spacing(d) for d in data])),
    }
    if size >= _COARSE_FROM:
        ratio = _total(last, _FINE) / _coarse(manifold, data[0], fresh, keys[0][3])
        outcome[f"network, {steps[-1]} steps"]["network / coarse p=3"] = ratio
    return outcome


def _total(values: dict[str, float], sigma: float) -> float:
    return float(np.hypot(values[f"tangential at {sigma:.2g}"], values[f"normal at {sigma:.2g}"]))


def _coarse(manifold: Embedded, data: Points, fresh: Points, key: Key) -> float:
    """The error of the coarse score of degree 3, at the noise level at which the network is compared with it."""
    score = ProjectionScore(fit_atlas(data, DIM, _DEGREE))
    along, across = errors(score.denoise, manifold, fresh, jnp.asarray([_FINE], jnp.float32), key)
    return float(np.hypot(along[0], across[0]))


def _figure(claim: Claim, results: Sequence[Result], cells: Sequence[Cell]) -> "matplotlib.figure.Figure":
    """Errors over sigma against sigma at the smallest and the largest N while training goes on, and against N."""
    figure = new_figure(13.0, 4.4)
    sizes = sorted({cell.size for cell in cells})
    methods = list(claim.experiments[0].methods)
    for i, size in enumerate((sizes[0], sizes[-1])):
        axes = figure.add_subplot(1, 3, i + 1)
        for j, method in enumerate(methods):
            depth = 0.35 + 0.65 * (j + 1) / len(methods)
            for part, hue, line in (("tangential", _ORANGE, "-"), ("normal", _BLUE, "--")):
                values = [_mean(cells, method, size, f"{part} at {s:.2g}") / s for s in _LEVELS]
                axes.plot(_LEVELS, values, line, color=hue, alpha=depth, linewidth=1.8, label=f"{part}, {method[9:]}")
        spaced = _mean(cells, methods[-1], size, "spacing")
        axes.axvline(spaced, color="#8A8A8A", linewidth=1, linestyle=":")
        axes.set_xscale("log")
        axes.set_yscale("log")
        dress(axes, f"N = {size:g} (dotted: the spacing)", "noise level σ", "error of the denoiser / σ")
        axes.legend(fontsize=7, frameon=False, labelcolor=INK)
    axes = figure.add_subplot(1, 3, 3)
    for part, hue in (("tangential", _ORANGE), ("normal", _BLUE)):
        values = [_mean(cells, methods[-1], size, f"{part} at {_AT:.2g}") for size in sizes]
        axes.plot(sizes, values, "-o", color=hue, markersize=4, linewidth=1.8, label=part)
    axes.set_xscale("log")
    axes.set_yscale("log")
    dress(axes, f"Error at σ = {_AT} after {methods[-1][9:]}", "N", "error of the denoiser")
    axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    figure.suptitle(f"{claim.id}  {claim.title}", fontsize=12, color=INK, x=0.01, ha="left")
    return figure


def _mean(cells: Sequence[Cell], method: str, size: float, quantity: str) -> float:
    found = [cell.values.get(quantity) for cell in cells if cell.method == method and cell.size == size]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else float("nan")


_LAST = f"network, {_STEPS[-1]} steps"

M10 = Claim(
    id="M10",
    group=LEARNING,
    title="learned score",
    statement=(
        "The error of a trained network's score falls with N along the manifold as across it; at small N it grows "
        "along the manifold while training goes on, and falls across it."
    ),
    source=SOURCE,
    experiments=(
        Experiment(
            "networks",
            _measure,
            tuple(f"network, {step} steps" for step in _STEPS),
            {
                "smoke": Grid((64,), 1),
                "cpu": Grid((64, 256, 1024, 4096), 2),
                "gpu": Grid((64, 256, 1024, 4096, 16_384, 65_536), 10),
            },
            x64=False,
        ),
    ),
    checks=(
        Check("networks", _LAST, f"tangential at {_AT:.2g}", "slope_at_most", -0.7, 0.0),
        Check("networks", _LAST, "tangential growth", "at_least", 1.5, 0.0, max_size=64),
        Check("networks", _LAST, "normal growth", "at_most", 0.75, 0.0, max_size=64),
        Check("networks", _LAST, "tangential growth", "at_most", 1.0, 0.0, min_size=_COARSE_FROM),
        Check("networks", _LAST, "network / coarse p=3", "at_least", 1.0, 0.0, min_size=_COARSE_FROM),
    ),
    figure=_figure,
)
