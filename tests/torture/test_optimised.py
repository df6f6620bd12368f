"""The short form of Python without asserts and docstrings."""

import pytest

from tests.torture import optimised


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, pytest.param(8, marks=pytest.mark.long)])
def test_answers_do_not_need_asserts_or_docstrings(count: int) -> None:
    assert optimised.main(["--count", str(count), "--seed", "1"]) == 0
