"""Newton's method of `coupled_newton` for cells of one axis between walls, compiled by Numba.

One sample after the other, so a sample's answer is the same bit for bit whatever else is in the
batch. The equations are those of :class:`Electrolyte`, whose tensors :class:`Cell` holds as arrays.
"""

from __future__ import annotations

import numpy as np

from pnpfusion.solvers.kernels.axis.cell import (
    CONDUCTANCE,
    CROWDING,
    ELECTRODE,
    FIXED_CHARGE,
    GROUNDING,
    PULL,
    SURFACE_CHARGE,
    VALENCE,
    VOLUME,
    Cell,
    one_sample,
)
from pnpfusion.solvers.kernels.axis.crowding import add_crowding, share_that_fits
from pnpfusion.solvers.kernels.axis.fluxes import find_fluxes, find_potential, ground
from pnpfusion.solvers.kernels.axis.reactions import add_reactions
from pnpfusion.solvers.kernels.axis.room import (
    AHEAD,
    BACK,
    DIAGONAL,
    FLUX,
    LOWER,
    PHI,
    PUSH,
    RIGHT,
    UPPER,
    Room,
    make_room,
)
from pnpfusion.solvers.kernels.block_thomas import solve_line
from pnpfusion.solvers.kernels.decorators import Array, Truth, Whole, inlined, kernel


@kernel
def newton_1d(
    cells: Cell,
    base: Array,
    step: Array,
    c: Array,
    phi: Array,
    scale: Array,
    most: int,
    converged: Truth,
    iterations: Whole,
    failed: Truth,
) -> None:
    """The iteration of every sample.

    Args:
        cells: the cells.
        base: ``(B, S, N)``.
        step: h, ``(B,)``.
        c: the guess before, the last iterate after, ``(B, S, N)``.
        phi: where the potential of the last iterate goes, ``(B, N)``.
        scale: like ``base``.
        most: when to give up.
        converged: which samples converged, ``(B,)``.
        iterations: of each, ``(B,)``.
        failed: in which a linear solve met a singular block, or what is not finite, ``(B,)``.
    """
    batch, species, n = base.shape
    room = make_room(species, n, base)
    for sample in range(batch):
        cell = one_sample(cells, sample)
        ground(cell, room)
        converged[sample], iterations[sample], failed[sample] = iterate(
            cell, base[sample], step[sample], c[sample], scale[sample], most, room
        )
        for i in range(n):
            phi[sample, i] = room.cells[PHI, i]


@inlined
def iterate(
    cell: Cell, base: Array, h: float, c: Array, scale: Array, most: int, room: Room
) -> tuple[bool, int, bool]:
    """Newton's iteration of one sample, from what ``c`` holds, which ends as the last iterate.

    Needs :func:`ground` once before.

    Returns:
        Whether it converged, the iterations, and whether a linear solve failed.
    """
    species, n = c.shape
    phi, blocks = room.cells[PHI], room.blocks
    find_potential(cell, c, room)
    size_before = 0.0
    for iteration in range(1, most + 1):
        find_fluxes(cell, c, h, room)
        assemble(cell, c, base, h, room)
        wrong = room.wrong
        solve_line(blocks[LOWER], blocks[DIAGONAL], blocks[UPPER], wrong, blocks[RIGHT])
        total = 0.0
        for s in range(species):
            for i in range(n):
                ratio = wrong[i, 1 + s] / scale[s, i]
                total += ratio * ratio
        size = np.sqrt(total / (species * n))
        if not np.isfinite(size):
            return False, iteration, True
        # What the next correction will be, if each shrinks as the last one did.
        left = size * (size / size_before if size_before > size else 1.0)
        size_before = size
        share = share_that_fits(cell, c, room)
        for i in range(n):
            phi[i] -= share * wrong[i, 0]
        for s in range(species):
            for i in range(n):
                c[s, i] -= share * wrong[i, 1 + s]
        if left <= 1 and share == 1:
            return True, iteration, False
    return False, most, False


@inlined
def assemble(cell: Cell, c: Array, base: Array, h: float, room: Room) -> None:
    """The residual and its derivatives; see `coupled_newton.residual` and `.jacobian`."""
    species, n = c.shape
    g, volumes, ends = cell.electric[CONDUCTANCE], cell.cells[VOLUME], cell.ends
    phi, wrong = room.cells[PHI], room.wrong
    lower, diagonal, upper = room.blocks[LOWER], room.blocks[DIAGONAL], room.blocks[UPPER]
    for i in range(n):
        before = ends[ELECTRODE, 0] if i == 0 else phi[i - 1]
        after = ends[ELECTRODE, 1] if i == n - 1 else phi[i + 1]
        wrong[i, 0] = g[i + 1] * (phi[i] - after) - g[i] * (before - phi[i])
        wrong[i, 0] -= volumes[i] * cell.cells[FIXED_CHARGE, i]
        lower[i, 0, 0], upper[i, 0, 0] = -g[i], -g[i + 1]
        diagonal[i, 0, 0] = g[i] + g[i + 1]
    wrong[0, 0] -= ends[SURFACE_CHARGE, 0]
    wrong[n - 1, 0] -= ends[SURFACE_CHARGE, 1]
    if cell.floating:
        diagonal[0, 0, 0] += cell.numbers[GROUNDING]
    for s in range(species):
        z, row = cell.numbers[VALENCE + s], 1 + s
        flux, ahead, back, push = (
            room.faces[FLUX, s],
            room.faces[AHEAD, s],
            room.faces[BACK, s],
            room.faces[PUSH, s],
        )
        for i in range(n):
            v = volumes[i]
            wrong[i, 0] -= v * z * c[s, i]
            wrong[i, row] = v * (c[s, i] - base[s, i]) + h * (flux[i + 1] - flux[i])
            diagonal[i, 0, row] = -v * z
            # A wall's potential follows its edge cell unless held:
            turn = z * push[i] * (ends[PULL, 0] if i == 0 else 1.0)
            turn_after = z * push[i + 1] * (ends[PULL, 1] if i == n - 1 else 1.0)
            lower[i, row, 0], upper[i, row, 0] = turn, turn_after
            diagonal[i, row, 0] = -(turn + turn_after)
            lower[i, row, row], upper[i, row, row] = -ahead[i], -back[i + 1]
            for t in range(species):
                diagonal[i, row, 1 + t] = 0.0
            diagonal[i, row, row] = v + ahead[i + 1] + back[i]
    if cell.counts.shape[1]:
        add_reactions(cell, c, h, room)
    if cell.numbers[CROWDING] > 0:
        add_crowding(cell, c, room)
