"""Cells of one axis in the form that the compiled kernels read."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pnpfusion.solvers.backend import backend
from pnpfusion.solvers.implicit_solve import runs_forward
from pnpfusion.solvers.nernst_planck import Electrolyte

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.axis.newton import Cell


@cache
def newton_kernels() -> Any:
    """The module of compiled kernels; None where Numba is not installed."""
    try:
        from pnpfusion.solvers.kernels.axis import newton as newton_1d
    except ImportError:
        return None
    return newton_1d


def is_compiled(cell: Electrolyte, like: Tensor) -> bool:
    """Whether the kernels know this cell: one axis between walls, on the CPU, Numba installed."""
    known = cell.dielectric.grid.boundaries == ("wall",) and backend(like) == "numba"
    return known and not runs_forward() and newton_kernels() is not None


def compiled_cell(cell: Electrolyte) -> Cell:
    """The parameters of ``cell``, detached, as the arrays of the compiled kernels."""
    kernels = newton_kernels()
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
    result: Cell = kernels.Cell(
        scheme=kernels.SCHEMES.index(cell.scheme.name),
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
    )
    return result


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
