"""Adaptive ESDIRK runs of `axis.esdirk` with each line in lanes; see `line`.

The steps are the same: those of `march` under `AdaptiveSteps`, one sample after the other. States
are records of concentrations and of the potential, which is a linear function of them: found once
at the beginning of a step, it stays that of the state through every stage. Neither crowding nor
reactions are known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.axis.esdirk import EPSILON, Run, Truth, Whole
from pnpfusion.solvers.kernels.axis.newton import (
    Cell,
    one_sample,
)
from pnpfusion.solvers.kernels.decorators import Array, free_kernel, inlined, inner
from pnpfusion.solvers.kernels.lanes.elimination import Workroom, make_workroom
from pnpfusion.solvers.kernels.lanes.line import (
    INSIDE,
    Line,
    aligned,
    lay_out,
    put_cells,
    records,
    take_cells,
    wall_concentrations,
)
from pnpfusion.solvers.kernels.lanes.newton import (
    Poisson,
    find_potential_of,
    iterate_lanes,
    make_poisson,
)
from pnpfusion.solvers.kernels.lanes.straight_code import WIDTH, Records, written
from pnpfusion.solvers.kernels.trail import Trail

if TYPE_CHECKING:
    from pnpfusion.solvers.plain_steps import Method


class Stages(NamedTuple):
    """What the steps of one sample work with: records of R + 1 stages, M + 2 for each."""

    u: Array  #: (M+2, 1+S, 8), as all but the next and the last two
    slopes: Array  #: du/dt of each stage, (R+1, M+2, 1+S, 8)
    base: Array
    ahead: Array
    stage: Array
    weight: Array  #: one over the correction that counts as one
    found: Array  #: the smallest concentration, or a sum, in each lane; (1, 1, 8)
    poisson: Poisson


@inner
def make_stages(method: Method, species: int, n: int) -> Stages:
    """Room for the steps of one sample at a time."""
    stages, rows, columns = len(method.error), records(n) + 2, 1 + species
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


@written
def _least_of(kinds: int, cells: Records, u: Records, found: Records, at: Any) -> None:
    into, inside = found.at(at.type(0)), cells.at(at)[INSIDE]
    least = into[0]
    for c in u.at(at).rows(0, kinds):
        least = c.where_less(least, inside.where_less(0.5, least, c), least)
    into[0] = least


@inner
def _lowest(kinds: Any, line: Line, u: Array, found: Array) -> float:
    """The smallest concentration."""
    found[0, 0, :] = np.inf
    for at in range(1, len(u) - 1):
        _least_of(kinds, line.cells, u, found, at)
    return float(found.min())


@written
def _weigh(
    kinds: int, u: Records, weight: Records, share: Any, atol: Any, rtol: Any, at: Any
) -> None:
    for row, c in enumerate(u.at(at).rows(0, kinds)):
        weight.at(at)[row] = 1 / (share * (atol + rtol * abs(c)))


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
    into = found.at(at.type(0))
    total = into[0]
    for row in range(kinds):
        before, now = abs(u.at(at)[row]), abs(after.at(at)[row])
        ratio = error.at(at)[row] / (atol + rtol * before.where_less(now, now, before))
        total += ratio * ratio
    into[0] = total


@inner
def _copy(values: Array, into: Array) -> None:
    flat, goal = values.reshape(-1), into.reshape(-1)
    for i in range(len(goal)):
        goal[i] = flat[i]


@inner
def _add(factor: float, values: Array, total: Array) -> None:
    flat, goal = values.reshape(-1), total.reshape(-1)
    for i in range(len(goal)):
        goal[i] += factor * flat[i]


@inlined
def _attempt(
    kinds: Any,
    line: Line,
    method: Method,
    most: int,
    count: int,
    dt: float,
    room: Workroom,
    work: Stages,
    tape: Array,
) -> tuple[bool, int, bool]:
    """One step to ``work.stage``, its slope the last of ``work.slopes``; see `ESDIRK.attempt`.

    Its stages are put on ``tape`` ``(R, M+2, 1+S, 8)``, if there is one.
    """
    slopes, base, ahead, stage = work.slopes, work.base, work.ahead, work.stage
    solved, iterations = True, 0
    _copy(work.u, stage)
    for row in range(len(method.rows)):
        weights = method.rows[row]
        own = weights[row + 1] * dt
        _copy(work.u, base)
        for j in range(row + 1):
            if weights[j] != 0:
                _add(dt * weights[j], slopes[j], base)
        _copy(base, ahead)
        _add(own, slopes[row], ahead)
        if _lowest(kinds, line, ahead, work.found) > 0:
            _copy(ahead, stage)
        converged, took, failed = iterate_lanes(
            kinds, line, base, own, stage, work.weight, count, most, room
        )
        iterations += took
        if failed:
            return False, iterations, True
        solved = solved and converged
        slope = slopes[row + 1].reshape(-1)
        now, known = stage.reshape(-1), base.reshape(-1)
        for i in range(len(slope)):
            slope[i] = (now[i] - known[i]) / own
        if len(tape) > 0:
            _copy(stage, tape[row])
    return solved, iterations, False


@inlined
def _error_ratio(kinds: Any, method: Method, count: int, dt: float, work: Stages) -> float:
    """The error of a step over the error allowed; see `Tolerance.ratio`."""
    error = work.base
    for i in range(len(error)):
        error[i] = 0
    for j in range(len(method.error)):
        if method.error[j] != 0:
            _add(dt * method.error[j], work.slopes[j], error)
    work.found[:] = 0
    for at in range(1, len(error) - 1):
        _add_error(kinds, work.u, work.stage, error, work.found, method.atol, method.rtol, at)
    total = 0.0
    for lane in range(WIDTH):
        total += work.found[0, 0, lane]
    return float(np.sqrt(total / count))


@inner
def _between(s: float, h: float, k_1: Array, work: Stages) -> None:
    """The cubic Hermite interpolant at the share ``s`` of a step, put in ``work.ahead``."""
    u_0, k_0 = work.u.reshape(-1), work.slopes[0].reshape(-1)
    u_1, end, into = work.stage.reshape(-1), k_1.reshape(-1), work.ahead.reshape(-1)
    for i in range(len(into)):
        bend = (1 - 2 * s) * (u_1[i] - u_0[i]) + (s - 1) * h * k_0[i] + s * h * end[i]
        into[i] = (1 - s) * u_0[i] + s * u_1[i] + s * (s - 1) * bend


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
) -> bool:
    """Save what the step passes; False where an interpolant is less positive than both ends.

    ``ends`` is the smallest concentration at the ends, ``lowest_after`` that of the second one.
    """
    t, k_1 = run.t[sample], work.slopes[len(work.slopes) - 1]
    at = run.next[sample]
    while at < len(run.times) and run.times[at] <= end:
        if run.times[at] == end:
            _copy(work.stage, work.ahead)
        else:
            _between((run.times[at] - t) / dt, dt, k_1, work)
        lowest = _lowest(kinds, line, work.ahead, work.found)
        if (lowest < 0 and ends >= 0) or (lowest == 0 and ends > 0):
            return False
        for s in range(len(kinds)):
            take_cells(work.ahead, s, run.states[at, sample, s])
        run.lowest_saved[at, sample] = lowest
        at += 1
    first = run.next[sample]
    if at > first:
        run.lowest_saved[first, sample] = min(run.lowest_saved[first, sample], run.lowest[sample])
        run.lowest[sample] = np.inf
        run.next[sample] = at
    if run.times[at - 1] != end:  # what a step ends with counts for the saved time after it
        run.lowest[sample] = min(run.lowest[sample], lowest_after)
    return True


@inner
def _remember(
    trail: Trail, sample: int, t: float, end: float, dt: float, following: int, work: Stages
) -> None:
    """Add an accepted step to the trail; its stages may be there already."""
    k, whole = trail.taken[sample], trail.stages.shape[1]
    trail.t[sample, k], trail.end[sample, k], trail.dt[sample, k] = t, end, dt
    if k >= whole and (k - whole) % trail.apart == 0:
        _copy(work.u, trail.states[sample, (k - whole) // trail.apart, 0])
        _copy(work.slopes[0], trail.states[sample, (k - whole) // trail.apart, 1])
    trail.next[sample, k + 1] = following
    trail.taken[sample] = k + 1


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
    times, t = run.times, run.t[sample]
    last = len(times) - 1
    if run.failures[sample] >= method.most_failures:
        return False
    target = times[min(run.next[sample], last) if run.land[sample] else last]
    wanted, gap = run.dt[sample], target - t
    dt = min(wanted, gap)
    if gap - dt < 1e-6 * dt:
        dt = gap
    end = target if dt == gap else t + dt
    least = 4 * EPSILON * max(abs(t), 1e-3 * (times[last] - times[0]))
    if not dt > least:
        return False
    for at in range(1, len(work.u) - 1):
        _weigh(kinds, work.u, work.weight, method.newton_share, method.atol, method.rtol, at)
    find_potential_of(kinds, line, work.u, 1.0, work.poisson)
    find_potential_of(kinds, line, work.slopes[0], 0.0, work.poisson)
    solved, iterations, failed = _attempt(kinds, line, method, most, count, dt, room, work, tape)
    ratio = _error_ratio(kinds, method, count, dt, work)
    if failed or not np.isfinite(ratio):
        return False
    lowest = _lowest(kinds, line, work.stage, work.found)
    lowest_before = _lowest(kinds, line, work.u, work.found)
    valid = solved and (lowest > 0 or (lowest == 0 and lowest_before == 0))
    accept = valid and ratio <= 1
    growth = method.shrink_after_failure
    if valid:
        growth = method.safety * max(ratio, 1e-10) ** (-1 / method.error_order)
        growth = min(max(growth, method.smallest_shrink), method.largest_growth)
        if not accept:
            growth = min(growth, method.safety)
    run.iterations[sample] += iterations
    if accept:
        ends = min(lowest, lowest_before)
        if not _save(kinds, line, run, sample, dt, end, ends, lowest, work):
            run.land[sample] = True  # again, onto the saved time
            run.rejected[sample] += 1
            return True
        cut_short = dt < wanted and growth >= 1  # by a saved time, not by the error
        run.dt[sample] = max(dt * growth, wanted) if cut_short else dt * growth
        run.failures[sample], run.land[sample] = 0, False
        if trail.t.shape[1] > 0:
            _remember(trail, sample, t, end, dt, run.next[sample], work)
        _copy(work.stage, work.u)
        _copy(work.slopes[len(work.slopes) - 1], work.slopes[0])
        run.t[sample] = end
        run.steps[sample] += 1
    else:
        run.dt[sample] = dt * growth
        if not valid:
            run.failures[sample] += 1
        run.rejected[sample] += 1
    return True


@inner
def _put_in(cell: Cell, u: Array, slope: Array, work: Stages) -> None:
    """Lay the state and slope of a sample out."""
    species, still = len(u), np.zeros(2)
    for s in range(species):
        put_cells(u[s], wall_concentrations(cell, species, s), work.u, s)
        put_cells(slope[s], still, work.slopes[0], s)


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
        line = lay_out(cell, species, n)
        _put_in(cell, run.u[sample], run.slope[sample], work)
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
