"""Where adaptive runs stand, and how their steps are chosen: those of `AdaptiveSteps`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.decorators import Array, Truth, Whole, inlined

if TYPE_CHECKING:
    from pnpfusion.solvers.plain_steps import Method

EPSILON = float(np.finfo(np.float64).eps)


class Run(NamedTuple):
    """Where B samples stand, changed by their steps, and what they save at T times."""

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


@inlined
def aim(run: Run, sample: int) -> tuple[float, float]:
    """The size of the next step of a sample, and the time after it."""
    times, t = run.times, run.t[sample]
    last = len(times) - 1
    target = times[min(run.next[sample], last) if run.land[sample] else last]
    gap = target - t
    dt = min(run.dt[sample], gap)
    if gap - dt < 1e-6 * dt:
        dt = gap
    return dt, target if dt == gap else t + dt


@inlined
def may_try(method: Method, run: Run, sample: int, dt: float) -> bool:
    """Whether a plain step of that size is worth trying."""
    span = run.times[len(run.times) - 1] - run.times[0]
    least = 4 * EPSILON * max(abs(run.t[sample]), 1e-3 * span)
    worth: bool = run.failures[sample] < method.most_failures and dt > least
    return worth


@inlined
def pass_times(run: Run, sample: int, at: int, end: float, lowest: float) -> None:
    """Note that a step to ``end``, where its lowest value is, saved the times before ``at``."""
    first = run.next[sample]
    if at > first:
        run.lowest_saved[first, sample] = min(run.lowest_saved[first, sample], run.lowest[sample])
        run.lowest[sample] = np.inf
        run.next[sample] = at
    if run.times[at - 1] != end:  # what a step ends with counts for the saved time after it
        run.lowest[sample] = min(run.lowest[sample], lowest)


@inlined
def push_back(run: Run, sample: int) -> None:
    """Have a step taken again, onto the saved time."""
    run.land[sample] = True
    run.rejected[sample] += 1


@inlined
def learn(
    method: Method, run: Run, sample: int, dt: float, ratio: float, valid: bool, accept: bool
) -> None:
    """Choose the next step after one of size ``dt`` with the error ``ratio``, and count that."""
    growth = method.shrink_after_failure
    if valid:
        growth = method.safety * max(ratio, 1e-10) ** (-1 / method.error_order)
        growth = min(max(growth, method.smallest_shrink), method.largest_growth)
        if not accept:
            growth = min(growth, method.safety)
    wanted = run.dt[sample]
    run.dt[sample] = dt * growth
    if accept:
        if dt < wanted and growth >= 1:  # cut short by a saved time, not by the error
            run.dt[sample] = max(dt * growth, wanted)
        run.failures[sample], run.land[sample] = 0, False
        run.steps[sample] += 1
    else:
        if not valid:
            run.failures[sample] += 1
        run.rejected[sample] += 1
