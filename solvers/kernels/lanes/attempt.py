"""One ESDIRK step in lanes, which may still be thrown away.

The potential is a linear function of the concentrations: found once at the beginning of a step, it
stays that of the state through every stage. Neither crowding nor reactions are known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pnpfusion.solvers.kernels.decorators import Array, inlined, inner
from pnpfusion.solvers.kernels.lanes.elimination import Workroom
from pnpfusion.solvers.kernels.lanes.line import Line, place
from pnpfusion.solvers.kernels.lanes.newton import find_potential_of, iterate_lanes
from pnpfusion.solvers.kernels.lanes.stages import (
    Stages,
    add_share,
    copy_line,
    copy_record,
    find_masses,
    give_back,
    in_one_row,
    note_least,
    put_slope,
)
from pnpfusion.solvers.kernels.lanes.straight_code import Records, written

if TYPE_CHECKING:
    from pnpfusion.solvers.plain_steps import Method


@inlined
def attempt(
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
    """One step that :func:`begin_step` began, to the last slope; see `ESDIRK.attempt`.

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
    _put_last_slope(kinds, method, dt, work, pair[which])
    return solved, iterations, False, which


@inlined
def keep_masses(
    kinds: Any, line: Line, method: Method, dt: float, work: Stages, end: Array
) -> None:
    """Give the ``end`` of a step and its slope what was lost of the masses of closed species."""
    if give_back(kinds, line, end, work.masses, work.kept):
        find_masses(kinds, line, work.base, work.masses, 0)
        give_back(kinds, line, work.base, work.masses, work.kept)
        _put_last_slope(kinds, method, dt, work, end)


@inlined
def _put_last_slope(kinds: Any, method: Method, dt: float, work: Stages, end: Array) -> None:
    """The slope at the ``end`` of a step."""
    rows, each, base, slopes = len(method.rows), len(end), work.base, in_one_row(work.slopes)
    rate = 1 / (method.rows[rows - 1, rows] * dt)
    for at in range(each):
        put_slope(kinds, end, base, rate, slopes, rows * each + at, at)


@inlined
def begin_step(kinds: Any, line: Line, method: Method, work: Stages) -> None:
    """Find what a step needs to know of the state and slope that it begins with."""
    for at in range(1, len(work.u) - 1):
        weigh(kinds, work.u, work.weight, method.newton_share, method.atol, method.rtol, at)
    find_potential_of(kinds, line, work.u, 1.0, work.poisson)
    find_potential_of(kinds, line, work.slopes[0], 0.0, work.poisson)


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
            put_slope(kinds, now, base, rate, slopes, row * each + at, at)
        copy_record(kinds, u, base, at)
        for k in range(row + 1):
            if weights[k] != 0:
                add_share(kinds, dt * weights[k], slopes, k * each + at, base, at)
        _draw_on(kinds, base, own, slopes, row * each + at, ahead, at)
        if 0 < at < each - 1:
            note_least(kinds, cells, ahead, found, at, place(at, skip), 0)
    return float(found[0].min())


@written
def weigh(
    kinds: int, u: Records, weight: Records, share: Any, atol: Any, rtol: Any, at: Any
) -> None:
    """Put one over the correction that counts as one into ``weight``."""
    for row, c in enumerate(u.at(at).rows(0, kinds)):
        weight.at(at)[row] = 1 / (share * (atol + rtol * abs(c)))


@written
def _draw_on(
    kinds: int, base: Records, own: Any, slopes: Records, which: Any, ahead: Records, at: Any
) -> None:
    """Where a slope leads to from the base of a stage."""
    known, slope, into = base.at(at), slopes.at(which), ahead.at(at)
    for row in range(kinds + 1):
        into[row] = known[row] + own * slope[row]
