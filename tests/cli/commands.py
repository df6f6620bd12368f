"""The command as one types it, or in this process, and tables for it to read."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pnpfusion.cli import main
from tests.source_tree import environment

#: Small enough to take a second, fine enough to warn of nothing.
QUICK = ["--debye", "0.2", "--duration", "0.001", "--times", "7", "--no-gif"]


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """The command in a process of its own, which hears Ctrl-C even if ours does not."""
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pnpfusion.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        env=environment(),
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def write_csv(folder: Path) -> str:
    rows = np.random.default_rng(0).normal(size=(6, 5))
    lines = [",".join(f"{x:.6f}" for x in row) + f",{'ab'[i % 2]}" for i, row in enumerate(rows)]
    header = "audio_1,audio_2,audio_3,motion_1,motion_2,label"
    (folder / "mine.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return "mine.csv"


def write_npz(folder: Path) -> str:
    draw = np.random.default_rng(0)
    np.savez(folder / "mine.npz", left=draw.normal(size=(5, 4)), right=draw.normal(size=(5, 2)))
    return "mine.npz"


def simulate(*options: str) -> int:
    return main(["simulate", "--data", "mine.csv", *QUICK, *options])


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return found
