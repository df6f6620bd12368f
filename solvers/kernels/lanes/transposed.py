"""The system of `elimination` with its matrix transposed, at states that are known.

A wall's rows stand alone here, since what they count is not asked for: its solution is 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pnpfusion.solvers.kernels.axis.cell import CENTRAL, HARMONIC
from pnpfusion.solvers.kernels.decorators import Array, inlined, inner
from pnpfusion.solvers.kernels.lanes.blocks import Matrix, column, difference, product
from pnpfusion.solvers.kernels.lanes.faces import bernoulli, central, harmonic
from pnpfusion.solvers.kernels.lanes.line import (
    FACE_PULL,
    GROUND,
    INSIDE,
    LET_THROUGH,
    OFFSET,
    SIZE,
    G,
    aligned,
    records,
)
from pnpfusion.solvers.kernels.lanes.separators import (
    begin,
    loaded,
    repeat_ends,
    write_elimination,
    write_join,
)
from pnpfusion.solvers.kernels.lanes.straight_code import Numbers, Records, written

#: Rows of a species in a record of faces: derivatives of the flux by what is before and after (the
#: latter without its sign), by the rise of z phi, and by what lets it through.
AHEAD, BACK, PUSH, MOVED = range(4)


class Turned(NamedTuple):
    """Where a solution puts its intermediate results; see `Workroom`."""

    faces: Array  #: (M+1, 4S, 8)
    eliminated: Array  #: (M+1, 2m^2 + m, 8)
    separators: Array  #: (2, m, 8)


@inner
def make_turned(species: int, n: int) -> Turned:
    """Room for one sample at a time."""
    m, each = 1 + species, records(n)
    return Turned(aligned(each + 1, 4 * species), aligned(each + 1, 2 * m * m + m), aligned(2, m))


def _write_faces(weights: Any) -> Any:
    def write(
        kinds: int, cells: Records, u: Records, valence: Numbers, faces: Records, at: Any
    ) -> None:
        """What a flux through the face after a record depends on."""
        species, cell, into = kinds, cells.at(at), faces.at(at)
        before, after = u.at(at), u.at(at, 1)
        rise = cell[FACE_PULL] * (after[species] - before[species]) + cell[OFFSET]
        for s in range(species):
            passing = cell[LET_THROUGH + s]
            a, b, a_slope, b_slope = weights(valence[s] * rise)
            into[4 * s + AHEAD], into[4 * s + BACK] = passing * a, passing * b
            into[4 * s + PUSH] = passing * (a_slope * before[s] - b_slope * after[s])
            into[4 * s + MOVED] = a * before[s] - b * after[s]

    return written(write)


_faces_central = _write_faces(central)
_faces_bernoulli = _write_faces(bernoulli)
_faces_harmonic = _write_faces(harmonic)


@inlined
def _find_faces(
    kinds: Any, scheme: int, cells: Array, valence: Array, u: Array, faces: Array
) -> None:
    if scheme == CENTRAL:
        for at in range(len(faces)):
            _faces_central(kinds, cells, u, valence, faces, at)
    elif scheme == HARMONIC:
        for at in range(len(faces)):
            _faces_harmonic(kinds, cells, u, valence, faces, at)
    else:
        for at in range(len(faces)):
            _faces_bernoulli(kinds, cells, u, valence, faces, at)


def _equations(
    species: int,
    cells: Records,
    faces: Records,
    _: Records,
    load: Records,
    h: Any,
    z: Any,
    at: Any,
    own: Any,
    slot: Any,
) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    m, phi = species + 1, species
    cell, beside, left, right = cells.at(own), cells.at(own, -1), faces.at(slot, -1), faces.at(slot)
    lower, diagonal, upper = ([[0] * m for _ in range(m)] for _ in range(3))
    inside, volume = cell[INSIDE], cell[SIZE]
    step, charge = h * inside, volume * inside
    g_left, g_right = inside * beside[G], inside * cell[G]
    lower[phi][phi], upper[phi][phi] = -g_left, -g_right
    diagonal[phi][phi] = g_left + g_right + cell[GROUND]
    for s in range(species):
        ahead, back = step * right[4 * s + AHEAD], step * left[4 * s + BACK]
        lower[s][s], upper[s][s] = -back, -ahead
        diagonal[s][s] = volume + ahead + back
        diagonal[s][phi] = -charge * z[s]
        share = step * z[s]
        turn = share * beside[FACE_PULL] * left[4 * s + PUSH]
        turn_after = share * cell[FACE_PULL] * right[4 * s + PUSH]
        lower[phi][s], upper[phi][s] = turn, turn_after
        diagonal[phi][s] = -(turn + turn_after)
    return lower, diagonal, upper, column(load.at(at).rows(0, m))


_eliminate = write_elimination(_equations, again=False)
_join = write_join(_equations)


@written
def _substitute(kinds: int, eliminated: Records, separators: Records, w: Records, at: Any) -> None:
    """Put the solution in a cell of each lane, the next one's being in ``separators``."""
    m, zero = kinds + 1, at.type(0)
    r, v, y = loaded(eliminated.at(at), m)
    later, separator = separators.at(zero), separators.at(zero, 1)
    x = difference(y, product(r, column(later.rows(0, m))))
    x = difference(x, product(v, column(separator.rows(0, m))))
    found = [one for (one,) in x]
    later.put(0, found)
    w.at(at).put(0, found)


@written
def _substitute_last(kinds: int, separators: Records, w: Records, last: Any) -> None:
    w.at(last).put(0, separators.at(last.type(0)).rows(0, kinds + 1))


@inlined
def solve_transposed(
    kinds: Any,
    scheme: int,
    cells: Array,
    valence: Array,
    u: Array,
    h: float,
    w: Array,
    faces: Array,
    eliminated: Array,
    separators: Array,
) -> None:
    """From the right side in ``w`` to the solution there, for the matrix at the state ``u``.

    Args:
        kinds: a tuple as long as there are species.
        scheme: of the faces.
        cells: those of the line, none left out.
        valence: of each species.
        u: concentrations and potential, ``(M+2, 1+S, 8)``.
        h: the step.
        w: like ``u``; 0 at walls before.
        faces: what fluxes depend on; set here.
        eliminated: room.
        separators: room.
    """
    last = len(u) - 2
    _find_faces(kinds, scheme, cells, valence, u, faces)
    begin(kinds, eliminated, last)
    for at in range(1, last):
        _eliminate(kinds, cells, faces, u, w, h, valence, eliminated, at, at, at, last)
    _join(kinds, cells, faces, u, w, h, valence, eliminated, separators, last, last, last, last)
    _substitute_last(kinds, separators, w, last)
    for at in range(last - 1, 0, -1):
        _substitute(kinds, eliminated, separators, w, at)
    repeat_ends(kinds, w, last)
