"""Features from a table with a header: comma-separated text."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import torch

from pnpfusion.data.feature_set import Features
from pnpfusion.data.labels import LABEL_NAMES, classes


def from_csv(
    path: str | Path,
    *,
    modalities: Mapping[str, Sequence[str]] | None = None,
    label: str | None = None,
) -> Features:
    """Features from a comma-separated file with a header line, one sample per line.

    Args:
        path: the file, UTF-8.
        modalities: the columns of each modality, which leaves the others unread. By default a
            column belongs to the modality that its name begins with, up to the first ``_`` or
            ``.``: ``audio_1``, ``audio_2`` and ``audio.mean`` to ``audio``.
        label: the column of the classes. By default the one called label, class, target or y, if
            there is one.

    Returns:
        The features as float64, in the order of the columns; classes in sorted order.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: no header, no rows, rows of different length, an unknown or repeated column, a
            column without prefix, an empty modality, or an entry that is no finite number.
    """
    path = Path(path)
    header, rows, lines = _read(path)
    if label is None:
        label = _find_label(path, header, modalities)
    elif label not in header:
        raise ValueError(_unknown(path, "label", label, header))
    groups = (
        _grouped(path, header, label) if modalities is None else _given(path, header, modalities)
    )
    if label is not None and (owners := [name for name, g in groups.items() if label in g]):
        raise ValueError(
            f"{path}: {label!r} is the label and stands in modality {owners[0]!r} too; "
            f"take it out there, or name another `label`."
        )
    labels: torch.Tensor | None = None
    class_names: tuple[str, ...] = ()
    if label is not None:
        at = header.index(label)
        labels, class_names = classes([row[at] for row in rows], f"{path}: column {label!r}", lines)
    return Features(
        path.stem,
        {name: _numbers(path, header, rows, lines, group) for name, group in groups.items()},
        target=labels,
        class_names=class_names,
        feature_names=groups,
        source=str(path),
    )


def _read(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    """The header, the rows that are not blank, and the line each row ends on."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there or no file; check the path.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            table = [([cell.strip() for cell in row], reader.line_num) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no UTF-8 text of comma-separated values: {error}.") from None
    if not table:
        raise ValueError(f"{path} is empty; wanted a header line and one line per sample.")
    header = table[0][0]
    for mark in ";\t":
        if len(header) == 1 and mark in header[0]:
            raise ValueError(f"{path} is separated by {mark!r}; save it with commas.")
    if all(_is_number(cell) for cell in header):
        raise ValueError(
            f"{path} has no header: its first line holds numbers; put the columns' names there, "
            f"e.g. audio_1,audio_2,motion_1,label."
        )
    if repeated := sorted({name for name in header if header.count(name) > 1}):
        raise ValueError(f"{path} has columns of the same name: {repeated}; rename them.")
    if len(table) == 1:
        raise ValueError(f"{path} has a header but no rows; wanted one line per sample.")
    for row, line in table[1:]:
        if len(row) != len(header):
            raise ValueError(
                f"{path}, line {line}: got {len(row)} entries, but the header has {len(header)}; "
                f"every line needs one entry per column."
            )
    return header, [row for row, _ in table[1:]], [line for _, line in table[1:]]


def _find_label(
    path: Path, header: list[str], modalities: Mapping[str, Sequence[str]] | None
) -> str | None:
    used = {column for group in (modalities or {}).values() for column in group}
    found = [name for name in header if name.lower() in LABEL_NAMES and name not in used]
    if len(found) > 1:
        raise ValueError(f"{path}: each of {found} may be the label; say which by `label`.")
    return found[0] if found else None


def _grouped(path: Path, header: list[str], label: str | None) -> dict[str, tuple[str, ...]]:
    groups: dict[str, tuple[str, ...]] = {}
    for column in header:
        if column == label:
            continue
        prefix, *rest = re.split(r"[_.]", column, maxsplit=1)
        if not prefix or not rest:
            raise ValueError(
                f"{path}: column {column!r} has no prefix that names its modality, as in "
                f"audio_1; rename it, or list the columns by `modalities`."
            )
        groups[prefix] = (*groups.get(prefix, ()), column)
    if not groups:
        raise ValueError(f"{path} has no column of features beside {label!r}.")
    return groups


def _given(
    path: Path, header: list[str], modalities: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    for name, columns in modalities.items():
        if isinstance(columns, str) or not columns:
            raise ValueError(
                f"`modalities[{name!r}]` must list one or more columns, got {columns!r}; "
                f"leave an empty modality out."
            )
        for column in columns:
            if column not in header:
                raise ValueError(_unknown(path, f"modality {name!r}", column, header))
    return {name: tuple(columns) for name, columns in modalities.items()}


def _unknown(path: Path, what: str, column: str, header: list[str]) -> str:
    near = get_close_matches(column, header, n=3)
    advice = f"near it: {near}" if near else f"it has {header[:5]}" + ", ..." * (len(header) > 5)
    return f"{path} has no column {column!r} for {what}; {advice}."


def _numbers(
    path: Path, header: list[str], rows: list[list[str]], lines: list[int], group: tuple[str, ...]
) -> torch.Tensor:
    columns = [header.index(name) for name in group]
    cells = [[row[at] for at in columns] for row in rows]
    try:
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        values = np.array([[float(c) if _is_number(c) else np.nan for c in row] for row in cells])
    for i, j in np.argwhere(~np.isfinite(values)):
        raise ValueError(
            f"{path}, line {lines[i]}, column {group[j]!r}: got {cells[i][j]!r}, wanted a finite "
            f"number; fill it in or drop the line."
        )
    return torch.from_numpy(values)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
