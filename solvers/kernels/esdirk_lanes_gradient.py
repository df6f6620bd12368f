"""The gradient of the runs of `esdirk_lanes`, in lanes too; see `esdirk_1d_gradient`.

What is kept of a step are records of concentrations and of the potential. The transposed system is
solved as `newton_lanes` solves the other one, and its pivots are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.decorators import Array, inlined, inner, kernel
from pnpfusion.solvers.kernels.esdirk_1d import Run, Truth, Whole
from pnpfusion.solvers.kernels.esdirk_1d_gradient import Given, Trail, is_asked, one_given, shares
from pnpfusion.solvers.kernels.esdirk_lanes import (
    Stages,
    _add,
    _attempt,
    _copy,
    _put_in,
    _step,
    _weigh,
)
from pnpfusion.solvers.kernels.lanes import WIDTH, Numbers, Records, written
from pnpfusion.solvers.kernels.newton_1d import (
    CENTRAL,
    CONDUCTANCE,
    ELECTRODE,
    FIXED_CHARGE,
    HARMONIC,
    PASSING,
    PULL,
    RESERVOIR,
    SURFACE_CHARGE,
    VALENCE,
    VOLUME,
    WALL_RISE,
    Cell,
    one_sample,
)
from pnpfusion.solvers.kernels.newton_lanes import (
    FACE_PULL,
    GROUND,
    INSIDE,
    LET_THROUGH,
    OFFSET,
    SIZE,
    G,
    Line,
    Matrix,
    Workroom,
    _begin,
    _bernoulli,
    _central,
    _column,
    _difference,
    _divided,
    _harmonic,
    _loaded,
    _negative,
    _product,
    _put,
    _shifted,
    aligned,
    find_potential_of,
    lay_out,
    make_poisson,
    make_workroom,
    put_cells,
    records,
    repeat_ends,
    take_cells,
)

if TYPE_CHECKING:
    from pnpfusion.solvers.plain_steps import Method

#: Rows of a species in a record of faces: weights of what is before and after, the derivative of
#: the flux by u, and by what lets it through.
OUT, BACK, PUSH, MOVED = range(4)
#: Rows of a record of derivatives: by the load of a cell, then by what its next face has.
BY_LOAD, BY_G, BY_PULL, BY_OFFSET, BY_PASSING = range(5)


class Back(NamedTuple):
    """What the way back through the steps of one sample works with; records as in `Stages`."""

    tape: Array  #: stages of up to L steps, (L, R, M+2, 1+S, 8)
    by_slopes: Array  #: by the slope of each stage, (R+1, M+2, 1+S, 8)
    by_end: Array  #: by the state that a step ends with, as all but the last three
    by_begin: Array  #: and begins with
    by_saved: Array
    w: Array  #: the load, then the solution, of the transposed system
    sizes: Array  #: the volumes in the rows of species
    by_cells: Array  #: rows as above, (M+1, 4 + 2S, 8)
    by_valence: Array  #: (1, S, 8)
    by_reservoir: Array  #: (S, 2)


@inner
def _put_stages(method: Method, dt: float, slopes: Array, after: Array, into: Array) -> None:
    """The records at the stages of a step from the one in the last of ``into``."""
    last = len(into) - 1
    for row in range(last):
        _copy(into[last], into[row])
        for j in range(row + 2):
            if method.rows[row, j] != 0:
                _add(dt * method.rows[row, j], slopes[j], into[row])
    _copy(after, into[last])


@inner
def _make_stages(method: Method, species: int, n: int) -> Stages:
    each, stages = records(n), len(method.error)
    rows, columns = each + 2, 1 + species
    slopes = aligned(stages * rows, columns).reshape((stages, rows, columns, WIDTH))
    return Stages(
        aligned(rows, columns),
        slopes,
        aligned(rows, columns),
        aligned(rows, columns),
        aligned(rows, columns),
        aligned(rows, columns),
        aligned(1, 1),
        make_poisson(n),
    )


@kernel
def esdirk_lanes_followed(
    kinds: Any,
    cells: Cell,
    method: Method,
    iterations: int,
    run: Run,
    going: Truth,
    most: Whole,
    waits: Truth,
    trail: Trail,
) -> None:
    """The steps of `esdirk_lanes`, bit for bit, and a trail of them; see `esdirk_1d_followed`."""
    batch, species, n = run.u.shape
    room, work = make_workroom(species, n), _make_stages(method, species, n)
    begin = aligned(records(n) + 2, 1 + species)  # the slope before a step
    whole, last = trail.stages.shape[1], len(run.times) - 1
    for sample in range(batch):
        waits[sample], trail.taken[sample] = False, 0
        trail.next[sample, 0] = run.next[sample]
        if not going[sample]:
            continue
        cell = one_sample(cells, sample)
        line = lay_out(cell, species, n)
        _put_in(cell, run.u[sample], run.slope[sample], work)
        for _ in range(most[sample]):
            if run.next[sample] >= len(run.times):
                break
            k, before = trail.taken[sample], run.steps[sample]
            if k < whole:  # their potentials are those that the step finds
                find_potential_of(kinds, line, work.u, 1.0, work.poisson)
                find_potential_of(kinds, line, work.slopes[0], 0.0, work.poisson)
                _copy(work.slopes[0], begin)
                _copy(work.u, trail.stages[sample, k, -1])
            elif (k - whole) % trail.apart == 0:
                _copy(work.u, trail.states[sample, (k - whole) // trail.apart, 0])
                _copy(work.slopes[0], trail.states[sample, (k - whole) // trail.apart, 1])
            t = run.t[sample]
            target = run.times[min(run.next[sample], last) if run.land[sample] else last]
            gap = target - t
            dt = min(run.dt[sample], gap)
            if gap - dt < 1e-6 * dt:
                dt = gap
            if not _step(kinds, line, method, iterations, n * species, run, sample, room, work):
                waits[sample] = True
                break
            if run.steps[sample] > before:
                if k < whole:
                    _copy(begin, work.slopes[0])  # for a moment
                    _put_stages(method, dt, work.slopes, work.u, trail.stages[sample, k])
                    _copy(work.slopes[len(work.slopes) - 1], work.slopes[0])
                trail.t[sample, k], trail.end[sample, k] = t, run.t[sample]
                trail.dt[sample, k] = dt
                trail.next[sample, k + 1] = run.next[sample]
                trail.taken[sample] = k + 1
        for s in range(species):
            take_cells(work.u, s, run.u[sample, s])
            take_cells(work.slopes[0], s, run.slope[sample, s])


@inlined
def _again(
    kinds: Any,
    line: Line,
    method: Method,
    most: int,
    count: int,
    trail: Trail,
    sample: int,
    steps: range,
    room: Workroom,
    work: Stages,
    tape: Array,
) -> None:
    """Take the accepted ``steps`` of a sample once more and put their stages on ``tape``."""
    begin = trail.states[sample, (steps.start - trail.stages.shape[1]) // trail.apart]
    _copy(begin[0], work.u)
    _copy(begin[1], work.slopes[0])
    for k in steps:
        dt, into = trail.dt[sample, k], tape[k - steps.start]
        for at in range(1, len(work.u) - 1):
            _weigh(kinds, work.u, work.weight, method.newton_share, method.atol, method.rtol, at)
        find_potential_of(kinds, line, work.u, 1.0, work.poisson)
        find_potential_of(kinds, line, work.slopes[0], 0.0, work.poisson)
        _attempt(kinds, line, method, most, count, dt, room, work)
        _copy(work.u, into[-1])
        _put_stages(method, dt, work.slopes, work.stage, into)
        _copy(work.stage, work.u)
        _copy(work.slopes[len(method.rows)], work.slopes[0])


def _write_faces(weights: Any) -> Any:
    def write(
        kinds: int, cells: Records, u: Records, valence: Numbers, faces: Records, at: Any
    ) -> None:
        """What a flux through the face after a record depends on."""
        species, cell, into = kinds, cells.at(at), faces.at(at)
        before, after = u.at(at), u.at(at, 1)
        rise = cell[FACE_PULL] * (after[species] - before[species]) + cell[OFFSET]
        for s in range(species):
            passing = cell[LET_THROUGH + s]
            a, b, a_slope, b_slope = weights(valence[s] * rise)
            into[4 * s + OUT], into[4 * s + BACK] = passing * a, passing * b
            into[4 * s + PUSH] = passing * (a_slope * before[s] - b_slope * after[s])
            into[4 * s + MOVED] = a * before[s] - b * after[s]

    return written(write)


_faces_central = _write_faces(_central)
_faces_bernoulli = _write_faces(_bernoulli)
_faces_harmonic = _write_faces(_harmonic)


@inlined
def _find_faces(kinds: Any, line: Line, u: Array, faces: Array) -> None:
    if line.scheme == CENTRAL:
        for at in range(len(faces)):
            _faces_central(kinds, line.cells, u, line.valence, faces, at)
    elif line.scheme == HARMONIC:
        for at in range(len(faces)):
            _faces_harmonic(kinds, line.cells, u, line.valence, faces, at)
    else:
        for at in range(len(faces)):
            _faces_bernoulli(kinds, line.cells, u, line.valence, faces, at)


def _turned_equations(
    species: int,
    cells: Records,
    faces: Records,
    w: Records,
    h: Any,
    z: Any,
    at: Any,
    inside_after: Any,
) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    """`newton_lanes._equations` of the transposed matrix, whose load is in ``w``."""
    m, phi = species + 1, species
    cell, beside, left, right = cells.at(at), cells.at(at, -1), faces.at(at, -1), faces.at(at)
    lower, diagonal, upper = ([[0] * m for _ in range(m)] for _ in range(3))
    inside, inside_before = cell[INSIDE], beside[INSIDE]
    step, step_before, step_after = h * inside, h * inside_before, h * inside_after
    volume, charge = cell[SIZE], cell[SIZE] * inside
    lower[phi][phi], upper[phi][phi] = -inside_before * beside[G], -inside_after * cell[G]
    diagonal[phi][phi] = inside * (beside[G] + cell[G]) + cell[GROUND]
    for s in range(species):
        diagonal[s][phi] = -charge * z[s]
        lower[s][s] = -step_before * left[4 * s + BACK]
        upper[s][s] = -step_after * right[4 * s + OUT]
        diagonal[s][s] = volume + step * (right[4 * s + OUT] + left[4 * s + BACK])
        turn = z[s] * beside[FACE_PULL] * left[4 * s + PUSH]
        turn_after = z[s] * cell[FACE_PULL] * right[4 * s + PUSH]
        lower[phi][s], upper[phi][s] = step_before * turn, step_after * turn_after
        diagonal[phi][s] = -step * (turn + turn_after)
    return lower, diagonal, upper, _column(w.at(at).rows(0, m))


@written
def _eliminate(
    kinds: int,
    cells: Records,
    faces: Records,
    w: Records,
    h: Any,
    valence: Numbers,
    eliminated: Records,
    at: Any,
    last: Any,
) -> None:
    """See `newton_lanes`."""
    m, inside_after = kinds + 1, cells.at(at, 1)[INSIDE]
    equations = _turned_equations(kinds, cells, faces, w, h, valence, at, inside_after)
    lower, diagonal, upper, load = equations
    r, v, y = _loaded(eliminated.at(at, -1), m)
    pivot = _difference(diagonal, _product(lower, r))
    sides = [upper, _negative(_product(lower, v)), _difference(load, _product(lower, y))]
    r, v, y = _divided(pivot, sides)
    _put(eliminated.at(at), r, v, y)
    first_r, first_v, first_y = _loaded(eliminated.at(last), m)
    first_v = _difference(first_v, _product(first_r, v))
    first_y = _difference(first_y, _product(first_r, y))
    _put(eliminated.at(last), _negative(_product(first_r, r)), first_v, first_y)


@written
def _join(
    kinds: int,
    cells: Records,
    faces: Records,
    w: Records,
    h: Any,
    valence: Numbers,
    eliminated: Records,
    separators: Records,
    last: Any,
) -> None:
    """See `newton_lanes`."""
    m, inside_after = kinds + 1, cells.at(last.type(1))[INSIDE].moved(-1)
    equations = _turned_equations(kinds, cells, faces, w, h, valence, last, inside_after)
    lower, diagonal, upper, load = equations
    r, v, y = _loaded(eliminated.at(last, -1), m)
    of_next = [_shifted(one, -1) for one in _loaded(eliminated.at(last), m)]
    pivot = _difference(diagonal, _product(lower, r))
    pivot = _difference(pivot, _product(upper, of_next[1]))
    load = _difference(load, _product(lower, y))
    load = _difference(load, _product(upper, of_next[2]))
    before, after = _negative(_product(lower, v)), _negative(_product(upper, of_next[0]))
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
    found = [x for (x,) in load]
    separators.at(last.type(0)).put(0, found)
    separators.at(last.type(1)).put(0, [x.moved(1) for x in found])
    inside = cells.at(last)[INSIDE]
    w.at(last).put(0, [inside * x for x in found])


@written
def _substitute(
    kinds: int, cells: Records, eliminated: Records, separators: Records, w: Records, at: Any
) -> None:
    """Put the solution in a cell of each lane, the next one's being in ``separators``."""
    m = kinds + 1
    r, v, y = _loaded(eliminated.at(at), m)
    later, separator = separators.at(at.type(0)), separators.at(at.type(0), 1)
    x = _difference(y, _product(r, _column(later.rows(0, m))))
    x = _difference(x, _product(v, _column(separator.rows(0, m))))
    found, inside = [one for (one,) in x], cells.at(at)[INSIDE]
    later.put(0, found)
    w.at(at).put(0, [inside * one for one in found])


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
def _undo_stage(
    kinds: Any, line: Line, n: int, u: Array, h: float, room: Workroom, back: Back
) -> None:
    """From the derivative by a stage's value, in ``back.w``, to that by its base over volumes.

    Adds what the parameters count.
    """
    last = len(u) - 2
    faces, eliminated, separators, _ = room
    w, valence = back.w, line.valence
    _find_faces(kinds, line, u, faces)
    _begin(kinds, eliminated, last)
    for at in range(1, last):
        _eliminate(kinds, line.cells, faces, w, h, valence, eliminated, at, last)
    _join(kinds, line.cells, faces, w, h, valence, eliminated, separators, last)
    for at in range(last - 1, 0, -1):
        _substitute(kinds, line.cells, eliminated, separators, w, at)
    repeat_ends(kinds, w, last)
    for at in range(1, last + 1):
        _count(kinds, line.cells, faces, u, w, h, valence, back.by_cells, back.by_valence, at)
    lane, at = n // last, n % last + 1  # where the last cell is
    for s in range(len(kinds)):
        back.by_reservoir[s, 0] += h * w[2, s, 0] * faces[1, 4 * s + OUT, 0]
        back.by_reservoir[s, 1] += h * w[at, s, lane] * faces[at, 4 * s + BACK, lane]


