"""Laws of scores by adaptive quadrature. Oracles, in extended precision: closed forms, panels that are all fine."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from manifold_diffusion import geometry, measures
from manifold_diffusion.geometry import log_volume
from manifold_diffusion.scores import VonMisesFisherScore, adaptive_score
from manifold_diffusion.scores.global_chart import global_chart
from manifold_diffusion.scores.kronrod import kronrod

SIGMAS = (1e-6, 1e-4, 1e-2, 0.1, 1.0, 10.0)
L = np.longdouble
PI = np.arctan2(L(0), L(-1))


class TiltAndJump(eqx.Module):
    """log rho(y) = tilt.y, plus the jump where normal.y > 0."""

    tilt: jax.Array
    normal: jax.Array
    jump: jax.Array

    def __call__(self, y):
        tilt, normal, jump = (a.astype(y.dtype) for a in (self.tilt, self.normal, self.jump))
        return jnp.sum(tilt * y) + jnp.where(jnp.sum(normal * y) > 0, jump, 0.0)


def on_ellipsoid(axes, tilt, normal=None, jump=0.0, log_normaliser=0.0):
    """One program serves all of a dimension."""
    normal = np.eye(len(axes))[0] if normal is None else normal
    density = TiltAndJump(*(jnp.asarray(a, dtype=float) for a in (tilt, normal, jump)))
    return adaptive_score(geometry.Ellipsoid(axes), density, log_normaliser=log_normaliser)


@eqx.filter_jit
def everything(score, x, sigma):
    """(score, error, converged) at points x, and the derivatives of the score in x and sigma, pulled back."""

    def one(x):
        def bounded(x, sigma):
            found = score.bounded(x, sigma)
            return found.score, found

        _, pull, found = jax.vjp(bounded, x, sigma, has_aux=True)
        return found, *jax.vmap(pull)(jnp.eye(len(x), dtype=x.dtype))

    return jax.vmap(one)(x)


def look(score, x, sigma):
    """The same in numpy."""
    x = jnp.asarray(x)
    return jax.tree.map(np.asarray, everything(score, x, jnp.asarray(sigma, x.dtype)))


def misses(found, truth):
    """|score - truth| for each point."""
    return np.sqrt(((found.score.astype(L) - truth) ** 2).sum(axis=1))


def points(axes, seed=0):
    """Points on an ellipsoid, near it and far away."""
    rng = np.random.default_rng(seed)
    theta = rng.standard_normal((12, len(axes)))
    x = np.asarray(axes) * theta / np.linalg.norm(theta, axis=1, keepdims=True)
    x[3:9] += rng.standard_normal((6, len(axes))) * np.geomspace(1e-5, 1.0, 6)[:, None]
    x[9:] *= 10 / np.linalg.norm(x[9:], axis=1, keepdims=True)
    return x


def assert_bounded(found, truth, sigma, x, at=slice(None)):
    """The bound holds everywhere, and is small at the given points."""
    assert found.converged.all()
    assert (misses(found, truth) <= found.error).all()
    size = 1 + np.linalg.norm(x, axis=1)
    assert (sigma * found.error <= 3e-6 * np.maximum(1, 1 / sigma) * sigma + 3e-6 + 1e-14 * size / sigma)[at].all()


# Oracles


def von_mises_fisher_score(x, sigma, kappa):
    """On the unit circle or sphere, with the mean direction e_0."""
    x, variance = x.astype(L), L(sigma) ** 2
    v = x + variance * kappa * np.eye(x.shape[1], dtype=L)[0]
    size = np.sqrt((v**2).sum(axis=1))
    r = size / variance
    with np.errstate(divide="ignore", invalid="ignore"):
        if x.shape[1] == 3:
            quotient = np.where(r > 1e-2, (1 / np.tanh(r) - 1 / r) / r, L(1) / 3 - r**2 / 45 + 2 * r**4 / 945)
        else:
            series = [1, -L(1) / 2, -L(1) / 8, -L(1) / 8, -L(25) / 128, -L(13) / 32, -L(1073) / 1024]
            low = np.minimum(r, 500).astype(float)
            direct = np.where(low > 0, scipy.special.ive(1, low) / scipy.special.ive(0, low) / low, 0.5)
            quotient = np.where(r > 500, sum(c / r**i for i, c in enumerate(series)) / r, direct)
    return (quotient[:, None] * v / variance - x) / variance


@functools.cache
def gauss_legendre(n):
    """Nodes and weights in extended precision, by Newton's method."""
    x = np.polynomial.legendre.leggauss(n)[0].astype(L)
    for _ in range(4):
        before, value = np.ones_like(x), x
        for j in range(2, n + 1):
            before, value = value, ((2 * j - 1) * x * value - (j - 1) * before) / j
        slope = n * (x * value - before) / (x * x - 1)
        x = x - value / slope
    return x, 2 / ((1 - x * x) * slope**2)


