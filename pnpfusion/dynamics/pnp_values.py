"""Every value that a PNP cell was given, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from pnpfusion.dynamics.pnp_observables import CellObservables
from pnpfusion.solvers.boundary import check_walls
from pnpfusion.solvers.field import Field
from pnpfusion.solvers.reactions import Reaction


def values_by_name(cell: CellObservables) -> dict[str, Any]:
    """Every parameter by a flat name, as optimisers and `state_dict` see the learnt ones."""
    values = {
        "permittivity_value": cell.permittivity,
        "fixed_charge_value": cell.fixed_charge,
        "steric_value": cell.steric,
    }
    for one in cell.species:
        values[f"valence:{one.name}"] = one.valence
        values[f"diffusivity:{one.name}"] = one.diffusivity
    for reaction in cell.reactions:
        if isinstance(reaction, Reaction):
            values[f"forward:{reaction}"] = reaction.forward
            values[f"backward:{reaction}"] = reaction.backward
    for side, parts in check_walls(cell.grid, cell.walls).items():
        for part, wall in enumerate(parts):
            where = side if len(parts) == 1 else f"{side}:{part}"
            for what in ("potential", "surface_charge", "stern"):
                values[f"{what}:{where}"] = getattr(wall, what)
            for what in ("concentration", "flux"):
                given = getattr(wall, what) or {}
                values |= {f"{what}:{where}:{name}": value for name, value in given.items()}
    return {name.replace(".", "_"): v for name, v in values.items() if v is not None}


def register(cell: CellObservables, values: Mapping[str, Any]) -> None:
    """Make those of ``values`` that learn known to torch, each under its name, once."""
    for name, value in values.items():
        held = value.values if isinstance(value, Field) else value
        if isinstance(held, nn.Parameter):
            if not any(held is parameter for parameter in cell.parameters()):
                cell.register_parameter(name, held)
        elif isinstance(held, nn.Module):
            cell.add_module(name, held)


def words_of(cell: CellObservables) -> str:
    """What the cell holds, in a line."""
    ions = ", ".join(
        f"{one.name} (z = {one.valence}, D = {one.diffusivity})" for one in cell.species
    )
    more = "".join(
        f", {name}={value}"
        for name, value in (
            ("steric", cell.steric),
            ("reactions", [*map(str, cell.reactions)] or None),
        )
        if value is not None
    )
    return (
        f"{ions}, permittivity={cell.permittivity}, scheme={cell.scheme!r}, "
        f"walls={cell.walls}, {cell.grid}{more}"
    )
