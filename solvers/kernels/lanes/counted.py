"""Derivatives by the arrays of a cell, counted in lanes and taken out at the end."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.axis.cell import (
    CONDUCTANCE,
    ELECTRODE,
    FIXED_CHARGE,
    PASSING,
    PULL,
    RESERVOIR,
    SURFACE_CHARGE,
    VALENCE,
    VOLUME,
    WALL_RISE,
    Cell,
)
from pnpfusion.solvers.kernels.by_cell import Given
from pnpfusion.solvers.kernels.decorators import Array, inlined, inner
from pnpfusion.solvers.kernels.lanes.line import FACE_PULL, OFFSET, SIZE, aligned, records
from pnpfusion.solvers.kernels.lanes.straight_code import WIDTH, Numbers, Records, written
from pnpfusion.solvers.kernels.lanes.transposed import AHEAD, BACK, MOVED, PUSH

#: Rows of a record: by the load of a cell, then by what its next face has.
BY_LOAD, BY_G, BY_PULL, BY_OFFSET, BY_PASSING = range(5)


class Counted(NamedTuple):
    """Those of one sample, in lanes."""

    cells: Array  #: rows as above, (M+1, 4 + 2S, 8)
    valence: Array  #: (1, S, 8)
    reservoir: Array  #: (S, 2)


@inner
def make_counted(species: int, n: int) -> Counted:
    """Room for one sample at a time."""
    return Counted(
        aligned(records(n) + 1, BY_PASSING + 2 * species),
        aligned(1, species),
        np.empty((species, 2)),
    )


@written
def _count(
    kinds: int,
    cells: Records,
    faces: Records,
    u: Records,
    w: Records,
    h: Any,
    valence: Numbers,
    by_cells: Records,
    by_valence: Records,
    at: Any,
) -> None:
    """Add what a cell of each lane and the face after it count."""
    phi, cell, face, by = kinds, cells.at(at), faces.at(at), by_cells.at(at)
    here, after, mine, theirs = u.at(at), u.at(at, 1), w.at(at), w.at(at, 1)
    of_valence = by_valence.at(at.type(0))
    climb = after[phi] - here[phi]
    rise = cell[FACE_PULL] * climb + cell[OFFSET]
    charged = cell[SIZE] * mine[phi]
    by[BY_LOAD] = by[BY_LOAD] + mine[phi]
    by[BY_G] = by[BY_G] + (mine[phi] - theirs[phi]) * climb
    by_rise = 0
    for s in range(kinds):
        down = h * (theirs[s] - mine[s])
        turned = down * face[4 * s + PUSH]
        by_rise = by_rise + valence[s] * turned
        row = BY_PASSING + s
        by[row] = by[row] + down * face[4 * s + MOVED]
        by[row + kinds] = by[row + kinds] + down
        of_valence[s] = of_valence[s] + turned * rise + charged * here[s]
    by[BY_PULL] = by[BY_PULL] + by_rise * climb
    by[BY_OFFSET] = by[BY_OFFSET] + by_rise


@inlined
def count_stage(
    kinds: Any,
    cells: Array,
    valence: Array,
    n: int,
    u: Array,
    h: float,
    w: Array,
    faces: Array,
    by_cells: Array,
    by_valence: Array,
    by_reservoir: Array,
) -> None:
    """From the solution ``w`` of the transposed system at a stage ``u`` to the cell."""
    last = len(u) - 2
    for at in range(1, last + 1):
        _count(kinds, cells, faces, u, w, h, valence, by_cells, by_valence, at)
    lane, at = n // last, n % last + 1  # where the last cell is
    for s in range(len(kinds)):
        by_reservoir[s, 0] += h * w[2, s, 0] * faces[1, 4 * s + AHEAD, 0]
        by_reservoir[s, 1] += h * w[at, s, lane] * faces[at, 4 * s + BACK, lane]


@inner
def take_out(cell: Cell, counted: Counted, n: int, by: Given) -> None:
    """Add what was counted in lanes to the derivatives by the cell."""
    species, each = len(counted.reservoir), len(counted.cells) - 1
    for at in range(1, each + 1):
        for lane in range(WIDTH):
            face = lane * each + at - 1
            i = face - 1
            one = counted.cells[at, :, lane]
            if 0 <= i < n:
                by.cells[FIXED_CHARGE, i] += cell.cells[VOLUME, i] * one[BY_LOAD]
            for end, edge, wall in ((0, 0, 0), (1, n - 1, n)):
                sign = 1.0 if end == 1 else -1.0
                if i == edge:
                    by.ends[SURFACE_CHARGE, end] += one[BY_LOAD]
                    by.ends[ELECTRODE, end] += cell.electric[CONDUCTANCE, wall] * one[BY_LOAD]
                if face == wall:
                    by.ends[ELECTRODE, end] += sign * cell.ends[PULL, end] * one[BY_OFFSET]
                    by.ends[PULL, end] += one[BY_PULL]
                    by.ends[WALL_RISE, end] += sign * one[BY_OFFSET]
            if 0 <= face <= n:
                by.electric[CONDUCTANCE, face] += one[BY_G]
                for s in range(2 * species):
                    by.faces[PASSING + s, face] += one[BY_PASSING + s]
    for s in range(species):
        for lane in range(WIDTH):
            by.numbers[VALENCE + s] += counted.valence[0, s, lane]
        for end in range(2):
            by.ends[RESERVOIR + s, end] += counted.reservoir[s, end]
