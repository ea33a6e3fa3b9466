"""S1, S2, S3, S8, S11: how fast coarse samples approach the manifold, and their own target."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion._types import Key
from manifold_diffusion.estimators import coarse_diffusion
from manifold_diffusion.geometry import (
    AbstractManifold,
    Ellipsoid,
    Embedded,
    FourierCurve,
    HoelderCurve,
    HoelderSurface,
    Sphere,
    Torus,
    random_frame,
)
from manifold_diffusion.measures import Density, Uniform, draw
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Grid, Number, Scale
from manifold_diffusion.studies.separation.coarse import (
    PAPER,
    SEPARATION,
    atlases,
    coarse_distances,
    half_and_half,
    local_coarse_distances,
    noised,
    off_manifold,
    project_true,
    sample,
)

Degrees = tuple[int, ...]


def _slopes(
    experiment: str, degrees: Degrees, dim: int, tolerance: dict[int, float], quantities=("mean",), **more
) -> tuple[Check, ...]:
    return tuple(
        Check(
            experiment,
            f"p={p}",
            quantity,
            "slope",
            -(p + 1) / dim,
            tolerance.get(p, 0.05),
            smoke_tolerance=0.6 / dim,
            **more,
        )
        for p in degrees
        for quantity in quantities
    )


def _grids(
    cpu: tuple[Number, ...],
    replicates: int,
    smoke: tuple[Number, ...] | None = None,
    gpu: tuple[Number, ...] | None = None,
) -> dict[Scale, Grid]:
    """Grids of the scales; an experiment without a smoke grid is left out of that scale."""
    grids: dict[Scale, Grid] = {"cpu": Grid(cpu, replicates), "gpu": Grid(gpu or cpu, 2 * replicates)}
    if smoke is not None:
        grids["smoke"] = Grid(smoke, 3)
    return grids


def _support(
    name: str, axes: tuple[float, ...], degrees: Degrees, queries: int, grids: dict[Scale, Grid]
) -> Experiment:
    def measure(key: Key, size: Number):
        return coarse_distances(key, size, measure=Uniform(Ellipsoid(axes)), degrees=degrees, queries=queries)

    return Experiment(name, measure, tuple(f"p={p}" for p in degrees), grids)


def _local_support(
    name: str, axes: tuple[float, ...], degrees: Degrees, queries: int, grids: dict[Scale, Grid]
) -> Experiment:
    def measure(key: Key, size: Number):
        return local_coarse_distances(key, size, manifold=Ellipsoid(axes), degrees=degrees, queries=queries)

    return Experiment(name, measure, tuple(f"p={p}" for p in degrees), grids)


S1 = Claim(
    id="S1",
    group=SEPARATION,
    title="support rate",
    statement="Coarse samples of degree p lie at distance N^{-(p+1)/k} from a smooth k-dimensional manifold.",
    source=PAPER,
    experiments=(
        _support("ellipse", (1.0, 0.6), (1, 2, 3, 4), 2000, _grids((512, 1024, 2048, 4096, 8192), 20, (1024, 4096))),
        _support("ellipsoid k=2", (1.0, 1.5, 2.0), (1, 2, 3, 4), 4000, _grids((15_625, 62_500, 250_000, 1_000_000), 3)),
        _support("ellipsoid k=3", (1.0, 1.5, 2.0, 2.5), (1, 3), 10_000, _grids((15_625, 62_500, 250_000), 4)),
        _local_support("local ellipsoid k=3", (1.0, 1.5, 2.0, 2.5), (2, 4), 800, _grids((1e7, 1e8, 1e9), 3)),
        _support("ellipsoid k=4", (1.0, 1.3, 1.6, 1.9, 2.2), (1, 3), 2000, _grids((15_625, 62_500, 250_000), 3)),
        _local_support("local ellipsoid k=4", (1.0, 1.3, 1.6, 1.9, 2.2), (2, 4), 400, _grids((1e9, 1e10, 1e11), 3)),
    ),
    checks=(
        *_slopes("ellipse", (1, 2, 3), 1, {}, min_size=1024),
        *_slopes("ellipse", (4,), 1, {4: 0.2}, max_size=4096),
        *_slopes("ellipsoid k=2", (1, 2, 3, 4), 2, {}, ("mean", "q99")),
        *_slopes("ellipsoid k=3", (1, 3), 3, {}, ("mean", "q99")),
        *_slopes("local ellipsoid k=3", (2, 4), 3, {}),
        *_slopes("ellipsoid k=4", (1, 3), 4, {}),
        *_slopes("local ellipsoid k=4", (2, 4), 4, {}),
    ),
)


def _whole_sampler(key: Key, size: Number, *, measure: Uniform | Density, degree: int, draws: int):
    """Samples of the estimator itself: prior, reverse SDE, switch of scores, last step."""
    data_key, fit_key, draw_key = jax.random.split(key, 3)
    data = sample(measure, data_key, size)
    sampler = coarse_diffusion(measure.manifold.dim, degree, steps=24)(fit_key, data)
    return {f"p={degree}": off_manifold(measure.manifold, draw(sampler, draw_key, draws))}


def _sampler_experiment(name: str, make, degree: int, draws: int, grids: dict[Scale, Grid]) -> Experiment:
    def measure(key: Key, size: Number):
        return _whole_sampler(key, size, measure=make(), degree=degree, draws=draws)

    return Experiment(name, measure, (f"p={degree}",), grids)


S2 = Claim(
    id="S2",
    group=SEPARATION,
    title="support rate of the full sampler",
    statement=(
        "The whole reverse SDE, kernel score down to sigma_0 and projection score below, keeps the rate N^{-(p+1)/k}."
    ),
    source=PAPER,
    experiments=(
        _sampler_experiment(
            "ellipse",
            lambda: half_and_half(Ellipsoid((1.0, 0.6)), (1.0, 0.0)),
            3,
            500,
            _grids((256, 1024, 4096, 16_384), 10, (512, 2048)),
        ),
        _sampler_experiment(
            "torus", lambda: half_and_half(Torus(1.0, 0.5), (1.0, 0.0, 0.0)), 3, 1000, _grids((4000, 16_000, 64_000), 3)
        ),
        _sampler_experiment("S^3", lambda: Uniform(Sphere(3)), 1, 1000, _grids((1000, 4000, 16_000), 3)),
    ),
    checks=(
        *_slopes("ellipse", (3,), 1, {3: 0.08}),
        *_slopes("torus", (3,), 2, {3: 0.08}),
        *_slopes("S^3", (1,), 3, {1: 0.08}),
    ),
)

_EXPONENTS = (1.5, 2.0, 2.5, 3.0)


def _regularity(key: Key, size: Number, *, make, exponents: tuple[float, ...], queries: int):
    """Degree 4 throughout, well above the exponent; fresh phases in every replicate average over the series' own scale
    steps.
    """
    outcome = {}
    for exponent in exponents:
        phase_key, *keys = jax.random.split(jax.random.fold_in(key, int(10 * exponent)), 3)
        manifold = make(exponent, phase_key)
        data = sample(Uniform(manifold), keys[0], size)
        points = noised(keys[1], data, size ** (-1 / manifold.dim), queries)
        projected = atlases(data, manifold.dim, (4,))[4].project_all(points)
        outcome[f"b={exponent}"] = off_manifold(manifold, projected)
    return outcome


def _hoelder_curve(exponent: float, key: Key) -> HoelderCurve:
    return HoelderCurve(exponent, amplitude=0.2, phases=2 * jnp.pi * jax.random.uniform(key, (24,)))


def _hoelder_surface(exponent: float, key: Key) -> HoelderSurface:
    return HoelderSurface(exponent, amplitude=0.1, phases=2 * jnp.pi * jax.random.uniform(key, (2, 16)))


S3 = Claim(
    id="S3",
    group=SEPARATION,
    title="regularity",
    statement="On a manifold of Hoelder regularity exactly b, below p + 1, the distance falls as N^{-b/k}.",
    source=PAPER,
    experiments=(
        Experiment(
            "curve",
            partial(_regularity, make=_hoelder_curve, exponents=_EXPONENTS, queries=1000),
            tuple(f"b={b}" for b in _EXPONENTS),
            _grids((512, 1024, 2048, 4096, 8192, 16_384), 4, (512, 2048)),
        ),
        Experiment(
            "surface",
            partial(_regularity, make=_hoelder_surface, exponents=(1.5, 2.5), queries=1000),
            ("b=1.5", "b=2.5"),
            _grids((4000, 16_000, 64_000), 4),
        ),
    ),
    checks=(
        *(Check("curve", f"b={b}", "mean", "slope", -b, 0.06, smoke_tolerance=0.5) for b in _EXPONENTS),
        *(Check("surface", f"b={b}", "mean", "slope", -b / 2, 0.06, smoke_tolerance=0.25) for b in (1.5, 2.5)),
    ),
)


def _coupled(key: Key, size: Number, *, manifold: AbstractManifold, degrees: Degrees, queries: int):
    """Mean |Pihat(y) - Pi(y)| over the same noised points y, at noise of one spacing (vol / N)^{1/k}."""
    data_key, noise_key = jax.random.split(key)
    data = sample(Uniform(manifold), data_key, size)
    spacing = float(manifold.volume() / size) ** (1 / manifold.dim)
    points = noised(noise_key, data, spacing, queries)
    true = project_true(manifold, points)
    outcome = {}
    for degree, atlas in atlases(data, manifold.dim, degrees).items():
        errors = np.linalg.norm(np.asarray(atlas.project_all(points) - true), axis=1)
        outcome[f"p={degree}"] = {
            "mean": float(errors[np.isfinite(errors)].mean()),
            "non_finite": int((~np.isfinite(errors)).sum()),
        }
    return outcome


def _coupled_experiment(name: str, make, degrees: Degrees, grids: dict[Scale, Grid]) -> Experiment:
    def measure(key: Key, size: Number):
        return _coupled(key, size, manifold=make(), degrees=degrees, queries=4000)

    return Experiment(name, measure, tuple(f"p={p}" for p in degrees), grids)


S8 = Claim(
    id="S8",
    group=SEPARATION,
    title="a different target, coupled",
    statement="E|Pihat(y) - Pi(y)| over noised points y, a bound on W1 to the law of Pi(y), falls as N^{-(p+1)/k}.",
    source=PAPER,
    experiments=(
        _coupled_experiment(
            "torus", lambda: Torus(1.0, 0.5), (1, 2, 3), _grids((15_625, 62_500, 250_000), 4, (4000, 16_000))
        ),
        _coupled_experiment("S^3", lambda: Sphere(3), (1, 3), _grids((15_625, 62_500, 250_000), 4)),
    ),
    checks=(*_slopes("torus", (1, 2, 3), 2, {}), *_slopes("S^3", (1, 3), 3, {})),
)

_AMBIENT = (3, 10, 100, 1000)
_KNOT = ([[0, 0, 0], [1.0, 0, 0], [0.1, 0.2, 0.3]], [[0, 0, 0], [0, 1.0, 0], [0.2, -0.1, 0.2]])


def _in_ambient_dimension(key: Key, size: Number, *, ambient_dim: int):
    """The same curve, turned into a space of more dimensions, with noise in all of them.

    Small data sets differ most from one another, so a cell is a mean over sqrt(16384 / N) of them.
    """
    repeats = max(1, round((16_384 / size) ** 0.5))
    found = [_knot_distances(jax.random.fold_in(key, i), size, ambient_dim) for i in range(repeats)]
    return {
        f"D={ambient_dim}": {
            "mean": float(np.mean([each["mean"] for each in found])),
            "non_finite": sum(int(each["non_finite"]) for each in found),
        }
    }


def _knot_distances(key: Key, size: Number, ambient_dim: int) -> dict[str, float]:
    frame_key, data_key, noise_key = jax.random.split(key, 3)
    curve = Embedded(FourierCurve(*_KNOT), random_frame(frame_key, ambient_dim, 3))
    data = sample(Uniform(curve), data_key, size)
    points = noised(noise_key, data, 3.0 / size, 500)
    return off_manifold(curve, atlases(data, 1, (3,))[3].project_all(points))


def _ambient_experiment(d: int) -> Experiment:
    smoke = (1024, 4096) if d in (3, 100) else None
    measure = partial(_in_ambient_dimension, ambient_dim=d)
    return Experiment(f"curve in R^{d}", measure, (f"D={d}",), _grids((1024, 4096, 16_384), 8, smoke))


S11 = Claim(
    id="S11",
    group=SEPARATION,
    title="ambient dimension",
    statement="The rate N^{-(p+1)/k} of a curve, p = 3, does not change with the ambient dimension D.",
    source=PAPER,
    experiments=tuple(_ambient_experiment(d) for d in _AMBIENT),
    checks=tuple(
        Check(f"curve in R^{d}", f"D={d}", "mean", "slope", -4.0, 0.15, smoke_tolerance=0.6) for d in _AMBIENT
    ),
)
