"""One small comparison for all tests that read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pnpfusion.comparison import Comparison, compare
from tests.comparison.small_plans import plan


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, compare(plan(), folder)
