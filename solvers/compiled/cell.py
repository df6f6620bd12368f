"""Cells of one axis in the form that the compiled kernels read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pnpfusion.solvers.backend import backend
from pnpfusion.solvers.fluxes import SCHEME_NUMBERS
from pnpfusion.solvers.implicit_solve import runs_forward
from pnpfusion.solvers.nernst_planck import Electrolyte

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.axis.cell import Cell


def is_compiled(cell: Electrolyte, like: Tensor) -> bool:
    """Whether the kernels know this cell: one axis between walls, where Numba's code runs."""
    known = cell.dielectric.grid.boundaries == ("wall",) and backend(like) == "numba"
    return known and not runs_forward()


def compiled_cell(cell: Electrolyte) -> Cell:
    """The parameters of ``cell``, detached, as the arrays of the compiled kernels."""
    from pnpfusion.solvers.kernels.axis.cell import Cell

    medium, (ions,), (electric,) = cell.dielectric, cell.lines, cell.dielectric.lines
    n, species = medium.volumes.shape[0], cell.valence.shape[1]
    none = medium.volumes.new_zeros(1, 1)
    crowding = none if cell.crowding is None else cell.crowding
    constants: list[Tensor] = []
    counts = np.zeros((2, 0, species), np.int64)
    if cell.reactions is not None:
        sides = (cell.reactions.before, cell.reactions.after)
        counts = np.stack([side.numpy().astype(np.int64) for side in sides])
        constants = [*cell.reactions.forward, *cell.reactions.backward]
    return Cell(
        scheme=SCHEME_NUMBERS[cell.scheme.name],
        floating=medium.floating,
        numbers=_rows([crowding, medium.grounding[:, None], cell.valence], 1)[..., 0],
        cells=_rows([medium.volumes[None], cell.fixed_charge, *constants], n),
        ends=_rows(
            [
                electric.electrode,
                electric.surface_charge,
                electric.pull,
                electric.rise,
                ions.reservoir,
                ions.held,
            ],
            2,
        ),
        electric=_rows([electric.conductance], n + 1),
        faces=_rows([ions.transmissivity, ions.imposed], n + 1),
        counts=counts,
        closed=np.array(cell.closed),
    )


def _rows(values: list[Tensor], columns: int) -> NDArray[np.floating]:
    """``values`` ``(B|1, columns|1)`` or ``(B|1, rows, columns|1)``, row below row.

    A single one is not copied.
    """
    parts = [one.detach().numpy() for one in values]
    if len(parts) == 1 and parts[0].ndim == 2 and parts[0].shape[1] == columns:
        return np.ascontiguousarray(parts[0])[:, None]
    heights = [1 if one.ndim == 2 else one.shape[1] for one in parts]
    batch = math.prod({len(one) for one in parts})  # 1, that of all others, or none
    joint = np.empty((batch, sum(heights), columns), parts[-1].dtype)
    first = 0
    for one, height in zip(parts, heights, strict=True):
        joint[:, first : first + height] = one[:, None] if one.ndim == 2 else one
        first += height
    return joint
