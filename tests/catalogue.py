"""Every public chart, manifold, measure, noising, step, score and estimator by name, with what is known about it.

The law files run every law on every entry. `test_catalogue.py` fails when a public object has no entry here.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from manifold_diffusion import estimators, geometry, measures, processes, samplers, scores, training
from tests import catalogue_groups, catalogue_shapes, oracles


@dataclasses.dataclass(frozen=True)
class ManifoldEntry:
    """How to make a manifold, and oracles for it.

    make                 built in the precision that is on when it is called
    reach                its reach, or, where that is 0 or unknown, a distance within which the tests add noise
    equation             x -> 0 exactly on the manifold, in units of length
    dense                manifold -> many points of it, for exhaustive search
    volume               its volume by another route
    uniform_parameters   functions of (n, d) points whose law is uniform on [0, 1] when the points are uniform
    curvatures           x -> (unit normal, principal curvatures towards it)
    total_curvature      integral of the Gauss curvature (k = 2) or of |curvature| (k = 1)
    quadrature           an order at which `quadrature` is accurate to `quadrature_tolerance`; 0 where there is none
    chart_radius         coordinates up to this size are tried around a chart's centre
    exact, smooth        in closed form or to rounding; charts that can be differentiated three times
    far                  `project` is right at any distance
    has_reach            it knows its reach
    tolerance            for what holds only up to the error of a fit or of a search on a grid
    rounding             float32 error of a projection in units of eps times the extent; more where a parameter that
                         runs to 2 pi is found first, where distances are compared (a foot is found to sqrt(eps d) at
                         the distance d), and where neighbours may change
    slow                 its laws are run on demand, with -m slow; it has quick tests of its own
    """

    make: Callable[[], Any]
    reach: float
    equation: Callable[[np.ndarray], float]
    volume: Callable[[], float] | None = None
    dense: Callable[[Any], np.ndarray] = lambda manifold: manifold.quadrature(200)[0]
    draw: Callable[[Any, Any], Any] = lambda manifold, keys: jax.jit(jax.vmap(manifold.uniform))(keys)
    uniform_parameters: tuple[Callable[[np.ndarray], np.ndarray], ...] = ()
    curvatures: Callable | None = None
    total_curvature: float | None = None
    quadrature: int = 0
    quadrature_tolerance: float = 1e-9
    chart_radius: float = 0.3
    exact: bool = True
    smooth: bool = True
    far: bool = True
    reach_is_exact: bool = True
    has_reach: bool = True
    tolerance: float = 1e-10
    curvature_tolerance: float = 1e-7
    rounding: float = 50.0
    slow: bool = False


def uniform_dense(manifold, count=40_000):
    """Uniform points, where no quadrature fills the manifold."""
    return jax.jit(jax.vmap(manifold.uniform))(jax.random.split(jax.random.key(99), count))


# Ellipsoids

AXES = {1: (2.0, 1.0), 2: (1.0, 1.5, 2.0), 3: (1.0, 1.5, 2.0, 1.2)}


def level_set(axes):
    """(|x / a| - 1) min a: zero on the ellipsoid and at most the distance to it."""
    return lambda x: (np.linalg.norm(x / np.asarray(axes)) - 1) * min(axes)


def ellipse_at(t):
    """The point of the ellipse with semi-axes 2, 1."""
    return np.stack([2 * np.cos(t), np.sin(t)], -1)


def ellipse_parameter(x):
    """The angle t of a point of that ellipse."""
    return np.arctan2(x[:, 1], x[:, 0] / 2)


# A closed curve in space that has an equation: x^2 + y^2 = 1, z = (x^2 - y^2) / 2.


def saddle_at(t):
    """(cos t, sin t, cos(2t)/2)."""
    return np.stack([np.cos(t), np.sin(t), np.cos(2 * t) / 2], -1)


def make_saddle():
    """The same by its Fourier coefficients."""
    cosines = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 0.5]], float)
    sines = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], float)
    return geometry.FourierCurve(cosines, sines)


def saddle_equation(x):
    """Distance in radius and height."""
    return float(np.hypot(np.hypot(x[0], x[1]) - 1, x[2] - (x[0] ** 2 - x[1] ** 2) / 2))


# Plane curves of an exact Hoelder exponent


def hoelder_radius(exponent, amplitude=0.3, levels=24):
    """r(t) written out once more, in float64."""
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, levels)
    return lambda t: (
        1
        + sum(amplitude * 2.0 ** (-(j + 1) * exponent) * np.cos(2.0 ** (j + 1) * t + phases[j]) for j in range(levels))
    )


def hoelder_at(exponent):
    """The plane curve with that radius."""
    radius = hoelder_radius(exponent)
    return lambda t: radius(t)[:, None] * np.stack([np.cos(t), np.sin(t)], -1)


def hoelder_curve(exponent):
    """The entry of the curve of that regularity; `project` ends on a grid, which `tolerance` allows for.

    Far away, the search on a grid can miss the nearest of many local minima by a little.
    """
    radius, at = hoelder_radius(exponent), hoelder_at(exponent)
    return ManifoldEntry(
        make=lambda: geometry.HoelderCurve(exponent),
        reach=0.1,
        equation=lambda x: float(np.hypot(*x) - radius(np.arctan2(x[1], x[0]))),
        dense=lambda manifold: at(np.linspace(0, 2 * np.pi, 100_000)),
        uniform_parameters=(oracles.arc_share(at, lambda x: np.arctan2(x[:, 1], x[:, 0])),),
        smooth=False,
        far=False,
        reach_is_exact=False,
        tolerance=1e-6,
        rounding=1000.0,
    )


def hoelder_surface(exponent, amplitude=0.1, levels=16):
    """The entry of a torus whose minor radius has that regularity, written out once more."""
    phases = [np.random.default_rng(seed).uniform(0, 2 * np.pi, levels) for seed in (0, 1)]

    def wave(t, phase):
        return sum(2.0 ** (-(j + 1) * exponent) * np.cos(2.0 ** (j + 1) * t + phase[j]) for j in range(levels))

    def at(a, b):
        r = 1 + amplitude * (wave(a, phases[0]) + wave(b, phases[1]))
        ring = 2 + r * np.cos(b)
        return np.stack([ring * np.cos(a), ring * np.sin(a), r * np.sin(b)], -1)

    def angles(x):
        return np.arctan2(x[..., 1], x[..., 0]), np.arctan2(x[..., 2], np.hypot(x[..., 0], x[..., 1]) - 2)

    def dense(manifold):
        a, b = 2 * np.pi * np.random.default_rng(1).random((2, 300_000))
        return at(a, b)

    return ManifoldEntry(
        make=lambda: geometry.HoelderSurface(exponent, amplitude, levels),
        reach=0.2,
        equation=lambda x: float(np.linalg.norm(x - at(*angles(x)))),
        dense=dense,
        smooth=False,
        far=False,
        reach_is_exact=False,
        tolerance=1e-5,
        rounding=1000.0,
    )


# Isometric copies


def embedded(inner, ambient_dim):
    """The entry of a copy in R^ambient_dim: every oracle pulled back by the frame."""
    inner_dim = inner.make().ambient_dim
    frame = np.linalg.qr(np.random.default_rng(7).standard_normal((ambient_dim, inner_dim)))[0]
    offset = np.linspace(-1, 1, ambient_dim)

    def make():
        return geometry.Embedded(inner.make(), frame, offset)

    def inside(x):
        return (x - offset) @ frame

    def equation(x):
        across = (x - offset) - inside(x) @ frame.T
        return float(np.hypot(inner.equation(inside(x)), np.linalg.norm(across)))

    return dataclasses.replace(
        inner,
        make=make,
        equation=equation,
        uniform_parameters=tuple(lambda x, share=share: share(inside(x)) for share in inner.uniform_parameters),
        curvatures=None,
    )


# Manifolds estimated from data


def estimated(inner, size, degree, tolerance, chart_radius):
    """The entry of an atlas fitted to a uniform sample; `tolerance` is the error of the fit, in the distance."""

    def make():
        manifold = inner.make()
        points = inner.draw(manifold, jax.random.split(jax.random.key(21), size))
        return geometry.fit_atlas(points, manifold.dim, degree)

    return dataclasses.replace(
        inner,
        make=make,
        draw=lambda _, keys: inner.draw(inner.make(), keys),
        volume=None,
        quadrature=0,
        total_curvature=None,
        uniform_parameters=(),
        exact=False,
        reach_is_exact=False,
        tolerance=tolerance,
        chart_radius=chart_radius,
        curvature_tolerance=0.1,
        rounding=2e4,
    )


CIRCLE = ManifoldEntry(
    make=lambda: geometry.Sphere(1, 2.0),
    reach=2.0,
    equation=lambda x: float(np.linalg.norm(x) - 2),
    volume=lambda: 4 * np.pi,
    uniform_parameters=(oracles.longitude,),
    curvatures=oracles.sphere_curvatures(2.0),
    total_curvature=2 * np.pi,
    quadrature=64,
)
SPHERE = ManifoldEntry(
    make=lambda: geometry.Sphere(2),
    reach=1.0,
    equation=lambda x: float(np.linalg.norm(x) - 1),
    volume=lambda: 4 * np.pi,
    uniform_parameters=(oracles.longitude, oracles.sphere_height_share(2)),
    curvatures=oracles.sphere_curvatures(1.0),
    total_curvature=4 * np.pi,
    quadrature=24,
)
SPHERE_4 = ManifoldEntry(
    make=lambda: geometry.Sphere(4, 0.5),
    reach=0.5,
    equation=lambda x: float(np.linalg.norm(x) - 0.5),
    volume=lambda: oracles.unit_sphere_area(4) / 16,
    dense=uniform_dense,
    uniform_parameters=(oracles.longitude, oracles.sphere_height_share(4)),
    curvatures=oracles.sphere_curvatures(0.5),
)
ELLIPSE = ManifoldEntry(
    make=lambda: geometry.Ellipsoid(AXES[1]),
    reach=0.5,
    equation=level_set(AXES[1]),
    volume=lambda: oracles.ellipse_length(2.0, 1.0),
    uniform_parameters=(oracles.arc_share(ellipse_at, ellipse_parameter),),
    curvatures=oracles.ellipsoid_curvatures(AXES[1]),
    total_curvature=2 * np.pi,
    quadrature=200,
)
ELLIPSOID = ManifoldEntry(
    make=lambda: geometry.Ellipsoid(AXES[2]),
    reach=0.5,
    equation=level_set(AXES[2]),
    volume=lambda: oracles.ellipsoid_area(AXES[2]),
    uniform_parameters=(oracles.ellipsoid_height_share(AXES[2]),),
    curvatures=oracles.ellipsoid_curvatures(AXES[2]),
    total_curvature=4 * np.pi,
    quadrature=48,
)
ELLIPSOID_3 = ManifoldEntry(
    make=lambda: geometry.Ellipsoid(AXES[3]),
    reach=0.5,
    equation=level_set(AXES[3]),
    volume=lambda: oracles.ellipsoid_volume_by_quadrature(AXES[3]),
    dense=uniform_dense,
    curvatures=oracles.ellipsoid_curvatures(AXES[3]),
)
TORUS = ManifoldEntry(
    make=lambda: geometry.Torus(1.0, 0.4),
    reach=0.4,
    equation=lambda x: float(np.hypot(np.hypot(x[0], x[1]) - 1, x[2]) - 0.4),
    volume=lambda: 4 * np.pi**2 * 0.4,
    uniform_parameters=(oracles.longitude, oracles.torus_latitude_share(1.0, 0.4)),
    curvatures=oracles.torus_curvatures(1.0, 0.4),
    total_curvature=0.0,
    quadrature=64,
)
FOURIER_ELLIPSE = dataclasses.replace(
    ELLIPSE,
    make=lambda: geometry.FourierCurve([[0.0, 0.0], [2.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]),
    reach_is_exact=False,
    rounding=100.0,
)
SADDLE = ManifoldEntry(
    make=make_saddle,
    reach=0.3,
    equation=saddle_equation,
    volume=lambda: oracles.curve_length(saddle_at),
    uniform_parameters=(oracles.arc_share(saddle_at, lambda x: np.arctan2(x[:, 1], x[:, 0])),),
    quadrature=256,
    reach_is_exact=False,
    rounding=100.0,
)


def torus_at(u):
    """The torus of radii 1 and .4, by its angles."""
    ring = 1 + 0.4 * jnp.cos(u[1])
    return jnp.stack([ring * jnp.cos(u[0]), ring * jnp.sin(u[0]), 0.4 * jnp.sin(u[1])])


PARAMETRISED_TORUS = dataclasses.replace(
    TORUS,
    make=lambda: geometry.from_embedding(torus_at, [(0, 2 * np.pi), (-np.pi, np.pi)], "wrap"),
    far=False,
    reach_is_exact=False,
    rounding=200.0,
)


def by_equations(entry, F, ambient_dim, **changes):
    """The entry of the same set given by equations: no volume, no uniform points of its own, no reach."""
    return dataclasses.replace(
        entry,
        make=lambda: geometry.from_equations(F, ambient_dim),
        draw=lambda _, keys: entry.draw(entry.make(), keys),
        dense=lambda _: entry.dense(entry.make()),
        volume=None,
        uniform_parameters=(),
        total_curvature=None,
        quadrature=0,
        far=False,
        has_reach=False,
        **changes,
    )


LEVEL_SET = by_equations(ELLIPSOID, lambda x: jnp.sum((x / jnp.asarray(AXES[2], x.dtype)) ** 2) - 1, 3)
LEVEL_CURVE = by_equations(
    SADDLE, lambda x: jnp.stack([x[0] ** 2 + x[1] ** 2 - 1, x[2] - (x[0] ** 2 - x[1] ** 2) / 2]), 3
)

DECODED = dataclasses.replace(
    ELLIPSOID,
    # The encoder is crude on purpose: it forgets that the axes differ, and turns.
    make=lambda: geometry.Decoded(
        geometry.Sphere(2),
        lambda x: x + 0.2 * jnp.roll(x, 1),
        lambda z: z * jnp.asarray(AXES[2], z.dtype),
    ),
    draw=lambda _, keys: ELLIPSOID.draw(ELLIPSOID.make(), keys),
    slow=True,
    uniform_parameters=(),
    far=False,
    has_reach=False,
)
IMPLICIT = dataclasses.replace(LEVEL_SET, make=lambda: geometry.Implicit(LEVEL_SET.make(), 0.5), slow=True)

MANIFOLDS = {
    "circle": CIRCLE,
    "sphere": SPHERE,
    "4-sphere": SPHERE_4,
    "ellipse": ELLIPSE,
    "ellipsoid": ELLIPSOID,
    "3-ellipsoid": ELLIPSOID_3,
    "torus": TORUS,
    "Fourier ellipse": FOURIER_ELLIPSE,
    "curve in space": SADDLE,
    "Hoelder curve 1.5": hoelder_curve(1.5),
    "Hoelder curve 2.5": hoelder_curve(2.5),
    "Hoelder surface 2.5": hoelder_surface(2.5),
    "ellipse in R^7": embedded(ELLIPSE, 7),
    "torus in R^6": embedded(TORUS, 6),
    "parametrised torus": PARAMETRISED_TORUS,
    "ellipsoid by an equation": LEVEL_SET,
    "curve by two equations": LEVEL_CURVE,
    "ellipsoid from a decoder": DECODED,
    "ellipsoid by an equation, with bounded steps": IMPLICIT,
    "atlas of an ellipse": estimated(ELLIPSE, 600, 3, tolerance=1e-4, chart_radius=0.05),
    "atlas of a torus": estimated(TORUS, 4000, 3, tolerance=1e-3, chart_radius=0.05),
}

MANIFOLDS |= catalogue_groups.manifolds() | catalogue_shapes.manifolds()

# Others of their class are in the quick run.
_REPEATED = (
    *("Hoelder curve 2.5", "ellipse in R^7", "torus in R^6", "Fourier ellipse", "3-ellipsoid"),
    *("parametrised torus", "curve by two equations", "atlas of an ellipse", "Gr(3, 1)", "SO(3)", "curve in space"),
)
for _name in _REPEATED:
    MANIFOLDS[_name] = dataclasses.replace(MANIFOLDS[_name], slow=True)

# Measures


@dataclasses.dataclass(frozen=True)
class MeasureEntry:
    """How to make a measure; `along` is a direction in which its law is told apart from the uniform one.

    Integrals are by the manifold's quadrature of order `quadrature`, accurate to `tolerance` for the density and fine
    enough for the masses of cells.
    """

    make: Callable[[], Any]
    along: tuple[float, ...]
    quadrature: int = 256
    tolerance: float = 1e-9


DIAGONAL = (0.6, 0.0, 0.8)


def make_kernel_mixture():
    """Long and round kernels at three places, and a share of the uniform law."""
    centres = np.array([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0], [0.0, -0.28, -0.96]])
    covariances = np.array([[[0.1, 0.05], [0.05, 0.04]], [[0.02, 0.0], [0.0, 0.15]], [[0.05, 0.0], [0.0, 0.05]]])
    return measures.KernelMixture(centres, covariances, uniform_share=0.2)


def make_mixture():
    """Laws of two kinds on the sphere."""
    law = measures.WrappedNormal(geometry.Sphere(2), DIAGONAL, [[0.1, 0.05], [0.05, 0.15]])
    return measures.Mixture([law, measures.Uniform(geometry.Sphere(2))], [2, 1])


def make_push_forward():
    """The uniform law of the sphere stretched onto an ellipsoid: not uniform there."""
    axes = np.array(AXES[2])
    return measures.PushForward(
        measures.Uniform(geometry.Sphere(2)),
        lambda x: x * jnp.asarray(axes, x.dtype),
        lambda y: y / jnp.asarray(axes, y.dtype),
        geometry.Ellipsoid(AXES[2]),
    )


MEASURES = {
    "uniform on a torus": MeasureEntry(lambda: measures.Uniform(geometry.Torus(1.0, 0.4)), (1.0, 0.0, 0.0)),
    "uniform on an ellipsoid": MeasureEntry(lambda: measures.Uniform(geometry.Ellipsoid(AXES[2])), DIAGONAL),
    "smooth on a torus": MeasureEntry(
        lambda: measures.Density(geometry.Torus(1.0, 0.4), lambda x: x[0] * x[0] - x[2], 2.4), (1.0, 0.0, 0.0)
    ),
    "jump on an ellipse": MeasureEntry(
        lambda: measures.jump(geometry.Ellipsoid(AXES[1]), jnp.array([0.6, 0.8])), (0.6, 0.8), 4096, 2e-3
    ),
    "jump on a sphere": MeasureEntry(
        lambda: measures.jump(geometry.Sphere(2), jnp.array(DIAGONAL), log_normaliser=np.log(8 * np.pi)),
        DIAGONAL,
        512,
        3e-3,
    ),
    "kink on a sphere": MeasureEntry(
        lambda: measures.kink(geometry.Sphere(2), jnp.array(DIAGONAL), 3.0), DIAGONAL, 512, 1e-4
    ),
    "von Mises": MeasureEntry(lambda: measures.VonMisesFisher([0.0, 1.0], 4.0), (0.0, 1.0), 8192),
    "kernel mixture": MeasureEntry(make_kernel_mixture, DIAGONAL, 128),
    "von Mises-Fisher": MeasureEntry(lambda: measures.VonMisesFisher(DIAGONAL, 10.0), DIAGONAL, 400),
    "Kent": MeasureEntry(lambda: measures.Kent(DIAGONAL, (0.0, 1.0, 0.0), 8.0, 3.0), DIAGONAL, 200),
    # Infinite at the antipode, which slows its quadrature.
    "wrapped normal": MeasureEntry(
        lambda: measures.WrappedNormal(geometry.Sphere(2), DIAGONAL, [[0.4, 0.2], [0.2, 1.2]]), DIAGONAL, 256, 2e-3
    ),
    "heat kernel on a sphere": MeasureEntry(
        lambda: measures.HeatKernel(geometry.Sphere(2), DIAGONAL, 0.4), DIAGONAL, 200
    ),
    "heat kernel on a flat torus": MeasureEntry(
        lambda: measures.HeatKernel(geometry.flat_torus(1.0, 0.5), (1.0, 0.0, 0.0, 0.5), 0.3), (0.48, 0.36, 0.64, 0.48)
    ),
    "mixture": MeasureEntry(make_mixture, DIAGONAL, 200),
    "push-forward": MeasureEntry(make_push_forward, DIAGONAL, 200),
}

# Noisings, scores, steps

NOISINGS = {
    "variance exploding": lambda: processes.VarianceExploding(20.0),
    "variance preserving": lambda: processes.VariancePreserving(processes.linear()),
    "heat flow": lambda: processes.HeatFlow(9.0),
    "sub-variance preserving": lambda: processes.SubVariancePreserving(processes.cosine()),
}


def cloud(size=200):
    """Points near a circle in R^3, for scores of data."""
    t = 2 * np.pi * np.random.default_rng(3).random(size)
    points = np.stack([np.cos(t), np.sin(t), 0.1 * np.sin(3 * t)], -1)
    return jnp.asarray(points, dtype=float)


def tilted_circle():
    """A unit circle in R^3."""
    return geometry.Embedded(geometry.Sphere(1), np.array([[1.0, 0.0], [0.0, 0.6], [0.0, 0.8]]))


def make_monte_carlo_score():
    """Always with random numbers in single precision: those in double precision are others."""
    with jax.enable_x64(False):
        return scores.MonteCarloScore(measures.Uniform(tilted_circle()), 64, jax.random.key(5))


SCORES = {
    "kernel": lambda: scores.KernelScore(cloud()),
    "weighted kernel": lambda: scores.KernelScore(cloud(), jnp.linspace(0.5, 1.5, 200)),
    "projection": lambda: scores.ProjectionScore(geometry.Torus()),
    "estimated projection": lambda: scores.ProjectionScore(geometry.fit_atlas(cloud(), 1, 2)),
    "von Mises-Fisher": lambda: scores.VonMisesFisherScore(jnp.array([0.0, 0.6, 0.8]), 3.0),
    "population": lambda: scores.population_score(geometry.Torus(), lambda x: x[0], 96),
    "adaptive": lambda: scores.adaptive_score(tilted_circle(), lambda x: x[0], tolerance=1e-10),
    "Monte Carlo": make_monte_carlo_score,
    "expansion": lambda: scores.ExpansionScore(measures.Density(geometry.Torus(), lambda x: x[0], 1.6, order=64)),
    "switch": lambda: scores.switch(scores.ProjectionScore(geometry.Torus()), scores.KernelScore(cloud()), 0.3),
    "from a denoiser": lambda: scores.from_denoiser(scores.KernelScore(cloud()).denoise),
}

STEPS = {
    "euler_maruyama": samplers.euler_maruyama,
    "ddpm": samplers.ddpm,
    "stochastic_heun": samplers.stochastic_heun,
    "ddpm_plain": samplers.ddpm_plain,
    "ddpm_hessian": samplers.ddpm_hessian,
    "ddpm_accelerated": samplers.ddpm_accelerated,
    "ddpm_training_free": samplers.ddpm_training_free,
    "ddim": samplers.ddim,
    "euler": samplers.euler,
    "midpoint": samplers.midpoint,
    "heun": samplers.heun,
    "runge_kutta_4": samplers.runge_kutta_4,
    "exponential_euler": samplers.exponential_euler,
    "dpm_solver_2s": samplers.dpm_solver_2s,
    "DPMSolver2M": samplers.DPMSolver2M(),
    "AcceleratedFlow": samplers.AcceleratedFlow(),
    "EDM": samplers.EDM(churn=0.1),
    "AdaptiveFlow": samplers.AdaptiveFlow(),
    "RandomisedMidpoint": samplers.RandomisedMidpoint(),
}

# Estimators


@dataclasses.dataclass(frozen=True)
class EstimatorEntry:
    """How to make an estimator for a curve; `distance` bounds the mean distance of its samples to the unit circle; a
    slow one has quick tests of its own."""

    make: Callable[[], Any]
    distance: float
    slow: bool = False


# One object, so that trainings share a program.
OPTIMISER = optax.adam(5e-3)


def make_trained():
    """A network so small, trained for so short a time, that it can only just be called trained."""

    def model(key, data):
        return scores.preconditioned(scores.MLP(key, 2, 32, 2), data)

    def recipe(data):
        s = training.deviation(data)
        loss = training.Denoising(training.LogNormal(0.6 * s, 1.2), training.BalancedWeight(s))
        return training.Recipe(loss, OPTIMISER, decay=0.98)

    return estimators.train_diffusion(model, recipe, 600, steps=24)


def normal_only_memoriser(key, data):
    """Of a model that has memorised: the score of the data."""
    return estimators.normal_only_diffusion(scores.KernelScore(data), 1, steps=16, normal_steps=6)(key, data)


ESTIMATORS = {
    "memorising": EstimatorEntry(lambda: estimators.memorising_diffusion(steps=24), 1e-5),
    "early-stopped": EstimatorEntry(lambda: estimators.early_stopped_diffusion(steps=24), 0.2),
    "inertial": EstimatorEntry(lambda: estimators.inertial_diffusion(1, steps=24), 0.2),
    "coarse": EstimatorEntry(lambda: estimators.coarse_diffusion(1, 3, steps=24), 2e-4),
    "trained": EstimatorEntry(make_trained, 0.2, slow=True),
    "normal-only": EstimatorEntry(lambda: normal_only_memoriser, 0.01, slow=True),
    "uniform": EstimatorEntry(lambda: estimators.uniform_on_manifold(1, 3), 2e-4, slow=True),
}

# Public names that are neither: interfaces, functions of the above, and parts of them.

OTHERS = {
    "geometry": {
        "AbstractChart",
        "AbstractManifold",
        "AbstractRiemannian",
        "Blobs",
        "BlurredBlocks",
        "BlurredEllipse",
        "Certified",
        "Estimate",
        "HiddenManifold",
        "RenderedShape",
        "SpecialEuclidean",
        "Stiefel",
        "blurred_bar",
        "blurred_corner",
        "checked_projection",
        "christoffel",
        "default_neighbours",
        "double_torus",
        "exponential",
        "figure_eight_knot",
        "fit_atlas",
        "fit_chart",
        "flat_torus",
        "from_embedding",
        "from_equations",
        "from_points",
        "gauss_curvature",
        "geodesic_distance",
        "hidden_manifold",
        "image_manifold",
        "intrinsic_christoffel",
        "intrinsic_geodesic",
        "intrinsic_ricci",
        "intrinsic_riemann",
        "intrinsic_scalar",
        "intrinsic_transport",
        "jacobian",
        "klein_bottle",
        "log_volume",
        "logarithm",
        "mean_curvature_vector",
        "metric_of",
        "metric_tensor",
        "moebius_band",
        "monomial_count",
        "nearest_coordinates",
        "normal_frame",
        "principal_curvatures",
        "quaternion_from_rotation",
        "random_frame",
        "reach_estimate",
        "ricci_tensor",
        "riemann_tensor",
        "rotation_from_quaternion",
        "scalar_curvature",
        "second_form",
        "second_fundamental_form",
        "sectional_curvature",
        "shape_operator",
        "surface_of_revolution",
        "swiss_roll",
        "tangent_frame",
        "torus_knot",
        "transport",
        "trefoil",
        "volume_estimate",
    },
    "measures": {
        "AbstractMeasure",
        "Choice",
        "Normaliser",
        "ShortTime",
        "adaptive_kernel_mixture",
        "draw",
        "jump",
        "kink",
        "log_densities",
        "log_heat_kernel",
        "normaliser",
        "short_time_heat_kernel",
        "spectral_gap",
    },
    "processes": {
        "SDE",
        "AbstractNoising",
        "AbstractSDE",
        "Reverse",
        "Schedule",
        "constant",
        "cosine",
        "forward",
        "geometric_grid",
        "karras_grid",
        "level_grid",
        "li_yan_betas",
        "li_yan_grid",
        "linear",
        "log_alpha_rate",
        "logit_grid",
        "noise_level",
        "ornstein_uhlenbeck",
        "prior_variation",
        "overlapping_rounds",
        "reverse",
        "squared_diffusion",
        "tabulated",
        "time_of",
        "uniform_grid",
    },
    "scores": {
        "Bounded",
        "Estimated",
        "HeatKernelScore",
        "adaptive_score",
        "blend",
        "denoiser",
        "epsilon",
        "from_denoiser",
        "from_epsilon",
        "from_numpy",
        "from_torch",
        "from_variance_preserving",
        "guide",
        "guide_denoised",
        "normal",
        "perturb",
        "perturb_potential",
        "population_score",
        "smooth",
        "switch",
        "tangential",
        "temper",
        "to_variance_preserving",
    },
    "samplers": {
        "Corrector",
        "Divergence",
        "Extrapolated",
        "Field",
        "FlowLikelihood",
        "FlowLogDensity",
        "IntrinsicLogDensity",
        "LangevinStep",
        "LogLikelihood",
        "ManifoldWalk",
        "Spectrum",
        "Step",
        "TangentDivergence",
        "Transition",
        "VolumeLogDensity",
        "Weighted",
        "annealed_langevin",
        "bits_per_dimension",
        "chain",
        "matched_persistence",
        "e_folds",
        "exact_divergence",
        "gaussian_likelihood",
        "generate",
        "in_charts",
        "generate_weighted",
        "halvings",
        "hutch_plus_plus",
        "hutchinson",
        "integrate",
        "langevin",
        "langevin_corrector",
        "leading_spectrum",
        "manifold_walk",
        "normal_only",
        "on_manifold",
        "posterior",
        "predictor_corrector",
        "trajectory",
    },
    "estimators": {
        "GaussianPrior",
        "Mixing",
        "NormalOnlySampler",
        "Prior",
        "UniformSampler",
        "gaussian_prior",
        # Its model is made for one cloud of points: tested through "trained".
        "neural_diffusion",
        "median_spacing",
        "normal_only_diffusion",
        "reverse_diffusion",
        "switching_noise_level",
    },
}
