"""Newton's method of `newton_1d` with each line cut into eight pieces, solved side by side.

Cells stand in lanes: of M cells in each lane, lane l holds those from l M on, in records 1 to M.
Records 0 and M + 1 repeat the neighbours' ends. The first cell of all and those after the last are
no cells but walls, which hold what they hold. The last cell of each lane is a separator: the cells
before it are eliminated in all lanes at once, which leaves

.. math:: x_i = y_i - R_i x_{i+1} - W_i x_p

with :math:`x_p` the separator before the lane; what remains of the separators is a line of eight,
solved by cyclic reduction. A sample's numbers meet no other sample's.

Elimination takes the species of a cell first, then its potential, without pivoting: the pivots
of monotone faces are positive. Where it fails a sample is left to a solver that pivots.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.decorators import Array, inlined, inner
from pnpfusion.solvers.kernels.lanes import WIDTH, Lanes, Numbers, Record, Records, written
from pnpfusion.solvers.kernels.newton_1d import (
    CENTRAL,
    CONDUCTANCE,
    ELECTRODE,
    FIXED_CHARGE,
    GROUNDING,
    HARMONIC,
    PASSING,
    PULL,
    RESERVOIR,
    SURFACE_CHARGE,
    VALENCE,
    VOLUME,
    WALL_RISE,
    Cell,
)

Matrix = list[list[Any]]

#: Cells of a lane whose elimination is kept from the way up to the way down: what the cache holds.
#: Longer ones are eliminated twice, block by block, which takes less time than to fetch them.
MOST_AT_ONCE, BLOCK = 4096, 192

#: Rows of a record of a line: of its cell, then of the face after it, then of species there.
SIZE, INSIDE, LOAD, GROUND, G, FACE_PULL, OFFSET, LET_THROUGH = range(8)
#: Rows of a species in a record of faces: flux, and its slopes by what is before, after, and phi.
FLUX, AHEAD, BACK, TURN = range(4)


class Line(NamedTuple):
    """A sample's :class:`Cell` in lanes."""

    scheme: int
    floating: bool
    cells: Array  #: rows as above, (M+1, 7 + 2S, 8); record 0 is the face before a lane
    valence: Array  #: (S,)
    walls: Array  #: their potentials, and 0 inside, (M+2, 1, 8)


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
                one[G] = cell.faces[CONDUCTANCE, face]
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


def _central(u: Lanes) -> tuple[Any, Any, Any, Any]:
    return 1 - 0.5 * u, 1 + 0.5 * u, -0.5, 0.5


def _exponential(w: Lanes) -> tuple[Lanes, Lanes]:
    """e^-w - 1 and 1 - e^-w for w >= 0; the first is -1 beyond 708."""
    x = -w.where_less(708.0, w, 708.0)
    t = x * 1.4426950408889634 + 6755399441055744.0
    k = t - 6755399441055744.0
    r = (x - k * 0.6931471803691238) - k * 1.9082149292705877e-10
    p = r * (1 / 6227020800) + 1 / 479001600
    for factor in (39916800, 3628800, 362880, 40320, 5040, 720, 120, 24, 6, 2):
        p = p * r + 1 / factor
    p = p * r * r + r
    two = t.power_of_two_from_bits()
    return two * p + two, (1 - two) - two * p


def _bernoulli(u: Lanes) -> tuple[Any, Any, Any, Any]:
    """B(u), B(-u) and their slopes, in the forms of `newton_1d`."""
    w = abs(u)
    power, lost = _exponential(w)
    tail = w.where_less(1e-30, 1.0, w * power / lost)
    tail = w.where_less(708.0, tail, 0.0)
    ahead = tail + (-u).where_less(0.0, 0.0, -u)
    back = tail + u.where_less(0.0, 0.0, u)
    squared = u * u
    series = u * (1 / 6 - squared * (1 / 180 - squared * (1 / 5040))) - 0.5
    slope = w.where_less(1e-2, series, ahead * (1 - back) / w.where_less(1e-2, 1.0, u))
    return ahead, back, slope, slope + 1


def _harmonic(u: Lanes) -> tuple[Any, Any, Any, Any]:
    power, _ = _exponential(abs(u))
    power = abs(u).where_less(708.0, power, 0.0)
    high = 2 / (1 + power)
    low = power * high
    ahead, back = (-u).where_less(0.0, low, high), (-u).where_less(0.0, high, low)
    half = 0.5 * ahead * back
    return ahead, back, -half, half


