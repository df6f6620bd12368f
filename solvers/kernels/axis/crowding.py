"""What crowding adds to the Jacobian, and how much of a correction it leaves room for."""

from __future__ import annotations

import numpy as np

from pnpfusion.solvers.kernels.axis.cell import CROWDING, RESERVOIR, Cell
from pnpfusion.solvers.kernels.axis.room import (
    AHEAD,
    BACK,
    CRUSH,
    DIAGONAL,
    LOWER,
    PUSH,
    UPPER,
    Room,
)
from pnpfusion.solvers.kernels.decorators import Array, inlined, inner


@inner
def add_crowding(cell: Cell, c: Array, room: Room) -> None:
    """Add it; the logarithms in ``room`` are spent."""
    species, n = c.shape
    k = cell.numbers[CROWDING]
    held = cell.ends[RESERVOIR + species :]
    crowd = room.edges[CRUSH]
    # How much the room at a wall counts beside that of its edge cell; then the logarithms are done.
    at_first, at_last = np.exp(crowd[1] - crowd[0]), np.exp(crowd[n] - crowd[n + 1])
    lower, diagonal, upper = room.blocks[LOWER], room.blocks[DIAGONAL], room.blocks[UPPER]
    for i in range(n):
        total = 0.0
        for s in range(species):
            total += c[s, i]
        crowd[i] = k / (1 - k * total)
    for s in range(species):
        push = room.faces[PUSH, s]
        for t in range(species):
            for i in range(n):
                # Species that are not held at a wall follow their edge cell there:
                first = push[i] * (1 - (1 - held[t, 0]) * at_first if i == 0 else 1.0)
                last = push[i + 1] * (1 - (1 - held[t, 1]) * at_last if i == n - 1 else 1.0)
                diagonal[i, 1 + s, 1 + t] -= (first + last) * crowd[i]
                down = -room.faces[AHEAD, s, i] if s == t else 0.0
                up = -room.faces[BACK, s, i + 1] if s == t else 0.0
                if i > 0:
                    down += first * crowd[i - 1]
                if i < n - 1:
                    up += last * crowd[i + 1]
                lower[i, 1 + s, 1 + t], upper[i, 1 + s, 1 + t] = down, up


@inlined
def share_that_fits(cell: Cell, c: Array, room: Room) -> float:
    """How much of a correction leaves the crowded cells some room."""
    share = 1.0
    if cell.numbers[CROWDING] > 0:
        for i in range(c.shape[1]):
            free, taken = 1 / cell.numbers[CROWDING], 0.0
            for s in range(len(c)):
                free -= c[s, i]
                taken -= room.wrong[i, 1 + s]
            if taken > 0:
                fits = 0.9 * free / taken
                if not fits >= share:  # NaN too
                    share = fits
    return share