def ellipse_score(axes, x, sigma, log_density, jumps):
    """(score, log density) at one point, by panels graded around all feet; sums of angles instead of differences."""
    (a, b), x, sigma = (L(c) for c in axes), x.astype(L), L(sigma)
    t = 2 * PI * np.arange(4000) / 4000
    square = (a * np.cos(t) - x[0]) ** 2 + (b * np.sin(t) - x[1]) ** 2
    lowest = t[(square <= np.roll(square, 1)) & (square <= np.roll(square, -1))][:8]
    feet = np.array([_foot(a, b, x, start) for start in lowest])
    gaps = (a * np.cos(feet) - x[0]) ** 2 + (b * np.sin(feet) - x[1]) ** 2
    foot = feet[np.argmin(gaps)]
    y = np.stack([a * np.cos(foot), b * np.sin(foot)])
    # Beside a side without mass the posterior is as narrow as sigma^2.
    finest = min(sigma, sigma**2) / 400
    steps = finest * L(1.7) ** np.arange(int(np.log(float(40 / finest)) / np.log(1.7)))
    ends = [-PI, PI]
    for offset in (np.append(feet, jumps) - foot + PI) % (2 * PI) - PI:
        for turn in (-2 * PI, L(0), 2 * PI):
            ends += [offset + turn, *(offset + turn + steps), *(offset + turn - steps)]
    ends = np.unique(np.clip(np.array(ends, L), -PI, PI))
    nodes, weights = gauss_legendre(20)
    half = np.diff(ends) / 2
    v = ((ends[1:] + ends[:-1])[:, None] / 2 + half[:, None] * nodes).ravel()
    offset = 2 * np.sin(v / 2) * np.stack([-a * np.sin(foot + v / 2), b * np.cos(foot + v / 2)])
    t = foot + v
    exponent = log_density(np.stack([a * np.cos(t), b * np.sin(t)]))
    exponent = exponent - (offset * (offset - 2 * (x - y)[:, None])).sum(axis=0) / (2 * sigma**2)
    top = exponent.max()
    mass = (half[:, None] * weights).ravel() * np.hypot(a * np.sin(t), b * np.cos(t)) * np.exp(exponent - top)
    mean = (mass * offset).sum(axis=1) / mass.sum()
    log_p = top + np.log(mass.sum()) - ((x - y) ** 2).sum() / (2 * sigma**2) - np.log(2 * PI * sigma**2)
    return (y - x + mean) / sigma**2, float(log_p)


def _foot(a, b, x, t):
    for _ in range(60):
        y, slope = np.stack([a * np.cos(t), b * np.sin(t)]), np.stack([-a * np.sin(t), b * np.cos(t)])
        bend = slope @ slope + (x - y) @ y
        step = (x - y) @ slope / bend if bend > 1e-12 else L(0)
        t = t + np.clip(step, -L(0.01), L(0.01))
    return t


# Laws


def test_kronrod_is_quadpacks_and_null_rules_vanish_on_polynomials():
    rule = kronrod(10)
    np.testing.assert_allclose(rule.nodes[[1, 2]], [-0.995657163025808081, -0.973906528517171720], atol=1e-15)
    np.testing.assert_allclose(rule.weights[[1, 11]], [0.011694638867371874, 0.149445554002916906], atol=1e-15)
    polynomials = np.polynomial.legendre.legvander(rule.nodes, 20)
    assert np.abs(rule.nulls @ polynomials[:, :20]).max() < 1e-14
    assert np.linalg.matrix_rank(rule.nulls) == 3


