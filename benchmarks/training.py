"""What does a training step cost besides its matrix products and activations, and an ensemble besides its members?

Step: `training.advance` on the 128 x 3 perceptron with batches of 128 (noise, loss, Adam, average and all) against its
floor, measured in turns with it: a scan of nothing but value and gradient of a perceptron of the same layers on one
fixed batch, the weights moved by a multiple of the gradient so that neither is left out. In between, what is added one
at a time: examples and noise, the optimiser, the average.

Ensemble: `training.fit_ensemble` of 12 networks of three widths and four sizes of data against the twelve runs of `fit`
one after another, each warm, and how often either compiled the loop.

On a CPU times are those of the process, pinned to one core; a ratio is the median over turns of the ratio within a
turn. `python -m benchmarks.training --quick` takes fewer turns.
"""

import contextlib
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.kernel_score import PINNED, THREADS, pin
from benchmarks.samplers import QUICK, in_turns, ratio, write

STEP = {"dim": 3, "width": 128, "depth": 3, "batch": 128, "data": 1024, "steps": 200}
ENSEMBLE = {"widths": (32, 64, 128), "sizes": (64, 128, 256, 512), "steps": 1000}
TARGETS = {"step": 1.3, "ensemble": 1.1, "compilations": 1}


def main() -> None:
    """Measure: on a CPU in a process of its own, pinned to one core with one thread in every library."""
    import jax

    if jax.default_backend() != "cpu":
        measure(time.perf_counter)
        return
    flags = "--xla_cpu_multi_thread_eigen=false " + os.environ.get("XLA_FLAGS", "")
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), PINNED: "1", "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-m", "benchmarks.training", *sys.argv[1:]], env=environment, check=True)


def measure(clock: Callable[[], float]) -> None:
    """Both questions, printed and written."""
    quick = QUICK in sys.argv
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    step = step_cost(clock, turns=7 if quick else 31)
    ensemble = ensemble_cost(clock, turns=1 if quick else 5)
    report(step, ensemble)
    write({"quick": quick, "load": load, "targets": TARGETS, "step": step, "ensemble": ensemble}, "training")


def step_cost(clock: Callable[[], float], turns: int) -> dict:
    """Microseconds a step, and over the floor."""
    from manifold_diffusion import training

    model, data, recipe = setting()
    key, count = _key(1), STEP["steps"]

    def whole():
        state = training.initialise(model, recipe)
        return training.advance(state, count, key, model, data, len(data), recipe)[0].weights

    runs = {"floor": floor(model), **partial_steps(model, data, recipe), "whole": whole}
    ms = in_turns(runs, clock, turns)
    return {
        **STEP,
        "us": {name: 1e3 * statistics.median(values) / count for name, values in ms.items()},
        "over_floor": {name: ratio(values, ms["floor"]) for name, values in ms.items()},
    }


def setting():
    """The preconditioned perceptron, points on a sphere, and the recipe of the studies."""
    import jax
    import jax.numpy as jnp
    import optax

    from manifold_diffusion import measures, scores, training
    from manifold_diffusion.geometry import Sphere

    data = measures.draw(measures.Uniform(Sphere(STEP["dim"] - 1)).sample, jax.random.key(0), STEP["data"])
    s = training.deviation(data)
    model = scores.preconditioned(scores.MLP(_key(2), STEP["dim"], STEP["width"], STEP["depth"]), data)
    loss = training.Denoising(training.LogNormal(0.6 * s, jnp.asarray(1.2)), training.BalancedWeight(s))
    return model, data, training.Recipe(loss, optax.adam(1e-3), STEP["batch"])


def floor(model) -> Callable:
    """A scan of value and gradient of the layers alone."""
    import jax
    import jax.numpy as jnp

    layers = [(layer.weight, layer.bias) for layer in model.network.layers]
    inputs = jax.random.normal(_key(3), (STEP["batch"], layers[0][0].shape[1]))

    def loss(layers, h):
        for weight, bias in layers[:-1]:
            h = jax.nn.silu(h @ weight.T + bias)
        return jnp.mean((h @ layers[-1][0].T + layers[-1][1] - 1) ** 2)

    def body(layers, _):
        gradient = jax.grad(loss)(layers, inputs)
        return jax.tree.map(lambda w, g: w - 1e-6 * g, layers, gradient), None

    run = jax.jit(lambda layers: jax.lax.scan(body, layers, length=STEP["steps"])[0])
    return lambda: run(layers)


