"""Laws of scores made of scores. Oracles: normal laws, whose scores are linear, and spheres, in numpy."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from manifold_diffusion import processes, scores
from manifold_diffusion.geometry import Sphere

SIGMA, STEP = 0.375, 1e-5
MEAN, COVARIANCE = np.array([0.3, -0.2, 0.5]), np.array([[0.5, 0.1, 0.0], [0.1, 0.3, 0.05], [0.0, 0.05, 0.2]])
OTHER_MEAN, OTHER = np.array([-0.1, 0.4, 0.0]), np.diag([0.2, 0.4, 0.3])
ROW, DATUM, SPREAD = np.array([1.0, -0.5, 0.25]), 0.7, 0.4
DIRECTION, CONCENTRATION = np.array([0.0, 0.6, 0.8]), 3.0
POINTS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32).astype(np.float64)


def gaussian_score(mean, covariance, alpha, x, sigma):
    """That of N(alpha mean, alpha^2 covariance + sigma^2 I), by eigenvectors."""
    values, vectors = (jnp.asarray(a, x.dtype) for a in np.linalg.eigh(covariance))
    return -vectors @ ((vectors.T @ (x - alpha * jnp.asarray(mean, x.dtype))) / (alpha**2 * values + sigma**2))


class Normal(eqx.Module):
    """The score of N(mean, covariance) noised, without a denoiser of its own."""

    mean: tuple = eqx.field(static=True)
    covariance: tuple = eqx.field(static=True)

    def __call__(self, x, sigma):
        return gaussian_score(self.mean, self.covariance, 1, x, sigma)


class Preserving(processes.AbstractNoising):
    """cos and sin of a right angle less a bit: sigma / alpha reaches 15 at t = 1."""

    def alpha(self, t):
        return jnp.cos(1.504 * t)

    def sigma(self, t):
        return jnp.sin(1.504 * t)


def normal(mean=MEAN, covariance=COVARIANCE):
    return Normal(tuple(mean.tolist()), tuple(map(tuple, covariance.tolist())))


def log_likelihood(x):
    return -((DATUM - jnp.sum(jnp.asarray(ROW, x.dtype) * x)) ** 2) / (2 * SPREAD**2)


def preserving_score(x, t):
    alpha, sigma = Preserving().alpha(t), Preserving().sigma(t)
    return gaussian_score(MEAN, COVARIANCE, alpha, x, sigma)


def von_mises_fisher():
    return scores.VonMisesFisherScore(jnp.asarray(DIRECTION), CONCENTRATION)


MAKE = {
    "perturb": lambda: scores.perturb(normal(), lambda x: jnp.stack([x[1], -x[0], x[2] ** 2]), 1.5),
    "perturb by a potential": lambda: scores.perturb_potential(normal(), lambda x: -jnp.sum(x**2) / 2, 1),
    "temper": lambda: scores.temper(normal(), 0.5),
    "blend": lambda: scores.blend(normal(), normal(OTHER_MEAN, OTHER), 0.25),
    "blend by a function": lambda: scores.blend(normal(), normal(OTHER_MEAN, OTHER), lambda s: s / (1 + s)),
    "guide": lambda: scores.guide(normal(), log_likelihood),
    "guide denoised": lambda: scores.guide_denoised(normal(), log_likelihood, lambda s: 1 + s),
    "smooth": lambda: scores.smooth(normal(), 0.3, 6, jax.random.key(0)),
    "smooth along a sphere": lambda: scores.smooth(normal(), 0.3, 6, jax.random.key(0), Sphere(2)),
    "tangential": lambda: scores.tangential(von_mises_fisher(), Sphere(2)),
    "normal": lambda: scores.normal(von_mises_fisher(), Sphere(2)),
    "from epsilon": lambda: scores.from_epsilon(scores.epsilon(normal())),
    "from variance preserving": lambda: scores.from_variance_preserving(preserving_score, Preserving()),
    "there and back": lambda: scores.from_variance_preserving(
        scores.to_variance_preserving(normal(), Preserving()), Preserving()
    ),
}


# Whose derivatives are looked at: the others are made of the same parts.
DERIVED = sorted(set(MAKE) - {"perturb by a potential", "blend", "smooth", "normal", "there and back"})


def linear(precision, mean):
    """The score of a normal law, by numpy."""
    return -(POINTS - mean) @ precision


def product(precision, mean, other, other_mean):
    """The score of the product of two normal densities: that of one normal law."""
    total = precision + other
    return linear(total, np.linalg.solve(total, precision @ mean + other @ other_mean))


def expected():
    """The same, in closed form."""
    eye = np.eye(3)
    precision = np.linalg.inv(COVARIANCE + SIGMA**2 * eye)
    other, plain = np.linalg.inv(OTHER + SIGMA**2 * eye), linear(precision, MEAN)
    likelihood = np.outer(ROW, ROW) / SPREAD**2, ROW * DATUM / (ROW @ ROW)
    jacobian, w = COVARIANCE @ precision, SIGMA / (1 + SIGMA)
    denoised = MEAN + (POINTS - MEAN) @ jacobian.T
    pull = (1 + SIGMA) * ((DATUM - denoised @ ROW) / SPREAD**2)[:, None] * (jacobian.T @ ROW)[None]
    v = POINTS + SIGMA**2 * CONCENTRATION * DIRECTION
    r = np.linalg.norm(v, axis=1, keepdims=True)
    sphere = ((1 / np.tanh(r / SIGMA**2) - SIGMA**2 / r) * v / r - POINTS) / SIGMA**2
    unit = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)
    radial = np.sum(sphere * unit, axis=1, keepdims=True) * unit
    return {
        "perturb": plain + SIGMA**-1.5 * np.stack([POINTS[:, 1], -POINTS[:, 0], POINTS[:, 2] ** 2], 1),
        "perturb by a potential": product(precision, MEAN, eye / SIGMA, 0 * MEAN),
        "temper": linear(SIGMA**0.5 * precision, MEAN),
        "blend": product(0.75 * precision, MEAN, 0.25 * other, OTHER_MEAN),
        "blend by a function": product((1 - w) * precision, MEAN, w * other, OTHER_MEAN),
        "guide": product(precision, MEAN, *likelihood),
        "guide denoised": plain + pull,
        "smooth": plain,
        "smooth along a sphere": plain,
        "tangential": sphere - radial,
        "normal": radial,
        "from epsilon": plain,
        "from variance preserving": plain,
        "there and back": plain,
    }


@functools.cache
def seen(dtype):
    """Score, denoiser, Jacobians in both modes and in sigma, and differences in sigma: one program for all."""

    def look(score, derivatives, x, sigma):
        if not derivatives:
            return score(x, sigma), score.denoise(x, sigma)
        near = jax.vmap(score, (None, 0))(x, sigma + jnp.asarray([0, STEP, -STEP]))
        along = jax.jacfwd(score, (0, 1))(x, sigma), jax.jacrev(score)(x, sigma)
        return near[0], score.denoise(x, sigma), *along, (near[1] - near[2]) / (2 * STEP)

    @eqx.filter_jit
    def all_looks(made, x, sigma):
        of = {name: functools.partial(look, made[name], dtype == "float64" and name in DERIVED) for name in made}
        return {name: jax.vmap(of[name], (0, None))(x, sigma) for name in made}

    with jax.enable_x64(dtype == "float64"):
        made = {name: make() for name, make in MAKE.items()}
        out = all_looks(made, jnp.asarray(POINTS, dtype), jnp.asarray(SIGMA, dtype))
        assert all(a.dtype == dtype for a in jax.tree.leaves(out))
        return jax.tree.map(np.asarray, out)


every_result = pytest.mark.parametrize("name", MAKE)


@every_result
def test_a_score_of_scores_is_the_closed_form(name):
    np.testing.assert_allclose(seen("float64")[name][0], expected()[name], rtol=1e-10, atol=1e-10)


@every_result
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_its_denoiser_obeys_tweedie(name, dtype):
    score, denoised = seen(dtype)[name][:2]
    atol = 1e-12 if dtype == "float64" else 5e-6
    np.testing.assert_allclose(denoised, POINTS + SIGMA**2 * score, atol=atol)


@pytest.mark.parametrize("name", DERIVED)
def test_it_differentiates_both_ways_and_in_the_noise_level(name):
    (forward, in_sigma), reverse, difference = seen("float64")[name][2:]
    np.testing.assert_allclose(forward, reverse, atol=1e-9)
    np.testing.assert_allclose(in_sigma, difference, rtol=1e-6, atol=1e-6)


@every_result
def test_single_precision_is_kept(name):
    np.testing.assert_allclose(seen("float32")[name][0], seen("float64")[name][0], rtol=2e-4, atol=2e-4)


def test_made_in_double_precision_it_takes_single_points(x64):
    for name in set(MAKE) - {"tangential", "normal"}:  # whose parts promote
        assert eqx.filter_eval_shape(MAKE[name](), jnp.ones(3, jnp.float32), 0.5).dtype == jnp.float32


def test_tangential_and_normal_parts_make_the_score(x64):
    both = seen("float64")["tangential"][0] + seen("float64")["normal"][0]
    whole = jax.vmap(von_mises_fisher(), (0, None))(jnp.asarray(POINTS), jnp.asarray(SIGMA))
    np.testing.assert_allclose(both, whole, rtol=1e-12)


def test_noise_of_variance_preserving_processes_is_that_of_the_sampler(x64):
    """`Reverse` scales the score in the same way, and so does its denoiser."""
    x, t = jnp.asarray(POINTS[1]), jnp.asarray(0.4)
    preserving = scores.to_variance_preserving(normal(), Preserving())
    equation = processes.reverse(Preserving(), normal())
    np.testing.assert_allclose(preserving(x, t), equation.score_at(x, t), rtol=1e-12)
    np.testing.assert_allclose(preserving(x, t), preserving_score(x, t), rtol=1e-12)
    np.testing.assert_allclose(preserving.denoise(x, t), equation.denoise(x, t), rtol=1e-12)


def test_noise_levels_beyond_a_process_are_not_answered(x64):
    score = scores.from_variance_preserving(preserving_score, Preserving())
    top = float(processes.noise_level(Preserving(), jnp.ones(())))
    assert np.all(np.isfinite(score(jnp.asarray(POINTS[0]), top)))
    assert np.all(np.isnan(score(jnp.asarray(POINTS[0]), 1.01 * top)))


# Smoothing

KEY = jax.random.key(7)


def projection():
    """The score of the unit circle at a noise level that is small for it: D(x) = x / |x|."""
    return scores.ProjectionScore(Sphere(1))


@functools.cache
def smoothed(size=4000):
    """What is below, of smoothed scores of the circle and of two data: one program."""

    @eqx.filter_jit
    def all_of(circle, kernel):
        smooth = functools.partial(scores.smooth, size=size, key=KEY)
        return {
            "narrow": smooth(circle, 0.2).denoise(jnp.array([1.0, 0.0]), 0.05),
            "wide": smooth(circle, 0.5).denoise(jnp.array([1.0, 0.0]), 0.05),
            "score": smooth(circle, 0.2)(jnp.array([1.1, 0.0]), 0.05),
            "along": smooth(circle, 0.3, manifold=Sphere(1)).denoise(jnp.array([1.2, 0.0]), 0.05),
            "between": smooth(kernel, 0.5).denoise(jnp.array([0.3, 0.2]), 0.05),
            "nearest": kernel.denoise(jnp.array([0.3, 0.2]), 0.05),
        }

    with jax.enable_x64(True):
        kernel = scores.KernelScore(jnp.array([[-1.0, 0.0], [1.0, 0.0]]))
        return jax.tree.map(np.asarray, all_of(projection(), kernel))


@pytest.mark.parametrize(("name", "width"), [("narrow", 0.2), ("wide", 0.5)])
def test_a_smoothed_projection_is_the_mean_of_projected_normals(name, width):
    """E (x + h xi) / |x + h xi| = sqrt(pi g / 2) e^-g (I_0(g) + I_1(g)) x / |x|, g = |x|^2 / 4 h^2: within four
    standard errors of 2000 pairs, one of h^2 xi_2^2 / 2 each.
    """
    g = 1 / (4 * width**2)
    exact = np.sqrt(np.pi * g / 2) * (special.ive(0, g) + special.ive(1, g))
    np.testing.assert_allclose(smoothed()[name], [exact, 0], atol=4 * width**2 / np.sqrt(2) / np.sqrt(2000))
    # The pull towards the centre is h^2 |H| / 2, claim M7.
    assert 1 - exact == pytest.approx(width**2 / 2, rel=2 * width**2)


def test_smoothing_is_not_more_noise():
    """Across the circle a smoothed score keeps the strength sigma^-2; at the level sqrt(sigma^2 + h^2) it has another.

    Log-domain smoothing: its denoiser is that of the mean of scores.
    """
    sigma, width = 0.05, 0.2
    g = 1.1**2 / (4 * width**2)
    foot = np.sqrt(np.pi * g / 2) * (special.ive(0, g) + special.ive(1, g))
    error = 4 * width**2 / np.sqrt(2) / np.sqrt(2000) / sigma**2
    assert smoothed()["score"][0] == pytest.approx((foot - 1.1) / sigma**2, abs=error)
    r = 1.1 / (sigma**2 + width**2)
    noisier = (special.ive(1, r) / special.ive(0, r) - 1.1) / (sigma**2 + width**2)
    assert smoothed()["score"][0] < 10 * noisier < 0


def test_smoothing_draws_the_line_between_data():
    """Two points on a line: unsmoothed the denoiser jumps to the nearer one, smoothed it goes from one to the other."""
    np.testing.assert_allclose(smoothed()["nearest"], [1, 0], atol=1e-9)
    between = special.ndtr(0.3 / 0.5) - special.ndtr(-0.3 / 0.5)
    np.testing.assert_allclose(smoothed()["between"], [between, 0], atol=4 / np.sqrt(2000))


def test_smoothing_along_the_manifold_turns_the_foot_by_an_angle():
    """On a circle at 1.2: draws along the tangent move the foot by an angle a with tan a = h xi / 1.2."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    exact = np.sum(weights * 1.2 / np.hypot(1.2, 0.3 * nodes)) / np.sum(weights)
    np.testing.assert_allclose(smoothed()["along"], [exact, 0], atol=4 * 0.3**2 / np.sqrt(2 * 2000))


@pytest.mark.parametrize("size", [0, 3])
def test_draws_come_in_pairs(size):
    with pytest.raises(ValueError, match="even and positive"):
        scores.smooth(projection(), 0.1, size, KEY)