@inlined
def _undo_step(
    kinds: Any,
    line: Line,
    method: Method,
    n: int,
    stages: Array,
    dt: float,
    room: Workroom,
    back: Back,
) -> None:
    """From what the end of a step counts, and its slope, to what its beginning does."""
    w, sizes = back.w.reshape(-1), back.sizes.reshape(-1)
    by_begin, by_end = back.by_begin.reshape(-1), back.by_end.reshape(-1)
    for row in range(len(method.rows) - 1, -1, -1):
        weights = method.rows[row]
        own = weights[row + 1] * dt
        of_slope = back.by_slopes[row + 1].reshape(-1)
        if row == len(method.rows) - 1:
            for i in range(len(w)):
                w[i] = of_slope[i] / own + by_end[i]
        else:
            for i in range(len(w)):
                w[i] = of_slope[i] / own
        _undo_stage(kinds, line, n, stages[row], own, room, back)
        for i in range(len(w)):
            w[i] = sizes[i] * w[i] - of_slope[i] / own
            by_begin[i] += w[i]
        for before in range(row + 1):
            if weights[before] != 0:
                _add(dt * weights[before], back.w, back.by_slopes[before])


@inlined
def _undo_saved(
    times: Array,
    trail: Trail,
    sample: int,
    k: int,
    where: Whole,
    by_values: Array,
    last_slope: Array,
    back: Back,
) -> None:
    """Add what the states that step ``k`` saved count to what its two ends count."""
    still = np.zeros(2)
    for at in range(trail.next[sample, k], trail.next[sample, k + 1]):
        by = by_values[where[at, sample]]
        for s in range(len(by)):
            put_cells(by[s], still, back.by_saved, s)
        u_0, k_0, k_1 = shares(times[at], trail, sample, k)
        _add(u_0, back.by_saved, back.by_begin)
        _add(1 - u_0, back.by_saved, back.by_end)
        _add(k_0, back.by_saved, back.by_slopes[0])
        _add(k_1, back.by_saved, last_slope)