def _write_faces(weights: Any) -> Any:
    def write(
        kinds: int,
        cells: Records,
        u: Records,
        valence: Numbers,
        faces: Records,
        at: Any,
        slot: Any,
    ) -> None:
        """The fluxes of ``u`` through the face after a record, and their slopes."""
        species, cell, into = kinds, cells.at(at), faces.at(slot)
        before, after = u.at(at), u.at(at, 1)
        into[4 * species] = cell[G] * (before[species] - after[species])
        pull = cell[FACE_PULL]
        rise = pull * (after[species] - before[species]) + cell[OFFSET]
        for s in range(species):
            z, passing = valence[s], cell[LET_THROUGH + s]
            a, b, a_slope, b_slope = weights(z * rise)
            out, back = passing * a, passing * b
            into[4 * s + FLUX] = out * before[s] - back * after[s] + cell[LET_THROUGH + species + s]
            into[4 * s + AHEAD], into[4 * s + BACK] = out, back
            push = a_slope * before[s] - b_slope * after[s]
            into[4 * s + TURN] = passing * push * (z * pull)

    return written(write)


_faces_central = _write_faces(_central)
_faces_bernoulli = _write_faces(_bernoulli)
_faces_harmonic = _write_faces(_harmonic)


@inlined
def _find_faces(
    kinds: Any,
    scheme: int,
    cells: Array,
    valence: Array,
    u: Array,
    faces: Array,
    first: int,
    last: int,
) -> None:
    """Fill ``faces`` with those after the records from ``first`` to ``last``."""
    if scheme == CENTRAL:
        for at in range(first, last + 1):
            _faces_central(kinds, cells, u, valence, faces, at, at - first)
    elif scheme == HARMONIC:
        for at in range(first, last + 1):
            _faces_harmonic(kinds, cells, u, valence, faces, at, at - first)
    else:
        for at in range(first, last + 1):
            _faces_bernoulli(kinds, cells, u, valence, faces, at, at - first)


def _product(a: Matrix, b: Matrix) -> Matrix:
    return [
        [sum(x * y[j] for x, y in zip(row, b, strict=True)) for j in range(len(b[0]))] for row in a
    ]


def _difference(a: Matrix, b: Matrix) -> Matrix:
    return [[x - y for x, y in zip(*rows, strict=True)] for rows in zip(a, b, strict=True)]


def _negative(a: Matrix) -> Matrix:
    return [[0 - x for x in row] for row in a]


def _column(values: list[Any]) -> Matrix:
    return [[value] for value in values]


def _shifted(a: Matrix, by: int) -> Matrix:
    return [[x.moved(by) for x in row] for row in a]


def _divided(a: Matrix, sides: list[Matrix]) -> list[Matrix]:
    """a^-1 b of each b, by elimination without pivoting."""
    m = len(a)
    a, loads = [list(row) for row in a], [[x for b in sides for x in b[row]] for row in range(m)]
    inverse = []
    for k in range(m):
        inverse.append(1 / a[k][k])
        for row in range(k + 1, m):
            factor = a[row][k] * inverse[k]
            a[row] = [x - factor * y for x, y in zip(a[row], a[k], strict=True)]
            loads[row] = [x - factor * y for x, y in zip(loads[row], loads[k], strict=True)]
    for k in range(m - 1, -1, -1):
        for later in range(k + 1, m):
            pairs = zip(loads[k], loads[later], strict=True)
            loads[k] = [x - a[k][later] * y for x, y in pairs]
        loads[k] = [x * inverse[k] for x in loads[k]]
    found, first = [], 0
    for b in sides:
        found.append([row[first : first + len(b[0])] for row in loads])
        first += len(b[0])
    return found


def _equations(
    species: int,
    cells: Records,
    faces: Records,
    u: Records,
    base: Records,
    h: Any,
    z: Any,
    at: Any,
    slot: Any,
) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    """Of one cell of each lane: blocks before, of, and after it, and the residual as a column.

    Rows and columns are those of the species, then of the potential.
    """
    m, phi = species + 1, species
    cell, left, right = cells.at(at), faces.at(slot, -1), faces.at(slot)
    here, known = u.at(at), base.at(at)
    lower, diagonal, upper = ([[0] * m for _ in range(m)] for _ in range(3))
    residual: list[Any] = [0] * m
    volume, inside = cell[SIZE], cell[INSIDE]
    step, charge = h * inside, volume * inside
    g_left, g_right = inside * cells.at(at, -1)[G], inside * cell[G]
    lower[phi][phi], upper[phi][phi] = -g_left, -g_right
    diagonal[phi][phi] = g_left + g_right + cell[GROUND]
    load = cell[LOAD]
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
    return lower, diagonal, upper, _column(residual)


def _loaded(record: Record, m: int) -> tuple[Matrix, Matrix, Matrix]:
    """R, W and y of a record."""
    r, w = ([record.rows(first + i * m, m) for i in range(m)] for first in (0, m * m))
    return r, w, _column(record.rows(2 * m * m, m))


