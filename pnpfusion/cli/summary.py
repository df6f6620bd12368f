"""summary.json: what a finished run or training came to."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import pnpfusion
from pnpfusion.cli.messages import FAILED, errors_end_the_command
from pnpfusion.files import json_bytes, write_whole

SUMMARY = "summary.json"


def write_summary(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write it with the versions, last of all files: where it is, the run is complete."""
    versions = {
        "pnpfusion": pnpfusion.__version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }
    content = json_bytes({**facts, "versions": versions})
    with errors_end_the_command(FAILED):
        write_whole(folder / SUMMARY, content)
