"""What a case of the verification is: tables of computed and known values with bounds, a figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure

f64 = torch.float64

#: Cells per axis (of two axes; a quarter of them per axis of three).
SIZES = (64, 128, 256)

#: Below this an error is round-off, and no order can be seen.
ROUND_OFF = 1e-10


@dataclass(frozen=True)
class Row:
    """One computed value beside the known one."""

    what: str  #: the quantity
    cells: int  #: N, along each axis
    error: float  #: of the value, or the largest over a profile
    bound: float  #: what the error must not exceed
    computed: float | None = None  #: None where the error is that of a whole profile
    exact: float | None = None
    order: float | None = None  #: log2 of the error at half the cells over this one
    wanted: tuple[float, float] | None = None  #: between which the order must lie

    @property
    def complaints(self) -> list[str]:
        """What is not as stated, in words."""
        found = []
        if not self.error <= self.bound:
            found.append(
                f"{self.what}, N = {self.cells}: error {self.error:.2e} > {self.bound:.1e}"
            )
        if self.order is not None and self.wanted is not None and self.error > ROUND_OFF:
            low, high = self.wanted
            if not low <= self.order <= high:
                found.append(
                    f"{self.what}, N = {self.cells}: order {self.order:.2f}, not {low} to {high}"
                )
        return found


@dataclass(frozen=True)
class Table:
    """Rows under one heading."""

    title: str
    rows: Sequence[Row]
    relative: bool = True  #: whether errors are relative; else in the unit of the value
    size: str = "N"  #: heading of the column of sizes


@dataclass(frozen=True)
class Case:
    """A problem with a known answer."""

    key: str  #: its short name, such as "double-layer"
    title: str
    text: str  #: the problem, the known answer, and what the bounds mean; Markdown
    tables: Callable[[Sequence[int]], list[Table]]  #: of the sizes
    figure: Callable[[], Figure]
    caption: str
    cheap: tuple[int, ...] = SIZES[:2]  #: sizes that take a second or a few; may be empty


def series(
    what: str,
    sizes: Sequence[int],
    computed: Sequence[float],
    exact: float | Sequence[float],
    *,
    bound: float,
    power: float = 2.0,
    wanted: tuple[float, float] | None = None,
    relative: bool = True,
) -> list[Row]:
    """Rows of a value on finer and finer grids; ``bound`` holds at N = 64 and falls as N^-power."""
    known = [float(exact)] * len(sizes) if isinstance(exact, float | int) else list(exact)
    errors = [
        abs(float(c) - e) / (abs(e) if relative else 1.0)
        for c, e in zip(computed, known, strict=True)
    ]
    pairs = zip(map(float, computed), known, strict=True)
    return _rows(what, sizes, errors, list(pairs), bound, power, wanted)


def profile(
    what: str,
    sizes: Sequence[int],
    errors: Sequence[float],
    *,
    bound: float,
    power: float = 2.0,
    wanted: tuple[float, float] | None = None,
) -> list[Row]:
    """Rows of the largest error over a profile; see :func:`series`."""
    return _rows(what, sizes, errors, [(None, None)] * len(sizes), bound, power, wanted)


def _rows(
    what: str,
    sizes: Sequence[int],
    errors: Sequence[float],
    values: Sequence[tuple[float | None, float | None]],
    bound: float,
    power: float,
    wanted: tuple[float, float] | None,
) -> list[Row]:
    found = []
    for i, n in enumerate(sizes):
        order = None
        if i and min(errors[i], errors[i - 1]) > ROUND_OFF and power:
            order = math.log(errors[i - 1] / errors[i]) / math.log(n / sizes[i - 1])
        limit = bound * (64 / n) ** power
        found.append(Row(what, n, float(errors[i]), limit, *values[i], order, wanted))
    return found