@inner
def _take_out(cell: Cell, line: Line, back: Back, species: int, n: int, by: Given) -> None:
    """Add what was counted in lanes to the derivatives by the cell."""
    each = len(line.cells) - 1
    for at in range(1, each + 1):
        for lane in range(WIDTH):
            face = lane * each + at - 1
            i = face - 1
            one = back.by_cells[at, :, lane]
            if 0 <= i < n:
                by.cells[FIXED_CHARGE, i] += cell.cells[VOLUME, i] * one[BY_LOAD]
            for end, edge, wall in ((0, 0, 0), (1, n - 1, n)):
                sign = 1.0 if end == 1 else -1.0
                if i == edge:
                    by.ends[SURFACE_CHARGE, end] += one[BY_LOAD]
                    by.ends[ELECTRODE, end] += cell.faces[CONDUCTANCE, wall] * one[BY_LOAD]
                if face == wall:
                    by.ends[ELECTRODE, end] += sign * cell.ends[PULL, end] * one[BY_OFFSET]
                    by.ends[PULL, end] += one[BY_PULL]
                    by.ends[WALL_RISE, end] += sign * one[BY_OFFSET]
            if 0 <= face <= n:
                by.faces[CONDUCTANCE, face] += one[BY_G]
                for s in range(2 * species):
                    by.faces[PASSING + s, face] += one[BY_PASSING + s]
    for s in range(species):
        for lane in range(WIDTH):
            by.numbers[VALENCE + s] += back.by_valence[0, s, lane]
        for end in range(2):
            by.ends[RESERVOIR + s, end] += back.by_reservoir[s, end]


