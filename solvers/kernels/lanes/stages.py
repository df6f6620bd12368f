"""The stages of a step in lanes: records of concentrations and of the potential.

Long lines do not fit in the cache, so all that is done to a line between two solutions is done to
one record after the other. It is said in wide registers, and takes its arrays one by one: loops of
single numbers, and counts of references, took longer on short lines than all of Newton's method.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.decorators import Array, inlined, inner
from pnpfusion.solvers.kernels.lanes.line import INSIDE, SIZE, Line, aligned, place, records
from pnpfusion.solvers.kernels.lanes.newton import Poisson, make_poisson
from pnpfusion.solvers.kernels.lanes.separators import repeat_ends
from pnpfusion.solvers.kernels.lanes.straight_code import WIDTH, Numbers, Records, written

if TYPE_CHECKING:
    from pnpfusion.solvers.plain_steps import Method

#: What a mass may be wrong by, relative, before it is given back.
LEAST_LOSS = 2 * float(np.finfo(np.float64).eps)


class Stages(NamedTuple):
    """What the steps of one sample work with: records of R + 1 stages, M + 2 for each."""

    u: Array  #: (M+2, 1+S, 8), as all but the next and the last two
    slopes: Array  #: du/dt of each stage, (R+1, M+2, 1+S, 8)
    base: Array
    pair: Array  #: the stage that was found last, and room for another; (2, M+2, 1+S, 8)
    weight: Array  #: one over the correction that counts as one
    error: Array  #: of a record, (1, 1+S, 8)
    masses: Array  #: in each lane, at the end of a step and of the state; (2, 1+S, 8)
    kept: Array  #: factors that give masses back, (S,)
    found: Array  #: smallest concentrations, or sums, in each lane; (3, 1, 8)
    poisson: Poisson


@inner
def make_stages(method: Method, species: int, n: int) -> Stages:
    """Room for the steps of one sample at a time."""
    stages, rows, columns = len(method.error), records(n) + 2, 1 + species
    slopes = aligned(stages * rows, columns).reshape((stages, rows, columns, WIDTH))
    return Stages(
        aligned(rows, columns),
        slopes,
        aligned(rows, columns),
        aligned(2 * rows, columns).reshape((2, rows, columns, WIDTH)),
        aligned(rows, columns),
        aligned(1, columns),
        aligned(2, columns),
        np.empty(species),
        aligned(3, 1),
        make_poisson(n),
    )


@inlined
def copy_line(kinds: Any, u: Array, into: Array) -> None:
    """Copy all records of a line."""
    for at in range(len(into)):
        copy_record(kinds, u, into, at)


@inlined
def in_one_row(slopes: Array) -> Array:
    """The records of all stages, one line after the other."""
    return slopes.reshape((slopes.shape[0] * slopes.shape[1], slopes.shape[2], WIDTH))


@inner
def find_lowest(kinds: Any, line: Line, u: Array, found: Array) -> float:
    """The smallest concentration."""
    cells, skip = line.cells, line.skip
    found[0, 0, :] = np.inf
    for at in range(1, len(u) - 1):
        note_least(kinds, cells, u, found, at, place(at, skip), 0)
    return float(found[0].min())


@inner
def find_masses(kinds: Any, line: Line, u: Array, masses: Array, row: int) -> None:
    """Put the masses in a line into a row of ``masses``."""
    cells, skip = line.cells, line.skip
    masses[row] = 0
    for at in range(1, len(u) - 1):
        add_masses(kinds, cells, u, masses, at, place(at, skip), row)


@inner
def give_back(kinds: Any, line: Line, u: Array, masses: Array, kept: Array) -> bool:
    """Give a line what round-off, times the stiffness, took of the masses of closed species.

    ``masses`` holds those that it has, and should have. Returns whether it took anything.
    """
    lost = False
    for s in range(len(kinds)):
        mass = masses[0, s].sum()
        kept[s] = masses[1, s].sum() / mass if line.closed[s] and mass > 0 else 1.0
        lost = lost or abs(kept[s] - 1) > LEAST_LOSS
    if lost:
        for at in range(1, len(u) - 1):
            _scale(kinds, line.cells, kept, u, at, place(at, line.skip))
        repeat_ends(kinds, u, len(u) - 2)
    return lost


@written
def add_masses(
    kinds: int, cells: Records, u: Records, masses: Records, at: Any, own: Any, row: Any
) -> None:
    """Add the masses in a record to a row of ``masses``."""
    cell, here, into = cells.at(own), u.at(at), masses.at(row)
    volume = cell[SIZE] * cell[INSIDE]
    for s in range(kinds):
        into[s] = into[s] + volume * here[s]


@written
def _scale(kinds: int, cells: Records, share: Numbers, u: Records, at: Any, own: Any) -> None:
    """Multiply the concentrations of a record's cells, each species by its own number."""
    here, inside = u.at(at), cells.at(own)[INSIDE]
    for s in range(kinds):
        here[s] = inside.where_less(0.5, here[s], here[s] * share[s])


@written
def copy_record(kinds: int, u: Records, into: Records, at: Any) -> None:
    """Copy one record of a line."""
    into.at(at).put(0, u.at(at).rows(0, kinds + 1))


@written
def add_share(kinds: int, share: Any, values: Records, which: Any, total: Records, at: Any) -> None:
    """Add a share of a record to another."""
    value, into = values.at(which), total.at(at)
    for row in range(kinds + 1):
        into[row] = into[row] + share * value[row]


@written
def put_slope(
    kinds: int, now: Records, base: Records, rate: Any, slopes: Records, which: Any, at: Any
) -> None:
    """The slope of a stage from its value and its base, and one over its step."""
    here, known, into = now.at(at), base.at(at), slopes.at(which)
    for row in range(kinds + 1):
        into[row] = (here[row] - known[row]) * rate


@written
def note_least(
    kinds: int, cells: Records, u: Records, found: Records, at: Any, own: Any, row: Any
) -> None:
    """Put the smallest concentration of a record into a row of ``found``, if it is smaller."""
    into, inside = found.at(row), cells.at(own)[INSIDE]
    least = into[0]
    for c in u.at(at).rows(0, kinds):
        least = c.where_less(least, inside.where_less(0.5, least, c), least)
    into[0] = least
