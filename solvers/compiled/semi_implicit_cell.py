"""What semi-implicit kernels read of a cell, and derivatives are taken by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from pnpfusion.solvers.arrays import as_array
from pnpfusion.solvers.nernst_planck import Electrolyte

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.axis.semi_implicit_block import Given


def parameters_of(cell: Electrolyte) -> list[Tensor]:
    """What derivatives are taken by, in the order of `Given`."""
    (ions,), (electric,) = cell.lines, cell.dielectric.lines
    return [
        electric.conductance,
        electric.electrode,
        electric.surface_charge,
        electric.pull,
        electric.rise,
        cell.fixed_charge,
        cell.valence,
        ions.transmissivity,
        ions.imposed,
        ions.reservoir,
    ]


def with_parameters(cell: Electrolyte, parameters: list[Tensor]) -> Electrolyte:
    """``cell`` with other :func:`parameters_of`."""
    (ions,), (electric,) = cell.lines, cell.dielectric.lines
    conductance, electrode, surface_charge, pull, rise, fixed_charge, valence, *of_ions = parameters
    electric = replace(
        electric,
        conductance=conductance,
        electrode=electrode,
        surface_charge=surface_charge,
        pull=pull,
        rise=rise,
    )
    transmissivity, imposed, reservoir = of_ions
    return replace(
        cell,
        dielectric=replace(cell.dielectric, lines=(electric,)),
        lines=(replace(ions, transmissivity=transmissivity, imposed=imposed, reservoir=reservoir),),
        fixed_charge=fixed_charge,
        valence=valence,
    )


def as_given(parameters: Sequence[Tensor]) -> Given:
    """The parameters, or their gradients, as arrays that share their memory if they can."""
    from pnpfusion.solvers.kernels.axis.semi_implicit_block import Given

    return Given(*(as_array(one.unsqueeze(1) if one.ndim == 2 else one) for one in parameters))
