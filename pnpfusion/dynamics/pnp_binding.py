"""Binding a PNP cell to a run, which is built anew only where it is not remembered."""

from __future__ import annotations

import torch
from torch import Tensor

from pnpfusion.dynamics.pnp_bound import BoundPNP
from pnpfusion.dynamics.pnp_ingredients import Facts, Ingredients, are_followed, are_lasting
from pnpfusion.dynamics.pnp_memory import MOST_REMEMBERED, Memory
from pnpfusion.dynamics.resolution import warn_if_coarse, warn_if_steep
from pnpfusion.solvers.nernst_planck import Electrolyte


def bound_once(
    memory: Memory,
    made: Ingredients,
    facts: Facts,
    known: BoundPNP | None,
    numbers: int,
    driven: bool,
) -> BoundPNP:
    """A cell of ``facts``, those of ``made``, for a state of so many ``numbers``.

    ``known`` is the one that ``memory`` held under them, ``driven`` whether a condition at a wall
    is a function of time.
    """
    followed = are_followed(facts)
    if known is not None:
        return BoundPNP(made, driven=False, known=known) if followed else known
    kept = None
    if numbers <= MOST_REMEMBERED and are_lasting(facts):
        kept = BoundPNP(made.mapped(_own), driven=False, plain=True, shadow=followed)
    bound = BoundPNP(made, driven) if followed or kept is None else kept
    compiled = bound.is_compiled  # the cell is built for it, so that its errors come now
    if kept is not None and (compiled or not followed):
        memory.keep(kept.made.facts(), kept)
    return bound


def is_fit_to_start(
    law: BoundPNP, name: str, values: Tensor, state_ndim: int, *, warns: bool
) -> bool:
    """Whether ``law`` may start from ``values`` with nothing to warn of, where it can be said.

    Raises:
        ValueError: the state ``name`` is not neutral where it must be, or has no room.
    """
    cell, flat = law.values, values.reshape(-1, *values.shape[-state_ndim:])
    with torch.no_grad():
        cell.check_neutral(name, flat)
        room = cell.room(flat)
    if room is not None and (room <= 0).any():
        raise ValueError(
            f"`{name}` leaves no room: the sum of its concentrations is {-float(room.min()):.4g} "
            f"beyond the 1 / steric that there is; lower them, or `steric`."
        )
    if not (len(flat) and isinstance(cell, Electrolyte) and warns):
        return False
    warned = warn_if_coarse(cell, flat), warn_if_steep(law, flat)
    return not any(warned)


def _own(values: Tensor) -> Tensor:
    """A copy that nobody else changes and no derivative is taken by."""
    return values.detach().clone()
