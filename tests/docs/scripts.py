"""Scripts of the documents, run as a reader would run them, but without a display."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.source_tree import ROOT

COMPILES = re.compile(r"compiling \w+ for this machine, once")  # of a kernel's first use


def ran(*words: str | Path, cwd: Path) -> list[str]:
    """The lines that ``python WORDS`` prints in a folder; it must end well and warn of nothing."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    # Where there is a display, `plt.show` warns that Agg shows nothing.
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=environment | {"MPLBACKEND": "Agg", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if not COMPILES.fullmatch(line)]
    assert (done.returncode, said) == (0, [])
    return done.stdout.splitlines()
