"""One browser for all tests of the page."""

from collections.abc import Iterator
from typing import Any

import pytest

import pnpfusion as pf
from tests.lab.pages import Page


@pytest.fixture(scope="session")
def driver() -> Iterator[Any]:
    """One browser for all tests; it keeps a log of what it asks for and of what goes wrong."""
    from benchmarks.chromium import absent, chromium

    if absent():
        pytest.skip(f"the page is tested in a browser; absent: {absent()}")
    with chromium(logs=True) as driver:
        yield driver


@pytest.fixture(scope="module")
def browser(driver: Any) -> Iterator[Any]:
    """The same for one file of tests: a page left open would play on and slow those after."""
    yield driver
    driver.get("about:blank")


@pytest.fixture(scope="module")
def lab(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The page that computes."""
    path = tmp_path_factory.mktemp("lab") / "lab.html"
    path.write_text(pf.visualize.lab_page(), encoding="utf-8")
    return Page(browser, path)
