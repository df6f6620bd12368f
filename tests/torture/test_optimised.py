"""The short form of Python without asserts and docstrings."""

import pytest

from tests.torture import optimised


@pytest.mark.slow
def test_answers_do_not_need_asserts_or_docstrings() -> None:
    assert optimised.main(["--count", "8", "--seed", "1"]) == 0
