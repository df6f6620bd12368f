"""What a PNP cell conserves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from pnpfusion.dynamics.species import Species
from pnpfusion.solvers.boundary import Wall
from pnpfusion.solvers.reactions import Reaction, null_rows


def invariants(
    species: Sequence[Species],
    walls: Iterable[Wall | Sequence[Wall]],
    reactions: Sequence[Reaction],
    *,
    at_rest: bool = False,
) -> Tensor:
    """The combinations of species whose total neither walls nor reactions change.

    Args:
        species: of the cell.
        walls: the conditions of every side.
        reactions: what turns species into one another.
        at_rest: count prescribed fluxes as nothing, since they balance where a cell can rest.

    Returns:
        Orthonormal rows, float64, ``(K, S)``.
    """
    names = [one.name for one in species]
    parts = [wall for side in walls for wall in ([side] if isinstance(side, Wall) else side)]
    crossing = {
        name
        for wall in parts
        for given in (wall.concentration, None if at_rest else wall.flux)
        for name in given or ()
    }
    identity = torch.eye(len(names), dtype=torch.float64)
    if not reactions:
        return identity[[name not in crossing for name in names]]
    index = {name: i for i, name in enumerate(names)}
    changes = [identity[index[name]] for name in sorted(crossing)]
    for reaction in reactions:
        made = torch.zeros(len(names), dtype=torch.float64)
        for sign, side in ((1, reaction.products), (-1, reaction.reactants)):
            for name in side:
                made[index[name]] += sign
        changes.append(made)
    return null_rows(torch.stack(changes))
