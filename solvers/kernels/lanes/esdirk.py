"""Adaptive ESDIRK runs of `axis.esdirk` with each line in lanes; see `line`.

The steps are the same: those of `march` under `AdaptiveSteps`, one sample after the other. States
are records of concentrations and of the potential, which is a linear function of them: found once
at the beginning of a step, it stays that of the state through every stage. Neither crowding nor
reactions are known here.

Long lines do not fit in the cache, so all that is done to a line between two solutions is done to
one record after the other. It is said in wide registers, and takes its arrays one by one: loops of
single numbers, and counts of references, took longer on short lines than all of Newton's method.
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
    place,
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
    pair: Array  #: the stage that was found last, and room for another; (2, M+2, 1+S, 8)
    weight: Array  #: one over the correction that counts as one
    error: Array  #: of a record, (1, 1+S, 8)
    found: Array  #: smallest concentrations, or sums, in each lane; (3, 1, 8)
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
        aligned(2 * rows, columns).reshape((2, rows, columns, WIDTH)),
        aligned(rows, columns),
        aligned(1, columns),
        aligned(3, 1),
        make_poisson(n),
    )


@written
def _least_of(
    kinds: int, cells: Records, u: Records, found: Records, at: Any, own: Any, row: Any
) -> None:
    into, inside = found.at(row), cells.at(own)[INSIDE]
    least = into[0]
    for c in u.at(at).rows(0, kinds):
        least = c.where_less(least, inside.where_less(0.5, least, c), least)
    into[0] = least


@inner
def _lowest(kinds: Any, line: Line, u: Array, found: Array) -> float:
    """The smallest concentration."""
    cells, skip = line.cells, line.skip
    found[0, 0, :] = np.inf
    for at in range(1, len(u) - 1):
        _least_of(kinds, cells, u, found, at, place(at, skip), 0)
    return float(found[0].min())


@written
def _weigh(
    kinds: int, u: Records, weight: Records, share: Any, atol: Any, rtol: Any, at: Any
) -> None:
    for row, c in enumerate(u.at(at).rows(0, kinds)):
        weight.at(at)[row] = 1 / (share * (atol + rtol * abs(c)))


@written
def _copy_record(kinds: int, u: Records, into: Records, at: Any) -> None:
    into.at(at).put(0, u.at(at).rows(0, kinds + 1))


@written
def add_share(kinds: int, share: Any, values: Records, which: Any, total: Records, at: Any) -> None:
    """Add a share of a record to another."""
    value, into = values.at(which), total.at(at)
    for row in range(kinds + 1):
        into[row] = into[row] + share * value[row]


@written
def _put_slope(
    kinds: int, now: Records, base: Records, rate: Any, slopes: Records, which: Any, at: Any
) -> None:
    """The slope of a stage from its value and its base, and one over its step."""
    here, known, into = now.at(at), base.at(at), slopes.at(which)
    for row in range(kinds + 1):
        into[row] = (here[row] - known[row]) * rate


@written
def _draw_on(
    kinds: int, base: Records, own: Any, slopes: Records, which: Any, ahead: Records, at: Any
) -> None:
    """Where a slope leads to from the base of a stage."""
    known, slope, into = base.at(at), slopes.at(which), ahead.at(at)
    for row in range(kinds + 1):
        into[row] = known[row] + own * slope[row]


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
def copy_line(kinds: Any, u: Array, into: Array) -> None:
    """Copy all records of a line."""
    for at in range(len(into)):
        _copy_record(kinds, u, into, at)


@inlined
def in_one_row(slopes: Array) -> Array:
    """The records of all stages, one line after the other."""
    return slopes.reshape((slopes.shape[0] * slopes.shape[1], slopes.shape[2], WIDTH))


@inner
def _predict(
    kinds: Any,
    cells: Array,
    skip: int,
    weights: Array,
    row: int,
    dt: float,
    rate: float,
    u: Array,
    base: Array,
    slopes: Array,
    found: Array,
    now: Array,
    ahead: Array,
) -> float:
    """Find the base of a stage, and where the last slope leads from there; its lowest value.

    The last slope is found too, from the stage before, ``now``, its base, and one over its step.
    """
    each, own = len(now), weights[row + 1] * dt
    found[0, 0, :] = np.inf
    for at in range(each):
        if row > 0:
            _put_slope(kinds, now, base, rate, slopes, row * each + at, at)
        _copy_record(kinds, u, base, at)
        for k in range(row + 1):
            if weights[k] != 0:
                add_share(kinds, dt * weights[k], slopes, k * each + at, base, at)
        _draw_on(kinds, base, own, slopes, row * each + at, ahead, at)
        if 0 < at < each - 1:
            _least_of(kinds, cells, ahead, found, at, place(at, skip), 0)
    return float(found[0].min())


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
) -> tuple[bool, int, bool, int]:
    """One step, its slope the last of ``work.slopes``; see `ESDIRK.attempt`.

    Its stages are put on ``tape`` ``(R, M+2, 1+S, 8)``, if there is one. The last number returned
    says which of ``work.pair`` it ends with.
    """
    solved, iterations, which, last = True, 0, 0, len(method.rows) - 1
    cells, skip, u, base, pair, found = (
        line.cells,
        line.skip,
        work.u,
        work.base,
        work.pair,
        work.found,
    )
    slopes = in_one_row(work.slopes)
    copy_line(kinds, u, pair[0])
    own = 1.0
    for row in range(last + 1):
        weights, rate = method.rows[row], 1 / own
        own = weights[row + 1] * dt
        now, ahead = pair[which], pair[1 - which]
        lowest = _predict(
            kinds, cells, skip, weights, row, dt, rate, u, base, slopes, found, now, ahead
        )
        if lowest > 0:
            which = 1 - which
        converged, took, failed = iterate_lanes(
            kinds, line, base, own, pair[which], work.weight, count, most, room
        )
        iterations += took
        if failed:
            return False, iterations, True, which
        solved = solved and converged
        if len(tape) > 0:
            copy_line(kinds, pair[which], tape[row])
    end, each = pair[which], len(u)
    for at in range(each):
        _put_slope(kinds, end, base, 1 / own, slopes, (last + 1) * each + at, at)
    return solved, iterations, False, which


@inlined
def _judge(
    kinds: Any, line: Line, method: Method, count: int, dt: float, work: Stages, stage: Array
) -> tuple[float, float, float]:
    """The error of a step over the error allowed, see `Tolerance.ratio`; the lowest at both ends.

    The lowest one after the step comes first.
    """
    cells, skip, found, error, u = line.cells, line.skip, work.found, work.error, work.u
    slopes, weights, each = in_one_row(work.slopes), method.error, len(stage)
    atol, rtol = method.atol, method.rtol
    found[0, 0, :], found[1:], error[:] = 0, np.inf, 0
    for at in range(1, each - 1):
        for k in range(len(weights)):
            if weights[k] != 0:
                add_share(kinds, dt * weights[k], slopes, k * each + at, error, 0)
        _add_error(kinds, u, stage, error, found, atol, rtol, at)
        own = place(at, skip)
        _least_of(kinds, cells, stage, found, at, own, 1)
        _least_of(kinds, cells, u, found, at, own, 2)
    total = 0.0
    for lane in range(WIDTH):
        total += found[0, 0, lane]
    return float(np.sqrt(total / count)), float(found[1].min()), float(found[2].min())


@inner
def _between(s: float, h: float, k_1: Array, work: Stages, stage: Array, ahead: Array) -> None:
    """The cubic Hermite interpolant at the share ``s`` of a step to ``stage``, into ``ahead``."""
    u_0, k_0 = work.u.reshape(-1), work.slopes[0].reshape(-1)
    u_1, end, into = stage.reshape(-1), k_1.reshape(-1), ahead.reshape(-1)
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
        lowest = _lowest(kinds, line, ahead, work.found)
        if (lowest < 0 and ends >= 0) or (lowest == 0 and ends > 0):
            return False
        for s in range(len(kinds)):
            take_cells(ahead, s, run.states[at, sample, s])
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
    solved, iterations, failed, which = _attempt(
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
    growth = method.shrink_after_failure
    if valid:
        growth = method.safety * max(ratio, 1e-10) ** (-1 / method.error_order)
        growth = min(max(growth, method.smallest_shrink), method.largest_growth)
        if not accept:
            growth = min(growth, method.safety)
    run.iterations[sample] += iterations
    if accept:
        ends = min(lowest, lowest_before)
        if not _save(kinds, line, run, sample, dt, end, ends, lowest, work, which):
            run.land[sample] = True  # again, onto the saved time
            run.rejected[sample] += 1
            return True
        cut_short = dt < wanted and growth >= 1  # by a saved time, not by the error
        run.dt[sample] = max(dt * growth, wanted) if cut_short else dt * growth
        run.failures[sample], run.land[sample] = 0, False
        if trail.t.shape[1] > 0:
            _remember(kinds, trail, sample, t, end, dt, run.next[sample], work)
        copy_line(kinds, stage, work.u)
        copy_line(kinds, work.slopes[len(work.slopes) - 1], work.slopes[0])
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
        line = lay_out(cell, species, n, True)
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
