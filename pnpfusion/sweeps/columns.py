"""What a sweep keeps of its cases, and a word where finished cases lack what is asked for now."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from pnpfusion.solvers.callers import users_level
from pnpfusion.sweeps.carry_out import Work, finished
from pnpfusion.sweeps.cases import Case, name_of
from pnpfusion.sweeps.records import Record, columns_of
from pnpfusion.sweeps.rows import ALWAYS, LEDGER


def watched(work: Work, folder: Path, cases: Sequence[Case]) -> Work:
    """``work``, of records that are observed; it warns of columns that no finished case has.

    Cases that are finished are not observed again, so a changed ``observe`` would go unnoticed.
    """
    names = {name_of(case) for case in cases}
    files = {path for name, path in finished(folder).items() if name in names}
    there = {column for path in files for column in columns_of(path, names)}
    if there and there <= {*ALWAYS, *LEDGER}:
        _warn(folder, "what `observe` gives")
        return work

    def observed(block: list[Case]) -> Sequence[Record]:
        records = work(block)
        now = dict.fromkeys(what for one in records for what in (*one.row, *one.tensors))
        new = [what for what in now if what not in there]
        if there and new:
            _warn(folder, f"{new}")
            there.update(new)  # said once
        return records

    return observed


def _warn(folder: Path, what: str) -> None:
    warnings.warn(
        f"{folder} has finished cases without {what}, and finished cases are not observed again: "
        f"set `overwrite=True`, or another `folder`, if `observe` has changed.",
        stacklevel=users_level(),
    )
