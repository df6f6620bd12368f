"""A line of cells, and what stands behind its walls, laid out in lanes.

Cells stand in lanes: of M cells in each lane, lane l holds those from l M on, in records 1 to M.
Records 0 and M + 1 repeat the neighbours' ends. The first cell of all and those after the last are
no cells but walls, which hold what they hold.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.axis.cell import (
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
from pnpfusion.solvers.kernels.decorators import Array, Truth, inlined, inner
from pnpfusion.solvers.kernels.lanes.straight_code import WIDTH

#: Rows of a record of a line: of its cell, then of the face after it, then of species there.
SIZE, INSIDE, LOAD, GROUND, G, FACE_PULL, OFFSET, LET_THROUGH = range(8)
#: The record that others share, past those of the first wall.
SHARED = 3


class Line(NamedTuple):
    """A sample's :class:`Cell` in lanes."""

    scheme: int
    floating: bool
    cells: Array
    """Rows as above, (M+1-skip, 7 + 2S, 8); record 0 is the face before a lane. That of any place
    is at :func:`place`, since places inside a uniform cell share one: it stays in the cache."""
    skip: int  #: how many records are left out
    valence: Array  #: (S,)
    closed: Truth  #: which species no wall lets in or out, (S,)
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


@inlined
def place(at: int, skip: int) -> int:
    """Where the record of a place is, in the cells of a line; what is before it is the one before.

    The walls are in the first records, and in the last.
    """
    return max(min(at, SHARED), at - skip)


@inner
def _left_out(cell: Cell, n: int) -> int:
    """How many records of a line may share another one, for nothing varies there."""
    each = records(n)
    stop = n % each + 1  # where the last cell is
    if n // each < WIDTH - 1 or stop <= SHARED + 1:
        return 0
    for row in (VOLUME, FIXED_CHARGE):
        values = cell.cells[row]
        for i in range(2, n - 1):
            if values[i] != values[1]:
                return 0
    for across in (cell.electric, cell.faces):
        for row in range(len(across)):
            for face in range(2, n):
                if across[row, face] != across[row, 1]:
                    return 0
    return stop - 1 - SHARED


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
def lay_out(cell: Cell, species: int, n: int, shares: bool) -> Line:
    """One sample's cell in lanes; ``shares`` says whether places may share a record."""
    each, skip = records(n), _left_out(cell, n) if shares else 0
    cells = aligned(each + 1 - skip, LET_THROUGH + 2 * species)
    cells[:] = 0
    ends = cell.ends
    for row in range(each + 1 - skip):
        at = row if row <= SHARED else row + skip
        for lane in range(WIDTH):
            face = lane * each + at - 1  # the place of this record, and the face after it
            i = face - 1
            one = cells[row, :, lane]
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
    valence = cell.numbers[VALENCE:].copy()
    return Line(cell.scheme, cell.floating, cells, skip, valence, cell.closed, walls)


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
