"""A line of cells, and what stands behind its walls, laid out in lanes.

Cells stand in lanes: of M cells in each lane, lane l holds those from l M on, in records 1 to M.
Records 0 and M + 1 repeat the neighbours' ends. The first cell of all and those after the last are
no cells but walls, which hold what they hold.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.axis.newton import (
    CONDUCTANCE,
    ELECTRODE,
    FIXED_CHARGE,
    GROUNDING,
    PASSING,
    PULL,
    RESERVOIR,
    SURFACE_CHARGE,
    VALENCE,
    VOLUME,
    WALL_RISE,
    Cell,
)
from pnpfusion.solvers.kernels.decorators import Array, inner
from pnpfusion.solvers.kernels.lanes.straight_code import WIDTH

#: Rows of a record of a line: of its cell, then of the face after it, then of species there.
SIZE, INSIDE, LOAD, GROUND, G, FACE_PULL, OFFSET, LET_THROUGH = range(8)


class Line(NamedTuple):
    """A sample's :class:`Cell` in lanes."""

    scheme: int
    floating: bool
    cells: Array  #: rows as above, (M+1, 7 + 2S, 8); record 0 is the face before a lane
    valence: Array  #: (S,)
    walls: Array  #: their potentials, and 0 inside, (M+2, 1, 8)


@inner
def records(n: int) -> int:
    """How many cells are in each lane, walls included."""
    return (n + 1 + WIDTH) // WIDTH


@inner
def aligned(count: int, rows: int) -> Array:
    """Room for records, none across two lines of the cache."""
    room = np.empty(count * rows * WIDTH + WIDTH)
    first = (-room.ctypes.data // 8) % WIDTH
    return room[first : first + count * rows * WIDTH].reshape((count, rows, WIDTH))


@inner
def put_cells(values: Array, walls: Array, into: Array, row: int) -> None:
    """Lay ``values`` ``(N,)`` and those of both walls ``(2,)`` out as a row of records."""
    n, each = len(values), len(into) - 2
    for at in range(each + 2):
        for lane in range(WIDTH):
            i = lane * each + at - 2
            if 0 <= i < n:
                into[at, row, lane] = values[i]
            else:
                into[at, row, lane] = walls[0 if i < 0 else 1]


@inner
def lay_out(cell: Cell, species: int, n: int) -> Line:
    """One sample's cell in lanes."""
    each = records(n)
    cells = aligned(each + 1, LET_THROUGH + 2 * species)
    cells[:] = 0
    ends = cell.ends
    for at in range(each + 1):
        for lane in range(WIDTH):
            face = lane * each + at - 1  # the place of this record, and the face after it
            i = face - 1
            one = cells[at, :, lane]
            inside = 0 <= i < n
            one[SIZE] = cell.cells[VOLUME, i] if inside else 1.0
            one[INSIDE] = 1.0 if inside else 0.0
            one[GROUND] = 0.0 if inside else 1.0
            if inside:
                one[LOAD] = one[SIZE] * cell.cells[FIXED_CHARGE, i]
                if i == 0:
                    one[LOAD] += ends[SURFACE_CHARGE, 0]
                    one[GROUND] = cell.numbers[GROUNDING] if cell.floating else 0.0
                if i == n - 1:
                    one[LOAD] += ends[SURFACE_CHARGE, 1]
            if 0 <= face <= n:
                one[G] = cell.electric[CONDUCTANCE, face]
                one[FACE_PULL] = 1.0
                if face == 0:
                    one[FACE_PULL], one[OFFSET] = ends[PULL, 0], -ends[WALL_RISE, 0]
                if face == n:
                    one[FACE_PULL] = ends[PULL, 1]
                    one[OFFSET] += ends[WALL_RISE, 1]
                for s in range(2 * species):
                    one[LET_THROUGH + s] = cell.faces[PASSING + s, face]
    walls = aligned(each + 2, 1)
    put_cells(np.zeros(n), ends[ELECTRODE], walls, 0)
    return Line(cell.scheme, cell.floating, cells, cell.numbers[VALENCE:].copy(), walls)


@inner
def take_cells(records: Array, row: int, into: Array) -> None:
    """The opposite of :func:`put_cells`."""
    n, each = len(into), len(records) - 2
    for lane in range(WIDTH):
        for at in range(1, each + 1):
            i = lane * each + at - 2
            if 0 <= i < n:
                into[i] = records[at, row, lane]


@inner
def wall_concentrations(cell: Cell, species: int, s: int) -> Array:
    """Of species s behind both walls: of the reservoirs, or any where nothing passes."""
    walls = np.ones(2)
    for end in range(2):
        if cell.ends[RESERVOIR + species + s, end] > 0:
            walls[end] = cell.ends[RESERVOIR + s, end]
    return walls
