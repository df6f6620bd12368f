"""The gradient of the runs of `esdirk`: the accepted steps once more, last one first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.axis.cell import VOLUME, Cell, one_sample
from pnpfusion.solvers.kernels.axis.esdirk import Stages, attempt, copy_values, make_stages
from pnpfusion.solvers.kernels.axis.esdirk_followed import put_stages
from pnpfusion.solvers.kernels.axis.fluxes import ground
from pnpfusion.solvers.kernels.axis.room import Room, make_room
from pnpfusion.solvers.kernels.axis.stage_gradient import Adjoint, make_adjoint, undo_stage
from pnpfusion.solvers.kernels.by_cell import Given, one_given
from pnpfusion.solvers.kernels.decorators import Array, Whole, inlined, kernel
from pnpfusion.solvers.kernels.trail import Trail, is_asked, shares

if TYPE_CHECKING:
    from pnpfusion.solvers.plain_steps import Method


class Back(NamedTuple):
    """What the way back through the steps of one sample works with."""

    tape: Array  #: stages of up to L steps, (L, R, S, N)
    by_slopes: Array  #: (R+1, S, N)
    by_u: Array  #: by the state before a step, (S, N)
    turned: Array  #: the transposed blocks, as in `Room`, (4, N, 1+S, 1+S)
    adjoint: Adjoint


@kernel
def esdirk_1d_gradient(
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
    """Go back along the trail that :func:`esdirk_1d_followed` left.

    Args:
        cells: the cells.
        method: how steps were taken.
        iterations: of Newton's method at most, for each stage.
        times: the saved times, ``(T,)``.
        trail: the steps.
        where: the row in ``by_values`` of each time and sample that was saved, ``(T, B)``.
        by_values: derivatives by what was saved, ``(P, S, N)``.
        by_u: by the states at the end before, at the beginning after, ``(B, S, N)``.
        by_slope: by their slopes, likewise.
        by_cells: where those by the cells are added.
    """
    batch, species, n = by_u.shape
    whole, apart = trail.stages.shape[1], trail.apart
    rows, m = len(method.rows), 1 + species
    room = make_room(species, n, by_u)
    work = make_stages(method, by_u)
    longest = 0
    for sample in range(batch):
        longest = max(longest, trail.taken[sample] - whole)
    back = Back(
        np.empty((min(apart, longest), rows, species, n), by_u.dtype),
        np.empty((rows + 1, species, n), by_u.dtype),
        np.empty((species, n), by_u.dtype),
        np.zeros((4, n, m, m), by_u.dtype),
        make_adjoint(species, n, by_u),
    )
    for sample in range(batch):
        if not is_asked(trail, sample, where, by_values, by_u[sample], by_slope[sample]):
            continue
        cell = one_sample(cells, sample)
        by = one_given(by_cells, sample)
        ground(cell, room)
        begin = end = trail.taken[sample]  # of the steps on the tape
        for k in range(trail.taken[sample] - 1, -1, -1):
            if k >= whole and not begin <= k < end:
                begin, end = k - (k - whole) % apart, k + 1
                steps = range(begin, end)
                _again(cell, method, iterations, trail, sample, steps, room, work, back.tape)
            for s in range(species):
                for i in range(n):
                    back.by_u[s, i] = 0
            for j in range(rows + 1):
                copy_values(back.by_u, back.by_slopes[j])
            _undo_saved(
                times, trail, sample, k, where, by_values, by_u[sample], by_slope[sample], back
            )
            stages = trail.stages[sample, k] if k < whole else back.tape[k - begin]
            dt = trail.dt[sample, k]
            _undo_step(cell, method, stages, dt, by_u[sample], by_slope[sample], room, back, by)


@inlined
def _undo_step(
    cell: Cell,
    method: Method,
    stages: Array,
    dt: float,
    by_u: Array,
    by_slope: Array,
    room: Room,
    back: Back,
    by: Given,
) -> None:
    """From derivatives by what a step ends with to those by what it began with.

    ``back`` holds what else its beginning counts.
    """
    rows, (species, n) = len(method.rows), by_u.shape
    volumes, by_slopes, load = cell.cells[VOLUME], back.by_slopes, back.adjoint.load
    for row in range(rows - 1, -1, -1):
        weights = method.rows[row]
        own = weights[row + 1] * dt
        of_slope = by_slope if row == rows - 1 else by_slopes[row + 1]
        for i in range(n):
            load[i, 0] = 0
        for s in range(species):
            for i in range(n):
                load[i, 1 + s] = of_slope[s, i] / own + (by_u[s, i] if row == rows - 1 else 0.0)
        undo_stage(cell, stages[row], own, room, back.turned, back.adjoint, by)
        for s in range(species):
            for i in range(n):
                of_base = volumes[i] * load[i, 1 + s] - of_slope[s, i] / own
                back.by_u[s, i] += of_base
                load[i, 1 + s] = dt * of_base
        for before in range(row + 1):
            if weights[before] != 0:
                for s in range(species):
                    for i in range(n):
                        by_slopes[before, s, i] += weights[before] * load[i, 1 + s]
    copy_values(back.by_u, by_u)
    copy_values(by_slopes[0], by_slope)


@inlined
def _undo_saved(
    times: Array,
    trail: Trail,
    sample: int,
    k: int,
    where: Whole,
    by_values: Array,
    by_u: Array,
    by_slope: Array,
    back: Back,
) -> None:
    """Add what the states that step ``k`` saved count to what its two ends count."""
    for at in range(trail.next[sample, k], trail.next[sample, k + 1]):
        by = by_values[where[at, sample]]
        u_0, k_0, k_1 = shares(times[at], trail, sample, k)
        for s in range(by.shape[0]):
            for i in range(by.shape[1]):
                back.by_u[s, i] += u_0 * by[s, i]
                back.by_slopes[0, s, i] += k_0 * by[s, i]
                by_u[s, i] += (1 - u_0) * by[s, i]
                by_slope[s, i] += k_1 * by[s, i]


@inlined
def _again(
    cell: Cell,
    method: Method,
    most: int,
    trail: Trail,
    sample: int,
    steps: range,
    room: Room,
    work: Stages,
    tape: Array,
) -> None:
    """Take the accepted ``steps`` of a sample once more and put their stages on ``tape``."""
    begin = trail.states[sample, (steps.start - trail.stages.shape[1]) // trail.apart]
    u = work.error  # which nobody asks for here
    copy_values(begin[0], u)
    copy_values(begin[1], work.slopes[0])
    for k in steps:
        dt = trail.dt[sample, k]
        for s in range(u.shape[0]):
            for i in range(u.shape[1]):
                work.scale[s, i] = method.newton_share * (method.atol + method.rtol * abs(u[s, i]))
        attempt(cell, method, most, u, dt, room, work)
        put_stages(method, u, dt, work.slopes, work.stage, tape[k - steps.start])
        copy_values(work.stage, u)
        copy_values(work.slopes[len(method.rows)], work.slopes[0])
