"""Newton's method of `coupled_newton` for cells of one axis between walls, a sample in each lane.

Fluxes, residual, Jacobian and its elimination are one sweep over the cells, in registers but for
what the way back needs; the way back corrects the iterate.
"""

from __future__ import annotations

import triton.language as tl

from pnpfusion.solvers.kernels.gpu.block_thomas import read_block
from pnpfusion.solvers.kernels.gpu.blocks import chosen, read_row, same, solved, write_row
from pnpfusion.solvers.kernels.gpu.cell import (
    CONDUCTANCE,
    ELECTRODE,
    ENDS,
    FIXED,
    NUMBERS,
    PASSING,
    PULL,
    RESERVOIR,
    RISE,
    SURFACE_CHARGE,
    VOLUMES,
    each,
    find_potential,
    given,
    species,
)
from pnpfusion.solvers.kernels.gpu.decorators import jit
from pnpfusion.solvers.kernels.gpu.faces import through


@jit
def _eliminate(cell, c, phi, base, h, room, z, at, FLOATING: tl.constexpr, SCHEME: tl.constexpr):
    """The equations of every cell by those before it: into ``room`` go [A^-1 U | A^-1 b]."""
    n, batch, lane, inside = at
    S: tl.constexpr = len(z)
    M: tl.constexpr = 1 + S
    right, x = room
    zero = z[0] * 0
    imposed = each(cell, ENDS, 2 * (RESERVOIR + S), 2, lane, inside, S)
    here = species(c, 0, n, batch, lane, inside, S)
    potential = tl.load(phi + lane, mask=inside, other=0)
    electrode = given(cell, ENDS, 2 * ELECTRODE, lane, inside)
    pull = given(cell, ENDS, 2 * PULL, lane, inside)
    rise = -(pull * (electrode - potential) + given(cell, ENDS, 2 * RISE, lane, inside))
    behind = each(cell, ENDS, 2 * RESERVOIR, 2, lane, inside, S)
    passing = each(cell, PASSING, 0, n + 1, lane, inside, S)
    flux, ahead, back, push = through(z, passing, imposed, h, rise, behind, here, SCHEME)
    turn = ()  # by the potential after the face; a wall's follows its edge cell unless held
    for s in tl.static_range(S):
        turn = turn + (z[s] * push[s] * pull,)
    g = given(cell, CONDUCTANCE, 0, lane, inside)
    displacement = g * (electrode - potential)
    displacement += given(cell, ENDS, 2 * SURFACE_CHARGE, lane, inside)
    eliminated = same(same(zero, M + 1), M)

    electrode = given(cell, ENDS, 2 * ELECTRODE + 1, lane, inside)
    pull = given(cell, ENDS, 2 * PULL + 1, lane, inside)
    wall_rise = given(cell, ENDS, 2 * RISE + 1, lane, inside)
    wall_charge = given(cell, ENDS, 2 * SURFACE_CHARGE + 1, lane, inside)
    behind = each(cell, ENDS, 2 * RESERVOIR + 1, 2, lane, inside, S)
    wall_imposed = each(cell, ENDS, 2 * (RESERVOIR + S) + 1, 2, lane, inside, S)
    for i in range(n):
        last = i == n - 1
        following = tl.minimum(i + 1, n - 1)
        beyond = species(c, following, n, batch, lane, inside, S)
        place = tl.cast(following, tl.int64) * batch + lane
        potential_beyond = tl.load(phi + place, mask=inside, other=0)
        rise = tl.where(
            last, pull * (electrode - potential) + wall_rise, potential_beyond - potential
        )
        passing = each(cell, PASSING, i + 1, n + 1, lane, inside, S)
        imposed = chosen(last, wall_imposed, same(zero, S))
        after = chosen(last, behind, beyond)
        flux_on, ahead_on, back_on, push_on = through(
            z, passing, imposed, h, rise, here, after, SCHEME
        )
        g_on = given(cell, CONDUCTANCE, i + 1, lane, inside)
        displacement_on = g_on * (potential - tl.where(last, electrode, potential_beyond))
        displacement_on -= tl.where(last, wall_charge, 0.0)
        v = tl.load(cell[VOLUMES][0] + i)
        centre = g + g_on
        if FLOATING:
            centre += tl.where(i == 0, given(cell, NUMBERS, 0, lane, inside), 0.0)
        gauss = displacement_on - displacement - v * given(cell, FIXED, i, lane, inside)
        was = species(base, i, n, batch, lane, inside, S)
        first, others, turn_on = (centre + g * eliminated[0][0],), (), ()
        for s in tl.static_range(S):
            gauss -= v * z[s] * here[s]
            first = first + (g * eliminated[0][1 + s] - v * z[s],)
        first = first + (-g_on,) + same(zero, S) + (gauss + g * eliminated[0][M],)
        for s in tl.static_range(S):
            leaving = z[s] * push_on[s] * tl.where(last, pull, 1.0)
            turn_on = turn_on + (leaving,)
            wrong = v * (here[s] - was[s]) + h * (flux_on[s] - flux[s])
            row = (-(turn[s] + leaving),)
            for k in tl.static_range(S):
                row = row + (v + ahead_on[s] + back[s] if k == s else zero,)
            row = row + (leaving,)
            for k in tl.static_range(S):
                row = row + (-back_on[s] if k == s else zero,)
            row = row + (wrong,)
            reduced = ()
            for k in tl.static_range(M):
                before = turn[s] * eliminated[0][k] - ahead[s] * eliminated[1 + s][k]
                reduced = reduced + (row[k] - before,)
            for k in tl.static_range(M):
                reduced = reduced + (row[M + k],)
            before = turn[s] * eliminated[0][M] - ahead[s] * eliminated[1 + s][M]
            others = others + (reduced + (row[2 * M] - before,),)
        eliminated = solved((first,) + others)
        for row in tl.static_range(M):
            line = eliminated[row]
            kept = ()
            for k in tl.static_range(M):
                kept = kept + (line[k],)
            write_row(right, i * M * M + row * M, batch, lane, inside, kept)
            write_row(x, i * M + row, batch, lane, inside, (line[M],))
        here, potential, g, displacement = beyond, potential_beyond, g_on, displacement_on
        flux, ahead, back, turn = flux_on, ahead_on, back_on, turn_on


