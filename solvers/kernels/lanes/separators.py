"""Block-tridiagonal systems along a line in lanes: code that eliminates them.

The last cell of each lane is a separator: the cells before it are eliminated in all lanes at once,
which leaves

.. math:: x_i = y_i - R_i x_{i+1} - W_i x_p

with :math:`x_p` the separator before the lane; what remains of the separators is a line of eight,
solved by cyclic reduction. A sample's numbers meet no other sample's. Pivots are positive, so that
none is looked for, where faces are monotone; where it fails a sample is left to a solver that
pivots.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pnpfusion.solvers.kernels.lanes.blocks import (
    Matrix,
    column,
    difference,
    divided,
    negative,
    product,
    shifted,
)
from pnpfusion.solvers.kernels.lanes.straight_code import Numbers, Record, Records, written

#: Blocks before, of and after a cell of each lane, and the right side: from the number of species,
#: the records of cells, faces, states and right sides, the step, valences, and where in the states,
#: the cells and the faces.
Equations = Callable[..., tuple[Matrix, Matrix, Matrix, Matrix]]


def write_elimination(equations: Equations, *, again: bool) -> Any:
    """Code that eliminates a cell of each lane; ``again`` with the separators known."""

    def write(
        kinds: int,
        cells: Records,
        faces: Records,
        u: Records,
        base: Records,
        h: Any,
        valence: Numbers,
        eliminated: Records,
        at: Any,
        own: Any,
        slot: Any,
        first: Any,
    ) -> None:
        """Eliminate a cell of each lane, and for the first time write its first one by the next."""
        m = kinds + 1
        lower, diagonal, upper, load = equations(
            kinds, cells, faces, u, base, h, valence, at, own, slot
        )
        r, w, y = loaded(eliminated.at(slot, -1), m)
        pivot = difference(diagonal, product(lower, r))
        load = difference(load, product(lower, y))
        if again:
            r, y = divided(pivot, [upper, load])
            put(eliminated.at(slot), r, [], y)
            return
        r, w, y = divided(pivot, [upper, negative(product(lower, w)), load])
        put(eliminated.at(slot), r, w, y)
        first_r, first_w, first_y = loaded(eliminated.at(first), m)
        first_w = difference(first_w, product(first_r, w))
        first_y = difference(first_y, product(first_r, y))
        put(eliminated.at(first), negative(product(first_r, r)), first_w, first_y)

    return written(write)


def write_join(equations: Equations) -> Any:
    """Code that solves for the separators."""

    def write(
        kinds: int,
        cells: Records,
        faces: Records,
        u: Records,
        base: Records,
        h: Any,
        valence: Numbers,
        eliminated: Records,
        separators: Records,
        last: Any,
        own: Any,
        slot: Any,
        first: Any,
    ) -> None:
        """Solve for the separators, by cyclic reduction across lanes."""
        m = kinds + 1
        lower, diagonal, upper, load = equations(
            kinds, cells, faces, u, base, h, valence, last, own, slot
        )
        r, w, y = loaded(eliminated.at(slot, -1), m)
        of_next = [shifted(one, -1) for one in loaded(eliminated.at(first), m)]
        pivot = difference(diagonal, product(lower, r))
        pivot = difference(pivot, product(upper, of_next[1]))
        load = difference(load, product(lower, y))
        load = difference(load, product(upper, of_next[2]))
        before, after = negative(product(lower, w)), negative(product(upper, of_next[0]))
        before, after, load = divided(pivot, [before, after, load])
        identity = [[int(i == j) for j in range(m)] for i in range(m)]
        for by in (1, 2, 4):
            back = [shifted(one, by) for one in (before, after, load)]
            on = [shifted(one, -by) for one in (before, after, load)]
            pivot = difference(identity, product(before, back[1]))
            pivot = difference(pivot, product(after, on[0]))
            load = difference(load, product(before, back[2]))
            load = difference(load, product(after, on[2]))
            sides = [negative(product(before, back[0])), negative(product(after, on[1])), load]
            if by == 4:
                (load,) = divided(pivot, [load])
            else:
                before, after, load = divided(pivot, sides)
        separators.at(last.type(0)).put(0, [x for (x,) in load])
        separators.at(last.type(1)).put(0, [x.moved(1) for (x,) in load])

    return written(write)


@written
def begin(kinds: int, eliminated: Records, last: Any) -> None:
    """Before any cell stands the separator; the first cell of each lane is not known yet."""
    m = kinds + 1
    zero = [[0] * m for _ in range(m)]
    opposite = [[-int(i == j) for j in range(m)] for i in range(m)]
    put(eliminated.at(last.type(0)), zero, opposite, column([0] * m))
    put(eliminated.at(last), opposite, zero, column([0] * m))


def loaded(record: Record, m: int) -> tuple[Matrix, Matrix, Matrix]:
    """R, W and y of a record."""
    r, w = ([record.rows(first + i * m, m) for i in range(m)] for first in (0, m * m))
    return r, w, column(record.rows(2 * m * m, m))


def put(record: Record, r: Matrix, w: Matrix, y: Matrix) -> None:
    """The opposite of :func:`loaded`; without W what is there stays."""
    m = len(y)
    for first, matrix in ((0, r), (m * m, w), (2 * m * m, y)):
        record.put(first, [x for row in matrix for x in row])


@written
def repeat_ends(kinds: int, u: Records, last: Any) -> None:
    """Tell each lane of the ends of its neighbours."""
    first, end = u.at(last.type(1)), u.at(last)
    u.at(last.type(0)).put(0, [x.moved(1) for x in end.rows(0, kinds + 1)])
    u.at(last, 1).put(0, [x.moved(-1) for x in first.rows(0, kinds + 1)])
