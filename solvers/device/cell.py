"""Cells of one axis in the form that the kernels for graphics cards read: batch last."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.backend import backend
from pnpfusion.solvers.fluxes import SCHEME_NUMBERS
from pnpfusion.solvers.implicit_solve import runs_forward
from pnpfusion.solvers.nernst_planck import Electrolyte

#: For which Newton's kernels are compiled; their blocks fill the registers.
MOST_SPECIES = 3

#: A tensor whose samples come last, and how many it is given for, 1 or B.
Given = tuple[Tensor, int]


@dataclass(frozen=True, eq=False)
class DeviceCell:
    """The parameters of an `Electrolyte`, detached; see `kernels/gpu/cell.py`."""

    given: tuple[Given, ...]
    scheme: int  #: of the faces, see `SCHEME_NUMBERS`
    floating: bool  #: whether no wall fixes the potential

    @classmethod
    def of(cls, cell: Electrolyte) -> DeviceCell:
        """The parameters of ``cell``, each stored for one sample where all share it."""
        medium, (ions,), (electric,) = cell.dielectric, cell.lines, cell.dielectric.lines
        n = medium.volumes.shape[0]
        ends = [
            electric.electrode,
            electric.surface_charge,
            electric.pull,
            electric.rise,
            ions.reservoir,
            ions.imposed[..., [0, -1]],
        ]
        return cls(
            given=(
                (medium.volumes.contiguous(), 1),
                _batch_last([cell.fixed_charge], n),
                _batch_last([electric.conductance], n + 1),
                _batch_last([ions.transmissivity], n + 1),
                _batch_last(ends, 2),
                _batch_last([medium.grounding[:, None], cell.valence], 1),
            ),
            scheme=SCHEME_NUMBERS[cell.scheme.name],
            floating=medium.floating,
        )


def is_on_one_line(cell: Electrolyte, like: Tensor) -> bool:
    """Whether a cell lies between the walls of one axis, where Triton runs on ``like``."""
    walled = cell.dielectric.grid.boundaries == ("wall",)
    return walled and backend(like) == "triton" and not runs_forward()


def is_known(cell: Electrolyte, like: Tensor) -> bool:
    """Whether Newton's kernels know a cell: up to three species of points, without reactions."""
    plain = cell.crowding is None and cell.reactions is None
    return plain and cell.valence.shape[1] <= MOST_SPECIES and is_on_one_line(cell, like)


def _batch_last(values: list[Tensor], columns: int) -> Given:
    """``values`` ``(B|1, columns|1)`` or ``(B|1, rows, columns|1)`` as (rows, columns, B|1)."""
    batch = math.prod({len(one) for one in values})  # 1, that of all others, or none
    rows = [one.detach().unsqueeze(1) if one.ndim == 2 else one.detach() for one in values]
    joint = torch.cat([one.expand(batch, -1, columns) for one in rows], 1)
    return joint.movedim(0, -1).contiguous(), batch
