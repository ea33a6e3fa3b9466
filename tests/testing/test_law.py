"""Budgets, names, and how a report and a complaint read."""

import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import testing
from manifold_diffusion.testing.law import Found, Law, Seen, Unseen
from manifold_diffusion.testing.report import judged, shown


def law(name="is small", unit="extent", find=None, budget=None):
    found = Found(np.asarray([0.0, 3e-4, 1e-6]), {"x": np.eye(3)})
    return Law(name, "f(x) = 0", "make f smaller", find or (lambda seen: found), budget or {"float32": 1e-4}, unit)


def report(laws, budget=None, skip=()):
    return judged("Thing", laws, [Seen("float32", extent=2.0)], budget, skip)


def test_a_complaint_has_all_that_is_broken_and_what_was_not_checked():
    def absent(seen):
        raise Unseen("not there", "there is no g")

    laws = [law(), law("is absent", find=absent), law("is broken too", unit="one")]
    with pytest.raises(testing.BrokenLaws) as raised:
        report(laws)
    assert str(raised.value).splitlines() == [
        "Thing: 2 of 2 laws are broken",
        "",
        "is small: f(x) = 0",
        "    float32: error 0.0003, budget 0.0002 (8.4e+02 eps x extent 2) at x = [0, 1, 0] (1 of 3)",
        "    hint: make f smaller",
        "",
        "is broken too: f(x) = 0",
        "    float32: error 0.0003, budget 0.0001 (8.4e+02 eps) at x = [0, 1, 0] (1 of 3)",
        "    hint: make f smaller",
        "",
        "not checked (there is no g): 1 law about it",
    ]


def test_numbers_that_are_not_finite_are_counted_and_are_the_worst():
    found = Found(np.asarray([1.0, np.nan, 0.0, np.inf]), {"x": np.arange(4)})
    with pytest.raises(AssertionError, match=r"error nan.* at x = 1 \(3 of 4, 2 not finite\)"):
        report([law(find=lambda seen: found)])


def test_a_number_raises_relative_budgets_and_a_mapping_replaces():
    assert not report([law()], budget=1e-3).broken
    assert not report([law()], budget={"is small": 1e-3}).broken
    with pytest.raises(testing.BrokenLaws):
        report([law()], budget=1e-6)
    with pytest.raises(testing.BrokenLaws):
        report([law(unit="ratio")], budget=1e-3)
    with pytest.raises(testing.BrokenLaws):
        report([law(budget={"float32": 1.0})], budget={"is small": 1e-9})


def test_what_the_oracle_itself_is_off_by_is_allowed_for():
    found = Found(np.asarray([3e-4]), slack=1e-3)
    assert report([law(find=lambda seen: found)]).findings[0].budget == pytest.approx(1.2e-3)


def test_skipped_laws_are_neither_run_nor_hidden():
    assert str(report([law(), law("is absent", find=lambda seen: Found(np.zeros(1)))], skip=("is small",))).endswith(
        "not checked (skipped): is small"
    )


def test_names_that_no_law_has_are_misuse():
    with pytest.raises(ValueError, match="there is no law 'typo'; the laws are: answers,"):
        testing.check_score(lambda x, sigma: x, np.eye(2), skip="typo")
    with pytest.raises(ValueError, match="there is no law 'typo'"):
        testing.check_sampler(lambda key: jnp.ones(2), budget={"typo": 1.0})
    with pytest.raises(ValueError, match="float64 and float32, got dtype=float16"):
        testing.check_sampler(lambda key: jnp.ones(2), dtype="float16")


def test_long_vectors_are_shortened():
    assert shown(np.arange(20.0)) == "[0, 1, 2, 3, 4, 5, ..., 17, 18, 19]"
    assert shown(np.float32(1 / 3)) == "0.333333"


def test_laws_have_names_of_their_own_and_all_that_is_said_of_them():
    for name in testing.__all__:
        if name.endswith("_LAWS"):
            laws = getattr(testing, name)
            assert len({law.name for law in laws}) == len(laws)
            assert all(law.statement and law.hint and "\n" not in law.hint for law in laws)
            assert all(set(law.budget) == {"float64", "float32"} for law in laws)


def test_an_oracle_that_knows_nothing_does_not_excuse_what_is_not_finite():
    found = Found(np.asarray([np.inf]), slack=np.inf)
    with pytest.raises(testing.BrokenLaws):
        report([law(find=lambda seen: found)])
