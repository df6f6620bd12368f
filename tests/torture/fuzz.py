"""Damaged files of every kind that is read: an error in words, or what was written.

Each case is read in a process of its own with a bound on memory and time, which is told of
whatever may run code.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tests.torture.damage import ALL, forge
from tests.torture.errors import why_not_ours
from tests.torture.good_files import KINDS, Kind
from tests.torture.options import options
from tests.torture.report import Report

SECONDS = 20.0  #: that reading a few kilobytes may take
MEMORY = 256 * 2**20  #: bytes that it may ask for
#: What a reader has no business with; ``pickle.find_class`` is that of an unpickler without bounds.
CODE = ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make and read damaged files; the exit code."""
    given = options("fuzz", __doc__, arguments, count=2000)
    report = Report("fuzz", given.seed)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        good = good_files(Path(place))
        for case in given.cases:
            kind = KINDS[case % len(KINDS)]
            why, aside = attempt(kind, good[kind.name], given.seed, case)
            if why:
                report.failed(case, f"{kind.name}: {why}")
            else:
                report.passed(aside)
    return report.close()


def good_files(place: Path) -> dict[str, tuple[Path, str]]:
    """A good file of each kind, and what it says."""
    made = {}
    for kind in KINDS:
        folder = place / kind.name
        folder.mkdir()
        path = kind.make(folder)
        told = kind.read(path)
        assert told is not None
        made[kind.name] = path, told
    return made


def attempt(kind: Kind, good: tuple[Path, str], seed: int, case: int) -> tuple[str, str]:
    """Damage a file and read it: what is wrong with that, if anything, and how it ended."""
    path, told = good
    pick = random.Random(f"{seed} {case}")
    damage = pick.choice(ALL)
    before = path.read_bytes()
    kept = path.parent if path.parent.name == kind.name else path.parent.parent
    copy = Path(shutil.copytree(kept, kept.with_name(f"{kind.name}.damaged")))
    try:
        broken = damage(before, pick)
        (copy / path.relative_to(kept)).write_bytes(broken)
        found = _read_apart(kind, copy / path.relative_to(kept))
    finally:
        shutil.rmtree(copy)
    what = damage.__name__
    if why := found.get("why"):
        return f"{what}: {why}", ""
    if "error" in found:
        return "", "refused"
    if kind.own and damage is not forge and found["told"] not in (told, None):
        return f"{what}: it was read as something else, and nothing was said", ""
    return "", "unharmed" if found["told"] == told else "read as another"


def _read_apart(kind: Kind, path: Path) -> dict[str, Any]:
    """What a process of its own says of a file."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        try:
            os.write(theirs, json.dumps(_read(kind, path)).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        ready, _, _ = select.select([pipe], [], [], SECONDS)
        if not ready:
            os.kill(child, signal.SIGKILL)
        told = pipe.read() if ready else b""
    _, status = os.waitpid(child, 0)
    if not ready:
        return {"why": f"it was not read after {SECONDS:g} seconds"}
    if not told:
        return {"why": f"the process died: {os.waitstatus_to_exitcode(status)}"}
    found: dict[str, Any] = json.loads(told)
    return found


def _read(kind: Kind, path: Path) -> dict[str, Any]:
    """Read a file where memory is bounded, and say what came of it."""
    ran: list[str] = []
    sys.addaudithook(lambda event, _: ran.append(event) if event in CODE else None)
    size = _virtual("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (size + 4 * MEMORY,) * 2)
    found: dict[str, Any] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found["told"] = kind.read(path)
    except BaseException as error:
        found = {"error": type(error).__name__, "why": why_not_ours(error)}
    if ran:
        found["why"] = f"it ran code: {ran}"
    if not found.get("why") and (more := _virtual("VmPeak") - size) > MEMORY:
        found["why"] = f"it asked for {more / 2**20:.0f} MiB"
    return found


def _virtual(name: str) -> int:
    """Bytes of memory that this process has, or had at most."""
    with Path("/proc/self/status").open() as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))


if __name__ == "__main__":
    sys.exit(main())
