"""The free energy that a closed cell loses as it relaxes."""

from __future__ import annotations

import torch
from torch import Tensor

from pnpfusion.solvers.nernst_planck import Electrolyte


def free_energy(cell: Electrolyte, c: Tensor) -> Tensor:
    r"""Mixing entropy and electric energy, per sample.

    .. math:: F[c] = \int \sum_i c_i (\ln c_i - 1) + \tfrac12 (\rho + \rho_f)(\phi + \phi_w),

    with :math:`\phi_w` the potential of the walls alone (electrodes held at fixed U); where no wall
    fixes the potential, the electric part is :math:`\tfrac12 \int \varepsilon |\nabla\phi|^2`. In
    both cases :math:`\delta F / \delta c_i = \ln c_i + z_i \phi`, and F never rises in a closed
    cell.

    Args:
        cell: the cell.
        c: concentrations, ``(B, S, N)``.

    Returns:
        F, ``(B,)``, in R T c_ref L; NaN where a concentration is negative.
    """
    medium = cell.dielectric
    mixing = (medium.widths * (torch.xlogy(c, c) - c)).sum((1, 2))
    charge = cell.charge(c)
    phi = medium.potential(charge)
    if medium.floating:
        faces = medium.displacement(phi)[:, 1 : -1 if not medium.periodic else None]
        conductance = medium.conductance[:, 1 : -1 if not medium.periodic else None]
        return mixing + (faces.square() / conductance).sum(-1) / 2
    alone = medium.potential(torch.zeros_like(charge))
    return mixing + (medium.widths * charge * (phi + alone)).sum(-1) / 2
