"""The derivatives of an implicit stage: one solve with the transposed matrix at its solution.

A stage solves F(phi, U; base, parameters) = 0. Its derivative is that of the implicit function,
whatever way Newton's method took there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.axis.cell import (
    CONDUCTANCE,
    CROWDING,
    ELECTRODE,
    FIXED_CHARGE,
    FORWARD,
    PASSING,
    PULL,
    RESERVOIR,
    SURFACE_CHARGE,
    VALENCE,
    VOLUME,
    WALL_RISE,
    Cell,
)
from pnpfusion.solvers.kernels.axis.fluxes import find_fluxes, find_potential
from pnpfusion.solvers.kernels.axis.newton import assemble
from pnpfusion.solvers.kernels.axis.reactions import mass_action
from pnpfusion.solvers.kernels.axis.room import (
    AHEAD,
    BACK,
    DIAGONAL,
    LOWER,
    PHI,
    PUSH,
    RIGHT,
    RISE,
    UPPER,
    Room,
)
from pnpfusion.solvers.kernels.block_thomas import solve_line
from pnpfusion.solvers.kernels.by_cell import Given
from pnpfusion.solvers.kernels.decorators import Array, inner


class Adjoint(NamedTuple):
    """What a loss says of the equations of one sample."""

    load: Array  #: the right side, then the solution, of the transposed system, (N, 1+S)
    by_face: Array  #: by the rise of the potential, by what crowding adds to it; (2, N+1)


@inner
def make_adjoint(species: int, n: int, like: Array) -> Adjoint:
    """Room for one sample at a time, of the dtype of ``like``."""
    return Adjoint(np.empty((n, 1 + species), like.dtype), np.empty((2, n + 1), like.dtype))


@inner
def undo_stage(
    cell: Cell, c: Array, h: float, room: Room, turned: Array, adjoint: Adjoint, by: Given
) -> None:
    """From the derivative by a stage's value to that by its base over volumes, both in the load.

    Adds to ``by`` what the parameters count; ``turned`` is room for blocks as in `Room`.
    """
    find_potential(cell, c, room)
    find_fluxes(cell, c, h, room)
    assemble(cell, c, c, h, room)
    _transpose(room.blocks, turned)
    solve_line(turned[LOWER], turned[DIAGONAL], turned[UPPER], adjoint.load, turned[RIGHT])
    count_cell(cell, c, h, room, adjoint, by)


@inner
def count_cell(cell: Cell, c: Array, h: float, room: Room, adjoint: Adjoint, by: Given) -> None:
    """From the solution in ``adjoint.load`` to the cell."""
    _by_faces(cell, h, room, adjoint, by)
    _by_ends(cell, room, adjoint, by)
    _by_gauss(cell, c, room, adjoint, by)
    if cell.numbers[CROWDING] > 0:
        _by_crowding(cell, room, adjoint, by)
    if cell.counts.shape[1]:
        _by_reactions(cell, c, h, adjoint, by)


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
def _by_faces(cell: Cell, h: float, room: Room, adjoint: Adjoint, by: Given) -> None:
    """From the solution in ``adjoint.load`` to what the fluxes are made of."""
    species, n = room.sources.shape
    w, by_rise, by_crush = adjoint.load, adjoint.by_face[0], adjoint.by_face[1]
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
def _by_ends(cell: Cell, room: Room, adjoint: Adjoint, by: Given) -> None:
    """From what the rise of the potential at both walls counts to the walls."""
    n, phi = len(adjoint.load), room.cells[PHI]
    for end in range(2):
        share = -adjoint.by_face[0, 0] if end == 0 else adjoint.by_face[0, n]
        edge = phi[0] if end == 0 else phi[n - 1]
        by.ends[ELECTRODE, end] += share * cell.ends[PULL, end]
        by.ends[PULL, end] += share * (cell.ends[ELECTRODE, end] - edge)
        by.ends[WALL_RISE, end] += share


@inner
def _by_gauss(cell: Cell, c: Array, room: Room, adjoint: Adjoint, by: Given) -> None:
    """From the solution in ``adjoint.load`` to what Gauss' law is made of."""
    species, n = c.shape
    w, phi, g = adjoint.load, room.cells[PHI], cell.electric[CONDUCTANCE]
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
def _by_crowding(cell: Cell, room: Room, adjoint: Adjoint, by: Given) -> None:
    """From what crowding adds to the rise across faces to the crowding and the reservoirs."""
    species, n = room.sources.shape
    k, by_crush = cell.numbers[CROWDING], adjoint.by_face[1]
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
def _by_reactions(cell: Cell, c: Array, h: float, adjoint: Adjoint, by: Given) -> None:
    """From the solution in ``adjoint.load`` to the constants of the reactions."""
    before, after = cell.counts[0], cell.counts[1]
    reactions = len(before)
    for r in range(reactions):
        for i in range(c.shape[1]):
            share = 0.0
            for s in range(len(c)):
                share += adjoint.load[i, 1 + s] * (after[r, s] - before[r, s])
            share *= h * cell.cells[VOLUME, i]
            by.cells[FORWARD + r, i] += share * mass_action(c, i, before[r], -1)
            by.cells[FORWARD + reactions + r, i] -= share * mass_action(c, i, after[r], -1)
