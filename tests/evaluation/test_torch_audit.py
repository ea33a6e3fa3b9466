"""A PyTorch network is trained on a circle and audited through the adapter, as the guide about it does."""

import functools
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "own-model.md").read_text()


@functools.cache
def audited():
    """What the code of the guide defines when it is run as it stands there, but with half the steps and one thread."""
    torch = pytest.importorskip("torch")
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    assert code.count("3000") == 2
    threads, space = torch.get_num_threads(), {}
    torch.manual_seed(0)
    torch.set_num_threads(1)
    exec(compile(code.replace("3000", "1500"), "own-model.md", "exec"), space)
    torch.set_num_threads(threads)
    return space


def test_a_trained_network_knows_that_a_circle_has_one_dimension():
    found = audited()["dimension"]
    assert round(found.value.value) == 1
    assert found.value.low <= 1 <= found.value.high
    assert np.all(found.non_finite == 0)


def test_a_trained_network_knows_how_a_circle_bends():
    """From the denoiser's Jacobian on both sides of the circle, to 5 %."""
    space = audited()
    found = np.asarray(space["outward"](space["points"]))
    assert found.mean() == pytest.approx(-1, rel=0.05)
    assert np.all(np.abs(found + 1) < 0.2)
    assert space["shape"].non_finite == 0


def test_the_last_block_of_the_guide_is_the_score_of_a_normal_law():
    space = audited()
    np.testing.assert_allclose(space["preserving"](jnp.ones(2), 1.0), -np.ones(2) / 2, rtol=1e-3)
