r"""The semi-implicit step that cannot fail: first order, linear, positive and conservative.

The field is predicted implicitly, so the dielectric relaxation time
:math:`\varepsilon / \sum z^2 D c` is no limit on the step; then each species makes one implicit
step in that field. Its matrix is an M-matrix for monotone face schemes: concentrations stay
positive.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pnpfusion.solvers.banded import solve_tridiagonal
from pnpfusion.solvers.fluxes import FACE_SCHEMES
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.poisson import on_edges, with_ends


def asymptotic_preserving_step(cell: Electrolyte, c: Tensor, dt: Tensor) -> Tensor:
    r"""Concentrations after ``dt``, first order in time, positive for any ``dt``.

    With :math:`\phi` the potential of c, the currents are linearised in the change of potential
    that they cause, and then each species moves in the new field:

    .. math::
        -\nabla\cdot\Bigl[\Bigl(\varepsilon - \Delta t \sum z
            \frac{\partial J}{\partial\nabla\phi}\Bigr) \nabla(\phi' - \phi)\Bigr]
            = -\Delta t\,\nabla\cdot\sum z J(c, \phi), \qquad
        \frac{c' - c}{\Delta t} = -\nabla\cdot J(c', \phi').

    A cell at rest stays at rest. Central faces are not monotone; where the cell asks for them this
    step uses Scharfetter-Gummel. Differentiable to any order.

    Args:
        cell: the cell.
        c: concentrations, ``(B, S, N)``, >= 0.
        dt: time step, ``(B,)``, >= 0.

    Returns:
        Concentrations, ``(B, S, N)``. The mass of a closed species is that of ``c`` to round-off.
    """
    if not cell.scheme.monotone:
        cell = replace(cell, scheme=FACE_SCHEMES["scharfetter-gummel"])
    medium, widths = cell.dielectric, cell.dielectric.widths
    h = dt[:, None, None]
    faces = cell.faces(c, _predicted_potential(cell, c, h))
    out, into = (h * cell.transmissivity * weight for weight in (faces.ahead, faces.back))
    diagonal = widths + out[..., 1:] + into[..., :-1]
    load = widths * c - h * cell.imposed.diff(dim=-1)
    if not medium.periodic:
        ends = torch.stack([out[..., 0], into[..., -1]], -1) * cell.reservoir
        load = load + on_edges(ends, load.shape[-1])
    flat = [matrix.flatten(0, 1) for matrix in (-out[..., :-1], diagonal, -into[..., 1:], load)]
    new = solve_tridiagonal(*flat, periodic=medium.periodic).reshape(c.shape)
    # The solve loses mass to round-off times the stiffness; one factor gives it back.
    mass = (widths * new).sum(-1, keepdim=True)
    kept = (widths * c).sum(-1, keepdim=True) / torch.where(mass > 0, mass, 1.0)
    kept = torch.where(mass > 0, kept, 1.0)
    closed = torch.tensor(cell.closed, device=c.device)[:, None]
    return torch.where(closed, new * kept, new)


def _predicted_potential(cell: Electrolyte, c: Tensor, h: Tensor) -> Tensor:
    """The potential after a step in which the charge follows the field that it makes."""
    medium, phi = cell.dielectric, cell.potential(c)
    faces = cell.faces(c, phi)
    extra = -(h * cell.valence.square() * cell.flux_slopes(faces)).sum(1)
    if not medium.periodic:  # a wall's potential follows its edge cell unless an electrode holds it
        inner = torch.ones_like(extra[:1, 1:-1]).expand(len(medium.pull), -1)
        extra = extra * with_ends(inner, medium.pull)
    current = (h * cell.valence * cell.fluxes(faces)).sum(1)
    return phi + medium.solve(medium.conductance + extra, -current.diff(dim=-1))
