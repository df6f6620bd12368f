"""The derivatives of the rates of cells of one axis."""

from __future__ import annotations

from pnpfusion.solvers.kernels.axis.cell import CONDUCTANCE, VOLUME, Cell, one_sample
from pnpfusion.solvers.kernels.axis.fluxes import find_fluxes, find_potential, ground
from pnpfusion.solvers.kernels.axis.newton import assemble
from pnpfusion.solvers.kernels.axis.room import DIAGONAL, INVERSE, LOWER, UPPER, make_room
from pnpfusion.solvers.kernels.axis.stage_gradient import count_cell, make_adjoint
from pnpfusion.solvers.kernels.by_cell import Given, one_given
from pnpfusion.solvers.kernels.decorators import Array, inner, kernel
from pnpfusion.solvers.kernels.trail import is_zero


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
    adjoint = make_adjoint(species, n, u)
    w = adjoint.load
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
        assemble(cell, c, c, 1.0, room)
        for i in range(n):
            w[i, 0] = 0
            for s in range(species):
                w[i, 1 + s] = by_slopes[sample, s, i] / cell.cells[VOLUME, i]
        for i in range(n):  # what a potential counts through fluxes, Poisson's equation undone
            adjoint.by_face[0, i] = -_column(room.blocks, w, i, 0)
        for i in range(n):
            w[i, 0] = adjoint.by_face[0, i]
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
        count_cell(cell, c, 1.0, room, adjoint, one_given(by, sample))


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
