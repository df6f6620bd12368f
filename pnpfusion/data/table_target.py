"""What is asked of samples, from the columns of a table."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.data.labels import LABEL_NAMES, classes
from pnpfusion.data.table_text import Table, is_number
from pnpfusion.data.task import Task

#: What columns that begin with these words hold: ``label_rain``, ``target.height``.
PREFIXES: dict[str, Task] = {"label": "labels", "target": "numbers"}


@dataclass(frozen=True)
class Asked:
    """Columns that tell what is asked of a sample."""

    task: Task | None  #: None: nothing is asked
    columns: tuple[str, ...]


def find_target(
    table: Table,
    label: str | None,
    labels: Sequence[str] | None,
    numbers: Sequence[str] | None,
    used: Collection[str],
) -> Asked:
    """The columns that are named, or that tell by their names what they are.

    Args:
        table: where to look.
        label: the column of classes, if it is named.
        labels: the columns of labels, if they are.
        numbers: the columns of numbers, if they are.
        used: columns that are features.

    Raises:
        ValueError: a column that is not there, none, or several that may be meant.
    """
    if sum(given is not None for given in (label, labels, numbers)) > 1:
        raise ValueError("give one of `label`, `labels` and `numbers`; a set asks for one thing.")
    given: tuple[tuple[str, Task, Sequence[str] | None], ...] = (
        ("label", "classes", None if label is None else (label,)),
        ("labels", "labels", labels),
        ("numbers", "numbers", numbers),
    )
    for argument, task, columns in given:
        if columns is None:
            continue
        if isinstance(columns, str) or not columns:
            raise ValueError(f"`{argument}` must list one or more columns, got {columns!r}.")
        for column in columns:
            table.must_have(argument, column)
        return Asked(task, tuple(columns))
    free = [name for name in table.header if name not in used]
    single = [name for name in free if name.lower() in LABEL_NAMES]
    prefixed: dict[Task, tuple[str, ...]] = {}
    for name in free:
        if kind := PREFIXES.get(_prefix(name)):
            prefixed[kind] = (*prefixed.get(kind, ()), name)
    if len(single) > 1:
        raise ValueError(f"{table.path}: each of {single} may be the label; say which by `label`.")
    if len(single) + len(prefixed) > 1:
        several = [*single, *(name for names in prefixed.values() for name in names)]
        raise ValueError(
            f"{table.path}: {several} may be what is asked for; say which by `label`, `labels` or "
            f"`numbers`, and list the `modalities`."
        )
    for task, names in prefixed.items():
        return Asked(task, names)
    if not single:
        return Asked(None, ())
    cells = table.column(single[0])
    fractions = single[0].lower() == "target" and all(is_number(cell) for cell in cells)
    if fractions and any(not float(cell).is_integer() for cell in cells):
        return Asked("numbers", (single[0],))
    return Asked("classes", (single[0],))


def read_target(table: Table, asked: Asked) -> tuple[Tensor | None, tuple[str, ...]]:
    """The target and its ``class_names``.

    Raises:
        ValueError: entries that are no class, no 0 or 1, or no finite number.
    """
    if asked.task is None:
        return None, ()
    if asked.task == "classes":
        what = f"{table.path}: column {asked.columns[0]!r}"
        return classes(table.column(asked.columns[0]), what, table.lines)
    values = table.numbers(asked.columns)
    names = tuple(re.sub(r"(?i)^(label|target)[_.]", "", column) for column in asked.columns)
    if asked.task == "numbers":
        return (values[:, 0] if len(asked.columns) == 1 else values), names
    for row, column in ((values != 0) & (values != 1)).nonzero().tolist():
        raise ValueError(
            f"{table.path}, line {table.lines[row]}, column {asked.columns[column]!r}: got "
            f"{float(values[row, column]):g}, wanted 1 for a sample that has the label, else 0."
        )
    return values.to(torch.bool), names


def _prefix(column: str) -> str:
    """What the name begins with, up to the first mark, in lower case; else nothing."""
    found = re.match(r"([^_.]+)[_.]", column)
    return found[1].lower() if found else ""
