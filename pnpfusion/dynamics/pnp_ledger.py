"""The ledger of a run of a PNP cell."""

from __future__ import annotations

from collections.abc import Set

import torch
from torch import Tensor

from pnpfusion.dynamics.pnp_bound import BoundPNP
from pnpfusion.ledger import Ledger
from pnpfusion.solvers.cell import free_energy


def keep_ledger(
    law: BoundPNP,
    names: tuple[str, ...],
    reacting: Set[str],
    invariants: Tensor,
    times: Tensor,
    states: Tensor,
    lowest: Tensor | None,
) -> Ledger:
    """What ``states`` ``(T, *batch, S, *grid.shape)`` in float64 add up to at each time.

    ``invariants`` ``(K, S)`` are the combinations of species that nothing changes.
    """
    with torch.no_grad():
        grid, invariants = law.made.grid, invariants.to(states)
        batch = tuple(states.shape[1 : -1 - grid.ndim])
        rows = [c.reshape(-1, *c.shape[len(batch) :]) for c in states]
        cells = [law.at(t.to(states).expand(len(c))) for t, c in zip(times, rows, strict=True)]

        def of_each(*values: Tensor) -> Tensor:
            return torch.stack(values).reshape(len(rows), *batch)

        pairs = list(zip(cells, rows, strict=True))
        mass = (grid.weights.to(states) * states).flatten(len(batch) + 2).sum(-1)
        smallest = states.flatten(len(batch) + 1).amin(-1)
        return Ledger(
            times=times,
            mass=mass,
            conserved=mass @ invariants.mT,
            conserved_size=mass[0].abs() @ invariants.abs().mT,
            charge=of_each(*(cell.net_charge(c) for cell, c in pairs)),
            free_energy=of_each(*(free_energy(cell, c) for cell, c in pairs)),
            gauss_error=of_each(*(cell.gauss_error(c) for cell, c in pairs)),
            smallest=smallest if lowest is None else torch.minimum(smallest, lowest.double()),
            closed=tuple(
                closed and name not in reacting
                for name, closed in zip(names, law.cell.closed, strict=True)
            ),
            species=names,
        )
