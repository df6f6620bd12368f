"""Adaptive ESDIRK runs of `axis.esdirk` with each line in lanes; see `line`.

The steps are the same: those of `march` under `AdaptiveSteps`, one sample after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pnpfusion.solvers.kernels.axis.cell import Cell, one_sample
from pnpfusion.solvers.kernels.decorators import Array, Truth, Whole, free_kernel, inlined, inner
from pnpfusion.solvers.kernels.lanes.attempt import attempt, begin_step, keep_masses
from pnpfusion.solvers.kernels.lanes.elimination import Workroom, make_workroom
from pnpfusion.solvers.kernels.lanes.line import (
    Line,
    lay_out,
    place,
    put_cells,
    take_cells,
    wall_concentrations,
)
from pnpfusion.solvers.kernels.lanes.stages import (
    Stages,
    add_masses,
    add_share,
    copy_line,
    find_lowest,
    find_masses,
    in_one_row,
    make_stages,
    note_least,
)
from pnpfusion.solvers.kernels.lanes.straight_code import WIDTH, Records, written
from pnpfusion.solvers.kernels.run import Run, aim, learn, may_try, pass_times, push_back
from pnpfusion.solvers.kernels.trail import Trail

if TYPE_CHECKING:
    from pnpfusion.solvers.plain_steps import Method


@free_kernel
def esdirk_lanes(
    kinds: Any,
    cells: Cell,
    method: Method,
    iterations: int,
    run: Run,
    going: Truth,
    most: Whole,
    enough: int,
    waits: Truth,
    trail: Trail,
) -> None:
    """See `axis.esdirk`.

    Args:
        kinds: a tuple as long as there are species, for which the code is written.
        cells: the cells.
        method: how to step.
        iterations: of Newton's method at most, for each stage.
        run: where they stand; changed.
        going: which samples to move, ``(B,)``.
        most: how many steps each may try, ``(B,)``.
        enough: tries of all samples after which no other one is begun.
        waits: which of them need another step than a plain one; set here, ``(B,)``.
        trail: what is kept of the steps for the gradient; nothing if it has no room.
    """
    batch, species, n = run.u.shape
    room, work = make_workroom(species, n), make_stages(method, species, n)
    whole, nothing = trail.stages.shape[1], np.empty((0, 1, 1, WIDTH))
    tries = 0
    for sample in range(batch):
        if not going[sample]:
            continue
        if tries >= enough:
            break
        cell = one_sample(cells, sample)
        line = lay_out(cell, species, n, True)
        _put_in(cell, run.u[sample], run.slope[sample], work)
        find_masses(kinds, line, work.u, work.masses, 1)
        if trail.t.shape[1] > 0:
            trail.next[sample, 0] = run.next[sample]
        for _ in range(most[sample]):
            if run.next[sample] >= len(run.times):
                break
            tries += 1
            tape = nothing
            if whole > 0 and trail.taken[sample] < whole:
                tape = trail.stages[sample, trail.taken[sample]]
            count = n * species
            if not _step(
                kinds, line, method, iterations, count, run, sample, room, work, trail, tape
            ):
                waits[sample] = True
                break
        for s in range(species):
            take_cells(work.u, s, run.u[sample, s])
            take_cells(work.slopes[0], s, run.slope[sample, s])


@inner
def _put_in(cell: Cell, u: Array, slope: Array, work: Stages) -> None:
    """Lay the state and slope of a sample out."""
    species, still = len(u), np.zeros(2)
    for s in range(species):
        put_cells(u[s], wall_concentrations(cell, species, s), work.u, s)
        put_cells(slope[s], still, work.slopes[0], s)


@inlined
def _step(
    kinds: Any,
    line: Line,
    method: Method,
    most: int,
    count: int,
    run: Run,
    sample: int,
    room: Workroom,
    work: Stages,
    trail: Trail,
    tape: Array,
) -> bool:
    """Try one step; False, with nothing changed, where it is not a plain one."""
    dt, end = aim(run, sample)
    if not may_try(method, run, sample, dt):
        return False
    begin_step(kinds, line, method, work)
    solved, iterations, failed, which = attempt(
        kinds, line, method, most, count, dt, room, work, tape
    )
    if failed:
        return False
    stage = work.pair[which]
    ratio, lowest, lowest_before = _judge(kinds, line, method, count, dt, work, stage)
    if not np.isfinite(ratio):
        return False
    valid = solved and (lowest > 0 or (lowest == 0 and lowest_before == 0))
    accept = valid and ratio <= 1
    run.iterations[sample] += iterations
    if accept:
        keep_masses(kinds, line, method, dt, work, stage)
        ends = min(lowest, lowest_before)
        if not _save(kinds, line, run, sample, dt, end, ends, lowest, work, which):
            push_back(run, sample)
            return True
        if trail.t.shape[1] > 0:
            _remember(kinds, trail, sample, run.t[sample], end, dt, run.next[sample], work)
        copy_line(kinds, stage, work.u)
        copy_line(kinds, work.slopes[len(work.slopes) - 1], work.slopes[0])
        run.t[sample] = end
    learn(method, run, sample, dt, ratio, valid, accept)
    return True


@inlined
def _judge(
    kinds: Any, line: Line, method: Method, count: int, dt: float, work: Stages, stage: Array
) -> tuple[float, float, float]:
    """The error of a step over the error allowed, see `Tolerance.ratio`; the lowest at both ends.

    The lowest one after the step comes first. The masses then are put into ``work.masses``.
    """
    cells, skip, found, error, u = line.cells, line.skip, work.found, work.error, work.u
    slopes, weights, each = in_one_row(work.slopes), method.error, len(stage)
    atol, rtol, masses = method.atol, method.rtol, work.masses
    found[0, 0, :], found[1:], error[:], masses[0] = 0, np.inf, 0, 0
    for at in range(1, each - 1):
        for k in range(len(weights)):
            if weights[k] != 0:
                add_share(kinds, dt * weights[k], slopes, k * each + at, error, 0)
        _add_error(kinds, u, stage, error, found, atol, rtol, at)
        own = place(at, skip)
        note_least(kinds, cells, stage, found, at, own, 1)
        note_least(kinds, cells, u, found, at, own, 2)
        add_masses(kinds, cells, stage, masses, at, own, 0)
    total = 0.0
    for lane in range(WIDTH):
        total += found[0, 0, lane]
    return float(np.sqrt(total / count)), float(found[1].min()), float(found[2].min())


@written
def _add_error(
    kinds: int,
    u: Records,
    after: Records,
    error: Records,
    found: Records,
    atol: Any,
    rtol: Any,
    at: Any,
) -> None:
    """Add the square of a record's error over the error allowed; then there is none."""
    here, now, zero = u.at(at), after.at(at), at.type(0)
    into, wrong = found.at(zero), error.at(zero)
    total = into[0]
    for row in range(kinds):
        before, later = abs(here[row]), abs(now[row])
        ratio = wrong[row] / (atol + rtol * before.where_less(later, later, before))
        total += ratio * ratio
    into[0] = total
    wrong.put(0, [0.0] * (kinds + 1))


