"""Cells of one axis in the form that the compiled kernels read."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pnpfusion.solvers.nernst_planck import Electrolyte

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.newton_1d import Cell


@cache
def newton_kernels() -> Any:
    """The module of compiled kernels; None where Numba is not installed."""
    try:
        from pnpfusion.solvers.kernels import newton_1d
    except ImportError:
        return None
    return newton_1d


def is_compiled(cell: Electrolyte, like: Tensor) -> bool:
    """Whether the kernels know this cell: one axis between walls, on the CPU, Numba installed."""
    grid = cell.dielectric.grid
    return (
        grid.boundaries == ("wall",) and like.device.type == "cpu" and newton_kernels() is not None
    )


def compiled_cell(cell: Electrolyte) -> Cell:
    """The parameters of ``cell``, detached, as the arrays of the compiled kernels."""
    kernels = newton_kernels()
    medium, (ions,), (electric,) = cell.dielectric, cell.lines, cell.dielectric.lines
    n, species = medium.volumes.shape[0], cell.valence.shape[1]
    none = medium.volumes.new_zeros(1, 1)
    counts = np.zeros((2, 1, 0, species), np.int64)
    forward = backward = none.new_zeros(1, 0, n)
    if cell.reactions is not None:
        rows = (cell.reactions.before, cell.reactions.after)
        counts = np.stack([row.numpy().astype(np.int64)[None] for row in rows])
        forward, backward = (
            torch.stack([k.detach().expand(-1, n) for k in torch.broadcast_tensors(*constants)], 1)
            for constants in (cell.reactions.forward, cell.reactions.backward)
        )

    def array(values: Tensor, *shape: int) -> Any:
        return np.ascontiguousarray(values.detach().expand(-1, *shape).numpy())

    result: Cell = kernels.Cell(
        scheme={
            "scharfetter-gummel": kernels.SCHARFETTER_GUMMEL,
            "central": kernels.CENTRAL,
            "harmonic": kernels.HARMONIC,
        }[cell.scheme.name],
        floating=medium.floating,
        volumes=array(medium.volumes[None], n),
        valence=array(cell.valence[..., 0], species),
        fixed_charge=array(cell.fixed_charge, n),
        conductance=array(electric.conductance, n + 1),
        electrode=array(electric.electrode, 2),
        surface_charge=array(electric.surface_charge, 2),
        pull=array(electric.pull, 2),
        rise=array(electric.rise, 2),
        grounding=array(medium.grounding[:, None], 1),
        transmissivity=array(ions.transmissivity, species, n + 1),
        reservoir=array(ions.reservoir, species, 2),
        held=array(ions.held, species, 2),
        imposed=array(ions.imposed, species, n + 1),
        crowding=array(none if cell.crowding is None else cell.crowding, 1),
        before=counts[0],
        after=counts[1],
        forward=np.ascontiguousarray(forward.numpy()),
        backward=np.ascontiguousarray(backward.numpy()),
    )
    return result
