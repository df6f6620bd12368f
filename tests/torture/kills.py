"""SIGKILL at random moments of work that writes files: trainings, sweeps, commands, saving.

After each kill every file that bears its own name is whole; the same call again ends with the
result of one that was left alone, bit for bit, and leaves no half-written file.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.torture.options import options
from tests.torture.report import Report
from tests.torture.victims import BY_NAME, VICTIMS, Victim
from tests.torture.wholeness import half_files

SECONDS = 400  #: that any of this may take, with kernels that are compiled for the first time
#: Processes that are forked from one that has all loaded, so that none spends seconds on it.
SPAWN = multiprocessing.get_context("forkserver") if sys.platform != "win32" else None
PRELOADED = ["tests.torture.victims", "torch._dynamo", "numba", "pnpfusion.visualize", "matplotlib"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill and look; the exit code. Each case is a kill, or several until it ends."""
    given = options("kills", __doc__, arguments, count=60)
    report = Report("kills", given.seed)
    with tempfile.TemporaryDirectory() as place:
        left_alone: dict[str, tuple[dict[str, object], float]] = {}
        for case in given.cases:
            victim = VICTIMS[case % len(VICTIMS)]
            if victim.name not in left_alone:
                left_alone[victim.name] = undisturbed(victim, Path(place) / f"whole {victim.name}")
            pick = random.Random(f"{given.seed} {case}")
            folder = Path(place) / f"case {case}" / "out"
            why, kills = killed(victim, folder, *left_alone[victim.name], pick)
            if why:
                report.failed(case, f"{victim.name}, {kills} kills: {why}")
            for _ in range(0 if why else kills):
                report.passed()
    return report.close()


def undisturbed(victim: Victim, folder: Path) -> tuple[dict[str, object], float]:
    """What a victim makes when it is left alone, and how long that takes."""
    target = folder / "out"
    target.mkdir(parents=True)
    started(time.sleep, 0).join()  # the first process waits until all is loaded
    begun = time.monotonic()
    process = started(silently, victim.name, target)
    process.join(SECONDS)
    if process.exitcode != 0:
        raise RuntimeError(f"{victim.name} cannot even be done alone: {process.exitcode}")
    return victim.result(target), time.monotonic() - begun


def killed(
    victim: Victim, folder: Path, whole: dict[str, object], lasts: float, pick: random.Random
) -> tuple[str, int]:
    """Kill a victim, let it end, and say what is wrong then, and how many kills that were."""
    folder.mkdir(parents=True)
    kills, wanted = 0, pick.choice((1, 1, 2, 3))
    while kills < wanted:
        begun = time.monotonic()
        process = started(silently, victim.name, folder)
        process.join(pick.uniform(0, lasts))
        if process.exitcode is not None:  # it was quicker; what it did is done
            if process.exitcode:
                return f"the same call ended with {process.exitcode}", kills
            if victim.result(folder) != whole:
                return "it ended with another result", kills
            lasts = min(0.7 * lasts, time.monotonic() - begun)
            continue
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(SECONDS)
        kills += 1
        if broken := half_files(folder):
            return f"half a file: {broken}", kills
    last = started(silently, victim.name, folder)
    last.join(SECONDS)
    if last.exitcode != 0:
        return f"it could not go on: {last.exitcode}", kills
    if victim.result(folder) != whole:
        found = victim.result(folder)
        other = [name for name in {**found, **whole} if found.get(name) != whole.get(name)]
        return f"it went on to another result: {sorted(other)}", kills
    left = [str(path) for path in folder.rglob(".*")]
    return (f"it left {left}" if left else ""), kills


def started(work: Callable[..., None], *given: object) -> BaseProcess:
    """A process at work."""
    assert SPAWN is not None
    SPAWN.set_forkserver_preload(PRELOADED)
    process = SPAWN.Process(target=work, args=given)
    process.start()
    return process


def silently(name: str, folder: Path) -> None:
    """Let the victim of this name work without a word on the screen."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        BY_NAME[name].work(folder)


if __name__ == "__main__":
    # Who is killed cannot give back what it holds; the system does.
    os.environ["PYTHONWARNINGS"] = "ignore:resource_tracker:UserWarning"
    sys.exit(main())
