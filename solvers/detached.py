"""A cell's parameters without what derivatives are taken by."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from torch import Tensor

from pnpfusion.solvers.dielectric import Dielectric, ElectricLine
from pnpfusion.solvers.ion_lines import IonLine
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.reactions import MassAction

_PARTS = (Dielectric, ElectricLine, IonLine, MassAction)


def detached(cell: Electrolyte) -> Electrolyte:
    """``cell`` with every tensor detached; memory is shared."""
    return replace(cell, **_detached_parts(cell))


def _detached_parts(whole: Any) -> dict[str, Any]:
    return {field.name: _detached(getattr(whole, field.name)) for field in fields(whole)}


def _detached(part: Any) -> Any:
    if isinstance(part, Tensor):
        return part.detach()
    if isinstance(part, _PARTS):
        return replace(part, **_detached_parts(part))
    return tuple(map(_detached, part)) if isinstance(part, tuple) else part
