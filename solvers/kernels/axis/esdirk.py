"""Adaptive ESDIRK runs of cells of one axis between walls, compiled by Numba.

The steps are those of `march` under `AdaptiveSteps`, one sample after the other. What a sample
needs beyond plain steps is left to `march`: the sample waits where it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.axis.cell import CROWDING, Cell, one_sample
from pnpfusion.solvers.kernels.axis.fluxes import ground
from pnpfusion.solvers.kernels.axis.newton import iterate
from pnpfusion.solvers.kernels.axis.room import Room, make_room
from pnpfusion.solvers.kernels.decorators import Array, Truth, Whole, inlined, inner, kernel
from pnpfusion.solvers.kernels.run import Run, aim, learn, may_try, pass_times, push_back

if TYPE_CHECKING:
    from pnpfusion.solvers.plain_steps import Method


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
    work = make_stages(method, run.u)
    for sample in range(batch):
        waits[sample] = False
        if not going[sample]:
            continue
        cell = one_sample(cells, sample)
        ground(cell, room)
        for _ in range(most[sample]):
            if run.next[sample] >= len(run.times):
                break
            if not try_step(cell, method, iterations, run, sample, room, work):
                waits[sample] = True
                break


class Stages(NamedTuple):
    """What one step of one sample works with; R + 1 stages."""

    slopes: Array  #: (R+1, S, N)
    base: Array  #: (S, N), as all that follow
    ahead: Array
    stage: Array
    scale: Array
    error: Array


@inner
def make_stages(method: Method, like: Array) -> Stages:
    """Room for the stages of one sample at a time of states like those ``(B, S, N)``."""
    _, species, n = like.shape
    return Stages(
        np.empty((len(method.error), species, n), like.dtype),
        np.empty((species, n), like.dtype),
        np.empty((species, n), like.dtype),
        np.empty((species, n), like.dtype),
        np.empty((species, n), like.dtype),
        np.empty((species, n), like.dtype),
    )


@inlined
def try_step(
    cell: Cell, method: Method, most: int, run: Run, sample: int, room: Room, work: Stages
) -> bool:
    """Try one step; False, with nothing changed, where it is not a plain one."""
    u, slope = run.u[sample], run.slope[sample]
    dt, end = aim(run, sample)
    if not may_try(method, run, sample, dt):
        return False
    for s in range(u.shape[0]):
        for i in range(u.shape[1]):
            work.scale[s, i] = method.newton_share * (method.atol + method.rtol * abs(u[s, i]))
    copy_values(slope, work.slopes[0])
    solved, iterations, failed = attempt(cell, method, most, u, dt, room, work)
    ratio = _error_ratio(method, u, dt, work)
    if failed or not np.isfinite(ratio):
        return False
    after, k_1 = work.stage, work.slopes[len(method.rows)]
    lowest, lowest_before = find_lowest(cell, after), find_lowest(cell, u)
    valid = solved and (lowest > 0 or (lowest == 0 and lowest_before == 0))
    accept = valid and ratio <= 1
    run.iterations[sample] += iterations
    if accept:
        for s in range(u.shape[0]):
            for i in range(u.shape[1]):
                work.base[s, i] = min(u[s, i], after[s, i])
        ends = find_lowest(cell, work.base)
        if not _save(cell, run, sample, dt, end, after, k_1, ends, lowest):
            push_back(run, sample)
            return True
        copy_values(after, u)
        copy_values(k_1, slope)
        run.t[sample] = end
    learn(method, run, sample, dt, ratio, valid, accept)
    return True


@inlined
def attempt(
    cell: Cell, method: Method, most: int, u: Array, dt: float, room: Room, work: Stages
) -> tuple[bool, int, bool]:
    """One step to ``work.stage``, its slope the last of ``work.slopes``; see `ESDIRK.attempt`.

    Returns:
        Whether all stages were solved, the iterations, and whether a linear solve failed.
    """
    species, n = u.shape
    slopes, base, ahead, stage = work.slopes, work.base, work.ahead, work.stage
    solved, iterations = True, 0
    copy_values(u, stage)
    for row in range(len(method.rows)):
        weights = method.rows[row]
        own = weights[row + 1] * dt
        combine(weights, row + 1, slopes, base)
        for s in range(species):
            for i in range(n):
                base[s, i] = u[s, i] + dt * base[s, i]
                ahead[s, i] = base[s, i] + own * slopes[row, s, i]
        if find_lowest(cell, ahead) > 0:
            copy_values(ahead, stage)
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
    combine(method.error, rows + 1, work.slopes, work.error)
    total = 0.0
    for s in range(u.shape[0]):
        for i in range(u.shape[1]):
            larger = max(abs(u[s, i]), abs(work.stage[s, i]))
            ratio = dt * work.error[s, i] / (method.atol + method.rtol * larger)
            total += ratio * ratio
    return float(np.sqrt(total / u.size))


@inlined
def _save(
    cell: Cell,
    run: Run,
    sample: int,
    dt: float,
    end: float,
    u_1: Array,
    k_1: Array,
    ends: float,
    lowest_after: float,
) -> bool:
    """Save what the step passes; False where an interpolant is less positive than both ends.

    ``ends`` is the smallest value at the ends, ``lowest_after`` that at the second one.
    """
    u_0, k_0, t = run.u[sample], run.slope[sample], run.t[sample]
    at = run.next[sample]
    while at < len(run.times) and run.times[at] <= end:
        into = run.states[at, sample]
        if run.times[at] == end:
            copy_values(u_1, into)
        else:
            _between((run.times[at] - t) / dt, dt, u_0, k_0, u_1, k_1, into)
        lowest = find_lowest(cell, into)
        if (lowest < 0 and ends >= 0) or (lowest == 0 and ends > 0):
            return False
        run.lowest_saved[at, sample] = lowest
        at += 1
    pass_times(run, sample, at, end, lowest_after)
    return True


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


@inner
def find_lowest(cell: Cell, u: Array) -> float:
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
def copy_values(values: Array, into: Array) -> None:
    """``into[:] = values``, which takes Numba a second to compile in each place."""
    for s in range(into.shape[0]):
        for i in range(into.shape[1]):
            into[s, i] = values[s, i]


@inner
def combine(weights: Array, count: int, slopes: Array, total: Array) -> None:
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
