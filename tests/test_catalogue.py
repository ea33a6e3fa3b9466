"""The catalogue is complete: whatever the package exports either has an entry, or is known not to need one."""

import functools
import importlib

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from manifold_diffusion.geometry import AbstractChart
from tests import catalogue, catalogue_riemannian

MADE = {
    "geometry": lambda: [
        entry.make() for entry in (*catalogue.MANIFOLDS.values(), *catalogue_riemannian.RIEMANNIAN.values())
    ],
    "measures": lambda: [entry.make() for entry in catalogue.MEASURES.values()],
    "processes": lambda: [make() for make in catalogue.NOISINGS.values()],
    "scores": lambda: [make() for make in catalogue.SCORES.values()],
}


@functools.cache
def made(folder):
    """What the entries of a folder make."""
    return MADE[folder]()


@functools.cache
def entries(folder):
    """The names of the classes (or functions) that the entries of a folder are made of."""
    if folder == "samplers":
        return set(catalogue.STEPS)
    if folder == "estimators":
        return {entry.make().__qualname__.split(".")[0] for entry in catalogue.ESTIMATORS.values()}
    names = {type(thing).__name__ for thing in made(folder)}
    if folder == "geometry":
        charts = [eqx.filter_eval_shape(manifold.chart, jnp.ones(manifold.ambient_dim)) for manifold in made(folder)]
        names |= {type(chart).__name__ for chart in charts}
    return names


@pytest.mark.parametrize("folder", catalogue.OTHERS)
def test_every_public_name_is_in_the_catalogue(folder):
    public = set(importlib.import_module(f"manifold_diffusion.{folder}").__all__)
    unknown = public - entries(folder) - catalogue.OTHERS[folder]
    assert not unknown, f"give {sorted(unknown)} entries in tests/catalogue.py, so that the laws are tested on them"
    gone = catalogue.OTHERS[folder] - public
    assert not gone, f"{sorted(gone)} are no longer public; take them out of OTHERS in tests/catalogue.py"


def test_every_chart_class_is_reached_by_some_manifold():
    """Charts need not be exported to be public: a manifold hands them out, all but those it keeps to itself."""
    charts = {
        cls.__name__
        for cls in AbstractChart.__subclasses__()
        if cls.__module__.startswith("manifold_diffusion.") and not cls.__name__.startswith("_")
    }
    assert charts <= entries("geometry"), sorted(charts - entries("geometry"))


def test_a_new_export_without_an_entry_is_noticed(monkeypatch):
    from manifold_diffusion import samplers

    monkeypatch.setattr(samplers, "__all__", [*samplers.__all__, "new_step"])
    with pytest.raises(AssertionError, match="new_step"):
        test_every_public_name_is_in_the_catalogue("samplers")


def test_entries_are_made_in_the_precision_that_is_on():
    quick = [entry for entry in catalogue.MANIFOLDS.values() if not entry.slow]
    for entry in (*quick, *catalogue.MEASURES.values()):
        for x64 in (False, True):
            with jax.enable_x64(x64):
                arrays = [a for a in jax.tree.leaves(entry.make()) if hasattr(a, "dtype")]
            wanted = jnp.float64 if x64 else jnp.float32
            assert all(a.dtype == wanted for a in arrays if a.dtype.kind == "f")