@jit
def _correct(c, phi, scale, room, moving, at, S: tl.constexpr):
    """Take the correction from ``c`` and ``phi``; its mean square over that of ``scale``."""
    n, batch, lane, inside = at
    M: tl.constexpr = 1 + S
    right, x = room
    correction = read_row(x, (n - 1) * M, batch, lane, inside, M)
    total = correction[0] * 0
    for back in range(n):
        i = n - 1 - back
        load = read_row(x, i * M, batch, lane, inside, M)
        block = read_block(right, i, batch, lane, inside, M)
        new = ()
        for row in tl.static_range(M):
            value = load[row]
            for k in tl.static_range(M):
                value -= tl.where(back > 0, block[row][k] * correction[k], 0.0)
            new = new + (value,)
        correction = new
        place = tl.cast(i, tl.int64) * batch + lane
        potential = tl.load(phi + place, mask=inside, other=0) - correction[0]
        tl.store(phi + place, potential, mask=moving)
        for s in tl.static_range(S):
            place = (tl.cast(i, tl.int64) + s * n) * batch + lane
            ratio = correction[1 + s] / tl.load(scale + place, mask=inside, other=1)
            total += ratio * ratio
            value = tl.load(c + place, mask=inside, other=0) - correction[1 + s]
            tl.store(c + place, value, mask=moving)
    return total / (S * n)


@jit
def iterate(
    cell,
    base,
    h,
    c,
    phi,
    scale,
    room,
    most,
    going,
    z,
    at,
    FLOATING: tl.constexpr,
    SCHEME: tl.constexpr,
):
    """Newton's iteration from what ``c`` holds, which ends as the last iterate.

    Returns:
        Whether it converged, the iterations, and whether a correction was not finite.
    """
    find_potential(cell, c, phi, room[1], z, at, FLOATING)
    count = tl.where(going, 0, 0)
    converged, failed = count > 0, count > 0
    before = h * 0
    taken = 0
    while (taken < most) & (tl.max(going.to(tl.int32), 0) > 0):
        _eliminate(cell, c, phi, base, h, room, z, at, FLOATING, SCHEME)
        size = tl.sqrt(_correct(c, phi, scale, room, going, at, len(z)))
        finite = size < float("inf")  # which NaN is not either
        # What the next correction will be, if each shrinks as the last one did.
        left = tl.where(before > size, size * size / tl.where(before > 0, before, 1.0), size)
        before = size
        count += going.to(tl.int32)
        converged = converged | (going & finite & (left <= 1))
        failed = failed | (going & (finite == 0))
        going = going & finite & (left > 1)
        taken += 1
    return converged, count, failed


@jit
def newton(
    cell,
    base,
    step,
    c,
    phi,
    scale,
    right,
    x,
    converged,
    iterations,
    failed,
    most,
    n,
    batch,
    S: tl.constexpr,
    FLOATING: tl.constexpr,
    SCHEME: tl.constexpr,
    LANES: tl.constexpr,
):
    """The iteration of every sample.

    Args:
        cell: see :mod:`pnpfusion.solvers.kernels.gpu.cell`.
        base: ``(S, N, B)``.
        step: h, ``(B,)``.
        c: the guess before, the last iterate after, like ``base``; anything where it failed.
        phi: where the potential of the last iterate goes, ``(N, B)``.
        scale: like ``base``.
        right: room, ``(N, 1+S, 1+S, B)``.
        x: room, ``(N, 1+S, B)``.
        converged: which samples converged, int32 ``(B,)``.
        iterations: of each, int32 ``(B,)``.
        failed: which met what is not finite, int32 ``(B,)``.
        most: when to give up.
        n: N.
        batch: B.
        S: species.
        FLOATING: whether no wall fixes the potential.
        SCHEME: of the faces.
        LANES: samples of a program.
    """
    lane = tl.cast(tl.program_id(0), tl.int64) * LANES + tl.arange(0, LANES)
    inside = lane < batch
    at = (n, batch, lane, inside)
    z = each(cell, NUMBERS, 1, 1, lane, inside, S)
    h = tl.load(step + lane, mask=inside, other=1)
    done, count, lost = iterate(
        cell, base, h, c, phi, scale, (right, x), most, inside, z, at, FLOATING, SCHEME
    )
    tl.store(converged + lane, done.to(tl.int32), mask=inside)
    tl.store(iterations + lane, count, mask=inside)
    tl.store(failed + lane, lost.to(tl.int32), mask=inside)