@pytest.mark.parametrize("d", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_error_bound_holds_at_any_noise_level_and_distance(d, x64):
    """With a law whose score is known, on the circle and on the sphere, its poles too; in the centre as well."""
    score, kappa = on_ellipsoid(np.ones(d), 3 * np.eye(d)[0]), 3.0
    centre = np.concatenate([np.zeros((1, d)), 1e-3 * np.eye(d)])
    poles = np.array([1, -1, 1 + 1e-7, 0.9])[:, None] * np.eye(d)[-1]
    x = np.concatenate([points(np.ones(d)), poles, centre])
    for sigma in SIGMAS:
        found = look(score, x, sigma)[0]
        assert_bounded(found, von_mises_fisher_score(x, sigma, kappa), sigma, x, slice(15))


@pytest.mark.parametrize("jump", [0.0, 1.5, -np.inf])
@pytest.mark.slow
def test_error_bound_holds_on_an_ellipse_with_a_jump(jump, x64):
    """On the focal set and the medial axis too; the density jumps, or vanishes on one side."""
    axes, tilt, normal, t = (2.0, 1.0), np.array([1.0, -0.5]), np.array([0.6, 0.8]), np.array([0.0, 0.4, 1.1])
    focal = np.stack([1.5 * np.cos(t) ** 3, -3 * np.sin(t) ** 3], 1)
    x = np.concatenate([points(axes), focal, [[0.0, 0.0], [0.3, 0.0], [1.2, 0.0]]])
    score = on_ellipsoid(axes, tilt, normal, jump)

    def log_density(y):
        return tilt.astype(L) @ y + np.where(normal.astype(L) @ y > 0, L(jump), L(0))

    jumps = np.arctan2(-0.6 * 2.0, 0.8) + np.array([0, np.pi])
    for sigma in SIGMAS:
        found = look(score, x, sigma)[0]
        truth = np.stack([ellipse_score(axes, each, sigma, log_density, jumps)[0] for each in x])
        # Where the feet carry no mass, z is measured from afar, which takes digits.
        assert_bounded(found, truth, sigma, x, slice(0 if jump == -np.inf else 12))


@pytest.mark.slow
def test_bound_holds_where_a_jump_on_a_surface_takes_more_panels_than_there_are(x64):
    """On the axis of a sphere with a jump across the equator the mean is a quotient of exponential integrals."""
    normal, sigma = np.array([0.48, 0.6, 0.64]), 0.5
    heights = np.array([0.0, 0.2, 1.0, -0.7, 3.0])
    found = look(on_ellipsoid(np.ones(3), np.zeros(3), normal, np.log(3.0)), heights[:, None] * normal, sigma)[0]
    a = np.where(heights == 0, 1e-9, heights) / sigma**2
    mass = [np.expm1(a) / a, -np.expm1(-a) / a]
    first = [(a * np.exp(a) - np.expm1(a)) / a**2, (a * np.exp(-a) + np.expm1(-a)) / a**2]
    mean = (3 * first[0] - np.abs(first[1])) / (3 * mass[0] + mass[1])
    misses_ = misses(found, ((mean - heights) / sigma**2)[:, None] * normal)
    assert not found.converged.all()
    assert (misses_ <= found.error).all()
    assert (misses_ < 1e-4).all()


@pytest.mark.slow
def test_derivatives_are_those_of_the_closed_form(x64):
    for d in (2, 3):
        score, exact = on_ellipsoid(np.ones(d), 3 * np.eye(d)[0]), VonMisesFisherScore(jnp.eye(d)[0], 3.0)
        x = np.concatenate([points(np.ones(d)), np.zeros((4 + d, d)), 1e-2 * np.ones((1, d))])
        for sigma in (1e-2, 0.1, 1.0, 10.0):
            _, in_x, in_sigma = look(score, x, sigma)
            of = jax.jit(jax.vmap(jax.jacfwd(exact, (0, 1)), (0, None)))
            expected = of(jnp.asarray(x), jnp.asarray(sigma))
            np.testing.assert_allclose(sigma**2 * in_x, sigma**2 * expected[0], atol=1e-8)
            size = np.maximum(1, np.linalg.norm(x, axis=1)[:, None] / sigma)
            np.testing.assert_allclose(sigma**2 * in_sigma / size, sigma**2 * expected[1] / size, atol=1e-8)


@pytest.mark.slow
def test_log_density_is_normalised_and_its_gradient_is_the_score(x64):
    score, exact = on_ellipsoid(np.ones(2), [3.0, 0.0], log_normaliser=None), VonMisesFisherScore(jnp.eye(2)[0], 3.0)
    x = jnp.asarray(points(np.ones(2)))

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(None, 0, None))
    def densities(score, x, sigma):
        return jax.value_and_grad(score.log_density, (0, 1))(x, sigma)

    for sigma in (1e-3, 0.3, 10.0):
        (ours, slopes), (theirs, expected) = (densities(s, x, sigma) for s in (score, exact))
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-9)
        np.testing.assert_allclose(slopes[0], expected[0], rtol=1e-8, atol=1e-8 / sigma)
        np.testing.assert_allclose(slopes[1], expected[1], rtol=1e-8, atol=1e-8 / sigma)


