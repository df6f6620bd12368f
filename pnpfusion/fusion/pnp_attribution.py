"""Which modality made which part of what a PNP layer computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.dynamics.base import Input
from pnpfusion.dynamics.pnp import PNP
from pnpfusion.solvers.nernst_planck import Electrolyte


@dataclass(frozen=True, eq=False)
class Attribution:
    """The parts of each of M modalities; rows first, modalities second."""

    names: tuple[str, ...]  #: of the modalities, in the order of the parts
    potential: Tensor  #: what each adds to the potential, (rows, M, channels, cells), in kT/e
    walls: Tensor  #: what is left to the walls' potentials, (rows, channels, cells), in kT/e
    sides: Tensor  #: before and past the middle of the cell, (rows, M, channels, 2), in F c_ref L
    """At rest the charge of the ions that each modality draws to a side; of a transient run the
    amount of cations and of anions that passed the middle."""

    @property
    def total(self) -> Tensor:
        """The potential: the sum of all parts."""
        return self.potential.sum(1) + self.walls


def attribute_rest(
    names: Sequence[str], law: PNP, state: Tensor, x: Input, charges: Tensor
) -> Attribution:
    r"""The parts of a cell at rest, exactly additive.

    The ions' charge is written :math:`-\sigma\phi` with the secant :math:`\sigma = 2 c_0 \sinh\phi
    / \phi \ge 0`, which counts as a given screening. What is left is linear,

    .. math:: \phi = \sum_m (-\varepsilon\partial_x^2 + \sigma)^{-1} q_m + \text{(walls)},

    so that the parts of all modalities and of the walls add up to the potential.

    Args:
        names: of the modalities.
        law: the cell.
        state: its concentrations at rest, ``(rows, channels, 2, cells)``.
        x: what drives it.
        charges: of each modality, ``(rows, M, channels, cells)``, in F c_ref.
    """
    rows, _, channels, cells = charges.shape
    cell = law.electrolyte((rows, channels), state, x)
    if not isinstance(cell, Electrolyte):
        raise TypeError("attribution needs a finite-volume cell.")
    medium = cell.dielectric
    cation, anion = state.flatten(0, 1).unbind(1)
    phi = (anion.log() - cation.log()) / 2
    flat = phi.abs() < 1e-4
    whole = (anion - cation) / torch.where(flat, 1.0, phi)
    screening = torch.where(flat, anion + cation, whole)  # sinh(phi) / phi is 1 there

    def solved(load: Tensor) -> Tensor:
        conductances = tuple(line.conductance for line in medium.lines)
        found = medium.solve(conductances, load, medium.volumes * screening)
        return found.reshape(rows, channels, cells)

    parts = [solved(medium.volumes * one.flatten(0, 1)) for one in charges.unbind(1)]
    potential = torch.stack(parts, 1)
    walls = solved(medium.load(torch.zeros_like(phi)))
    drawn = -(medium.volumes * screening).reshape(rows, 1, channels, cells) * potential
    return Attribution(tuple(names), potential, walls, _sides(drawn))


def _sides(amounts: Tensor) -> Tensor:
    """The sums over the two halves of the last axis; a cell in the middle counts half and half."""
    n = amounts.shape[-1]
    past = torch.arange(n).sub((n - 1) / 2).clamp(-0.5, 0.5).add(0.5).to(amounts)
    return torch.stack([amounts @ (1 - past), amounts @ past], -1)
