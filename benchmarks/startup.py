"""How long it takes until something happens: imports, the command's help, the first runs.

usage: python -m benchmarks.startup [--rounds 5]

Every figure is of processes of their own, taken in turns; seconds, the median and the smallest of
all rounds. `import and first use` is what a process that has imported torch needs until `PNP` and
`simulate` are at hand.
`first run, nothing compiled` has an empty folder for compiled kernels, which it fills for runs of
this kind (one round only; every other kind of run compiles its own kernels); `first run` is the
first of a process after that, `second run` the one after it, of the same cell, and `new cell` one
of another cell of the same kind. One thread throughout.

One JSON line per row, then a table.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks import ONE_THREAD, ROOT, count
from benchmarks.script import options, rows_in, say, show, significant

IMPORTS = """
import json, time
clock = [time.perf_counter()]
import torch
clock.append(time.perf_counter())
import pnpfusion as pf
clock.append(time.perf_counter())
pf.Grid, pf.Species, pf.Wall, pf.PNP, pf.simulate
clock.append(time.perf_counter())
print(json.dumps({
    "import and first use of PNP and simulate, beyond torch": clock[3] - clock[1],
    "of these, import pnpfusion": clock[2] - clock[1],
    "of these, first use of PNP and simulate": clock[3] - clock[2],
    "import torch": clock[1] - clock[0],
}))
"""

RUNS = """
import json, time
import torch, pnpfusion as pf
torch.set_num_threads(1)

def made():
    ions = [pf.Species("cation", +1), pf.Species("anion", -1)]
    walls = {"x-": pf.Wall(potential=-2.0), "x+": pf.Wall(potential=2.0)}
    return pf.PNP(pf.Grid((256,), (2.0,), ("wall",)), ions, permittivity=0.005, walls=walls)

def seconds(cell):
    begin = time.perf_counter()
    pf.simulate(cell, start, times, stepper=stepper).require_success()
    return time.perf_counter() - begin

from pnpfusion.solvers import KenCarp4
stepper, start = KenCarp4(rtol=1e-3), torch.ones(2, 256, dtype=torch.float64)
times, cell = torch.tensor([0.0, 0.5], dtype=torch.float64), made()
found = {"first run": seconds(cell)}
found["second run"] = min(seconds(cell) for _ in range(30))
found["new cell"] = min(seconds(made()) for _ in range(30))
print(json.dumps(found))
"""


def in_a_process(code: str, caches: str) -> dict[str, float]:
    """What ``code`` prints in its last line, by a Python of its own."""
    keep = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**keep, **ONE_THREAD, "XDG_CACHE_HOME": caches, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"a process ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return rows_in(done.stdout)[-1]


def help_seconds(arguments: list[str]) -> float:
    """How long the command takes to tell of itself."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "pnpfusion", *arguments, "--help"]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return time.perf_counter() - begin


def main() -> None:
    """Run everything and print it."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=count, default=5)
    rounds = parser.parse_args().rounds
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as caches:
        first = in_a_process(RUNS, caches)["first run"]
        seconds["first run, nothing compiled"] = [first]
        for _ in range(rounds):
            found = {
                **in_a_process(IMPORTS, caches),
                "pnpfusion --help": help_seconds([]),
                "pnpfusion simulate --help": help_seconds(["simulate"]),
                **in_a_process(RUNS, caches),
            }
            for name, taken in found.items():
                seconds.setdefault(name, []).append(taken)
    rows = [
        {
            "what": name,
            "median": significant(statistics.median(taken)),
            "smallest": significant(min(taken)),
            "rounds": len(taken),
        }
        for name, taken in seconds.items()
    ]
    for row in rows:
        say(row)
    show(rows)


if __name__ == "__main__":
    main()
