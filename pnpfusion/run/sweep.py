"""The verb for many runs: alone, or under ``torchrun`` with a share of them in each process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pnpfusion.solution import Solution
from pnpfusion.solvers.arguments import check_known, check_whole
from pnpfusion.sweeps.carry_out import carry_out
from pnpfusion.sweeps.cases import Case, expand
from pnpfusion.sweeps.columns import watched
from pnpfusion.sweeps.crew import assembled
from pnpfusion.sweeps.folder import claimed
from pnpfusion.sweeps.progress import progress_bar
from pnpfusion.sweeps.records import Record
from pnpfusion.sweeps.result import Sweep
from pnpfusion.sweeps.rows import Observe, records_of


def sweep(
    solve: Callable[[list[Case]], Solution],
    cases: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    folder: str | Path,
    *,
    observe: Observe | None = None,
    alike: Sequence[str] = (),
    stack: int = 8,
    shard: tuple[int, int] | None = None,
    progress: bool = False,
    version: str = "",
    overwrite: bool = False,
) -> Sweep | None:
    """Run many cases, several in one call, and keep each as soon as it is finished.

    Alone, one process runs all of them. Under ``torchrun`` every process runs its share, and the
    first one joins the parts into ``folder/sweep.safetensors``, ``table.csv`` and ``summary.json``.
    Which cases run together depends on the list alone, so the result does not depend, bit for bit,
    on the number of processes. If a process dies, so does the sweep; called again, it goes on with
    what is missing. A case is known by its parameters and the version of this package, and what is
    finished is not observed again: give a changed ``solve`` or ``observe`` another ``version``.

    One sweep at a time works in a folder; its shards may at once.

    Args:
        solve: runs a list of n cases, each a dict, and returns a run whose first batch axis is n.
            A case without an answer is a row with its outcome; an exception ends the sweep.
        cases: a list of dicts, or ``{"grid": {name: values, ...}}``, all combinations, the last
            name varying fastest, or ``{"cases": [...]}``, or both; what stands beside these holds
            for all. Values are what JSON knows.
        folder: where to, seen by all processes.
        observe: more to keep of a run: tensors by name, ``(n,)`` for columns of the table, or
            ``(n, ...)``.
        alike: parameters that must be equal within a call, such as a number of cells.
        stack: how many cases a call may have.
        shard: ``(k, n)`` runs every n-th block of cases from the k-th, 0 <= k < n, and joins
            nothing; once all shards have run, a call without it does.
        progress: whether to show a progress bar, of the first process.
        version: of ``solve`` and ``observe``; text that is added to every case as its parameter
            ``version``, if it is not empty.
        overwrite: whether to take away what the folder holds of any sweep. Without it the list must
            hold all cases of the results that are there.

    Returns:
        The sweep; its rows have ``outcome``, ``succeeded`` (of how many ``samples``), ``steps``,
        ``end``, and of a cell ``mass_error``, ``energy_drop``, ``energy_largest_rise`` and
        ``min_concentration``. None of a shard.

    Raises:
        ValueError: a wrong argument, or a list of cases that cannot be read.
        SweepError: a case raised an exception, or another process died; what was finished is kept.
            Or the folder is in use, or holds results of cases that are not in the list.
        OSError: the folder cannot be made or written to.

    Warns:
        UserWarning: ``observe`` gives what no finished case of the folder has.
    """
    if not callable(solve):
        raise ValueError(f"`solve` must be a function, got {type(solve).__name__}.")
    check_whole("stack", stack)
    if isinstance(alike, str) or not all(isinstance(name, str) for name in alike):
        raise ValueError(f"`alike` must be a list of names, got {alike!r}.")
    if shard is not None and not (
        isinstance(shard, tuple)
        and len(shard) == 2
        and all(type(number) is int for number in shard)
        and 0 <= shard[0] < shard[1]
    ):
        raise ValueError(f"`shard` must be (k, n) with 0 <= k < n, got {shard!r}.")
    try:
        listed = expand(cases)
    except ValueError as error:
        raise ValueError(f"`cases` cannot be read: {error}") from None
    names = list(dict.fromkeys(name for case in listed for name in case))
    check_known("alike", alike, names, "parameters of cases")
    if not isinstance(version, str):
        raise ValueError(f"`version` must be text, got {version!r}.")
    if version and "version" in names:
        raise ValueError("`version` is a parameter of these cases already; leave one of them out.")
    if version:
        listed = [{**case, "version": version} for case in listed]
    if overwrite and shard is not None:
        raise ValueError(
            "`overwrite` would take away what other shards have finished; empty the folder before "
            "the first of them, and leave it out."
        )
    folder = Path(folder)

    def work(block: list[Case]) -> Sequence[Record]:
        return records_of(solve(block), block, observe)

    with (
        assembled() as crew,
        claimed(folder, listed, crew, shard=shard, overwrite=overwrite),
        progress_bar(progress and crew.rank == 0, "sweep") as report,
    ):
        result = carry_out(
            work if observe is None else watched(work, folder, listed),
            listed,
            folder,
            crew,
            alike=alike,
            stack=stack,
            shard=shard,
            report=report,
        )
    return None if result is None else Sweep.load(result)
