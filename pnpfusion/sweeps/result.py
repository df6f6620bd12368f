"""The result of a sweep: one file, and what is read from it."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

import pnpfusion
from pnpfusion.files import json_bytes, write_whole
from pnpfusion.solvers.arguments import check_choice
from pnpfusion.sweeps.cases import Case, name_of, varying
from pnpfusion.sweeps.records import Header, Row, read_header, tensor_of

RESULT, TABLE, SUMMARY, PARTS = "sweep.safetensors", "table.csv", "summary.json", "parts"


@dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """All cases of a sweep with their outcomes; tensors are read from the file when asked for."""

    path: Path  #: the file
    cases: tuple[Case, ...]  #: the parameters of each case
    rows: tuple[Row, ...]  #: for each case its outcome and its numbers, see :func:`pnpfusion.sweep`
    _digests: Mapping[str, str] = field(default_factory=dict)  # of its tensors: damage is seen

    @classmethod
    def load(cls, path: str | Path) -> Sweep:
        """Open a finished sweep.

        Args:
            path: the file ``sweep.safetensors``, or its folder.

        Raises:
            FileNotFoundError: it is not there.
            ValueError: it is no sweep, is damaged, or is of a newer format.
        """
        path = Path(path)
        if path.is_dir():
            path = path / RESULT
        header = read_header(path)
        return cls(path, header.cases, header.rows, header.digests)

    def __repr__(self) -> str:
        return f"Sweep({len(self.cases)} cases, {int(self.succeeded.sum())} solved, {self.path})"

    @property
    def succeeded(self) -> Tensor:
        """Which cases have an answer for all their samples: bool, ``(n,)``."""
        return torch.tensor([row["succeeded"] == row["samples"] for row in self.rows])

    def column(self, name: str) -> Tensor:
        """A parameter or a number of every case, float64, ``(n,)``; NaN where there is none.

        Args:
            name: one of the parameters or of the numbers that were kept.

        Raises:
            ValueError: there is no such column, or it holds no numbers.
        """
        both = [case | row for case, row in zip(self.cases, self.rows, strict=True)]
        names = list(dict.fromkeys(key for one in both for key in one))
        check_choice("name", name, names)
        values = [one.get(name) for one in both]
        if wrong := [v for v in values if not isinstance(v, int | float | None)]:
            raise ValueError(f"{name!r} does not hold numbers, but {wrong[0]!r}; see `rows`.")
        return torch.tensor(
            [float("nan") if v is None else float(v) for v in values], dtype=torch.float64
        )

    def tensor(self, name: str, case: int | None = None) -> Tensor:
        """What was kept of one case, or of all of them in a stack.

        Args:
            name: ``"states"`` ``(T, *batch, *state)``, ``"times"`` ``(T,)``, or what ``observe``
                gave.
            case: its place in ``cases``; None stacks all cases, ``(n, ...)``, and fills up with NaN
                after the end of those that ended early.

        Raises:
            ValueError: there is no such tensor or case, it is damaged, or the cases' shapes differ
                by more than their end.
        """
        from safetensors import SafetensorError, safe_open

        n = len(self.cases)
        if case is not None and (type(case) is not int or not -n <= case < n):
            raise ValueError(
                f"`case` must be the place of one of {n} cases, 0 to {n - 1}, got {case!r}."
            )
        places = range(n) if case is None else [case]
        with safe_open(self.path, framework="pt") as file:
            try:
                keys = [f"{name_of(self.cases[at])}.{name}" for at in places]
                found = [tensor_of(file, key, self.path, self._digests) for key in keys]
            except SafetensorError:
                there = sorted({key.partition(".")[2] for key in file.keys()})  # noqa: SIM118
                raise ValueError(f"`name` must be one of {there}, got {name!r}.") from None
        if case is not None:
            return found[0]
        if len({tuple(one.shape[1:]) for one in found}) > 1:
            raise ValueError(
                f"{name!r} has another shape in other cases; take one at a time with `case`."
            )
        longest = max(found, key=len)
        if all(one.shape == longest.shape for one in found):
            return torch.stack(found)
        stack = longest.new_full((len(found), *longest.shape), float("nan"))
        for row, one in zip(stack, found, strict=True):
            row[: len(one)] = one
        return stack


def write_tables(folder: Path, header: Header) -> None:
    """Write ``table.csv``, a line for each case, and ``summary.json``, what they have in common."""
    differing = varying(header.cases)
    shown = differing or list(dict.fromkeys(name for case in header.cases for name in case))
    columns = list(dict.fromkeys(name for row in header.rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", *shown, *columns])
    for place, (case, row) in enumerate(zip(header.cases, header.rows, strict=True)):
        cells = [*(case.get(name) for name in shown), *(row.get(name) for name in columns)]
        writer.writerow([place, *map(_cell, cells)])
    common = {name: value for name, value in header.cases[0].items() if name not in differing}
    counts = Counter(row["outcome"] for row in header.rows)
    summary = {
        "cases": len(header.cases),
        "succeeded": sum(row["succeeded"] == row["samples"] for row in header.rows),
        "outcomes": dict(sorted(counts.items())),
        "common": common,
        "varied": differing,
        "versions": {"pnpfusion": pnpfusion.__version__, "torch": str(torch.__version__)},
    }
    write_whole(folder / TABLE, text.getvalue().encode())
    write_whole(folder / SUMMARY, json_bytes(summary))


def _cell(value: object) -> object:
    """Numbers and text as they are, nothing as nothing, the rest as JSON."""
    if value is None or isinstance(value, str | float) or type(value) is int:
        return value
    return json.dumps(value, ensure_ascii=False)
