"""The gradient of the runs of `esdirk`, in lanes too; see `axis.esdirk_gradient`.

What is kept of a step are records of concentrations and of the potential.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.axis.cell import VOLUME, Cell, one_sample
from pnpfusion.solvers.kernels.by_cell import Given, one_given
from pnpfusion.solvers.kernels.decorators import Array, Truth, Whole, free_kernel, inlined, inner
from pnpfusion.solvers.kernels.lanes.attempt import attempt, begin_step, keep_masses
from pnpfusion.solvers.kernels.lanes.counted import (
    Counted,
    count_stage,
    make_counted,
    take_out,
)
from pnpfusion.solvers.kernels.lanes.elimination import Workroom, make_workroom
from pnpfusion.solvers.kernels.lanes.line import (
    Line,
    aligned,
    lay_out,
    put_cells,
    records,
    take_cells,
)
from pnpfusion.solvers.kernels.lanes.stages import (
    Stages,
    add_share,
    copy_line,
    find_masses,
    in_one_row,
    make_stages,
)
from pnpfusion.solvers.kernels.lanes.straight_code import WIDTH, Records, written
from pnpfusion.solvers.kernels.lanes.transposed import Turned, make_turned, solve_transposed
from pnpfusion.solvers.kernels.trail import Trail, is_asked, shares

if TYPE_CHECKING:
    from pnpfusion.solvers.plain_steps import Method


@free_kernel
def esdirk_lanes_gradient(
    kinds: Any,
    cells: Cell,
    method: Method,
    iterations: int,
    times: Array,
    trail: Trail,
    those: Truth,
    where: Whole,
    by_values: Array,
    by_u: Array,
    by_slope: Array,
    by_cells: Given,
) -> None:
    """Go back along the trail that :func:`esdirk_lanes` left; see `axis.esdirk_gradient`.

    ``those`` ``(B,)`` says which samples go.
    """
    batch, species, n = by_u.shape
    whole, apart, rows = trail.stages.shape[1], trail.apart, len(method.rows)
    room, work = make_workroom(species, n), make_stages(method, species, n)
    back, still = _make_back(method, species, n), np.zeros(2)
    longest = 0
    for sample in range(batch):
        longest = max(longest, trail.taken[sample] - whole)
    tape = np.empty((min(apart, longest), rows, records(n) + 2, 1 + species, WIDTH))
    back.saved[:], back.sizes[:] = 0, 0
    for sample in range(batch):
        if not those[sample]:
            continue
        if not is_asked(trail, sample, where, by_values, by_u[sample], by_slope[sample]):
            continue
        cell = one_sample(cells, sample)
        line = lay_out(cell, species, n, False)
        back.by_end[:], back.by_slopes[:] = 0, 0
        for s in range(species):
            put_cells(by_u[sample, s], still, back.by_end, s)
            put_cells(by_slope[sample, s], still, back.by_slopes[rows], s)
            put_cells(cell.cells[VOLUME], still, back.sizes, s)
        back.counted.cells[:], back.counted.valence[:], back.counted.reservoir[:] = 0, 0, 0
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
                    tape,
                )
            back.by_begin[:], back.by_slopes[:rows] = 0, 0
            _undo_saved(kinds, times, trail, sample, k, where, by_values, back)
            stages = trail.stages[sample, k] if k < whole else tape[k - begin]
            _undo_step(kinds, line, method, n, stages, trail.dt[sample, k], back)
            copy_line(kinds, back.by_begin, back.by_end)
            copy_line(kinds, back.by_slopes[0], back.by_slopes[rows])
        for s in range(species):
            take_cells(back.by_end, s, by_u[sample, s])
            take_cells(back.by_slopes[rows], s, by_slope[sample, s])
        take_out(cell, back.counted, n, one_given(by_cells, sample))


class Back(NamedTuple):
    """What the way back through the steps of one sample works with; records as in `Stages`."""

    by_slopes: Array  #: by the slope of each stage, (R+1, M+2, 1+S, 8)
    by_end: Array  #: by the state that a step ends with, (M+2, 1+S, 8), as the next three
    by_begin: Array  #: and begins with
    saved: Array  #: what a saved state counts
    w: Array  #: the load, then the solution, of the transposed system
    sizes: Array  #: the volumes in the rows of species, 0 elsewhere
    turned: Turned
    counted: Counted


@inner
def _make_back(method: Method, species: int, n: int) -> Back:
    long, m, stages = records(n) + 2, 1 + species, len(method.error)
    return Back(
        aligned(stages * long, m).reshape((stages, long, m, WIDTH)),
        aligned(long, m),
        aligned(long, m),
        aligned(long, m),
        aligned(long, m),
        aligned(long, m),
        make_turned(species, n),
        make_counted(species, n),
    )


@inlined
def _undo_step(
    kinds: Any,
    line: Line,
    method: Method,
    n: int,
    stages: Array,
    dt: float,
    back: Back,
) -> None:
    """From what the end of a step counts, and its slope, to what its beginning does."""
    cells, valence, load = line.cells, line.valence, back.w
    faces, eliminated, separators = back.turned
    by_cells, by_valence, by_reservoir = back.counted
    sizes, by_begin, by_end = back.sizes, back.by_begin, back.by_end
    by_slopes, each, last = in_one_row(back.by_slopes), len(load), len(method.rows) - 1
    for row in range(last, -1, -1):
        weights, u = method.rows[row], stages[row]
        own = weights[row + 1] * dt
        share = 1 / own
        first = (row + 1) * each
        for at in range(each):
            _put_share(kinds, share, by_slopes, first + at, load, at)
            if row == last:
                add_share(kinds, 1.0, by_end, at, load, at)
        # From the derivative by a stage's value to that by its base over volumes.
        solve_transposed(
            kinds, line.scheme, cells, valence, u, own, load, faces, eliminated, separators
        )
        count_stage(
            kinds,
            cells,
            valence,
            n,
            u,
            own,
            load,
            faces,
            by_cells,
            by_valence,
            by_reservoir,
        )
        for at in range(each):
            _put_by_base(kinds, sizes, share, by_slopes, first + at, load, by_begin, at)
            for before in range(row + 1):
                if weights[before] != 0:
                    add_share(kinds, dt * weights[before], load, at, by_slopes, before * each + at)


@inlined
def _undo_saved(
    kinds: Any,
    times: Array,
    trail: Trail,
    sample: int,
    k: int,
    where: Whole,
    by_values: Array,
    back: Back,
) -> None:
    """Add what the states that step ``k`` saved count to what its two ends count."""
    still, saved, by_begin, by_end = np.zeros(2), back.saved, back.by_begin, back.by_end
    by_slopes, each, last = in_one_row(back.by_slopes), len(saved), len(back.by_slopes) - 1
    for at in range(trail.next[sample, k], trail.next[sample, k + 1]):
        by = by_values[where[at, sample]]
        for s in range(len(by)):
            put_cells(by[s], still, saved, s)
        u_0, k_0, k_1 = shares(times[at], trail, sample, k)
        for row in range(each):
            add_share(kinds, u_0, saved, row, by_begin, row)
            add_share(kinds, 1 - u_0, saved, row, by_end, row)
            add_share(kinds, k_0, saved, row, by_slopes, row)
            add_share(kinds, k_1, saved, row, by_slopes, last * each + row)


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
    copy_line(kinds, begin[0], work.u)
    copy_line(kinds, begin[1], work.slopes[0])
    find_masses(kinds, line, work.u, work.masses, 1)
    for k in steps:
        begin_step(kinds, line, method, work)
        into, dt = tape[k - steps.start], trail.dt[sample, k]
        _, _, _, which = attempt(kinds, line, method, most, count, dt, room, work, into)
        find_masses(kinds, line, work.pair[which], work.masses, 0)
        keep_masses(kinds, line, method, dt, work, work.pair[which])
        copy_line(kinds, work.pair[which], work.u)
        copy_line(kinds, work.slopes[len(method.rows)], work.slopes[0])


@written
def _put_share(
    kinds: int, share: Any, by_slopes: Records, which: Any, load: Records, at: Any
) -> None:
    slope, into = by_slopes.at(which), load.at(at)
    for row in range(kinds + 1):
        into[row] = share * slope[row]


@written
def _put_by_base(
    kinds: int,
    sizes: Records,
    share: Any,
    by_slopes: Records,
    which: Any,
    load: Records,
    by_begin: Records,
    at: Any,
) -> None:
    """What the base of a stage counts, from that over volumes; it is added to ``by_begin``."""
    size, slope, into, begin = sizes.at(at), by_slopes.at(which), load.at(at), by_begin.at(at)
    for row in range(kinds + 1):
        by_base = size[row] * into[row] - share * slope[row]
        into[row], begin[row] = by_base, begin[row] + by_base