class Cylinder(eqx.Module):
    """A circle times [0, 1]."""

    def __call__(self, u):
        return jnp.stack([jnp.cos(u[0]), jnp.sin(u[0]), u[1]])


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [1e-4, 1e-2, 0.3, 10.0])
def test_score_of_a_product_is_those_of_its_factors_in_single_precision(sigma):
    """A circle and a segment with its two ends, whose law is a truncated normal one."""
    score = cylinder_score()
    x = points(np.ones(3)).astype(np.float32)
    x[:, 2] = [-0.5, 0.0, 1e-5, 0.3, 1.0, 1.0, 1.2, 0.5, 0.9, 2.0, 0.5, 5.0]
    found = look(score, x, sigma)[0]
    circle = von_mises_fisher_score(x[:, :2], np.float32(sigma), 0.0)
    s = np.float64(np.float32(sigma))
    a, b = -x[:, 2].astype(float) / s, (1 - x[:, 2].astype(float)) / s
    # Towards the end that is nearer: E t for a standard normal t in [a, b].
    flip = a + b < 0
    a, b = np.where(flip, -b, a), np.where(flip, -a, b)
    shift = np.exp(-(b - a) * (b + a) / 2)
    mean = (1 - shift) / (
        np.sqrt(np.pi / 2) * (scipy.special.erfcx(a / np.sqrt(2)) - shift * scipy.special.erfcx(b / np.sqrt(2)))
    )
    truth = np.concatenate([circle, (np.where(flip, -mean, mean) / s)[:, None]], axis=1)
    assert found.score.dtype == np.float32
    assert found.converged.all()
    assert (misses(found, truth) <= found.error).all()
    size = 1 + np.linalg.norm(x, axis=1)
    assert (sigma * found.error < 5e-5 + 1e-5 * size / min(sigma, 1)).all()


@functools.cache
def cylinder_score():
    """Uniform."""
    cylinder = geometry.from_embedding(Cylinder(), [(0, 2 * np.pi), (0, 1)], ("wrap", "edge"), grid=16)
    return adaptive_score(cylinder, lambda x: 0 * x[0], log_normaliser=0.0)


WHOLE = {
    "circle": lambda: geometry.Sphere(1, 2.0),
    "sphere": lambda: geometry.Sphere(2, 2.0),
    "ellipsoid": lambda: geometry.Ellipsoid((1.0, 1.5, 2.0)),
    "torus": lambda: geometry.Embedded(geometry.Torus(1.0, 0.4), np.eye(5)[:, :3], np.ones(5)),
    "flat torus": lambda: geometry.flat_torus(1.0, 0.5),
    "curve": lambda: geometry.FourierCurve([[0.0, 0.0], [2.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]),
}


@pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE)
def test_one_chart_covers_the_manifold_once(make, x64):
    """Its volume is the manifold's, and points come back from their coordinates."""
    manifold = make()
    chart, lower, upper, _ = global_chart(manifold)

    @jax.jit
    @jax.vmap
    def look(u):
        near = chart.coordinates(manifold.project(chart.embed(u)))
        return jnp.exp(log_volume(chart, u)), chart.embed(near) - chart.embed(u)

    sides = [np.polynomial.legendre.leggauss(80) for _ in lower]
    nodes = np.stack([a.ravel() for a in np.meshgrid(*(s[0] for s in sides), indexing="ij")], -1)
    weights = functools.reduce(np.multiply.outer, [s[1] for s in sides]).ravel() * np.prod(
        np.asarray(upper - lower) / 2
    )
    elements, gaps = look((lower + upper)[None, :] / 2 + (upper - lower)[None, :] / 2 * nodes)
    assert weights @ np.asarray(elements) == pytest.approx(float(manifold.volume()), rel=1e-9)
    assert np.abs(gaps).max() < 1e-9


def test_misuse_is_refused():
    circle = geometry.Sphere(1)
    with pytest.raises(ValueError, match="use MonteCarloScore"):
        adaptive_score(geometry.Sphere(3), jnp.sum)
    with pytest.raises(ValueError, match="from_embedding"):
        adaptive_score(geometry.from_equations(lambda x: jnp.sum(x * x) - 1, 3), jnp.sum)
    with pytest.raises(ValueError, match="a measure alone"):
        adaptive_score(measures.Uniform(circle), jnp.sum)
    with pytest.raises(ValueError, match="a measure alone"):
        adaptive_score(circle)
    score = adaptive_score(measures.Uniform(circle))
    with pytest.raises(NotImplementedError, match="differentiates once"):
        jax.eval_shape(jax.hessian(lambda x: score.log_density(x, 0.1)), jnp.ones(2))
    with pytest.raises(NotImplementedError, match="its measure is a constant"):
        jax.eval_shape(jax.grad(lambda r: adaptive_score(geometry.Sphere(1, r), jnp.sum)(jnp.ones(2), 0.1)[0]), 1.0)
