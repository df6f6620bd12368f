"""What reactions by mass action make, and its slopes; see `solvers/reactions.py`."""

from __future__ import annotations

from pnpfusion.solvers.kernels.axis.cell import FORWARD, VOLUME, Cell
from pnpfusion.solvers.kernels.axis.room import DIAGONAL, Room
from pnpfusion.solvers.kernels.decorators import Array, inner


@inner
def mass_action(c: Array, i: int, powers: Array, by: int) -> float:
    """The product of c_s ** powers_s in cell i, or its derivative by the species ``by`` >= 0."""
    total = 1.0
    for s in range(len(c)):
        count = powers[s]
        if s == by:
            total *= count
            count -= 1
        for _ in range(count):
            total *= c[s, i]
    return total


@inner
def find_sources(cell: Cell, c: Array, room: Room) -> None:
    """Put what the reactions make of each species into ``room``."""
    before, after = cell.counts[0], cell.counts[1]
    reactions, sources = len(before), room.sources
    for s in range(len(c)):
        for i in range(c.shape[1]):
            sources[s, i] = 0
    for r in range(reactions):
        forward, backward = cell.cells[FORWARD + r], cell.cells[FORWARD + reactions + r]
        for i in range(c.shape[1]):
            rate = forward[i] * mass_action(c, i, before[r], -1)
            rate -= backward[i] * mass_action(c, i, after[r], -1)
            for s in range(len(c)):
                sources[s, i] += (after[r, s] - before[r, s]) * rate


@inner
def add_reactions(cell: Cell, c: Array, h: float, room: Room) -> None:
    """Add them to the residual and the Jacobian of one cell."""
    species, n = c.shape
    volumes, before, after = cell.cells[VOLUME], cell.counts[0], cell.counts[1]
    reactions, diagonal = len(before), room.blocks[DIAGONAL]
    find_sources(cell, c, room)
    for s in range(species):
        for i in range(n):
            room.wrong[i, 1 + s] -= h * volumes[i] * room.sources[s, i]
    for r in range(reactions):
        forward, backward = cell.cells[FORWARD + r], cell.cells[FORWARD + reactions + r]
        for t in range(species):
            for i in range(n):
                slope = forward[i] * mass_action(c, i, before[r], t)
                slope -= backward[i] * mass_action(c, i, after[r], t)
                slope *= h * volumes[i]
                for s in range(species):
                    diagonal[i, 1 + s, 1 + t] -= slope * (after[r, s] - before[r, s])
