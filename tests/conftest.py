"""How the tests run: shapes and types are checked at run time, ranks are never promoted silently, examples are few.

The import hook has to be in place before the first `import manifold_diffusion`, so it is installed while pytest reads
this file; it covers every subpackage. Programs that a test starts as a process run without it, as a user's do.
"""

import os

# Compiling is most of what the tests do, and code that runs once need not be fast. It has to be said before jax starts.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import hypothesis
import jax
import pytest
from jaxtyping import install_import_hook

install_import_hook("manifold_diffusion", "beartype.beartype")
os.environ.setdefault("MPLBACKEND", "Agg")
jax.config.update("jax_numpy_rank_promotion", "raise")

hypothesis.settings.register_profile(
    "laws",
    deadline=None,  # the first example compiles, the others do not
    max_examples=12,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("laws")


LONGEST = ("studies/test_separation.py", "geometry/test_laws.py", "test_examples.py", "geometry/test_geodesic.py")
"""Files that take a minute or more: begun first, so that no process is left alone with one at the end."""


def pytest_collection_modifyitems(items):
    """The longest files first, else as collected."""
    rank = {name: i for i, name in enumerate(LONGEST)}

    def place(item):
        file = item.nodeid.partition("::")[0].removeprefix("tests/")
        return rank.get(file, len(LONGEST))

    items.sort(key=place)


@pytest.fixture
def x64():
    """The test runs in float64; without it, in float32, as users do."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def key():
    """A key that is the same in every run."""
    return jax.random.key(0)


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled_programs():
    """Programs of one file are rarely of use to the next, and those of all take gigabytes."""
    yield
    jax.clear_caches()
