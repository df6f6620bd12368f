"""Comma-separated text with a header line, as text."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import torch

from pnpfusion.data.reading import a_file
from pnpfusion.solvers.faq import Faq


@dataclass(frozen=True)
class Table:
    """The cells of a table, each stripped of spaces around it."""

    path: Path  #: where it was read
    header: list[str]  #: names of the columns, all different
    rows: list[list[str]]  #: that are not blank, as long as the header
    lines: list[int]  #: of the file that each row ends on

    def column(self, name: str) -> list[str]:
        """The cells of a column, from above."""
        at = self.header.index(name)
        return [row[at] for row in self.rows]

    def filled(self, names: Sequence[str]) -> torch.Tensor:
        """The rows in which not all of some columns are empty, bool (rows,)."""
        columns = [self.header.index(name) for name in names]
        return torch.tensor([any(row[at] for at in columns) for row in self.rows])

    def numbers(self, names: Sequence[str], filled: torch.Tensor | None = None) -> torch.Tensor:
        """The numbers of some columns, (rows, columns), float64; 0 in rows that are not ``filled``.

        Raises:
            ValueError: an entry that is no finite number.
        """
        columns = [self.header.index(name) for name in names]
        cells = [[row[at] for at in columns] for row in self.rows]
        for row in [] if filled is None else (~filled).nonzero()[:, 0].tolist():
            cells[row] = ["0"] * len(columns)
        try:
            values = np.array(cells, dtype=np.float64)
        except ValueError:
            numbers = [[float(c) if is_number(c) else np.nan for c in row] for row in cells]
            values = np.array(numbers)
        for i, j in np.argwhere(~np.isfinite(values)):
            raise ValueError(
                f"{self.path}, line {self.lines[i]}, column {names[j]!r}: got {cells[i][j]!r}, "
                f"wanted a finite number; fill it in or drop the line. A modality that is absent "
                f"is empty in all its columns {Faq.BAD_NUMBERS}."
            )
        return torch.from_numpy(values)

    def must_have(self, what: str, column: str) -> None:
        """Nothing, if the column is there.

        Raises:
            ValueError: it is not.
        """
        if column in self.header:
            return
        near = get_close_matches(column, self.header, n=3)
        first = f"it has {self.header[:5]}" + ", ..." * (len(self.header) > 5)
        advice = f"near it: {near}" if near else first
        raise ValueError(
            f"{self.path} has no column {column!r} for {what}; {advice} {Faq.DATA_NOT_FOUND}."
        )


def read_table(path: Path) -> Table:
    """The table of a comma-separated file with a header line.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: no text, no header, no rows, rows of different length, or a repeated column.
    """
    try:
        with a_file(path).open(newline="", encoding="utf-8-sig") as stream:
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
    if all(is_number(cell) for cell in header):
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
    return Table(path, header, [row for row, _ in table[1:]], [line for _, line in table[1:]])


def is_number(text: str) -> bool:
    """Whether it reads as a number, finite or not."""
    try:
        float(text)
    except ValueError:
        return False
    return True