def partial_steps(model, data, recipe) -> dict[str, Callable]:
    """Scans of what a step consists of: with neither optimiser nor average, and without the average."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax

    from manifold_diffusion.scores.neural import trainable

    weights, fixed = eqx.partition(model, trainable(model))

    def gradient(weights, step):
        def one(i):
            which, rest = jax.random.split(jax.random.fold_in(jax.random.fold_in(_key(1), step), i))
            row = data[jax.random.bits(which) % jnp.uint32(len(data))]
            return lambda weights: recipe.loss(eqx.combine(weights, fixed), rest, row)

        def batch(weights):
            return jnp.mean(jax.vmap(lambda i: one(i)(weights))(jnp.arange(STEP["batch"])))

        return jax.grad(batch)(weights)

    def plain(weights, step):
        return jax.tree.map(lambda w, g: w - 1e-6 * g, weights, gradient(weights, step)), None

    def optimised(carry, step):
        weights, state = carry
        change, state = recipe.optimiser.update(gradient(weights, step), state, weights)
        return (optax.apply_updates(weights, change), state), None

    def scan(body, start):
        run = jax.jit(lambda start: jax.lax.scan(body, start, jnp.arange(STEP["steps"]))[0])
        return lambda: run(start)

    return {
        "with examples and noise": scan(plain, weights),
        "with the optimiser": scan(optimised, (weights, recipe.optimiser.init(weights))),
    }


def ensemble_cost(clock: Callable[[], float], turns: int) -> dict:
    """Seconds of both, their ratio, and how often the loop was compiled."""
    import jax

    from manifold_diffusion import scores, training

    _, data, recipe = setting()
    members = [
        training.Member(
            _key(10 * i + j),
            scores.preconditioned(scores.MLP(_key(i), STEP["dim"], STEP["width"], STEP["depth"], live=width), data),
            data[:size],
            recipe,
        )
        for i, width in enumerate(ENSEMBLE["widths"])
        for j, size in enumerate(ENSEMBLE["sizes"])
    ]
    steps, largest = ENSEMBLE["steps"], data[: max(ENSEMBLE["sizes"])]

    def together():
        return [trained.state.weights for trained in training.fit_ensemble(members, steps, looks=1)]

    def apart():
        # On data of one length, so that the twelve share a program as the ensemble does.
        return [
            training.fit(m.key, m.model, largest, m.recipe, steps, size=len(m.data), looks=1).state.weights
            for m in members
        ]

    jax.clear_caches()
    with compilations() as counted:
        jax.block_until_ready(together())
    ms = in_turns({"apart": apart, "together": together}, clock, turns)
    return {
        **ENSEMBLE,
        "s": {name: statistics.median(values) / 1e3 for name, values in ms.items()},
        "ratio": ratio(ms["together"], ms["apart"]),
        "compilations": counted.count,
    }


class _Compilations(logging.Handler):
    """Counts what jax says of compiling the loop."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """One more, if it is about the loop."""
        self.count += "Finished XLA compilation of jit(_advance)" in record.getMessage()


@contextlib.contextmanager
def compilations():
    """Count compilations of the training loop."""
    import jax

    handler, logger = _Compilations(), logging.getLogger("jax")
    propagate = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    # Not the context manager: it is about its own thread, and members are trained in others.
    jax.config.update("jax_log_compiles", True)
    try:
        yield handler
    finally:
        jax.config.update("jax_log_compiles", False)
        logger.removeHandler(handler)
        logger.propagate = propagate


def _key(seed: int):
    import jax

    return jax.random.key(seed)


def report(step: dict, ensemble: dict) -> None:
    """Both tables, for people."""
    print(f"\na training step, median (least) over the floor (target {TARGETS['step']}), {STEP}")
    for name, us in step["us"].items():
        over = step["over_floor"][name]
        print(f"  {name:24} {over['median']:.3f} ({over['least']:.3f})   {us:.0f} us")
    seconds, over = ensemble["s"], ensemble["ratio"]
    print(f"\nan ensemble of 12 over twelve runs (target {TARGETS['ensemble']}), {ENSEMBLE}")
    print(f"  {over['median']:.3f} ({over['least']:.3f})   {seconds['together']:.2f} s and {seconds['apart']:.2f} s")
    print(f"  the loop was compiled {ensemble['compilations']} time(s) (target {TARGETS['compilations']})")


if __name__ == "__main__":
    if os.environ.get(PINNED):
        pin()
        measure(time.process_time)
    else:
        main()
