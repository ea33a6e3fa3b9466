"""The walk on a manifold. Oracles: parameters that are uniform when points are, laws by quadrature, the
variance of a sum of correlated steps."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from manifold_diffusion.samplers import ManifoldWalk, chain, manifold_walk, matched_persistence
from tests.catalogue import MANIFOLDS

CHAINS = 4000


@eqx.filter_jit
def walkers(walk, x, steps):
    """Many walkers from one point."""

    def one(key):
        return chain(walk, steps)(key, walk.start(jax.random.fold_in(key, 10**6), x))

    return jax.vmap(one)(jax.random.split(jax.random.key(1), CHAINS))


@eqx.filter_jit
def begin(walk, key, x):
    return walk.start(key, x)


@eqx.filter_jit
def move(walk, key, walker):
    return walk(key, walker)


# Steps of the size of the reach.
@pytest.mark.parametrize(
    ("name", "step", "eigenvalue", "steps"),
    [("ellipse", 0.4, 0.42, 90), ("torus", 0.2, 0.7, 100)],
)
@pytest.mark.slow
def test_the_walk_is_uniform_at_long_steps(name, step, eigenvalue, steps):
    entry = MANIFOLDS[name]
    manifold = entry.make()
    walk = ManifoldWalk(manifold, step, matched_persistence(step, eigenvalue), 0.95 * entry.reach)
    x = np.asarray(walkers(walk, manifold.uniform(jax.random.key(5)), steps).place.point, np.float64)
    for share in entry.uniform_parameters:
        assert stats.kstest(share(x), "uniform").pvalue > 0.005
    assert max(abs(entry.equation(each)) for each in x[:100]) < 1e-4


def test_the_walk_has_any_density():
    """von Mises on the circle of radius 2."""
    manifold = MANIFOLDS["circle"].make()
    walk = ManifoldWalk(manifold, 1.0, 0.3, 1.9, lambda x: 0.75 * x[0])
    x = np.asarray(walkers(walk, jnp.array([0.0, 2.0]), 60).place.point)
    assert stats.kstest(np.arctan2(x[:, 1], x[:, 0]), stats.vonmises(1.5).cdf).pvalue > 0.005


@pytest.mark.parametrize("persistence", [0.0, 0.6, float(matched_persistence(0.1, 1.0))])
def test_modes_decay_by_the_variance_of_the_displacement(persistence):
    """E cos(angle) = exp(-V / 2), V the variance of the sum of the steps, up to the chord, longer than the arc by tau^2
    / 3."""
    step, steps = 0.1, 20
    walk = ManifoldWalk(MANIFOLDS["circle"].make(), 2 * step, persistence, 1.9)
    x = np.asarray(walkers(walk, jnp.array([2.0, 0.0]), steps).place.point)
    lags = np.abs(np.subtract.outer(np.arange(steps), np.arange(steps)))
    variance = step**2 * np.sum(np.power(persistence, lags))
    assert np.mean(x[:, 0]) / 2 == pytest.approx(np.exp(-variance / 2), abs=0.01 + 4 * np.sqrt(0.5 / CHAINS))


def test_the_volume_factor_is_the_jacobian_of_the_move(x64):
    """On the ellipse, in arc length and signed velocity, by central differences."""
    walk = ManifoldWalk(MANIFOLDS["ellipse"].make(), 0.4)

    def tangent(angle):
        return jnp.stack([-2 * jnp.sin(angle), jnp.cos(angle)])

    @jax.jit
    def moved(angle, v):
        here = walk._place(jnp.stack([2 * jnp.cos(angle), jnp.sin(angle)]))
        direction = tangent(angle) / jnp.linalg.norm(tangent(angle))
        there, back, log_volume = walk.move(here, v * direction)
        end = jnp.arctan2(there.point[1], there.point[0] / 2)
        speed = jnp.linalg.norm(tangent(end))
        return jnp.stack([end, jnp.sum(back * tangent(end)) / speed]), speed, log_volume

    h = 1e-5
    for angle, v in ((0.3, 0.4), (1.2, -0.3), (1.4, 0.45), (0.05, 0.2)):
        by_angle = (moved(angle + h, v)[0] - moved(angle - h, v)[0]) / (2 * h)
        by_velocity = (moved(angle, v + h)[0] - moved(angle, v - h)[0]) / (2 * h)
        _, speed, log_volume = moved(angle, v)
        ratio = speed / jnp.linalg.norm(tangent(jnp.asarray(angle)))
        determinant = by_angle[0] * by_velocity[1] - by_angle[1] * by_velocity[0]
        assert abs(float(log_volume)) > 1e-4
        assert jnp.exp(log_volume) == pytest.approx(float(abs(determinant) * ratio), rel=1e-6)


def test_an_accepted_move_goes_on_and_can_be_undone(x64):
    """The involution: from (x', v') the move leads back to (x, v)."""
    manifold = MANIFOLDS["torus"].make()
    walk = ManifoldWalk(manifold, 0.1, 1 - 1e-15, 0.39)
    start = begin(walk, jax.random.key(0), manifold.uniform(jax.random.key(1)))
    there = move(walk, jax.random.key(2), start)
    assert bool(there.moved)
    again = move(walk, jax.random.key(3), eqx.tree_at(lambda w: w.velocity, there, -there.velocity))
    np.testing.assert_allclose(again.place.point, start.place.point, atol=1e-7)
    np.testing.assert_allclose(again.velocity, -start.velocity, atol=1e-6)


def test_moves_beyond_the_bound_are_refused_and_turn_round():
    walk = ManifoldWalk(MANIFOLDS["circle"].make(), 1.0, 0.9, 1e-6)
    start = begin(walk, jax.random.key(0), jnp.array([2.0, 0.0]))
    there = move(walk, jax.random.key(2), start)
    assert not bool(there.moved)
    np.testing.assert_array_equal(there.place.point, start.place.point)


def test_a_walk_keeps_the_precision_of_its_start(x64):
    to_the_end = manifold_walk(MANIFOLDS["sphere"].make(), step=0.3, steps=3, persistence=0.5)
    for dtype in (jnp.float32, jnp.float64):
        assert eqx.filter_jit(to_the_end)(jax.random.key(0), jnp.array([0.0, 0.0, 1.0], dtype)).dtype == dtype


@pytest.mark.parametrize(("changes", "words"), [({"step": 0.0}, "positive"), ({"persistence": 1.0}, "persistence")])
def test_misuse_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        manifold_walk(MANIFOLDS["circle"].make(), **({"step": 0.1, "steps": 2} | changes))
