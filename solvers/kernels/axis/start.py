"""What a run of cells of one axis between walls begins with, compiled by Numba.

The rate is that of :class:`Electrolyte`, the first step that of `AdaptiveSteps.first`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pnpfusion.solvers.kernels.axis.cell import CROWDING, VALENCE, VOLUME, Cell, one_sample
from pnpfusion.solvers.kernels.axis.esdirk import find_lowest
from pnpfusion.solvers.kernels.axis.fluxes import find_fluxes, find_potential, ground
from pnpfusion.solvers.kernels.axis.reactions import find_sources
from pnpfusion.solvers.kernels.axis.room import CRUSH, FLUX, RISE, Room, make_room
from pnpfusion.solvers.kernels.decorators import Array, inner, kernel

if TYPE_CHECKING:
    from pnpfusion.solvers.plain_steps import Method

TINY = float(np.finfo(np.float64).tiny)


@inner
def _rate(cell: Cell, c: Array, room: Room, into: Array) -> None:
    """dc/dt; the potential and its rises stay in ``room``, whose Poisson equation is ready."""
    find_potential(cell, c, room)
    find_fluxes(cell, c, 1.0, room)
    volumes, reacts = cell.cells[VOLUME], cell.counts.shape[1] > 0
    if reacts:
        find_sources(cell, c, room)
    for s in range(c.shape[0]):
        flux = room.faces[FLUX, s]
        for i in range(c.shape[1]):
            into[s, i] = (flux[i] - flux[i + 1]) / volumes[i]
            if reacts:
                into[s, i] += room.sources[s, i]


@inner
def _size(values: Array, minus: Array, share: float, u: Array, method: Method) -> float:
    """``values - share * minus`` in the mean square, over the error allowed in ``u``."""
    total = 0.0
    for s in range(u.shape[0]):
        for i in range(u.shape[1]):
            scale = method.atol + method.rtol * abs(u[s, i])
            part = (values[s, i] - share * minus[s, i]) / scale
            total += part * part
    return float(np.sqrt(total / u.size))


@kernel
def rates_1d(cells: Cell, u: Array, slopes: Array, steepest: Array) -> None:
    """The rates of B states, and how steep the potential is there.

    Args:
        cells: the cells.
        u: the states, ``(B, S, N)``.
        slopes: their rates of change; set here, ``(B, S, N)``.
        steepest: the largest rise across a face of z phi and the crowding; set here, ``(B,)``.
    """
    batch, species, n = u.shape
    room = make_room(species, n, u)
    for sample in range(batch):
        cell = one_sample(cells, sample)
        ground(cell, room)
        _rate(cell, u[sample], room, slopes[sample])
        rise, crush = room.edges[RISE], room.edges[CRUSH]
        largest = 0.0
        for s in range(species):
            for i in range(n + 1):
                across = cell.numbers[VALENCE + s] * rise[i]
                if cell.numbers[CROWDING] > 0:
                    across -= crush[i + 1] - crush[i]
                if not abs(across) <= largest:
                    largest = abs(across)
        steepest[sample] = largest


@kernel
def first_steps_1d(
    cells: Cell,
    u: Array,
    method: Method,
    span: float,
    slopes: Array,
    first: Array,
    lowest: Array,
) -> None:
    """The rates of B states, and a step for each over which they change by about the tolerance.

    Args:
        cells: the cells.
        u: the states, ``(B, S, N)``.
        method: how to step.
        span: the time between the first state and the last.
        slopes: their rates of change; set here, ``(B, S, N)``.
        first: the steps; set here, ``(B,)``.
        lowest: the smallest of what must stay positive; set here, ``(B,)``.
    """
    batch, species, n = u.shape
    room = make_room(species, n, u)
    ahead, rate = np.empty((species, n), u.dtype), np.empty((species, n), u.dtype)
    for sample in range(batch):
        cell, c, slope = one_sample(cells, sample), u[sample], slopes[sample]
        ground(cell, room)
        _rate(cell, c, room, slope)
        steep = _size(slope, slope, 0.0, c, method)
        trial = 0.01 * _size(c, c, 0.0, c, method) / (steep + TINY)
        trial = max(min(trial, span), 1e-12 * span)
        for s in range(species):
            for i in range(n):
                ahead[s, i] = c[s, i] + trial * slope[s, i]
        _rate(cell, ahead, room, rate)
        curvature = _size(rate, slope, 1.0, c, method) / trial
        wanted = (0.01 / max(steep, curvature, TINY)) ** (1 / method.error_order)
        step = min(100 * trial, wanted, span)
        lost = np.isnan(steep) or np.isnan(curvature)
        first[sample] = 1e-6 * span if lost else step
        lowest[sample] = find_lowest(cell, c)
