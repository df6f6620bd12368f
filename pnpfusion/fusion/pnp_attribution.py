"""Which modality made which part of what a PNP layer computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from pnpfusion.dynamics.input import Input
from pnpfusion.dynamics.pnp import PNP
from pnpfusion.solvers.nernst_planck import Electrolyte


@dataclass(frozen=True, eq=False)
class Attribution:
    """The parts that M modalities have in the potential; rows first, modalities second."""

    names: tuple[str, ...]  #: of the modalities, in the order of the parts
    potential: Tensor  #: what each adds to the potential, (rows, M, channels, cells), in kT/e
    walls: Tensor  #: what is left to the walls, (rows, channels, cells), in kT/e

    @property
    def total(self) -> Tensor:
        """The potential: the sum of all parts."""
        return self.potential.sum(1) + self.walls


@dataclass(frozen=True, eq=False)
class ChargeAttribution(Attribution):
    """Of a cell at rest."""

    sides: Tensor
    """The charge of the ions that each draws into the two halves of the cell, that of ``"x-"``
    first, (rows, M, channels, 2), in F c_ref L."""


@dataclass(frozen=True, eq=False)
class IonAttribution(Attribution):
    """Of ions that migrate."""

    past: Tensor
    """How many more of each modality's cations, and of its anions, are past the middle of the cell,
    towards ``"x+"``, than there were at the start: (rows, M, channels, 2), in c_ref L."""


def attribute_rest(
    names: Sequence[str], law: PNP, state: Tensor, x: Input, charges: Tensor
) -> ChargeAttribution:
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
    cell = cast(Electrolyte, law.electrolyte((rows, channels), state, x))
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
    past = shares_past_the_middle(drawn)
    sides = torch.stack([drawn @ (1 - past), drawn @ past], -1)
    return ChargeAttribution(tuple(names), potential, walls, sides)


def shares_past_the_middle(like: Tensor) -> Tensor:
    """Which cells are past the middle, 1.0 or 0.0; 0.5 for one that the middle cuts, (cells,)."""
    n = like.shape[-1]
    return torch.arange(n).sub((n - 1) / 2).clamp(-0.5, 0.5).add(0.5).to(like)