@inlined
def _save(
    kinds: Any,
    line: Line,
    run: Run,
    sample: int,
    dt: float,
    end: float,
    ends: float,
    lowest_after: float,
    work: Stages,
    which: int,
) -> bool:
    """Save what the step passes; False where an interpolant is less positive than both ends.

    ``ends`` is the smallest concentration at the ends, ``lowest_after`` that of the second one,
    which is that one of ``work.pair``.
    """
    stage, ahead = work.pair[which], work.pair[1 - which]
    t, k_1 = run.t[sample], work.slopes[len(work.slopes) - 1]
    at = run.next[sample]
    while at < len(run.times) and run.times[at] <= end:
        if run.times[at] == end:
            copy_line(kinds, stage, ahead)
        else:
            _between((run.times[at] - t) / dt, dt, k_1, work, stage, ahead)
        lowest = find_lowest(kinds, line, ahead, work.found)
        if (lowest < 0 and ends >= 0) or (lowest == 0 and ends > 0):
            return False
        for s in range(len(kinds)):
            take_cells(ahead, s, run.states[at, sample, s])
        run.lowest_saved[at, sample] = lowest
        at += 1
    pass_times(run, sample, at, end, lowest_after)
    return True


@inner
def _between(s: float, h: float, k_1: Array, work: Stages, stage: Array, ahead: Array) -> None:
    """The cubic Hermite interpolant at the share ``s`` of a step to ``stage``, into ``ahead``."""
    u_0, k_0 = work.u.reshape(-1), work.slopes[0].reshape(-1)
    u_1, end, into = stage.reshape(-1), k_1.reshape(-1), ahead.reshape(-1)
    for i in range(len(into)):
        bend = (1 - 2 * s) * (u_1[i] - u_0[i]) + (s - 1) * h * k_0[i] + s * h * end[i]
        into[i] = (1 - s) * u_0[i] + s * u_1[i] + s * (s - 1) * bend


@inlined
def _remember(
    kinds: Any,
    trail: Trail,
    sample: int,
    t: float,
    end: float,
    dt: float,
    following: int,
    work: Stages,
) -> None:
    """Add an accepted step to the trail; its stages may be there already."""
    k, whole = trail.taken[sample], trail.stages.shape[1]
    trail.t[sample, k], trail.end[sample, k], trail.dt[sample, k] = t, end, dt
    if k >= whole and (k - whole) % trail.apart == 0:
        kept = trail.states[sample, (k - whole) // trail.apart]
        copy_line(kinds, work.u, kept[0])
        copy_line(kinds, work.slopes[0], kept[1])
    trail.next[sample, k + 1] = following
    trail.taken[sample] = k + 1
