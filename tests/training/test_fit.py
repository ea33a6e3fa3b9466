"""The training loop: what a state depends on, what is refused, what an ensemble does."""

import os
import subprocess
import sys
import textwrap

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from manifold_diffusion import scores, training

ADAM = optax.adam(1e-2)
KEY = 5


def problem(size=32, seed=0, live=None):
    """A small network on points of a circle."""
    angles = jax.random.uniform(jax.random.key(seed), (size,), maxval=2 * jnp.pi)
    data = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    model = scores.preconditioned(scores.MLP(jax.random.key(seed + 1), 2, 16, 2, live=live), data)
    s = training.deviation(data)
    loss = training.Denoising(training.LogNormal(0.6 * s, jnp.float32(1.2)), training.BalancedWeight(s))
    return model, data, training.Recipe(loss, ADAM, batch=16, decay=0.9)


def equal(a, b):
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool(jnp.array_equal(x, y)), a, b)))


def close(a, b, tolerance):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(jnp.max(jnp.abs(x - y))) for x, y in pairs) < tolerance


def test_a_state_does_not_depend_on_how_its_steps_were_divided():
    model, data, recipe = problem()
    key = jax.random.key(KEY)
    whole, _ = training.advance(training.initialise(model, recipe), 30, key, model, data, 32, recipe)
    state = training.initialise(model, recipe)
    for stop in (7, 8, 30):
        state, _ = training.advance(state, stop, key, model, data, 32, recipe)
    assert int(state.step) == 30
    assert equal(whole, state)


def test_rows_beyond_the_size_are_never_seen():
    """They are NaN here, and one of them in a batch would make the loss NaN."""
    model, data, recipe = problem()
    padded = jnp.concatenate([data, jnp.full((50, 2), jnp.nan)])
    state, chunk = training.advance(
        training.initialise(model, recipe), 30, jax.random.key(KEY), model, padded, 32, recipe
    )
    assert int(chunk.bad_step) == -1
    assert bool(jnp.isfinite(chunk.loss))
    plain, _ = training.advance(training.initialise(model, recipe), 30, jax.random.key(KEY), model, data, 32, recipe)
    assert close(state, plain, 1e-5)


def test_every_row_of_the_data_is_seen():
    """With a loss that is the row's number, the mean loss of many steps is the mean number."""
    data = jnp.arange(5.0)[:, None] * jnp.ones((1, 2))

    class Number(eqx.Module):
        def __call__(self, model, key, x):
            return x[0] + 0.0 * jnp.sum(model(x, jnp.asarray(1.0)))

    model, _, _ = problem()
    recipe = training.Recipe(Number(), ADAM, batch=16)
    _, chunk = training.advance(training.initialise(model, recipe), 200, jax.random.key(0), model, data, 5, recipe)
    assert float(chunk.loss) == pytest.approx(2.0, abs=4 * np.sqrt(2.0 / 3200))


def test_training_lowers_the_loss_and_averages_the_weights():
    model, data, recipe = problem()
    trained = training.fit(jax.random.key(KEY), model, data, recipe, 2000, looks=4)
    losses = [seen.loss for seen in trained.history]
    assert [seen.step for seen in trained.history] == [500, 1000, 1500, 2000]
    assert losses[-1] < 0.9 * losses[0]
    assert trained.best_step == 2000
    assert close(eqx.filter(trained.model.network, eqx.is_array), trained.state.average.network, 1e-9)
    assert not close(trained.state.average, trained.state.weights, 1e-6)
    np.testing.assert_array_equal(trained.model.centre.value, model.centre.value)


def test_the_average_is_the_one_that_is_said():
    """With decay_t = min(decay, (1 + t) / (10 + t)), from the weights of each step."""
    model, data, recipe = problem()
    state, key = training.initialise(model, recipe), jax.random.key(KEY)
    average = np.asarray(state.average.network.layers[0].weight, np.float64)
    for t in range(40):
        state, _ = training.advance(state, t + 1, key, model, data, 32, recipe)
        decay = min(0.9, (1 + t) / (10 + t))
        average = decay * average + (1 - decay) * np.asarray(state.weights.network.layers[0].weight, np.float64)
    np.testing.assert_allclose(state.average.network.layers[0].weight, average, atol=1e-6)


def test_data_and_losses_that_are_not_finite_end_it_with_a_reason():
    model, data, recipe = problem()
    with pytest.raises(training.TrainingError, match="row 3 of the data is not finite"):
        training.fit(jax.random.key(0), model, data.at[3, 1].set(jnp.nan), recipe, 10)

    class Breaks(eqx.Module):
        def __call__(self, model, key, x):
            return jnp.log(jnp.sum(model(x, jnp.asarray(1.0))) * 0.0 - 1.0)

    with pytest.raises(training.TrainingError, match="not finite at step 0; lower the learning rate"):
        training.fit(jax.random.key(0), model, data, training.Recipe(Breaks(), ADAM, batch=16), 10)


