"""One correction of Newton's method for a line in lanes; see `separators`.

Elimination takes the species of a cell first, then its potential.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pnpfusion.solvers.kernels.decorators import Array, inlined, inner
from pnpfusion.solvers.kernels.lanes.blocks import Matrix, column, difference, product
from pnpfusion.solvers.kernels.lanes.faces import AHEAD, BACK, FLUX, TURN, find_faces
from pnpfusion.solvers.kernels.lanes.line import (
    GROUND,
    INSIDE,
    LOAD,
    SIZE,
    G,
    aligned,
    place,
    records,
)
from pnpfusion.solvers.kernels.lanes.separators import (
    begin,
    loaded,
    put,
    repeat_ends,
    write_elimination,
    write_join,
)
from pnpfusion.solvers.kernels.lanes.straight_code import WIDTH, Record, Records, written

#: Cells of a lane whose elimination is kept from the way up to the way down: what the cache holds.
#: Longer ones are eliminated twice, block by block, which takes less time than to fetch them.
MOST_AT_ONCE, BLOCK = 4096, 192


class Workroom(NamedTuple):
    """Where an iteration puts its intermediate results."""

    faces: Array  #: before and after K cells and a separator, and a displacement, (K+2, 4S+1, 8)
    eliminated: Array
    """R and W by rows, then y, ``(K+2, 2m^2 + m, 8)`` with m = 1 + S; the last record has the first
    cell of each lane by the cell that was eliminated last"""
    marks: Array  #: the first record of both at the beginning of every K cells
    separators: Array  #: those of each lane, and of the lane before, (2, m, 8)
    total: Array  #: (1, 1, 8)


@inner
def make_workroom(species: int, n: int) -> Workroom:
    """Room for one sample at a time."""
    m, inner_cells = 1 + species, records(n) - 1
    size = inner_cells if inner_cells <= MOST_AT_ONCE else BLOCK
    blocks = -(-inner_cells // max(size, 1))
    return Workroom(
        aligned(size + 2, 4 * species + 1),
        aligned(size + 2, 2 * m * m + m),
        aligned(blocks, 4 * species + 1 + 2 * m * m + m),
        aligned(2, m),
        aligned(1, 1),
    )


def _equations(
    species: int,
    cells: Records,
    faces: Records,
    u: Records,
    base: Records,
    h: Any,
    z: Any,
    at: Any,
    own: Any,
    slot: Any,
) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    """Of one cell of each lane: blocks before, of, and after it, and the residual as a column.

    Rows and columns are those of the species, then of the potential. Without species this is
    Poisson's equation, whose load is the right side.
    """
    m, phi = species + 1, species
    cell, left, right = cells.at(own), faces.at(slot, -1), faces.at(slot)
    here, known = u.at(at), base.at(at)
    lower, diagonal, upper = ([[0] * m for _ in range(m)] for _ in range(3))
    residual: list[Any] = [0] * m
    volume, inside = cell[SIZE], cell[INSIDE]
    step, charge = h * inside, volume * inside
    g_left, g_right = inside * cells.at(own, -1)[G], inside * cell[G]
    lower[phi][phi], upper[phi][phi] = -g_left, -g_right
    diagonal[phi][phi] = g_left + g_right + cell[GROUND]
    load = cell[LOAD] if species else known[phi]
    for s in range(species):
        carried = charge * z[s]
        load += carried * here[s]
        diagonal[phi][s] = -carried
        out, into = step * left[4 * s + AHEAD], step * right[4 * s + BACK]
        lower[s][s], upper[s][s] = -out, -into
        diagonal[s][s] = volume + step * right[4 * s + AHEAD] + step * left[4 * s + BACK]
        turn, turn_after = step * left[4 * s + TURN], step * right[4 * s + TURN]
        lower[s][phi], upper[s][phi] = turn, turn_after
        diagonal[s][phi] = -(turn + turn_after)
        leaves = right[4 * s + FLUX] - left[4 * s + FLUX]
        residual[s] = volume * (here[s] - known[s]) + step * leaves
    residual[phi] = inside * (right[4 * species] - left[4 * species]) - load
    return lower, diagonal, upper, column(residual)


_eliminate, _eliminate_again = (
    write_elimination(_equations, again=again) for again in (False, True)
)
_join = write_join(_equations)


@written
def _know_separators(kinds: int, eliminated: Records, separators: Records, slot: Any) -> None:
    """Put what the separators before are to a cell into its y, so that no W is needed after it."""
    m = kinds + 1
    r, w, y = loaded(eliminated.at(slot), m)
    separator = separators.at(slot.type(1))
    put(eliminated.at(slot), r, [], difference(y, product(w, column(separator.rows(0, m)))))


def _write_substitution(*, again: bool) -> Any:
    def write(
        kinds: int,
        eliminated: Records,
        separators: Records,
        u: Records,
        weight: Records,
        total: Records,
        at: Any,
        slot: Any,
    ) -> None:
        """Correct a cell of each lane, the next one's correction being in ``separators``."""
        m = kinds + 1
        r, w, y = loaded(eliminated.at(slot), m)
        zero = at.type(0)
        later, separator = separators.at(zero), separators.at(zero, 1)
        x = difference(y, product(r, column(later.rows(0, m))))
        if not again:
            x = difference(x, product(w, column(separator.rows(0, m))))
        _correct(kinds, [one for (one,) in x], later, u.at(at), weight.at(at), total.at(zero))

    return written(write)


