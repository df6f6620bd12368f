"""A comparison in a folder: what is not yet known is found out, and all of it is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pnpfusion
from pnpfusion.comparison.measure import opened
from pnpfusion.comparison.plan import Cell, Plan
from pnpfusion.comparison.records import CELLS, Task, read_record, write_record
from pnpfusion.comparison.set_plan import Facts
from pnpfusion.comparison.summary import SetSummary, summarise, to_json
from pnpfusion.comparison.table import csv_text, report
from pnpfusion.comparison.workers import Failure, carry_out
from pnpfusion.files import json_bytes, write_whole
from pnpfusion.sweeps.folder import locked

PLAN, RESULT, TABLE, NUMBERS = "plan.json", "comparison.json", "table.md", "table.csv"


@dataclass(frozen=True)
class Comparison:
    """What a comparison found so far."""

    plan: Plan  #: what was asked for
    sets: tuple[SetSummary, ...]  #: what each set says
    failures: Mapping[Cell, str]  #: why a cell has no result
    missing: int  #: cells without one, failed or not begun

    @classmethod
    def load(cls, folder: str | Path) -> Comparison:
        """What a folder holds so far; nothing is computed but what cells say together.

        Raises:
            OSError: it holds no comparison, or a set is not there.
            ValueError: its plan is damaged.
        """
        place = Path(folder)
        plan = Plan.load(place / PLAN)
        facts = facts_of(plan)
        tasks = tasks_of(plan, facts)
        found = _finished(place, tasks)
        return cls(plan, summarise(plan, facts, found), {}, len(tasks) - len(found))

    @property
    def table(self) -> str:
        """In Markdown."""
        return report(self.plan, self.sets)

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "version": pnpfusion.__version__,
            "plan": self.plan.to_json(),
            "sets": to_json(self.sets),
            "failures": {str(cell): reason for cell, reason in self.failures.items()},
            "missing": self.missing,
        }


def compare(
    plan: Plan,
    folder: str | Path,
    *,
    workers: int = 1,
    max_seconds: float | None = None,
    progress: bool = False,
) -> Comparison:
    """Do all cells of a plan that the folder does not have, and write what they say.

    A cell's file is named by all that its result depends on: the numbers of the set, the model, the
    recipe, seed, fold, and the version of this program. So a call that was interrupted, or killed,
    goes on from the last finished cell, a plan may grow, and nothing is computed twice; a damaged
    file is replaced.

    Args:
        plan: what to compare.
        folder: where files are kept: plan.json, cells/, and in the end comparison.json, table.md
            and table.csv; made if need be.
        workers: processes at once, each with one thread. With 2 or more a script needs the usual
            ``if __name__ == "__main__":``.
        max_seconds: that a cell may take before it is given up as failed.
        progress: show a bar.

    Returns:
        All there is, with what failed.

    Raises:
        ValueError: models, modalities or folds that a set does not have.
        FolderError: another comparison is at work in the folder.
        OSError: a set or the folder cannot be read or written.
    """
    if workers < 1:
        raise ValueError(f"`workers` must be >= 1, got {workers}.")
    if max_seconds is not None and not max_seconds > 0:
        raise ValueError(f"`max_seconds` must be above 0, got {max_seconds}.")
    place = Path(folder)
    facts = facts_of(plan)
    tasks = tasks_of(plan, facts)
    place.mkdir(parents=True, exist_ok=True)
    with locked(place, shared=False, what="comparison"):
        write_whole(place / PLAN, json_bytes(plan.to_json()))  # first: by it the folder is known
        (place / CELLS).mkdir(exist_ok=True)
        _tidy(place)
        found, failures = _finished(place, tasks), dict[Cell, str]()
        todo = [task for task in tasks if task.cell not in found]
        cells = [task.cell for task in todo]
        results = carry_out(plan, cells, workers=workers, max_seconds=max_seconds)
        with closing(results), _bar(len(tasks), len(found), shown=progress) as step:  # type: ignore[type-var]
            for at, result in results:
                if isinstance(result, Failure):
                    failures[cells[at]] = result.reason
                else:
                    write_record(place, todo[at], result)
                    found[cells[at]] = result
                step(len(failures))
        missing = len(tasks) - len(found)
        comparison = Comparison(plan, summarise(plan, facts, found), failures, missing)
        write_whole(place / RESULT, json_bytes(comparison.to_json()))
        write_whole(place / TABLE, comparison.table.encode())
        write_whole(place / NUMBERS, csv_text(comparison.sets).encode())
    return comparison


def facts_of(plan: Plan) -> dict[str, Facts]:
    """What must be known of its sets.

    Raises:
        OSError: one is not there.
        ValueError: one has no target, or see :func:`pnpfusion.data.open_set`.
    """
    return {one.data: Facts.of(opened(one.data)) for one in plan.sets}


def tasks_of(plan: Plan, facts: Mapping[str, Facts]) -> list[Task]:
    """All cells, with what they depend on.

    Raises:
        ValueError: see :meth:`Plan.cells`.
    """
    return [Task(cell, plan.identity(cell, facts[cell.data])) for cell in plan.cells(facts)]


def kept(folder: str | Path, tasks: Sequence[Task]) -> int:
    """How many of the cells a folder has."""
    return len(_finished(Path(folder), tasks))


def _finished(place: Path, tasks: Sequence[Task]) -> dict[Cell, Any]:
    records = {task.cell: read_record(place, task) for task in tasks}
    return {cell: found for cell, found in records.items() if found is not None}


def _tidy(place: Path) -> None:
    """Take away what a killed process left half-written."""
    for path in [*place.glob(".*.part"), *(place / CELLS).glob(".*.part")]:
        path.unlink(missing_ok=True)


@contextmanager
def _bar(total: int, done: int, *, shown: bool) -> Iterator[Any]:
    if not shown:
        yield lambda failed: None
        return
    from tqdm import tqdm

    with tqdm(total=total, initial=done, unit="cell", desc="compare", smoothing=0.1) as bar:

        def step(failed: int) -> None:
            if failed:
                bar.set_postfix_str(f"{failed} failed", refresh=False)
            bar.update()

        yield step
