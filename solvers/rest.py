"""Where a cell comes to rest: which way there is open, and the one that it takes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pnpfusion.solvers.convex_equilibrium import convex_equilibrium
from pnpfusion.solvers.implicit_solve import Rest
from pnpfusion.solvers.lines import along
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.steady_newton import steady_state

EMPTY = 1e-30  #: the mass that stands for none


def cell_at_rest(
    cell: Electrolyte,
    c0: Tensor,
    invariants: Tensor,
    constants: Tensor | None,
    tolerance: float,
) -> Rest:
    """Where ``c0`` ``(B, S, *grid.shape)`` comes to rest, with what is conserved as it is there.

    Cells in which nothing can flow at rest go the convex way; those with currents, those whose
    faces do not keep Boltzmann equilibria, and samples that the convex way leaves unsolved go the
    general one, which begins from the former's answer where there is one. ``constants`` are
    :func:`rest_constants`.
    """
    invariants = invariants.to(c0)
    if not len(c0):
        none = torch.zeros(0, dtype=torch.long, device=c0.device)
        return Rest(c0, c0[:, 0], none.bool(), none, "no samples")
    totals = c0.new_zeros(len(c0), 0)
    if len(invariants):
        totals = cell.dielectric.total(c0) @ invariants.mT
    wide = (-1, *(1,) * (c0.ndim - 1))
    convex = None
    if constants is not None:
        convex = _convex(cell, totals, invariants, constants, tolerance)
        if cell.scheme.well_balanced and bool(convex.converged.all()):
            return convex
    # Newton's method begins above zero, each sample by its own measure.
    guess = torch.maximum(c0.detach(), 1e-6 * c0.detach().flatten(1).amax(1).reshape(wide))
    if convex is not None:
        solved = convex.converged.reshape(wide)
        guess = torch.where(solved & (convex.c.detach() > 0), convex.c.detach(), guess)
    rest = steady_state(cell, guess, totals, invariants, tolerance=tolerance)
    rest = replace(rest, converged=rest.converged & _balanced(cell, invariants))
    if all(cell.closed) and cell.reactions is None:  # where there is nothing, nothing moves
        nothing = (c0 == 0).flatten(1).all(1)
        nowhere = nothing.reshape(wide)
        c, phi = (
            torch.where(nowhere, 0.0, rest.c),
            torch.where(nowhere[:, 0], cell.potential(c0), rest.phi),
        )
        rest = replace(rest, c=c, phi=phi, converged=rest.converged | nothing)
    if convex is None or not cell.scheme.well_balanced:
        return rest
    first = convex.converged
    return Rest(
        torch.where(first.reshape(wide), convex.c, rest.c),
        torch.where(first.reshape(wide)[:, 0], convex.phi, rest.phi),
        first | rest.converged,
        torch.where(first, convex.iterations, convex.iterations + rest.iterations),
        f"{convex.way}; where that failed, {rest.way}",
    )


def _convex(
    cell: Electrolyte, totals: Tensor, invariants: Tensor, constants: Tensor, tolerance: float
) -> Rest:
    """The convex way; a species without mass takes part with so little that it cannot be seen."""
    none = totals == 0
    if not none.any():
        return convex_equilibrium(cell, totals, invariants, constants, tolerance=tolerance)
    lifted = torch.where(none, EMPTY, totals)
    rest = convex_equilibrium(cell, lifted, invariants, constants, tolerance=tolerance)
    if cell.reactions is not None:
        return rest
    empty = (none.to(totals) @ invariants.abs()) > 0  # (B, S)
    return replace(
        rest, c=torch.where(empty.reshape(*empty.shape, *(1,) * (rest.c.ndim - 2)), 0.0, rest.c)
    )


def _balanced(cell: Electrolyte, invariants: Tensor) -> Tensor:
    """Whether prescribed fluxes bring in as much of each invariant as they take out, (B|1,)."""
    ends = [torch.stack([line.imposed[..., 0], -line.imposed[..., -1]], -1) for line in cell.lines]
    flat = [one.detach().flatten(2) for one in ends]  # (B|1, S, faces) of each axis
    through = sum((one.sum(2) for one in flat[1:]), flat[0].sum(2))
    total = sum((one.abs().sum(2) for one in flat[1:]), flat[0].abs().sum(2))
    net, size = through @ invariants.mT, total @ invariants.abs().mT
    return (net.abs() <= 1e3 * torch.finfo(net.dtype).eps * size).all(1)


def rest_constants(cell: Electrolyte) -> Tensor | None:
    """What reservoirs hold, ``(B|1, S)``; None for cells in which something flows at rest."""
    return _reservoir_constants(cell) if _detailed_balance(cell) else None


def _detailed_balance(cell: Electrolyte) -> bool:
    """Whether the reactions can all rest at once, and share the free energy with the transport."""
    reactions = cell.reactions
    if reactions is None:
        return True
    both_ways = all(
        bool((f > 0).all() and (b > 0).all())
        for f, b in zip(reactions.forward, reactions.backward, strict=True)
    )
    if not both_ways or (cell.crowding is not None and bool(reactions.stoichiometry.sum(1).any())):
        return False
    potentials = reactions.standard_potentials()
    allowed = 1e4 * torch.finfo(potentials.dtype).eps
    for row, f, b in zip(
        reactions.stoichiometry, reactions.forward, reactions.backward, strict=True
    ):
        weight = row.reshape(1, -1, *(1,) * (potentials.ndim - 2))
        if ((weight * potentials).sum(1) + torch.log(f / b)).detach().abs().max() > allowed:
            return False
    everywhere = potentials.detach().flatten(2)
    return bool((everywhere == everywhere[..., :1]).all())


def _reservoir_constants(cell: Electrolyte) -> Tensor | None:
    """The electrochemical potentials that reservoirs hold, 0 for closed species, ``(B|1, S)``.

    None where no state of rest agrees with them: reservoirs that differ, walls that prescribe a
    flux, or reservoirs behind a wall whose potential is not given.
    """
    grid, valence = cell.dielectric.grid, cell.valence
    allowed = 1e4 * torch.finfo(valence.dtype).eps
    found: list[Tensor | None] = [None] * valence.shape[1]
    for electric, ions in zip(cell.dielectric.lines, cell.lines, strict=True):
        if electric.periodic:
            continue
        if bool((ions.imposed != 0).any()):
            return None
        held = ions.held > 0
        ends = [end for end in (0, 1) if held[..., end].any()]
        if not ends:
            continue
        side = slice(ends[0], ends[-1] + 1)
        held, reservoir = held[..., side], ions.reservoir[..., side]
        if bool((held.any(1) & (electric.pull[..., side] < 1 - allowed)).any()) or bool(
            (held & (reservoir <= 0)).any()
        ):
            return None
        constant = torch.log(torch.where(held, reservoir, 1.0))
        electrode = electric.electrode[..., side]
        constant = constant + along(valence, grid, electric.axis) * electrode.unsqueeze(1)
        if cell.crowding is not None:
            if not bool((held.all(1) | ~held.any(1)).all()):
                return None  # the room at the wall is not given
            crowding = cell.crowding.reshape(-1, *(1,) * (reservoir.ndim - 1))
            constant = constant - torch.log1p(-crowding * reservoir.sum(1, keepdim=True))
        for species in range(valence.shape[1]):
            where = held[0, species]
            if not where.any():
                continue
            where = where.expand(torch.broadcast_shapes(where.shape, constant.shape[2:]))
            values = constant[:, species].expand(-1, *where.shape)
            known = found[species]
            first = values[:, *where.nonzero()[0].tolist()] if known is None else known
            found[species] = first
            if known is None and where.numel() == 1:
                continue
            first = first.detach().unsqueeze(1)
            if ((values.detach()[:, where] - first).abs() > allowed * (1 + first.abs())).any():
                return None
    if cell.reactions and any(one is not None for one in found):
        return None
    none = valence.new_zeros(1)
    columns = torch.broadcast_tensors(*(none if one is None else one for one in found))
    return torch.stack(columns, 1)