@pytest.mark.parametrize(("batch", "decay"), [(0, 0.9), (16, 1.0), (16, -0.1)])
def test_recipes_that_make_no_sense_are_refused(batch, decay):
    with pytest.raises(ValueError, match="batch must be at least 1"):
        training.Recipe(lambda model, key, x: 0.0, ADAM, batch, decay)


def test_the_best_look_is_kept_and_training_ends_after_it():
    model, data, recipe = problem()
    script = iter([3.0, 1.0, 2.0, 2.0, 0.0, 0.0])
    stopping = training.EarlyStopping("error", patience=2)
    trained = training.fit(
        jax.random.key(0),
        model,
        data,
        recipe,
        60,
        looks=6,
        watch=lambda m, t: {"error": next(script)},
        stopping=stopping,
    )
    assert trained.best_step == 20
    assert [seen.step for seen in trained.history] == [10, 20, 30, 40]
    short = training.fit(jax.random.key(0), model, data, recipe, 20, looks=2)
    assert equal(eqx.filter(trained.model, eqx.is_array), eqx.filter(short.model, eqx.is_array))


def test_without_a_look_that_has_a_number_the_model_is_the_one_before_training():
    model, data, recipe = problem()
    watch = lambda m, t: {"error": float("nan")}  # noqa: E731
    stopping = training.EarlyStopping("error", patience=2)
    trained = training.fit(jax.random.key(0), model, data, recipe, 60, looks=6, watch=watch, stopping=stopping)
    assert trained.best_step == 0
    assert [seen.step for seen in trained.history] == [10, 20]
    assert equal(eqx.filter(trained.model, eqx.is_array), eqx.filter(model, eqx.is_array))


def test_until_ends_where_a_quantity_gets_there():
    model, data, recipe = problem()
    script = iter([0.1, 0.6, 0.9])
    watch = lambda m, t: {"share": next(script)}  # noqa: E731
    ended = training.fit(
        jax.random.key(0), model, data, recipe, 60, looks=6, watch=watch, stopping=training.Until("share", 0.5)
    )
    assert [seen.step for seen in ended.history] == [10, 20]
    assert ended.best_step == 20


def test_a_quantity_that_nobody_watches_is_named():
    seen = training.Seen(10, 1.0, {"distance": 0.1})
    with pytest.raises(ValueError, match="asks for 'novelty', but the watcher gives loss, distance"):
        training.EarlyStopping("novelty").best([seen])


@pytest.mark.parametrize("by", ["threads", pytest.param("vmap", marks=pytest.mark.slow)])
def test_an_ensemble_is_its_members_and_is_compiled_once(by):
    """Over sizes, seeds and widths."""
    traced = []

    class Counted(training.Denoising):
        def __call__(self, model, key, x):
            traced.append(1)
            return super().__call__(model, key, x)

    members = []
    for seed, size, live in ((0, 16, 8), (2, 32, 16), (4, 24, 12)):
        model, data, recipe = problem(size, seed, live)
        loss = Counted(recipe.loss.noise, recipe.loss.weight)
        members.append(training.Member(jax.random.key(seed), model, data, training.Recipe(loss, ADAM, 16, 0.9)))
    watch = lambda i, model, step: {"at 1": float(model(jnp.ones(2), 0.1)[0])}  # noqa: E731
    together = training.fit_ensemble(members, 60, looks=3, watch=watch, by=by)
    assert len(traced) == 1
    for member, found in zip(members, together, strict=True):
        alone = training.fit(*member[:3], member.recipe, 60, looks=3)
        assert close(found.state.weights, alone.state.weights, 1e-4)
        assert [seen.step for seen in found.history] == [20, 40, 60]
        assert found.history[-1].values["at 1"] == pytest.approx(float(alone.model(jnp.ones(2), 0.1)[0]), abs=1e-3)


def test_ensembles_need_members_of_one_dimension():
    with pytest.raises(ValueError, match="at least one member"):
        training.fit_ensemble([], 10)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["batch", "members"])
def test_several_devices_give_the_same_weights(what):
    """In a process with four devices: a batch over them, or the members of an ensemble, against one device."""
    program = textwrap.dedent(
        """
        import sys
        import jax
        import numpy as np
        from manifold_diffusion import training
        from tests.training.test_fit import ADAM, close, problem

        model, data, recipe = problem()
        alone = training.fit(jax.random.key(5), model, data, recipe, 50, looks=1)
        if sys.argv[1] == "batch":
            spread = training.Recipe(recipe.loss, ADAM, 16, 0.9, training.data_parallel())
            found = [training.fit(jax.random.key(5), model, data, spread, 50, looks=1)]
        else:
            members = 4 * [training.Member(jax.random.key(5), model, data, recipe)]
            found = training.fit_ensemble(members, 50, looks=1, by="vmap")
        assert len(jax.devices()) == 4
        assert all(close(each.state.weights, alone.state.weights, 1e-5) for each in found)
        """
    )
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-c", program, what], env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
