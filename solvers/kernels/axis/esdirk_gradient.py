"""The gradient of the runs of `esdirk`: the accepted steps once more, last one first.

A stage solves F(phi, U; base, parameters) = 0. Its derivative is that of the implicit function: one
solve with the transposed matrix at the stage, whatever way Newton's method took there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.axis.esdirk import (
    Run,
    Stages,
    Truth,
    Whole,
    _attempt,
    _combine,
    _copy,
    _step,
)
from pnpfusion.solvers.kernels.axis.newton import (
    AHEAD,
    BACK,
    CONDUCTANCE,
    CROWDING,
    DIAGONAL,
    ELECTRODE,
    FIXED_CHARGE,
    FORWARD,
    INVERSE,
    LOWER,
    PASSING,
    PHI,
    PULL,
    PUSH,
    RESERVOIR,
    RIGHT,
    RISE,
    SURFACE_CHARGE,
    UPPER,
    VALENCE,
    VOLUME,
    WALL_RISE,
    Cell,
    Room,
    _assemble,
    _product,
    find_fluxes,
    find_potential,
    ground,
    make_room,
    one_sample,
)
from pnpfusion.solvers.kernels.block_thomas import solve_line
from pnpfusion.solvers.kernels.by_cell import Given, one_given
from pnpfusion.solvers.kernels.decorators import Array, inlined, inner, kernel
from pnpfusion.solvers.kernels.trail import Trail, is_asked, is_zero, shares

if TYPE_CHECKING:
    from pnpfusion.solvers.plain_steps import Method


class Back(NamedTuple):
    """What the way back through the steps of one sample works with."""

    tape: Array  #: stages of up to L steps, (L, R, S, N)
    by_slopes: Array  #: (R+1, S, N)
    by_u: Array  #: by the state before a step, (S, N)
    turned: Array  #: the transposed blocks, as in `Room`, (4, N, 1+S, 1+S)
    load: Array  #: the right side, then the solution, of the transposed system, (N, 1+S)
    by_face: Array  #: by the rise of the potential, by what crowding adds to it; (2, N+1)


@inner
def _make_stages(method: Method, like: Array) -> Stages:
    """Room for the stages of a step of states ``like`` ``(S, N)``."""
    species, n = like.shape
    return Stages(
        np.empty((len(method.error), species, n), like.dtype),
        np.empty_like(like),
        np.empty_like(like),
        np.empty_like(like),
        np.empty_like(like),
        np.empty_like(like),
    )


@inner
def _put_stages(
    method: Method, u: Array, dt: float, slopes: Array, after: Array, into: Array
) -> None:
    """The values at the stages of a step from ``u``, which may lie in the last of ``into``."""
    last = len(into) - 1
    for row in range(last):
        _combine(method.rows[row], row + 2, slopes, into[row])
        for s in range(u.shape[0]):
            for i in range(u.shape[1]):
                into[row, s, i] = u[s, i] + dt * into[row, s, i]
    _copy(after, into[last])


@kernel
def esdirk_1d_followed(
    cells: Cell,
    method: Method,
    iterations: int,
    run: Run,
    going: Truth,
    most: Whole,
    waits: Truth,
    trail: Trail,
) -> None:
    """The steps of :func:`esdirk_1d`, bit for bit, and a trail of them.

    Args:
        cells: the cells.
        method: how to step.
        iterations: of Newton's method at most, for each stage.
        run: where they stand; changed.
        going: which samples to move, ``(B,)``.
        most: how many steps each may try, at most K, ``(B,)``.
        waits: which of them need another step than a plain one; set here, ``(B,)``.
        trail: filled; its ``apart`` is given.
    """
    batch, species, n = run.u.shape
    room = make_room(species, n, run.u)
    work = _make_stages(method, run.u[0])
    whole, last = trail.stages.shape[1], len(run.times) - 1
    for sample in range(batch):
        waits[sample], trail.taken[sample] = False, 0
        trail.next[sample, 0] = run.next[sample]
        if not going[sample]:
            continue
        cell = one_sample(cells, sample)
        ground(cell, room)
        u, slope = run.u[sample], run.slope[sample]
        for _ in range(most[sample]):
            if run.next[sample] >= len(run.times):
                break
            k, before = trail.taken[sample], run.steps[sample]
            if k < whole:
                _copy(u, trail.stages[sample, k, -1])
            elif (k - whole) % trail.apart == 0:
                _copy(u, trail.states[sample, (k - whole) // trail.apart, 0])
                _copy(slope, trail.states[sample, (k - whole) // trail.apart, 1])
            t = run.t[sample]
            target = run.times[min(run.next[sample], last) if run.land[sample] else last]
            gap = target - t
            dt = min(run.dt[sample], gap)
            if gap - dt < 1e-6 * dt:
                dt = gap
            if not _step(cell, method, iterations, run, sample, room, work):
                waits[sample] = True
                break
            if run.steps[sample] > before:
                if k < whole:
                    into = trail.stages[sample, k]
                    _put_stages(method, into[-1], dt, work.slopes, u, into)
                trail.t[sample, k], trail.end[sample, k] = t, run.t[sample]
                trail.dt[sample, k] = dt
                trail.next[sample, k + 1] = run.next[sample]
                trail.taken[sample] = k + 1


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
    _copy(begin[0], u)
    _copy(begin[1], work.slopes[0])
    for k in steps:
        dt = trail.dt[sample, k]
        for s in range(u.shape[0]):
            for i in range(u.shape[1]):
                work.scale[s, i] = method.newton_share * (method.atol + method.rtol * abs(u[s, i]))
        _attempt(cell, method, most, u, dt, room, work)
        _put_stages(method, u, dt, work.slopes, work.stage, tape[k - steps.start])
        _copy(work.stage, u)
        _copy(work.slopes[len(method.rows)], work.slopes[0])


@inner
def _transpose(blocks: Array, turned: Array) -> None:
    """The blocks of the transposed matrix."""
    n, m = blocks.shape[1], blocks.shape[2]
    for i in range(n):
        for row in range(m):
            for column in range(m):
                turned[DIAGONAL, i, row, column] = blocks[DIAGONAL, i, column, row]
                if i > 0:
                    turned[LOWER, i, row, column] = blocks[UPPER, i - 1, column, row]
                if i < n - 1:
                    turned[UPPER, i, row, column] = blocks[LOWER, i + 1, column, row]


@inner
def _by_faces(cell: Cell, h: float, room: Room, back: Back, by: Given) -> None:
    """From the solution in ``back.load`` to what the fluxes are made of."""
    species, n = room.sources.shape
    w, by_rise, by_crush = back.load, back.by_face[0], back.by_face[1]
    rise = room.edges[RISE]
    for i in range(n + 1):
        by_rise[i] = by_crush[i] = 0
    for s in range(species):
        z, beside, passing = cell.numbers[VALENCE + s], room.beside[s], cell.faces[PASSING + s]
        ahead, behind, push = room.faces[AHEAD, s], room.faces[BACK, s], room.faces[PUSH, s]
        by_passing, by_imposed = by.faces[PASSING + s], by.faces[PASSING + species + s]
        by_z = 0.0
        for i in range(n + 1):
            down = w[i, 1 + s] if i < n else 0.0
            if i > 0:
                down -= w[i - 1, 1 + s]  # what a larger flux through the face does
            if passing[i] != 0:
                moved = ahead[i] * beside[i] - behind[i] * beside[i + 1]
                by_passing[i] += down * moved / passing[i]
            by_imposed[i] += h * down
            turned = down * push[i]
            by_crush[i] += turned
            by_rise[i] += z * turned
            by_z += turned * rise[i]
            if i == 0:
                by.ends[RESERVOIR + s, 0] += down * ahead[i]
            elif i == n:
                by.ends[RESERVOIR + s, 1] -= down * behind[i]
        by.numbers[VALENCE + s] += by_z


@inner
def _by_ends(cell: Cell, room: Room, back: Back, by: Given) -> None:
    """From what the rise of the potential at both walls counts to the walls."""
    n, phi = len(back.load), room.cells[PHI]
    for end in range(2):
        share = -back.by_face[0, 0] if end == 0 else back.by_face[0, n]
        edge = phi[0] if end == 0 else phi[n - 1]
        by.ends[ELECTRODE, end] += share * cell.ends[PULL, end]
        by.ends[PULL, end] += share * (cell.ends[ELECTRODE, end] - edge)
        by.ends[WALL_RISE, end] += share


@inner
def _by_gauss(cell: Cell, c: Array, room: Room, back: Back, by: Given) -> None:
    """From the solution in ``back.load`` to what Gauss' law is made of."""
    species, n = c.shape
    w, phi, g = back.load, room.cells[PHI], cell.electric[CONDUCTANCE]
    for i in range(1, n):
        by.electric[CONDUCTANCE, i] -= (w[i - 1, 0] - w[i, 0]) * (phi[i - 1] - phi[i])
    for end, i, face in ((0, 0, 0), (1, n - 1, n)):
        by.electric[CONDUCTANCE, face] += w[i, 0] * (cell.ends[ELECTRODE, end] - phi[i])
        by.ends[ELECTRODE, end] += w[i, 0] * g[face]
        by.ends[SURFACE_CHARGE, end] += w[i, 0]
    for i in range(n):
        by.cells[FIXED_CHARGE, i] += cell.cells[VOLUME, i] * w[i, 0]
    for s in range(species):
        total = 0.0
        for i in range(n):
            total += cell.cells[VOLUME, i] * w[i, 0] * c[s, i]
        by.numbers[VALENCE + s] += total


