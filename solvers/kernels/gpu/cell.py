"""One cell of one axis between walls: its parameters, and the potential of its charges.

A cell is a tuple of pointers with the number of samples that each is given for, 1 or B:
volumes ``(N,)``, fixed charge ``(N, .)``, conductance ``(N+1, .)``, transmissivity of each species
``(S, N+1, .)``, of both walls ``(4+2S, 2, .)``: potential, surface charge, pull, rise, reservoir
and imposed flux of each species; and grounding and valences ``(1+S, .)``.
"""

from __future__ import annotations

import triton.language as tl

from pnpfusion.solvers.kernels.gpu.decorators import jit

VOLUMES = tl.constexpr(0)
FIXED = tl.constexpr(1)
CONDUCTANCE = tl.constexpr(2)
PASSING = tl.constexpr(3)
ENDS = tl.constexpr(4)
NUMBERS = tl.constexpr(5)

ELECTRODE = tl.constexpr(0)
SURFACE_CHARGE = tl.constexpr(1)
PULL = tl.constexpr(2)
RISE = tl.constexpr(3)
RESERVOIR = tl.constexpr(4)


@jit
def given(cell, what: tl.constexpr, row, lane, inside):
    """Row ``row`` of a parameter, one number per lane."""
    pointer, size = cell[what]
    at = tl.cast(row, tl.int64) * size + tl.where(size == 1, 0, lane)
    return tl.load(pointer + at, mask=inside, other=0)


@jit
def each(cell, what: tl.constexpr, first, apart, lane, inside, S: tl.constexpr):
    """A parameter of every species, rows ``apart``."""
    row = ()
    for s in tl.static_range(S):
        row = row + (given(cell, what, first + s * apart, lane, inside),)
    return row


@jit
def species(values, i, n, batch, lane, inside, S: tl.constexpr):
    """What ``(S, N, B)`` holds of cell ``i``, a number per species."""
    row = ()
    for s in tl.static_range(S):
        at = (tl.cast(i, tl.int64) + s * n) * batch + lane
        row = row + (tl.load(values + at, mask=inside, other=0),)
    return row


@jit
def _load(cell, c, i, z, at):
    """What the charge of cell ``i`` and the walls put on Poisson's equation."""
    n, batch, lane, inside = at
    charge = given(cell, FIXED, i, lane, inside)
    here = species(c, i, n, batch, lane, inside, len(z))
    for s in tl.static_range(len(z)):
        charge += z[s] * here[s]
    load = charge * tl.load(cell[VOLUMES][0] + i)
    for end in tl.static_range(2):
        wall = given(cell, ENDS, 2 * SURFACE_CHARGE + end, lane, inside)
        electrode = given(cell, ENDS, 2 * ELECTRODE + end, lane, inside)
        wall += electrode * given(cell, CONDUCTANCE, end * n, lane, inside)
        load += tl.where(i == end * (n - 1), wall, 0.0)
    return load


@jit
def find_potential(cell, c, phi, room, z, at, FLOATING: tl.constexpr):
    """Put the potential of ``c`` ``(S, N, B)`` into ``phi`` ``(N, B)``; see `Dielectric`.

    Args:
        cell: the cell.
        c: concentrations.
        phi: where the potential goes.
        room: for a number per cell.
        z: the valences.
        at: number of cells and samples, the lane of each sample, and whether it is one.
        FLOATING: whether no wall fixes the potential.
    """
    n, batch, lane, inside = at
    excess = z[0] * 0
    if FLOATING:  # a net charge, of round-off, is taken from all cells alike
        volume = excess
        for i in range(n):
            excess += _load(cell, c, i, z, at)
            volume += tl.load(cell[VOLUMES][0] + i)
        excess = excess / volume
    inverse, value = z[0] * 0, z[0] * 0
    g = given(cell, CONDUCTANCE, 0, lane, inside)
    for i in range(n):
        g_after = given(cell, CONDUCTANCE, i + 1, lane, inside)
        load = _load(cell, c, i, z, at)
        pivot = g + g_after - g * g * inverse
        if FLOATING:
            load -= excess * tl.load(cell[VOLUMES][0] + i)
            pivot += tl.where(i == 0, given(cell, NUMBERS, 0, lane, inside), 0.0)
        value = load + g * inverse * value
        inverse = 1 / pivot
        tl.store(phi + tl.cast(i, tl.int64) * batch + lane, value, mask=inside)
        tl.store(room + tl.cast(i, tl.int64) * batch + lane, inverse, mask=inside)
        g = g_after
    value, total, volume = z[0] * 0, z[0] * 0, z[0] * 0
    for back in range(n):
        i = n - 1 - back
        place = tl.cast(i, tl.int64) * batch + lane
        g = given(cell, CONDUCTANCE, i + 1, lane, inside)
        value = tl.load(phi + place, mask=inside, other=0) + g * value
        value = value * tl.load(room + place, mask=inside, other=0)
        tl.store(phi + place, value, mask=inside)
        if FLOATING:
            v = tl.load(cell[VOLUMES][0] + i)
            total += v * value
            volume += v
    if FLOATING:
        for i in range(n):
            place = tl.cast(i, tl.int64) * batch + lane
            value = tl.load(phi + place, mask=inside, other=0) - total / volume
            tl.store(phi + place, value, mask=inside)
