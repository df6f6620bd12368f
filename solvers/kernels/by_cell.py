"""Derivatives by what a cell is made of."""

from __future__ import annotations

from typing import NamedTuple

from pnpfusion.solvers.kernels.decorators import Array, inner


class Given(NamedTuple):
    """Derivatives by the arrays of :class:`Cell`, each of their shape."""

    numbers: Array
    cells: Array
    ends: Array
    electric: Array
    faces: Array


@inner
def one_given(by: Given, sample: int) -> Given:
    """Those of one sample."""
    return Given(
        by.numbers[sample if len(by.numbers) > 1 else 0],
        by.cells[sample if len(by.cells) > 1 else 0],
        by.ends[sample if len(by.ends) > 1 else 0],
        by.electric[sample if len(by.electric) > 1 else 0],
        by.faces[sample if len(by.faces) > 1 else 0],
    )