@kernel
def esdirk_lanes_gradient(
    kinds: Any,
    cells: Cell,
    method: Method,
    iterations: int,
    times: Array,
    trail: Trail,
    where: Whole,
    by_values: Array,
    by_u: Array,
    by_slope: Array,
    by_cells: Given,
) -> None:
    """Go back along the trail of :func:`esdirk_lanes_followed`; see `esdirk_1d_gradient`."""
    batch, species, n = by_u.shape
    whole, apart, rows = trail.stages.shape[1], trail.apart, len(method.rows)
    room, work = make_workroom(species, n), _make_stages(method, species, n)
    m, each, still = 1 + species, records(n), np.zeros(2)
    long, longest = each + 2, 0
    for sample in range(batch):
        longest = max(longest, trail.taken[sample] - whole)
    back = Back(
        np.empty((min(apart, longest), rows, long, m, WIDTH)),
        aligned((rows + 1) * long, m).reshape((rows + 1, long, m, WIDTH)),
        aligned(long, m),
        aligned(long, m),
        aligned(long, m),
        aligned(long, m),
        aligned(long, m),
        aligned(each + 1, BY_PASSING + 2 * species),
        aligned(1, species),
        np.empty((species, 2)),
    )
    back.by_saved[:] = 0
    for sample in range(batch):
        if not is_asked(trail, sample, where, by_values, by_u[sample], by_slope[sample]):
            continue
        cell = one_sample(cells, sample)
        line = lay_out(cell, species, n)
        back.by_end[:], back.by_slopes[:], back.sizes[:] = 0, 0, 0
        back.by_cells[:], back.by_valence[:], back.by_reservoir[:] = 0, 0, 0
        for s in range(species):
            put_cells(by_u[sample, s], still, back.by_end, s)
            put_cells(by_slope[sample, s], still, back.by_slopes[rows], s)
            put_cells(cell.cells[VOLUME], still, back.sizes, s)
        begin = end = trail.taken[sample]  # of the steps on the tape
        for k in range(trail.taken[sample] - 1, -1, -1):
            if k >= whole and not begin <= k < end:
                begin, end = k - (k - whole) % apart, k + 1
                _again(
                    kinds,
                    line,
                    method,
                    iterations,
                    n * species,
                    trail,
                    sample,
                    range(begin, end),
                    room,
                    work,
                    back.tape,
                )
            back.by_begin[:], back.by_slopes[:rows] = 0, 0
            _undo_saved(times, trail, sample, k, where, by_values, back.by_slopes[rows], back)
            stages = trail.stages[sample, k] if k < whole else back.tape[k - begin]
            _undo_step(kinds, line, method, n, stages, trail.dt[sample, k], room, back)
            _copy(back.by_begin, back.by_end)
            _copy(back.by_slopes[0], back.by_slopes[rows])
        for s in range(species):
            take_cells(back.by_end, s, by_u[sample, s])
            take_cells(back.by_slopes[rows], s, by_slope[sample, s])
        _take_out(cell, line, back, species, n, one_given(by_cells, sample))
