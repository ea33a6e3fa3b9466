"""The examples run, at small sizes, and show what they say."""

import importlib.util
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from manifold_diffusion import measures

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_neural_scores_on_the_globe(tmp_path, capsys):
    """1500 events around one place, whose law has the negative log-likelihood 1 + log(2 pi / 20) = -.158: some training
    comes near it from above, and the uniform law has 2.531.
    """
    law = measures.VonMisesFisher([0.6, 0.0, 0.8], 20.0)
    x = np.asarray(measures.draw(law.sample, jax.random.key(0), 1500))
    events = np.degrees(np.stack([np.arcsin(x[:, 2]), np.arctan2(x[:, 1], x[:, 0])], 1))
    np.savetxt(tmp_path / "events.csv", events, delimiter=",", fmt="%.6f")
    example, out = load("neural_scores_on_the_globe"), tmp_path / "learning.png"
    found = example.main(str(tmp_path / "events.csv"), steps=600, out=str(out), rows=12, width=64, depth=2, waves=32)
    assert out.stat().st_size > 10_000
    assert -0.25 < found[0] < 0.15
    mass, error = re.search(r"integrates to ([\d.]+) \+- ([\d.]+)", capsys.readouterr().out).groups()
    assert abs(float(mass) - 1) < 4 * float(error) + 0.01


@pytest.mark.slow
def test_digits(tmp_path):
    pytest.importorskip("sklearn")
    assert load("digits").main(steps=2000, members=1, new=600, out=str(tmp_path)) == "generalises"
    for name in ("samples.png", "curve.png"):
        assert (tmp_path / name).stat().st_size > 5_000
