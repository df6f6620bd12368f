"""The ledger of a run of a PNP cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from pnpfusion.dynamics.pnp_bound import BoundPNP
from pnpfusion.dynamics.pnp_invariants import invariants
from pnpfusion.ledger import Ledger
from pnpfusion.solvers.cell import Cell, free_energy
from pnpfusion.solvers.nernst_planck import Electrolyte

#: Numbers of a state that are summed up at a time, since sums need room of several states.
MOST_AT_ONCE = 2**17


def keep_ledger(law: BoundPNP, times: Tensor, states: Tensor, lowest: Tensor | None) -> Ledger:
    """What ``states`` ``(T, *batch, S, *grid.shape)`` in float64 add up to at each time.

    ``lowest`` ``(T, *batch)`` is the smallest concentration since the time before, if it is known.
    """
    made, grid = law.made, law.made.grid
    names = tuple(one.name for one in made.species)
    reacting = {name for one in made.reactions for name in (*one.reactants, *one.products)}
    with torch.no_grad():
        kept = invariants(made.species, made.walls.values(), made.reactions).to(states)
        batch = tuple(states.shape[1 : -1 - grid.ndim])
        rows = [c.reshape(-1, *c.shape[len(batch) :]) for c in states]
        cells = [law.at(t.to(states).expand(len(c))) for t, c in zip(times, rows, strict=True)]

        def of_each(find: Callable[[Cell, Tensor], Tensor]) -> Tensor:
            pairs = zip(cells, rows, strict=True)
            found = [find(*one) for cell, c in pairs for one in _parts(cell, c)]
            return torch.cat(found).reshape(len(rows), *batch, *found[0].shape[1:])

        weights = grid.weights.to(states)
        mass = of_each(lambda _, c: (weights * c).flatten(2).sum(-1))
        smallest = states.flatten(len(batch) + 1).amin(-1)
        return Ledger(
            times=times,
            mass=mass,
            conserved=mass @ kept.mT,
            conserved_size=mass[0].abs() @ kept.abs().mT,
            charge=of_each(lambda cell, c: cell.net_charge(c)),
            free_energy=of_each(free_energy),
            gauss_error=of_each(lambda cell, c: cell.gauss_error(c)),
            smallest=smallest if lowest is None else torch.minimum(smallest, lowest.double()),
            closed=tuple(
                closed and name not in reacting
                for name, closed in zip(names, law.cell.closed, strict=True)
            ),
            species=names,
        )


def _parts(cell: Cell, c: Tensor) -> Iterator[tuple[Cell, Tensor]]:
    """The cell and its states ``(B, S, *grid.shape)``, some samples at a time."""
    batch = len(c)
    each = max(1, MOST_AT_ONCE // max(1, c[:1].numel()))
    if not isinstance(cell, Electrolyte) or batch <= each:
        yield cell, c
        return
    for first in range(0, batch, each):
        part = slice(first, first + each)
        yield cell.samples(part), c[part]
