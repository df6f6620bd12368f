"""The free energy that a closed cell loses as it relaxes."""

from __future__ import annotations

import torch
from torch import Tensor

from pnpfusion.solvers.nernst_planck import Electrolyte


def free_energy(cell: Electrolyte, c: Tensor) -> Tensor:
    r"""Mixing entropy and electric energy, per sample.

    .. math:: F[c] = \int \sum_i c_i (\ln c_i - 1 + \mu_i^0)
              + \tfrac{s}{a^3} (\ln s - 1) + \tfrac12 (\rho + \rho_f)(\phi + \phi_w),

    with :math:`\phi_w` the potential of the walls alone (electrodes held at fixed U); where no wall
    fixes the potential, the electric part is :math:`\tfrac12 \int \varepsilon |\nabla\phi|^2`. The
    term with the free share of the volume :math:`s = 1 - a^3 \sum c` counts crowding [KBA07]; the
    standard potentials :math:`\mu^0` count reactions in detailed balance. Then
    :math:`\delta F / \delta c_i = \ln c_i + \mu_i^0 - \ln s + z_i \phi`, and F never rises in a
    closed cell.

    Args:
        cell: the cell.
        c: concentrations, ``(B, S, *grid.shape)``.

    Returns:
        F, ``(B,)``, in R T c_ref L^d; NaN where a concentration is negative.
    """
    return osmotic_energy(cell, c) + electric_energy(cell, c)


def osmotic_energy(cell: Electrolyte, c: Tensor) -> Tensor:
    """The part of :func:`free_energy` that is there without charge, ``(B,)``."""
    density = (torch.xlogy(c, c) - c).sum(1)
    if cell.crowding is not None:
        free = 1 - cell.crowding * c.sum(1)
        density = density + (torch.xlogy(free, free) - free) / cell.crowding
    if cell.reactions is not None:
        density = density + (cell.reactions.standard_potentials() * c).sum(1)
    return cell.dielectric.total(density)


def electric_energy(cell: Electrolyte, c: Tensor) -> Tensor:
    """The part of :func:`free_energy` that is due to charge, ``(B,)``."""
    medium = cell.dielectric
    charge = cell.charge(c)
    phi = medium.potential(charge)
    if not medium.floating:
        alone = medium.potential(torch.zeros_like(charge))
        return medium.total(charge * (phi + alone)) / 2
    energy = torch.zeros(len(c), dtype=c.dtype, device=c.device)
    for line, through in zip(medium.lines, medium.displacement(phi), strict=True):
        inner = slice(1, None) if line.periodic else slice(1, -1)
        part = through[..., inner].square() / line.conductance[..., inner]
        energy = energy + part.flatten(1).sum(1) / 2
    return energy
