"""Where the kernels of cells of one axis put what they find on the way."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.decorators import Array, inner


class Room(NamedTuple):
    """Where one sample's iteration puts its intermediate results."""

    cells: Array  #: inverse pivots of Poisson's equation, potential; (2, N)
    edges: Array  #: rise of the potential across faces, ln(1 - crowding) beside them; (2, N+2)
    faces: Array
    """Flux, and the derivatives of h flux by the concentration before the face, after it (less than
    zero, without the sign), and by u; (4, S, N+1)"""
    beside: Array  #: concentrations with those behind the walls at both ends, (S, N+2)
    sources: Array  #: what reactions make, (S, N)
    blocks: Array  #: lower, diagonal, upper, and room for elimination, (4, N, 1+S, 1+S)
    wrong: Array  #: the residual, then the correction, (N, 1+S)


#: Rows of the arrays.
INVERSE, PHI = range(2)
RISE, CRUSH = range(2)
FLUX, AHEAD, BACK, PUSH = range(4)
LOWER, DIAGONAL, UPPER, RIGHT = range(4)


@inner
def make_room(species: int, n: int, like: Array) -> Room:
    """Room for one sample at a time, of the dtype of ``like``."""
    dtype, m = like.dtype, 1 + species
    return Room(
        np.empty((2, n), dtype),
        np.empty((2, n + 2), dtype),
        np.empty((4, species, n + 1), dtype),
        np.empty((species, n + 2), dtype),
        np.empty((species, n), dtype),
        np.zeros((4, n, m, m), dtype),
        np.empty((n, m), dtype),
    )
