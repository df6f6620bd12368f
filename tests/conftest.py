"""Where there is no graphics card, Triton's interpreter stands in for one; and one browser for all.

The interpreter must be asked for before Triton is imported for the first time.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One browser for all tests; it keeps a log of what it asks for and of what goes wrong."""
    from benchmarks.chromium import absent, chromium

    if absent():
        pytest.skip(f"the page is tested in a browser; absent: {absent()}")
    with chromium(logs=True) as driver:
        yield driver


@pytest.fixture(scope="session")
def lab(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The page that computes."""
    import pnpfusion as pf
    from tests.lab.pages import Page

    path = tmp_path_factory.mktemp("lab") / "lab.html"
    path.write_text(pf.visualize.lab_page(), encoding="utf-8")
    return Page(browser, path)