def _put(record: Record, r: Matrix, w: Matrix, y: Matrix) -> None:
    record.put(0, [x for matrix in (r, w, y) for row in matrix for x in row])


@written
def _begin(kinds: int, eliminated: Records, last: Any) -> None:
    """Before any cell stands the separator; the first cell of each lane is not known yet."""
    m = kinds + 1
    zero = [[0] * m for _ in range(m)]
    opposite = [[-int(i == j) for j in range(m)] for i in range(m)]
    _put(eliminated.at(last.type(0)), zero, opposite, _column([0] * m))
    _put(eliminated.at(last), opposite, zero, _column([0] * m))


def _write_elimination(*, again: bool) -> Any:
    def write(
        kinds: int,
        cells: Records,
        faces: Records,
        u: Records,
        base: Records,
        h: Any,
        valence: Numbers,
        eliminated: Records,
        at: Any,
        slot: Any,
        first: Any,
    ) -> None:
        """Eliminate a cell of each lane, and for the first time write its first one by the next."""
        m = kinds + 1
        lower, diagonal, upper, load = _equations(
            kinds, cells, faces, u, base, h, valence, at, slot
        )
        r, w, y = _loaded(eliminated.at(slot, -1), m)
        pivot = _difference(diagonal, _product(lower, r))
        sides = [upper, _negative(_product(lower, w)), _difference(load, _product(lower, y))]
        r, w, y = _divided(pivot, sides)
        _put(eliminated.at(slot), r, w, y)
        if again:
            return
        first_r, first_w, first_y = _loaded(eliminated.at(first), m)
        first_w = _difference(first_w, _product(first_r, w))
        first_y = _difference(first_y, _product(first_r, y))
        _put(eliminated.at(first), _negative(_product(first_r, r)), first_w, first_y)

    return written(write)


_eliminate, _eliminate_again = (_write_elimination(again=again) for again in (False, True))


@written
def _join(
    kinds: int,
    cells: Records,
    faces: Records,
    u: Records,
    base: Records,
    h: Any,
    valence: Numbers,
    eliminated: Records,
    separators: Records,
    last: Any,
    slot: Any,
    first: Any,
) -> None:
    """Solve for the separators, by cyclic reduction across lanes."""
    m = kinds + 1
    lower, diagonal, upper, load = _equations(kinds, cells, faces, u, base, h, valence, last, slot)
    r, w, y = _loaded(eliminated.at(slot, -1), m)
    of_next = [_shifted(one, -1) for one in _loaded(eliminated.at(first), m)]
    pivot = _difference(diagonal, _product(lower, r))
    pivot = _difference(pivot, _product(upper, of_next[1]))
    load = _difference(load, _product(lower, y))
    load = _difference(load, _product(upper, of_next[2]))
    before, after = _negative(_product(lower, w)), _negative(_product(upper, of_next[0]))
    before, after, load = _divided(pivot, [before, after, load])
    identity = [[int(i == j) for j in range(m)] for i in range(m)]
    for by in (1, 2, 4):
        back = [_shifted(one, by) for one in (before, after, load)]
        on = [_shifted(one, -by) for one in (before, after, load)]
        pivot = _difference(identity, _product(before, back[1]))
        pivot = _difference(pivot, _product(after, on[0]))
        load = _difference(load, _product(before, back[2]))
        load = _difference(load, _product(after, on[2]))
        sides = [_negative(_product(before, back[0])), _negative(_product(after, on[1])), load]
        if by == 4:
            (load,) = _divided(pivot, [load])
        else:
            before, after, load = _divided(pivot, sides)
    separators.at(last.type(0)).put(0, [x for (x,) in load])
    separators.at(last.type(1)).put(0, [x.moved(1) for (x,) in load])


