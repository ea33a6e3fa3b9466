"""What a check says of a broken object."""

import re

import pytest

from manifold_diffusion import testing


def complaint(check, *args, **options):
    """The names of the laws that are said to be broken, and the message."""
    with pytest.raises(AssertionError) as raised:
        check(*args, **options)
    assert isinstance(raised.value, testing.BrokenLaws)
    return set(raised.value.report.broken), str(raised.value)


def assert_told(law, message, has_a_place=True):
    """The message has the law's statement, the worst place, the error there, its budget and a hint."""
    block = re.search(rf"^{re.escape(law)}: .*?(?=\n\n|\Z)", message, re.MULTILINE | re.DOTALL)
    assert block, f"{law!r} is not in:\n{message}"
    told = r"error \S+, budget \S+" + (r".* at .*\w+ = [^ ]" if has_a_place else "")
    assert re.search(told, block.group()), block.group()
    assert "\n    hint: " in block.group()