@inner
def _by_crowding(cell: Cell, room: Room, back: Back, by: Given) -> None:
    """From what crowding adds to the rise across faces to the crowding and the reservoirs."""
    species, n = room.sources.shape
    k, by_crush = cell.numbers[CROWDING], back.by_face[1]
    for i in range(n + 2):
        total = 0.0
        for s in range(species):
            total += room.beside[s, i]
        # The logarithm beside it enters with + after the face, with - before it.
        share = by_crush[i] if i <= n else 0.0
        if i > 0:
            share -= by_crush[i - 1]
        by.numbers[CROWDING] -= share * total / (1 - k * total)
        if i == 0 or i == n + 1:
            end = 0 if i == 0 else 1
            for s in range(species):
                held = cell.ends[RESERVOIR + species + s, end]
                by.ends[RESERVOIR + s, end] -= held * share * k / (1 - k * total)


@inner
def _by_reactions(cell: Cell, c: Array, h: float, back: Back, by: Given) -> None:
    """From the solution in ``back.load`` to the constants of the reactions."""
    before, after = cell.counts[0], cell.counts[1]
    reactions = len(before)
    for r in range(reactions):
        for i in range(c.shape[1]):
            share = 0.0
            for s in range(len(c)):
                share += back.load[i, 1 + s] * (after[r, s] - before[r, s])
            share *= h * cell.cells[VOLUME, i]
            by.cells[FORWARD + r, i] += share * _product(c, i, before[r], -1)
            by.cells[FORWARD + reactions + r, i] -= share * _product(c, i, after[r], -1)


