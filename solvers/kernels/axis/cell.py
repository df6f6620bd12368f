"""A cell of one axis between walls as the kernels read it."""

from __future__ import annotations

from typing import NamedTuple

from pnpfusion.solvers.kernels.decorators import Array, Truth, Whole, inner


class Cell(NamedTuple):
    """An `Electrolyte` of one axis; 1 or B samples first. R reactions of S species, N cells.

    A few arrays with numbered rows, not one for each quantity: a call with thirty arrays takes
    Numba many seconds to compile.
    """

    scheme: int  #: of the faces, see below
    floating: bool  #: whether no wall fixes the potential
    numbers: Array  #: crowding (0: none), grounding, valence of each species; (B|1, 2+S)
    cells: Array  #: volumes, fixed charge, k_f and k_b of each reaction; (B|1, 2+2R, N)
    ends: Array
    """Of both walls: potential, surface charge, pull, rise, reservoir and held of each species;
    (B|1, 4+2S, 2)"""
    electric: Array
    """Conductance of faces, (B|1, 1, N+1); apart from the next since it varies with samples where
    that does not"""
    faces: Array  #: transmissivity and imposed of each species; (B|1, 2S, N+1)
    counts: Whole  #: of species before and after each reaction, (2, R, S)
    closed: Truth  #: which species no wall lets in or out, (S,)


#: The numbers of the schemes, see `SCHEME_NUMBERS`.
SCHARFETTER_GUMMEL, CENTRAL, HARMONIC = range(3)
#: Rows of the arrays.
CROWDING, GROUNDING, VALENCE = range(3)
VOLUME, FIXED_CHARGE, FORWARD = range(3)
ELECTRODE, SURFACE_CHARGE, PULL, WALL_RISE, RESERVOIR = range(5)
(CONDUCTANCE,) = range(1)
(PASSING,) = range(1)


@inner
def one_sample(cells: Cell, sample: int) -> Cell:
    """The arrays of one sample, without their first axis."""
    return Cell(
        cells.scheme,
        cells.floating,
        cells.numbers[sample if len(cells.numbers) > 1 else 0],
        cells.cells[sample if len(cells.cells) > 1 else 0],
        cells.ends[sample if len(cells.ends) > 1 else 0],
        cells.electric[sample if len(cells.electric) > 1 else 0],
        cells.faces[sample if len(cells.faces) > 1 else 0],
        cells.counts,
        cells.closed,
    )
