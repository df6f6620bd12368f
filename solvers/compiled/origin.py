"""What the derivatives of a compiled run are taken by, and where kernels have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pnpfusion.solvers.nernst_planck import Electrolyte

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.by_cell import Given

Parameter = tuple[Tensor, str, int]  #: a tensor, the array of `Cell` it is part of, and its row


@dataclass(frozen=True, eq=False)
class Origin:
    """What the derivatives of a run are taken by, beside its states.

    The tensors are themselves parts of the cell; or ``leaves`` stand for them in a graph that leads
    to the parts, and serves many runs.
    """

    tensors: tuple[Tensor, ...]
    parts: Sequence[Parameter]
    leaves: tuple[Tensor, ...] | None = None

    @classmethod
    def of(cls, cell: Electrolyte) -> Origin:
        """Those parts of ``cell`` that have a gradient."""
        parts = [entry for entry in _parameters(cell) if entry[0].requires_grad]
        return cls(tuple(tensor for tensor, _, _ in parts), parts)

    def derivatives(self, by: Given) -> Sequence[Tensor | None]:
        """Derivatives by the tensors, of those by the arrays; None where nothing depends on one."""
        by_parts = _by_tensors(by, self.parts)
        if self.leaves is None:
            return by_parts
        if not by_parts:
            return [None] * len(self.leaves)
        ends = [tensor for tensor, _, _ in self.parts]
        return torch.autograd.grad(
            ends, self.leaves, by_parts, retain_graph=True, allow_unused=True
        )


def _parameters(cell: Electrolyte) -> list[Parameter]:
    """What derivatives are taken by, and where `compiled_cell` puts it."""
    from pnpfusion.solvers.kernels.axis import cell as at

    (ions,), (electric,) = cell.lines, cell.dielectric.lines
    species = cell.valence.shape[1]
    found = [
        (cell.valence, "numbers", at.VALENCE),
        (cell.fixed_charge, "cells", at.FIXED_CHARGE),
        (electric.electrode, "ends", at.ELECTRODE),
        (electric.surface_charge, "ends", at.SURFACE_CHARGE),
        (electric.pull, "ends", at.PULL),
        (electric.rise, "ends", at.WALL_RISE),
        (ions.reservoir, "ends", at.RESERVOIR),
        (electric.conductance, "electric", at.CONDUCTANCE),
        (ions.transmissivity, "faces", at.PASSING),
        (ions.imposed, "faces", at.PASSING + species),
    ]
    if cell.crowding is not None:
        found.append((cell.crowding, "numbers", at.CROWDING))
    if cell.reactions is not None:
        constants = (*cell.reactions.forward, *cell.reactions.backward)
        found += [(k, "cells", at.FORWARD + row) for row, k in enumerate(constants)]
    return found


def _by_tensors(by: Given, parts: Sequence[Parameter]) -> list[Tensor]:
    """The derivatives by tensors that are parts of the cell."""
    found = []
    for tensor, name, row in parts:
        part = torch.from_numpy(getattr(by, name))
        rows = tensor.shape[1] if tensor.ndim == 3 else 1
        part = part[:, row : row + rows]
        if name == "numbers":
            part = part[..., None]
        found.append((part if tensor.ndim == 3 else part[:, 0]).sum_to_size(tensor.shape))
    return found
