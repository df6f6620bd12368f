"""How ions pass the faces across one axis, and what the walls say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.dielectric import ElectricLine
from pnpfusion.solvers.lines import along, face_resistances, on_edges, with_ends
from pnpfusion.solvers.wall_values import WallPair


@dataclass(frozen=True, eq=False)
class IonLine:
    """How the species pass the faces across one axis; every tensor has that axis last."""

    transmissivity: Tensor
    """D * area / distance, 0 where a species cannot pass; (B|1, S, *others|1, N+1)"""
    reservoir: Tensor  #: concentrations behind the two walls; (B|1, S, *others|1, 2)
    held: Tensor  #: 1.0 where a reservoir holds a species at the wall; (1, S, *others|1, 2)
    imposed: Tensor  #: what the walls let through by prescription; (B|1, S, *others|1, N+1)


@dataclass(frozen=True, eq=False)
class Faces:
    """The two sides of every face across one axis; each tensor is ``(B, S, *others, N+1)``."""

    u: Tensor  #: the rise of z phi, and of the crowding, across the face
    ahead: Tensor  #: weight a(u) of the concentration before the face
    back: Tensor  #: weight b(u) of the concentration after it
    before: Tensor  #: concentrations before the face, in c_ref
    after: Tensor  #: concentrations after it


def ion_line(
    diffusivity: Tensor, electric: ElectricLine, pair: WallPair, names: Sequence[str]
) -> tuple[IonLine, Tensor]:
    """How the species pass along one axis, and which of them cross its walls, bool (S,)."""
    grid, axis = pair.grid, pair.axis
    widths = pair.widths
    area = electric.areas[..., None]
    conduction = area / face_resistances(
        widths, along(diffusivity, grid, axis), periodic=pair.periodic
    )
    n, others = len(widths), (1,) * (grid.ndim - 1)
    if pair.periodic:
        none = torch.zeros((1, len(names), *others, 2)).to(diffusivity)
        crosses = torch.zeros(len(names), dtype=torch.bool, device=diffusivity.device)
        return IonLine(conduction, none, none, on_edges(none, n + 1)), crosses

    def of_species(what: str) -> tuple[Tensor, Tensor]:
        columns = [pair.values(what, name) for name in names]
        if all(value is pair.none for value, _ in columns):
            none = pair.none[:, None].expand(-1, len(names), *pair.none.shape[1:])
            return none, none
        value, given = (
            torch.stack(torch.broadcast_tensors(*c), 1) for c in zip(*columns, strict=True)
        )
        return value, given

    reservoir, held = of_species("concentration")
    influx, fed = of_species("flux")
    if (reservoir.detach() < 0).any():
        raise ValueError(
            f"a wall's `concentration` must be >= 0, got {float(reservoir.detach().min()):g}."
        )
    passable = with_ends(held.new_ones(1, len(names), *others, n - 1), held)
    line = IonLine(
        transmissivity=conduction * passable,
        reservoir=reservoir,
        held=held,
        imposed=on_edges(area * influx * influx.new_tensor([1.0, -1.0]), n + 1),
    )
    crosses = ((held + fed) > 0).movedim(1, 0).flatten(1).any(1)
    return line, crosses