@written
def _substitute(
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
    r, w, y = _loaded(eliminated.at(slot), m)
    zero = at.type(0)
    later, separator = separators.at(zero), separators.at(zero, 1)
    x = _difference(y, _product(r, _column(later.rows(0, m))))
    x = _difference(x, _product(w, _column(separator.rows(0, m))))
    _correct(kinds, [one for (one,) in x], later, u.at(at), weight.at(at), total.at(zero))


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


@written
def repeat_ends(kinds: int, u: Records, last: Any) -> None:
    """Tell each lane of the ends of its neighbours."""
    first, end = u.at(last.type(1)), u.at(last)
    u.at(last.type(0)).put(0, [x.moved(1) for x in end.rows(0, kinds + 1)])
    u.at(last, 1).put(0, [x.moved(-1) for x in first.rows(0, kinds + 1)])


@inner
def _copy_rows(values: Array, into: Array, first: int) -> None:
    flat, goal = values.reshape(-1), into.reshape(-1)
    for i in range(len(flat)):
        goal[first * WIDTH + i] = flat[i]


@inlined
def _correct_all(
    kinds: Any,
    scheme: int,
    cells: Array,
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
    _begin(kinds, eliminated, first)
    start = 1
    for block in range(max(len(marks), 1)):
        start, stop = 1 + block * size, min(1 + (block + 1) * size, last)
        if block > 0:
            _copy_rows(eliminated[size], eliminated[0], 0)
        _find_faces(
            kinds, scheme, cells, valence, u, faces, start - 1, last if stop == last else stop - 1
        )
        if len(marks) > 1:
            _copy_rows(faces[0], marks[block], 0)
            _copy_rows(eliminated[0], marks[block], height)
        for at in range(start, stop):
            slot = at - start + 1
            _eliminate(kinds, cells, faces, u, base, h, valence, eliminated, at, slot, first)
    slot = last - start + 1
    _join(kinds, cells, faces, u, base, h, valence, eliminated, separators, last, slot, first)
    _substitute_last(kinds, separators, u, weight, total, last)
    for block in range(len(marks) - 1, -1, -1):
        start, stop = 1 + block * size, min(1 + (block + 1) * size, last)
        if block < len(marks) - 1:
            # The cell after these is corrected already, so the face before it is the kept one.
            _find_faces(kinds, scheme, cells, valence, u, faces, start - 1, stop - 2)
            _copy_rows(marks[block + 1, :height], faces[size], 0)
            _copy_rows(marks[block, height:], eliminated[0], 0)
            for at in range(start, stop):
                slot = at - start + 1
                _eliminate_again(
                    kinds, cells, faces, u, base, h, valence, eliminated, at, slot, first
                )
        for at in range(stop - 1, start - 1, -1):
            slot = at - start + 1
            _substitute(kinds, eliminated, separators, u, weight, total, at, slot)
    repeat_ends(kinds, u, last)


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
    cells, valence = line.cells, line.valence
    faces, eliminated, marks, separators, total = room
    size_before = 0.0
    for iteration in range(1, most + 1):
        _correct_all(
            kinds,
            line.scheme,
            cells,
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

    cells: Array  #: like those of the line, with another load and no species, (M+1, 7, 8)
    phi: Array  #: (M+2, 1, 8)
    room: Workroom


@inner
def make_poisson(n: int) -> Poisson:
    """Room for one sample at a time."""
    each = records(n)
    return Poisson(aligned(each + 1, LET_THROUGH), aligned(each + 2, 1), make_workroom(0, n))


@written
def _charge(
    kinds: int, cells: Records, valence: Numbers, c: Records, share: Any, into: Records, at: Any
) -> None:
    """Copy a record, with the load of ``c`` and a share of its own."""
    cell = cells.at(at)
    rows = cell.rows(0, LET_THROUGH)
    rows[LOAD] = rows[LOAD] * share
    for s in range(kinds):
        rows[LOAD] += rows[SIZE] * rows[INSIDE] * (valence[s] * c.at(at)[s])
    into.at(at).put(0, rows)


@inner
def find_potential_of(kinds: Any, line: Line, c: Array, share: float, poisson: Poisson) -> None:
    """Put the potential of ``c``, and of a share of what else there is, into its last row.

    With 0 for the share it is what a change of ``c`` changes. Where no wall fixes the potential, it
    is that of the load less its mean.
    """
    last = len(c) - 2
    cells, phi = poisson.cells, poisson.phi
    for at in range(last + 1):
        _charge(kinds, line.cells, line.valence, c, share, cells, at)
    if line.floating:
        load, volume = 0.0, 0.0
        for at in range(1, last + 1):
            for lane in range(WIDTH):
                if cells[at, INSIDE, lane] > 0:
                    load += cells[at, LOAD, lane]
                    volume += cells[at, SIZE, lane]
        for at in range(1, last + 1):
            for lane in range(WIDTH):
                if cells[at, INSIDE, lane] > 0:
                    cells[at, LOAD, lane] -= cells[at, SIZE, lane] * (load / volume)
    wall, start = line.walls.reshape(-1), phi.reshape(-1)
    for i in range(len(start)):
        start[i] = share * wall[i]
    faces, eliminated, marks, separators, total = poisson.room
    _correct_all(
        (),
        CENTRAL,
        cells,
        line.valence,
        phi,
        0.0,
        phi,
        phi,
        faces,
        eliminated,
        marks,
        separators,
        total,
    )
    row = c.shape[1] - 1
    for at in range(last + 2):
        for lane in range(WIDTH):
            c[at, row, lane] = phi[at, 0, lane]