@inner
def _count(cell: Cell, c: Array, h: float, room: Room, back: Back, by: Given) -> None:
    """From the solution in ``back.load`` to the cell."""
    _by_faces(cell, h, room, back, by)
    _by_ends(cell, room, back, by)
    _by_gauss(cell, c, room, back, by)
    if cell.numbers[CROWDING] > 0:
        _by_crowding(cell, room, back, by)
    if cell.counts.shape[1]:
        _by_reactions(cell, c, h, back, by)


@inner
def _undo_stage(cell: Cell, c: Array, h: float, room: Room, back: Back, by: Given) -> None:
    """From the derivative by a stage's value, in ``back.load``, to that by its base over volumes.

    Adds to ``by`` what the parameters count.
    """
    find_potential(cell, c, room)
    find_fluxes(cell, c, h, room)
    _assemble(cell, c, c, h, room)
    turned = back.turned
    _transpose(room.blocks, turned)
    solve_line(turned[LOWER], turned[DIAGONAL], turned[UPPER], back.load, turned[RIGHT])
    _count(cell, c, h, room, back, by)


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
    volumes, by_slopes, load = cell.cells[VOLUME], back.by_slopes, back.load
    for row in range(rows - 1, -1, -1):
        weights = method.rows[row]
        own = weights[row + 1] * dt
        of_slope = by_slope if row == rows - 1 else by_slopes[row + 1]
        for i in range(n):
            load[i, 0] = 0
        for s in range(species):
            for i in range(n):
                load[i, 1 + s] = of_slope[s, i] / own + (by_u[s, i] if row == rows - 1 else 0.0)
        _undo_stage(cell, stages[row], own, room, back, by)
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
    _copy(back.by_u, by_u)
    _copy(by_slopes[0], by_slope)


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
    work = _make_stages(method, by_u[0])
    longest = 0
    for sample in range(batch):
        longest = max(longest, trail.taken[sample] - whole)
    back = Back(
        np.empty((min(apart, longest), rows, species, n), by_u.dtype),
        np.empty((rows + 1, species, n), by_u.dtype),
        np.empty((species, n), by_u.dtype),
        np.zeros((4, n, m, m), by_u.dtype),
        np.empty((n, m), by_u.dtype),
        np.empty((2, n + 1), by_u.dtype),
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
                _copy(back.by_u, back.by_slopes[j])
            _undo_saved(
                times, trail, sample, k, where, by_values, by_u[sample], by_slope[sample], back
            )
            stages = trail.stages[sample, k] if k < whole else back.tape[k - begin]
            dt = trail.dt[sample, k]
            _undo_step(cell, method, stages, dt, by_u[sample], by_slope[sample], room, back, by)


@inner
def _column(blocks: Array, w: Array, i: int, column: int) -> float:
    """A number of the product of the transposed matrix with ``w`` ``(N, 1+S)``."""
    total = 0.0
    for row in range(w.shape[1]):
        total += blocks[DIAGONAL, i, row, column] * w[i, row]
        if i > 0:
            total += blocks[UPPER, i - 1, row, column] * w[i - 1, row]
        if i < len(w) - 1:
            total += blocks[LOWER, i + 1, row, column] * w[i + 1, row]
    return total


@kernel
def rate_1d_gradient(cells: Cell, u: Array, by_slopes: Array, by_u: Array, by: Given) -> None:
    """From derivatives by the rates of B states to those by the states and by the cells.

    Args:
        cells: the cells.
        u: the states, ``(B, S, N)``.
        by_slopes: derivatives by their rates, likewise.
        by_u: those by the states; set here.
        by: where those by the cells are added.
    """
    batch, species, n = u.shape
    room = make_room(species, n, u)
    back = Back(
        np.empty((0, 0, species, n), u.dtype),
        np.empty((0, species, n), u.dtype),
        np.empty((species, n), u.dtype),
        np.empty((0, n, 1, 1), u.dtype),
        np.empty((n, 1 + species), u.dtype),
        np.empty((2, n + 1), u.dtype),
    )
    w = back.load
    for sample in range(batch):
        for s in range(species):
            for i in range(n):
                by_u[sample, s, i] = 0
        if is_zero(by_slopes[sample]):
            continue
        cell, c = one_sample(cells, sample), u[sample]
        g, inverse = cell.electric[CONDUCTANCE], room.cells[INVERSE]
        ground(cell, room)
        find_potential(cell, c, room)
        find_fluxes(cell, c, 1.0, room)
        _assemble(cell, c, c, 1.0, room)
        for i in range(n):
            w[i, 0] = 0
            for s in range(species):
                w[i, 1 + s] = by_slopes[sample, s, i] / cell.cells[VOLUME, i]
        for i in range(n):  # what a potential counts through fluxes, Poisson's equation undone
            back.by_face[0, i] = -_column(room.blocks, w, i, 0)
        for i in range(n):
            w[i, 0] = back.by_face[0, i]
            if i > 0:
                w[i, 0] += g[i] * inverse[i - 1] * w[i - 1, 0]
        w[n - 1, 0] *= inverse[n - 1]
        for i in range(n - 2, -1, -1):
            w[i, 0] = (w[i, 0] + g[i + 1] * w[i + 1, 0]) * inverse[i]
        if cell.floating:  # what is neutralised counts nothing
            total = volume = 0.0
            for i in range(n):
                total += cell.cells[VOLUME, i] * w[i, 0]
                volume += cell.cells[VOLUME, i]
            for i in range(n):
                w[i, 0] -= total / volume
        for s in range(species):
            for i in range(n):
                inertia = by_slopes[sample, s, i]  # in the matrix, not in the rate
                by_u[sample, s, i] = inertia - _column(room.blocks, w, i, 1 + s)
        _count(cell, c, 1.0, room, back, one_given(by, sample))
