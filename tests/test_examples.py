"""The examples run, at small sizes, and show what they say."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_manifold_of_your_own(tmp_path):
    figures = load("bring_your_manifold").main(size=600, new=150, out=str(tmp_path / "ribbon.png"))
    assert (tmp_path / "ribbon.png").stat().st_size > 10_000
    memorised, stopped, coarse = (figures[kind] for kind in ("memorised", "early-stopped", "coarse"))
    assert memorised[1] < 0.05 < 0.6 < coarse[1]
    assert coarse[0] < stopped[0] / 10


def test_an_audit_tells_samples_apart():
    verdicts = load("audit_a_sample").main(size=1200, new=600)
    assert verdicts == {"fresh": "generalises", "copies": "memorised", "half missing": "collapsed"}


@pytest.mark.slow
def test_what_a_score_knows(tmp_path):
    curves = load("what_a_score_knows").main(str(tmp_path / "knows.png"), scale="smoke")
    assert (tmp_path / "knows.png").stat().st_size > 10_000
    sigma, remainder = curves["G1", "ellipse", "exact", "remainder"]
    slope = np.polyfit(np.log(sigma), np.log(remainder), 1)[0]
    assert abs(slope - 2) < 0.1


@pytest.mark.slow
def test_which_sampler(tmp_path):
    curves = load("which_sampler").main(str(tmp_path / "which.png"), budgets=(64, 128), sde_budgets=(16, 32))
    assert (tmp_path / "which.png").stat().st_size > 10_000
    slope = {name: np.log2(errors[0] / errors[1]) for name, (_, errors) in curves.items()}
    orders = {"DDIM": 1, "2M": 2, "Heun": 2, "Runge–Kutta 4": 4, "DDPM": 1, "DDPM, Hessian": 2}
    np.testing.assert_allclose([slope[name] / order for name, order in orders.items()], 1, atol=0.2)
