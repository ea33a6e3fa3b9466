"""What every method is to jax: each law broken by a score that does nothing else wrong, and by missing methods."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import testing
from manifold_diffusion.testing.law import Seen
from manifold_diffusion.testing.observe import attempt
from tests.testing.complaints import assert_told, complaint

POINTS = np.asarray([[0.3, -0.2], [1.0, 0.5], [-0.4, 0.8]])


def gaussian(x, sigma):
    """The score of noised N(0, I)."""
    return -x / (1 + sigma**2)


def raises(x, sigma):
    raise ZeroDivisionError("one over nothing")


def row(x, sigma):
    return gaussian(x, sigma)[None]


def rounds(x, sigma):
    return gaussian(x, sigma).astype(jnp.float32)


def branches(x, sigma):
    return gaussian(x, sigma) if x[0] > 0 else -x / (sigma**2 + 1)


def calls_back(x, sigma):
    return jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct(x.shape, x.dtype), gaussian(x, sigma))


def knows_that_it_is_compiled(x, sigma):
    return gaussian(x, sigma) * (1.01 if isinstance(x, jax.core.Tracer) else 1.0)


@jax.custom_batching.custom_vmap
def takes_the_first_for_all(x, sigma):
    return gaussian(x, sigma)


@takes_the_first_for_all.def_vmap
def _(size, batched, x, sigma):
    first = gaussian(x[0] if batched[0] else x, sigma[0] if batched[1] else sigma)
    return jnp.broadcast_to(first[None], (size, len(first))), True


@jax.custom_batching.custom_vmap
def wrong_at_one_level(x, sigma):
    return gaussian(x, sigma)


@wrong_at_one_level.def_vmap
def _(size, batched, x, sigma):
    return -x / (1 + (sigma[:, None] if batched[1] else 0) ** 2), True


FAULTS = {
    raises: "answers",
    row: "keeps the shape",
    rounds: "keeps the dtype",
    branches: "is traceable",
    calls_back: "vmaps",
    knows_that_it_is_compiled: "jit changes nothing",
    takes_the_first_for_all: "vmap is a loop",
    wrong_at_one_level: "a shared noise level changes nothing",
}


@pytest.mark.parametrize("score", FAULTS, ids=lambda score: getattr(score, "__name__", type(score).__name__))
def test_each_law_is_broken_by_a_score_and_told(score):
    names, message = complaint(testing.check_score, score, POINTS, dtype="float64")
    assert names == {FAULTS[score]}, message
    assert_told(FAULTS[score], message)


def test_what_depends_on_a_broken_method_is_said_not_to_be_evaluated():
    _, message = complaint(testing.check_score, branches, POINTS, dtype="float32")
    assert "not checked (score broken, see above): jit changes nothing" not in message
    assert "is finite" in message.split("not checked (score broken, see above)")[1]
    assert "Attempted boolean conversion" in message


def test_a_score_without_faults_holds_in_both_precisions():
    report = testing.check_score(gaussian, POINTS, is_gradient=True)
    assert not report.broken
    assert {f.dtype for f in report.findings} == {"float64", "float32"}
    assert "score is a gradient" in str(report)


def test_objects_that_cannot_be_hashed_or_traced_are_constants():
    class Own(list):  # no pytree that jax can take apart into arrays, no hash, and a branch on its own number
        size = 2.0

        def __call__(self, x, sigma):
            return gaussian(x, sigma) if self.size > 0 else x

    class Branching(eqx.Module):
        size: jax.Array

        def __call__(self, x, sigma):
            return gaussian(x, sigma) if float(self.size) > 0 else x

    for score in (Own(), Branching(jnp.asarray(2.0))):
        assert not testing.check_score(score, POINTS, dtype="float32").broken


def test_an_object_with_a_fixed_dtype_is_told_by_which_method():
    class Scaled(eqx.Module):
        size: jax.Array

        def __call__(self, x, sigma):
            return gaussian(x, sigma) * self.size

    with jax.enable_x64(True):
        made_in_float64 = Scaled(jnp.ones(()))
    names, message = complaint(testing.check_score, made_in_float64, POINTS, dtype="float32")
    assert names == {"keeps the dtype"}
    assert "score has dtype float64, expected float32" in message
    assert not testing.check_score(lambda: Scaled(jnp.ones(())), POINTS, dtype="float32").broken


class Line(eqx.Module):
    """The axis in the plane, and its own chart, without `tangent`."""

    dim: int = eqx.field(static=True, default=1)
    ambient_dim: int = eqx.field(static=True, default=2)

    def project(self, x):
        return jnp.stack([x[0], 0 * x[1]])

    def chart(self, x):
        return self

    def embed(self, u):
        return jnp.stack([u[0], 0 * u[0]])

    def coordinates(self, x):
        return x[:1]


def test_a_missing_method_is_named_once():
    names, message = complaint(testing.check_manifold, Line(), POINTS, dtype="float32")
    assert names == {"answers"}
    assert "'Line' object has no attribute 'tangent'" in message
    assert_told("answers", message)


def test_a_manifold_without_dimensions_is_told():
    names, message = complaint(testing.check_manifold, type("Bare", (), {"project": lambda self, x: x})(), POINTS)
    assert names == {"answers"}
    assert "dim and ambient_dim must be ints, got None and None" in message


def test_what_raises_in_a_batch_alone_is_told():
    def refuses_large_points(x, sigma):
        return eqx.error_if(gaussian(x, sigma), jnp.sum(x * x) > 100, "too large a point")

    names, message = complaint(testing.check_score, refuses_large_points, POINTS, dtype="float32")
    assert names == {"answers"}
    assert "compiled, raises" in message
    assert "too large a point" in message


def test_an_object_says_by_an_error_what_it_does_not_know():
    def ask(error):
        def value():
            raise error

        seen = Seen("float32")
        attempt(seen, np.zeros(1), "sum", value)
        return seen.missing["sum"].outcome

    assert ask(NotImplementedError()) == ask(ValueError("closed surfaces only")) == "not there"
    assert ask(AttributeError("an inner manifold has none", name="volume")) == "not there"
    assert ask(AttributeError("a slip of the pen", name="radus")) == "broken"
    assert ask(TypeError()) == "broken"
