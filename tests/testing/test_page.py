"""The guide to testing: its Python runs as it stands there, its failure is a real one, its tables are the laws."""

import re
from pathlib import Path

import pytest

from manifold_diffusion import testing
from manifold_diffusion.testing.laws.structure import STRUCTURE_LAWS

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "guides" / "testing.md").read_text()
KINDS = [getattr(testing, name) for name in testing.__all__ if name.endswith("_LAWS")]
NAMESPACE = {"__name__": "testing_guide"}
exec(compile("\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)), "testing.md", "exec"), NAMESPACE)
TESTS = [name for name in NAMESPACE if name.startswith("test_") and name != "test_seamed"]


def without_numbers(text):
    return re.sub(r"-?\d[\d.e+-]*", "#", text)


# Strategies compile programs, and beartype, which only the tests have on, draws random names when it checks those.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.parametrize("name", TESTS)
def test_the_tests_of_the_page_pass(name):
    NAMESPACE[name]()


def test_the_failure_on_the_page_is_the_one_that_is_raised():
    """Up to digits, of which rounding has the last."""
    with pytest.raises(AssertionError) as raised:
        NAMESPACE["test_seamed"]()
    shown = re.search(r"```text\n(.*?)```", PAGE, re.DOTALL).group(1)
    assert without_numbers(shown.strip()) == without_numbers(str(raised.value).strip())
    assert "(4 of 32)" in str(raised.value)


def test_every_law_is_in_a_table_of_the_page():
    escaped = str.maketrans({"<": "&lt;", **{c: f"\\{c}" for c in "|_*^"}})
    for law in {law.name: law for laws in (STRUCTURE_LAWS, *KINDS) for law in laws}.values():
        assert f"| {law.name.translate(escaped)} | " in PAGE
    for laws in KINDS:
        for law in laws:
            assert f"| {law.name.translate(escaped)} | {law.statement.translate(escaped)} |\n" in PAGE