_substitute, _substitute_again = (_write_substitution(again=again) for again in (False, True))


@written
def _substitute_last(
    kinds: int, separators: Records, u: Records, weight: Records, total: Records, last: Any
) -> None:
    """Correct the separators."""
    later = separators.at(last.type(0))
    total.at(last.type(0))[0] = 0.0
    x = later.rows(0, kinds + 1)
    _correct(kinds, x, later, u.at(last), weight.at(last), total.at(last.type(0)))


def _correct(
    species: int, x: list[Any], later: Record, here: Record, weight: Record, total: Record
) -> None:
    later.put(0, x)
    here.put(
        0, [value - change for value, change in zip(here.rows(0, species + 1), x, strict=True)]
    )
    size = total[0]
    for s in range(species):
        ratio = x[s] * weight[s]
        size += ratio * ratio
    total[0] = size


@inner
def _copy_rows(values: Array, into: Array, first: int) -> None:
    flat, goal = values.reshape(-1), into.reshape(-1)
    for i in range(len(flat)):
        goal[first * WIDTH + i] = flat[i]


@inlined
def correct_all(
    kinds: Any,
    scheme: int,
    cells: Array,
    skip: int,
    valence: Array,
    base: Array,
    h: float,
    u: Array,
    weight: Array,
    faces: Array,
    eliminated: Array,
    marks: Array,
    separators: Array,
    total: Array,
) -> None:
    """Newton's correction of ``u``, and its square in ``total``; the arrays of :class:`Workroom`.

    They come one by one, since to take one from a tuple counts a reference, each time.
    """
    last = len(u) - 2
    size, height = len(eliminated) - 2, faces.shape[1]
    first = size + 1
    begin(kinds, eliminated, first)
    start = 1
    for block in range(max(len(marks), 1)):
        start, stop = 1 + block * size, min(1 + (block + 1) * size, last)
        if block > 0:
            _copy_rows(eliminated[size], eliminated[0], 0)
        end = last if stop == last else stop - 1
        find_faces(kinds, scheme, cells, skip, valence, u, faces, start - 1, end)
        if len(marks) > 1:
            _copy_rows(faces[0], marks[block], 0)
            _copy_rows(eliminated[0], marks[block], height)
        for at in range(start, stop):
            own, slot = place(at, skip), at - start + 1
            _eliminate(kinds, cells, faces, u, base, h, valence, eliminated, at, own, slot, first)
    own, slot = place(last, skip), last - start + 1
    _join(kinds, cells, faces, u, base, h, valence, eliminated, separators, last, own, slot, first)
    _substitute_last(kinds, separators, u, weight, total, last)
    for at in range(last - 1, start - 1, -1):
        slot = at - start + 1
        _substitute(kinds, eliminated, separators, u, weight, total, at, slot)
    for block in range(len(marks) - 2, -1, -1):
        start, stop = 1 + block * size, 1 + (block + 1) * size
        # The cell after these is corrected already, so the face before it is the kept one.
        find_faces(kinds, scheme, cells, skip, valence, u, faces, start - 1, stop - 2)
        _copy_rows(marks[block + 1, :height], faces[size], 0)
        _copy_rows(marks[block, height:], eliminated[0], 0)
        _know_separators(kinds, eliminated, separators, 0)
        for at in range(start, stop):
            own, slot = place(at, skip), at - start + 1
            _eliminate_again(
                kinds, cells, faces, u, base, h, valence, eliminated, at, own, slot, first
            )
        for at in range(stop - 1, start - 1, -1):
            slot = at - start + 1
            _substitute_again(kinds, eliminated, separators, u, weight, total, at, slot)
    repeat_ends(kinds, u, last)
