"""The folder of a sweep: one sweep at a time works in it, and none takes another's results away."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pnpfusion.sweeps.carry_out import SweepError
from pnpfusion.sweeps.cases import Case, name_of
from pnpfusion.sweeps.crew import Crew
from pnpfusion.sweeps.records import read_header
from pnpfusion.sweeps.result import PARTS, RESULT, SUMMARY, TABLE

LOCK = ".lock"


class FolderError(SweepError):
    """The folder is in use, or holds another sweep."""


@contextmanager
def claimed(
    folder: Path,
    cases: Sequence[Case],
    crew: Crew,
    *,
    shard: tuple[int, int] | None,
    overwrite: bool,
) -> Iterator[None]:
    """Work in a folder alone; shards of a sweep may do so at once.

    Args:
        folder: where to; it is made if need be.
        cases: all that the sweep has.
        crew: the first process claims for all.
        shard: the share that is run, if it is not the whole.
        overwrite: whether to take away what is there of any sweep.

    Raises:
        FolderError: in every process, if another sweep is at work there, or its results hold cases
            that are not among these.
        OSError: the folder cannot be made or written to.
    """
    with ExitStack() as stack:
        problem: Exception | None = None
        if crew.rank == 0:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(folder, shared=shard is not None))
                if overwrite:
                    _clear(folder)
                _refuse_others(folder, cases)
            except (FolderError, OSError) as error:
                problem = error
        failed = any(crew.meet(int(problem is not None)))
        if problem is not None:
            raise problem
        if failed:
            raise FolderError(f"rank 0 could not have the folder {folder}; it says why.")
        yield


def _refuse_others(folder: Path, cases: Sequence[Case]) -> None:
    try:
        former = read_header(folder / RESULT).names
    except (FileNotFoundError, ValueError):  # of a damaged one nothing is lost
        return
    lost = len(set(former) - {name_of(case) for case in cases})
    if lost:
        raise FolderError(
            f"{folder} holds the results of another sweep: {lost} of its {len(former)} cases are "
            f"not among these {len(cases)} (other parameters or data, or another version of "
            f"pnpfusion). Choose another folder, list its cases too, or overwrite them "
            f"(`--overwrite`, `overwrite=True`)."
        )


def _clear(folder: Path) -> None:
    """Take a former sweep's files away, and nothing else."""
    made = [folder / name for name in (RESULT, TABLE, SUMMARY)]
    for path in [*made, *(folder / PARTS).glob("*.safetensors")]:
        path.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path, *, shared: bool, what: str = "sweep") -> Iterator[None]:
    """The folder, held by us alone or by those who share it; the system frees what a dead one held.

    The file is taken away at the end, so what was locked must still be what is there.

    Raises:
        FolderError: another ``what`` holds it.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    path, kind = folder / LOCK, fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with ExitStack() as stack:
        while True:
            file = stack.enter_context(path.open("ab"))
            try:
                fcntl.flock(file.fileno(), kind | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FolderError(
                    f"{folder} is in use by another {what}, which has not ended; wait for it, or "
                    f"choose another folder."
                ) from None
            except OSError:  # a file system without locks
                break
            with suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                    break
            file.close()
        try:
            yield
        finally:
            with suppress(OSError):  # others share it still
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
