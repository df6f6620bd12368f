"""Disks that are full or read-only, and several processes that write into one folder at once.

Work ends in an error in words that says why, leaves no half file under its own name, and the same
call goes on once there is room; of several at once those that do not finish say that the folder is
in use. Disks are made by ``mount``, a tmpfs and a read-only bind, since root may write wherever
permissions say otherwise; where nothing may be mounted these two are left out and counted so.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from tests.torture.kills import SECONDS, started, undisturbed
from tests.torture.options import options
from tests.torture.report import Report
from tests.torture.victims import BY_NAME, VICTIMS, Victim
from tests.torture.wholeness import half_files

WAYS = ("full", "read-only", "at once")
AT_ONCE = 3  #: processes
#: What may be said of a disk, by the system or by us.
WORDS = ("No space left on device", "Read-only file system", "File too large")
IN_USE = ("is in use by another", "is not empty", "is there already")
#: Of what the library says that it raises.
KINDS = ("OSError", "TrainingError", "SweepError", "FolderError", "CommandError", "SystemExit")


class NotMounted(Exception):
    """The system does not let us make a disk."""


def may_mount() -> bool:
    """Whether the system lets us make a disk."""
    with tempfile.TemporaryDirectory() as place:
        try:
            with mounted(Path(place) / "disk", "size=4k"):
                return True
        except NotMounted:
            return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Try; the exit code, 1 also where nothing could be tried."""
    given = options("disk", __doc__, arguments, count=3 * len(VICTIMS))
    report = Report("disk", given.seed)
    with tempfile.TemporaryDirectory() as place:
        left_alone: dict[str, dict[str, object]] = {}
        for case in given.cases:
            victim, way = VICTIMS[case // len(WAYS) % len(VICTIMS)], WAYS[case % len(WAYS)]
            if victim.name not in left_alone:
                whole, _ = undisturbed(victim, Path(place) / f"whole {victim.name}")
                left_alone[victim.name] = whole
            home = Path(place) / f"case {case}"
            home.mkdir()
            pick = random.Random(f"{given.seed} {case}")
            try:
                why = TRIES[way](victim, home, left_alone[victim.name], pick)
            except NotMounted:
                report.left_out(f"{way} left out: nothing may be mounted here")
                continue
            if why:
                report.failed(case, f"{way}, {victim.name}: {why}")
            else:
                report.passed(way)
    return report.close()


def full(victim: Victim, home: Path, whole: dict[str, object], pick: random.Random) -> str:
    """Work on a disk that is full before or while it writes, then on one with room."""
    need = max(1, sum(path.stat().st_size for path in _files(home.parent / f"whole {victim.name}")))
    with mounted(home / "disk", f"size={int(need * pick.uniform(0, 1)) // 4096 * 4 + 4}k") as disk:
        folder = disk / "out"
        folder.mkdir()
        told = attempt(victim.name, folder)
        if why := _why_bad(told, WORDS):
            return why
        if broken := half_files(folder):
            return f"half a file: {broken}"
        subprocess.run(["mount", "-o", "remount,size=512m", str(disk)], check=True)
        return _ends_well(victim, folder, whole)


def read_only(victim: Victim, home: Path, whole: dict[str, object], pick: random.Random) -> str:
    """Work in a folder where nothing can be written: an empty one, or that of the whole work."""
    folder = home / "out"
    if pick.random() < 0.5:
        shutil.copytree(home.parent / f"whole {victim.name}" / "out", folder)
    folder.mkdir(exist_ok=True)
    before = victim.result(folder) if any(folder.iterdir()) else None
    with sealed(folder):
        told = attempt(victim.name, folder)
    if before is not None and victim.result(folder) != before:
        return "it changed what could not be written"
    return _why_bad(told, WORDS) or _ends_well(victim, folder, whole)


def at_once(victim: Victim, home: Path, whole: dict[str, object], pick: random.Random) -> str:
    """Several at work in one folder."""
    folder = home / "out"
    folder.mkdir()
    answers = [home / f"answer {k}" for k in range(AT_ONCE)]
    processes = [started(answer_to, victim.name, folder, path) for path in answers]
    for process in processes:
        process.join(SECONDS)
    told = [json.loads(path.read_text(encoding="utf-8")) for path in answers]
    if bad := [why for one in told if (why := _why_bad(one, IN_USE))]:
        return f"of {AT_ONCE}: {bad}"
    if all(one["error"] for one in told):
        return f"none of {AT_ONCE} could finish: {told}"
    if broken := half_files(folder):
        return f"half a file: {broken}"
    return _ends_well(victim, folder, whole)


TRIES = {"full": full, "read-only": read_only, "at once": at_once}


def _ends_well(victim: Victim, folder: Path, whole: dict[str, object]) -> str:
    """Whether the same call, where nothing is in the way, ends with what it should."""
    told = attempt(victim.name, folder)
    if told["error"] and not any(words in told["error"] for words in IN_USE):
        return f"it could not go on: {told['error']}"
    found = victim.result(folder)
    if found != whole:
        other = [name for name in {**found, **whole} if found.get(name) != whole.get(name)]
        return f"it went on to another result: {sorted(other)}"
    left = [str(path.relative_to(folder)) for path in folder.rglob(".*")]
    return f"it left {left}" if left else ""


def _why_bad(told: dict[str, str], words: Sequence[str]) -> str:
    """What is wrong with an answer; nothing with one that went well."""
    if not told["error"]:
        return ""
    if told["kind"] not in KINDS or not any(one in told["error"] for one in words):
        return f"{told['kind']}: {told['error'][:400]}"
    return ""


def attempt(name: str, folder: Path) -> dict[str, str]:
    """Let a victim work in a process of its own, and say how that ended."""
    with tempfile.TemporaryDirectory() as place:
        answer = Path(place) / "answer"
        process = started(answer_to, name, folder, answer)
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            return {"kind": "none", "error": f"it hung for {SECONDS} seconds"}
        if not answer.exists():
            return {"kind": "none", "error": f"the process died: {process.exitcode}"}
        told: dict[str, str] = json.loads(answer.read_text(encoding="utf-8"))
        return told


def answer_to(name: str, folder: Path, answer: Path) -> None:
    """Work, and write down how it ended: the kind of error and its words, or none."""
    said, kind, words = io.StringIO(), "", ""
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(said):
            BY_NAME[name].work(folder)
    except SystemExit:
        kind, words = "SystemExit", said.getvalue() or "nothing was said"
        if "Traceback" in words:
            kind = "Traceback"
    except BaseException as error:
        kind = next((one.__name__ for one in type(error).__mro__ if one.__name__ in KINDS), "")
        words = f"{type(error).__name__}: {error}"
        if not kind:
            kind, words = type(error).__name__, traceback.format_exc()[-600:]
    answer.write_text(json.dumps({"kind": kind, "error": words}), encoding="utf-8")


@contextmanager
def mounted(place: Path, settings: str) -> Iterator[Path]:
    """A file system in memory."""
    place.mkdir()
    _mount("-t", "tmpfs", "-o", settings, "tmpfs", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextmanager
def sealed(folder: Path) -> Iterator[None]:
    """The folder, in which nothing can be written meanwhile, by root neither."""
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,bind,ro", str(folder))
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(*how: str) -> None:
    done = subprocess.run(["mount", *how], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMounted(done.stderr.strip())


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


if __name__ == "__main__":
    sys.exit(main())
