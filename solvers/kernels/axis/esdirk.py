"""Adaptive ESDIRK runs of cells of one axis between walls, compiled by Numba.

The steps are those of `march` under `AdaptiveSteps`, one sample after the other. What a sample
needs beyond plain steps is left to `march`: the sample waits where it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pnpfusion.solvers.kernels.axis.newton import (
    CROWDING,
    Cell,
    Room,
    ground,
    iterate,
    make_room,
    one_sample,
)
from pnpfusion.solvers.kernels.decorators import Array, inlined, inner, kernel

if TYPE_CHECKING:
    from pnpfusion.solvers.plain_steps import Method

Whole = NDArray[np.int64]
Truth = NDArray[np.bool_]
EPSILON = float(np.finfo(np.float64).eps)


class Run(NamedTuple):
    """Where B samples stand, changed by :func:`esdirk_1d`, and what they save at T times."""

    times: Array  #: (T,)
    t: Array  #: (B,)
    u: Array  #: (B, S, N)
    slope: Array  #: du/dt, (B, S, N)
    next: Whole  #: the next saved time, (B,)
    dt: Array  #: the next step, (B,)
    failures: Whole  #: in a row, (B,)
    land: Truth  #: whether the next step must end at a saved time, (B,)
    lowest: Array  #: smallest value since the last saved time, (B,)
    steps: Whole  #: accepted, (B,)
    rejected: Whole  #: (B,)
    iterations: Whole  #: (B,)
    states: Array  #: (T, B, S, N)
    lowest_saved: Array  #: (T, B)


class Stages(NamedTuple):
    """What one step of one sample works with; R + 1 stages."""

    slopes: Array  #: (R+1, S, N)
    base: Array  #: (S, N), as all that follow
    ahead: Array
    stage: Array
    scale: Array
    error: Array


@inner
def _lowest(cell: Cell, u: Array) -> float:
    """The smallest of what must stay positive: see `BoundPNP.lowest`. NaN if one is."""
    lowest: float = np.inf
    for s in range(len(u)):
        for i in range(u.shape[1]):
            if not u[s, i] >= lowest:
                lowest = u[s, i]
                if np.isnan(lowest):
                    return lowest
    if cell.numbers[CROWDING] > 0:
        for i in range(u.shape[1]):
            free = 1 / cell.numbers[CROWDING]
            for s in range(len(u)):
                free -= u[s, i]
            lowest = min(lowest, free)
    return lowest


@inner
def _copy(values: Array, into: Array) -> None:
    """``into[:] = values``, which takes Numba a second to compile in each place."""
    for s in range(into.shape[0]):
        for i in range(into.shape[1]):
            into[s, i] = values[s, i]


@inner
def _combine(weights: Array, count: int, slopes: Array, total: Array) -> None:
    """``total`` = the sum of the first ``count`` slopes, weighted."""
    for s in range(total.shape[0]):
        for i in range(total.shape[1]):
            total[s, i] = 0
    for j in range(count):
        weight = weights[j]
        if weight != 0:
            for s in range(total.shape[0]):
                for i in range(total.shape[1]):
                    total[s, i] += weight * slopes[j, s, i]


@inlined
def _attempt(
    cell: Cell, method: Method, most: int, u: Array, dt: float, room: Room, work: Stages
) -> tuple[bool, int, bool]:
    """One step to ``work.stage``, its slope the last of ``work.slopes``; see `ESDIRK.attempt`.

    Returns:
        Whether all stages were solved, the iterations, and whether a linear solve failed.
    """
    species, n = u.shape
    slopes, base, ahead, stage = work.slopes, work.base, work.ahead, work.stage
    solved, iterations = True, 0
    _copy(u, stage)
    for row in range(len(method.rows)):
        weights = method.rows[row]
        own = weights[row + 1] * dt
        _combine(weights, row + 1, slopes, base)
        for s in range(species):
            for i in range(n):
                base[s, i] = u[s, i] + dt * base[s, i]
                ahead[s, i] = base[s, i] + own * slopes[row, s, i]
        if _lowest(cell, ahead) > 0:
            _copy(ahead, stage)
        converged, took, failed = iterate(cell, base, own, stage, work.scale, most, room)
        iterations += took
        if failed:
            return False, iterations, True
        solved = solved and converged
        for s in range(species):
            for i in range(n):
                slopes[row + 1, s, i] = (stage[s, i] - base[s, i]) / own
    return solved, iterations, False


@inlined
def _error_ratio(method: Method, u: Array, dt: float, work: Stages) -> float:
    """The error of a step over the error allowed; see `Tolerance.ratio`."""
    rows = len(method.rows)
    _combine(method.error, rows + 1, work.slopes, work.error)
    total = 0.0
    for s in range(u.shape[0]):
        for i in range(u.shape[1]):
            larger = max(abs(u[s, i]), abs(work.stage[s, i]))
            ratio = dt * work.error[s, i] / (method.atol + method.rtol * larger)
            total += ratio * ratio
    return float(np.sqrt(total / u.size))


@inner
def _between(
    s: float, h: float, u_0: Array, k_0: Array, u_1: Array, k_1: Array, into: Array
) -> None:
    """The cubic Hermite interpolant at the share ``s`` of a step; see `Record`."""
    for a in range(u_0.shape[0]):
        for i in range(u_0.shape[1]):
            bend = (1 - 2 * s) * (u_1[a, i] - u_0[a, i])
            bend += (s - 1) * h * k_0[a, i] + s * h * k_1[a, i]
            into[a, i] = (1 - s) * u_0[a, i] + s * u_1[a, i] + s * (s - 1) * bend


@inlined
def _save(
    cell: Cell, run: Run, sample: int, dt: float, end: float, u_1: Array, k_1: Array, ends: float
) -> bool:
    """Save what the step passes; False where an interpolant is less positive than both ends.

    ``ends`` is the smallest value at the ends.
    """
    u_0, k_0, t = run.u[sample], run.slope[sample], run.t[sample]
    at = run.next[sample]
    while at < len(run.times) and run.times[at] <= end:
        into = run.states[at, sample]
        if run.times[at] == end:
            _copy(u_1, into)
        else:
            _between((run.times[at] - t) / dt, dt, u_0, k_0, u_1, k_1, into)
        lowest = _lowest(cell, into)
        if (lowest < 0 and ends >= 0) or (lowest == 0 and ends > 0):
            return False
        run.lowest_saved[at, sample] = lowest
        at += 1
    first = run.next[sample]
    if at > first:
        run.lowest_saved[first, sample] = min(run.lowest_saved[first, sample], run.lowest[sample])
        run.lowest[sample] = np.inf
        run.next[sample] = at
    if run.times[at - 1] != end:  # what a step ends with counts for the saved time after it
        run.lowest[sample] = min(run.lowest[sample], _lowest(cell, u_1))
    return True


@inlined
def _step(
    cell: Cell, method: Method, most: int, run: Run, sample: int, room: Room, work: Stages
) -> bool:
    """Try one step; False, with nothing changed, where it is not a plain one."""
    times, t, u = run.times, run.t[sample], run.u[sample]
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
    for s in range(u.shape[0]):
        for i in range(u.shape[1]):
            work.scale[s, i] = method.newton_share * (method.atol + method.rtol * abs(u[s, i]))
    _copy(run.slope[sample], work.slopes[0])
    solved, iterations, failed = _attempt(cell, method, most, u, dt, room, work)
    ratio = _error_ratio(method, u, dt, work)
    if failed or not np.isfinite(ratio):
        return False
    after, k_1 = work.stage, work.slopes[len(method.rows)]
    lowest, lowest_before = _lowest(cell, after), _lowest(cell, u)
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
        for s in range(u.shape[0]):
            for i in range(u.shape[1]):
                work.base[s, i] = min(u[s, i], after[s, i])
        if not _save(cell, run, sample, dt, end, after, k_1, _lowest(cell, work.base)):
            run.land[sample] = True  # again, onto the saved time
            run.rejected[sample] += 1
            return True
        cut_short = dt < wanted and growth >= 1  # by a saved time, not by the error
        run.dt[sample] = max(dt * growth, wanted) if cut_short else dt * growth
        run.failures[sample], run.land[sample] = 0, False
        _copy(after, u)
        _copy(k_1, run.slope[sample])
        run.t[sample] = end
        run.steps[sample] += 1
    else:
        run.dt[sample] = dt * growth
        if not valid:
            run.failures[sample] += 1
        run.rejected[sample] += 1
    return True


@kernel
def esdirk_1d(
    cells: Cell,
    method: Method,
    iterations: int,
    run: Run,
    going: Truth,
    most: Whole,
    waits: Truth,
) -> None:
    """Take plain steps of every sample that is going, until it ends, waits, or tried enough.

    Args:
        cells: the cells.
        method: how to step.
        iterations: of Newton's method at most, for each stage.
        run: where they stand; changed.
        going: which samples to move, ``(B,)``.
        most: how many steps each may try, ``(B,)``.
        waits: which of them need another step than a plain one; set here, ``(B,)``.
    """
    batch, species, n = run.u.shape
    room = make_room(species, n, run.u)
    like = run.u[0] if batch else np.empty((species, n), run.u.dtype)
    work = Stages(
        np.empty((len(method.error), species, n), run.u.dtype),
        np.empty_like(like),
        np.empty_like(like),
        np.empty_like(like),
        np.empty_like(like),
        np.empty_like(like),
    )
    for sample in range(batch):
        waits[sample] = False
        if not going[sample]:
            continue
        cell = one_sample(cells, sample)
        ground(cell, room)
        for _ in range(most[sample]):
            if run.next[sample] >= len(run.times):
                break
            if not _step(cell, method, iterations, run, sample, room, work):
                waits[sample] = True
                break
