"""Features from a table with a header: comma-separated text."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pnpfusion.data.feature_set import Features
from pnpfusion.data.table_target import find_target, read_target
from pnpfusion.data.table_text import Table, read_table
from pnpfusion.data.targets import splits_of
from pnpfusion.solvers.faq import Faq


def from_csv(
    path: str | Path,
    *,
    modalities: Mapping[str, Sequence[str]] | None = None,
    label: str | None = None,
    labels: Sequence[str] | None = None,
    numbers: Sequence[str] | None = None,
    split: str | None = None,
) -> Features:
    """Features from a comma-separated file with a header line, one sample per line.

    A sample lacks a modality where all its columns are empty.

    Args:
        path: the file, UTF-8.
        modalities: the columns of each modality, which leaves the others unread. By default a
            column belongs to the modality that its name begins with, up to the first ``_`` or
            ``.``: ``audio_1``, ``audio_2`` and ``audio.mean`` to ``audio``.
        label: the column of the classes. By default the one called label, class, target or y, if
            there is one; one called target that holds fractions holds numbers.
        labels: columns of 0 and 1, one for each label that a sample may have. By default those that
            begin with ``label_`` or ``label.``.
        numbers: columns of numbers that are asked for. By default those that begin with ``target_``
            or ``target.``.
        split: the column that says train, valid or test. By default the one called split, if there
            is one.

    Returns:
        The features as float64, in the order of the columns; classes in sorted order.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: no header, no rows, rows of different length, an unknown or repeated column, a
            column without prefix, an empty modality, or an entry that is no finite number, class,
            label or split.
    """
    path = Path(path)
    table = read_table(path)
    used = {column for columns in (modalities or {}).values() for column in columns}
    if split is not None:
        table.must_have("split", split)
    elif "split" in table.header and "split" not in used:
        split = "split"
    asked = find_target(table, label, labels, numbers, {*used, split or ""})
    told = (*asked.columns, *((split,) if split else ()))
    groups = _grouped(table, told) if modalities is None else _given(table, modalities)
    for name, columns in groups.items():
        if both := [column for column in told if column in columns]:
            what = "split" if both[0] == split else "label" if label else "target"
            raise ValueError(
                f"{path}: {both[0]!r} is the {what} and stands in modality {name!r} too; "
                f"take it out there, or name another `{what}`."
            )
    target, class_names = read_target(table, asked)
    present = {name: table.filled(columns) for name, columns in groups.items()}
    for line, *there in zip(table.lines, *present.values(), strict=True):
        if there and not any(there):
            raise ValueError(f"{path}, line {line}: all of {[*groups]} are empty; drop the line.")
    splits = {}
    if split is not None:
        splits = splits_of(table.column(split), f"{path}: column {split!r}", table.lines)
    return Features(
        path.stem,
        {name: table.numbers(columns, present[name]) for name, columns in groups.items()},
        present=present,
        target=target,
        class_names=class_names,
        splits=splits,
        feature_names=groups,
        source=str(path),
    )


def _grouped(table: Table, told: Collection[str]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, tuple[str, ...]] = {}
    for column in table.header:
        if column in told:
            continue
        prefix, *rest = re.split(r"[_.]", column, maxsplit=1)
        if not prefix or not rest:
            raise ValueError(
                f"{table.path}: column {column!r} has no prefix that names its modality, as in "
                f"audio_1; rename it, or list the columns by `modalities` {Faq.DATA_NOT_FOUND}."
            )
        groups[prefix] = (*groups.get(prefix, ()), column)
    if not groups:
        raise ValueError(
            f"{table.path} has no column of features beside {', '.join(map(repr, told))}"
            f" {Faq.DATA_NOT_FOUND}."
        )
    return groups


def _given(table: Table, modalities: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    for name, columns in modalities.items():
        if isinstance(columns, str) or not columns:
            raise ValueError(
                f"`modalities[{name!r}]` must list one or more columns, got {columns!r}; "
                f"leave an empty modality out."
            )
        for column in columns:
            table.must_have(f"modality {name!r}", column)
    return {name: tuple(columns) for name, columns in modalities.items()}
