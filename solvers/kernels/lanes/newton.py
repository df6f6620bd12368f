"""Newton's method of `axis.newton`, and Poisson's equation alone, for a line in lanes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.axis.cell import CENTRAL
from pnpfusion.solvers.kernels.decorators import Array, inlined, inner
from pnpfusion.solvers.kernels.lanes.elimination import Workroom, correct_all, make_workroom
from pnpfusion.solvers.kernels.lanes.line import (
    INSIDE,
    LOAD,
    SIZE,
    Line,
    aligned,
    place,
    records,
)
from pnpfusion.solvers.kernels.lanes.straight_code import WIDTH, Numbers, Records, written


@inlined
def iterate_lanes(
    kinds: Any,
    line: Line,
    base: Array,
    h: float,
    u: Array,
    weight: Array,
    count: int,
    most: int,
    room: Workroom,
) -> tuple[bool, int, bool]:
    """Newton's iteration from ``u``, which ends as the last iterate; see `newton_1d.iterate`.

    Args:
        kinds: a tuple as long as there are species.
        line: the cell.
        base: the right side, ``(M+2, 1+S, 8)``; the row of the potential is not read.
        h: the step.
        u: concentrations and potential, like ``base``.
        weight: one over the correction that counts as one, like ``base``.
        count: of concentrations.
        most: when to give up.
        room: to work in.
    """
    cells, skip, valence = line.cells, line.skip, line.valence
    faces, eliminated, marks, separators, total = room
    size_before = 0.0
    for iteration in range(1, most + 1):
        correct_all(
            kinds,
            line.scheme,
            cells,
            skip,
            valence,
            base,
            h,
            u,
            weight,
            faces,
            eliminated,
            marks,
            separators,
            total,
        )
        size = 0.0
        for lane in range(WIDTH):
            size += total[0, 0, lane]
        size = np.sqrt(size / count)
        if not np.isfinite(size):
            return False, iteration, True
        # What the next correction will be, if each shrinks as the last one did.
        left = size * (size / size_before if size_before > size else 1.0)
        size_before = size
        if left <= 1:
            return True, iteration, False
    return False, most, False


class Poisson(NamedTuple):
    """Where :func:`find_potential_of` works: the same elimination, with no species."""

    load: Array  #: (M+2, 1, 8), as the next
    phi: Array
    room: Workroom


@inner
def make_poisson(n: int) -> Poisson:
    """Room for one sample at a time."""
    long = records(n) + 2
    return Poisson(aligned(long, 1), aligned(long, 1), make_workroom(0, n))


@written
def _charge(
    kinds: int,
    cells: Records,
    valence: Numbers,
    c: Records,
    share: Any,
    load: Records,
    at: Any,
    own: Any,
) -> None:
    """Put the load of ``c`` and a share of the cell's own into a record."""
    cell, here = cells.at(own), c.at(at)
    total = cell[LOAD] * share
    for s in range(kinds):
        total += cell[SIZE] * cell[INSIDE] * (valence[s] * here[s])
    load.at(at)[0] = total


@written
def _put_walls(share: Any, walls: Records, phi: Records, at: Any) -> None:
    """A share of the potential of walls, from which the solution is found in one correction."""
    phi.at(at)[0] = walls.at(at)[0] * share


@written
def _put_potential(kinds: int, phi: Records, c: Records, at: Any) -> None:
    c.at(at)[kinds] = phi.at(at)[0]


@inner
def find_potential_of(kinds: Any, line: Line, c: Array, share: float, poisson: Poisson) -> None:
    """Put the potential of ``c``, and of a share of what else there is, into its last row.

    With 0 for the share it is what a change of ``c`` changes. Where no wall fixes the potential, it
    is that of the load less its mean.
    """
    last, cells, skip = len(c) - 2, line.cells, line.skip
    load, phi = poisson.load, poisson.phi
    for at in range(1, last + 1):
        _charge(kinds, cells, line.valence, c, share, load, at, place(at, skip))
    if line.floating:
        total, volume = 0.0, 0.0
        for at in range(1, last + 1):
            cell = cells[place(at, skip)]
            for lane in range(WIDTH):
                if cell[INSIDE, lane] > 0:
                    total += load[at, 0, lane]
                    volume += cell[SIZE, lane]
        for at in range(1, last + 1):
            cell = cells[place(at, skip)]
            for lane in range(WIDTH):
                if cell[INSIDE, lane] > 0:
                    load[at, 0, lane] -= cell[SIZE, lane] * (total / volume)
    walls = line.walls
    for at in range(last + 2):
        _put_walls(share, walls, phi, at)
    faces, eliminated, marks, separators, found = poisson.room
    correct_all(
        (),
        CENTRAL,
        cells,
        skip,
        line.valence,
        load,
        0.0,
        phi,
        phi,
        faces,
        eliminated,
        marks,
        separators,
        found,
    )
    for at in range(last + 2):
        _put_potential(kinds, phi, c, at)
