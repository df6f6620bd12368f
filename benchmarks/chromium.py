"""A headless browser, for the tests of pages and for the benchmark of the lab page."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any


def absent() -> str:
    """What is wanted and not there, with how to get it; nothing if all is there."""
    if find_spec("selenium") is None:
        return "selenium (pip install selenium)"
    if None in (shutil.which("chromium"), shutil.which("chromedriver")):
        return "chromium or chromedriver (on Debian: apt install chromium chromium-driver)"
    return ""


@contextlib.contextmanager
def chromium(*, logs: bool = False) -> Iterator[Any]:
    """The browser, 1280 x 800; with ``logs`` of what it asks for and of what goes wrong."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    # Containers have little shared memory.
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.add_argument("--window-size=1280,800")
    if logs:
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_script_timeout(60)
    try:
        yield driver
    finally:
        driver.quit()
