r"""The semi-implicit step that cannot fail: first order, linear, positive and conservative.

The field is predicted implicitly, so the dielectric relaxation time
:math:`\varepsilon / \sum z^2 D c` is no limit on the step; then each species makes one implicit
step in that field along one axis after the other, and at last each reaction takes its turn. The
matrix of each line is an M-matrix for monotone face schemes: concentrations stay positive.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pnpfusion.solvers.banded import solve_tridiagonal
from pnpfusion.solvers.fluxes import FACE_SCHEMES
from pnpfusion.solvers.ion_lines import Faces
from pnpfusion.solvers.lines import along, back, edge_columns, on_edges, with_ends
from pnpfusion.solvers.nernst_planck import Electrolyte


def asymptotic_preserving_step(cell: Electrolyte, c: Tensor, dt: Tensor) -> Tensor:
    r"""Concentrations after ``dt``, first order in time, positive for any ``dt``.

    With :math:`\phi` the potential of c, the currents are linearised in the change of potential
    that they cause, and then each species moves in the new field, one axis after the other:

    .. math::
        -\nabla\cdot\Bigl[\Bigl(\varepsilon - \Delta t \sum z
            \frac{\partial J}{\partial\nabla\phi}\Bigr) \nabla(\phi' - \phi)\Bigr]
            = -\Delta t\,\nabla\cdot\sum z J(c, \phi), \qquad
        \frac{c' - c}{\Delta t} = -\partial_a J_a(c', \phi').

    A cell at rest stays at rest. Central faces are not monotone; where the cell asks for them this
    step uses Scharfetter-Gummel. Crowding acts as it was before the step, so a long step may end
    beyond the room there is. Differentiable to any order.

    Args:
        cell: the cell.
        c: concentrations, ``(B, S, *grid.shape)``, >= 0.
        dt: time step, ``(B,)``, >= 0.

    Returns:
        Concentrations like ``c``. The mass of a closed species is that of ``c`` to round-off.
    """
    return step_and_change(cell, c, dt)[0]


def step_and_change(
    cell: Electrolyte, c: Tensor, dt: Tensor, known: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """:func:`asymptotic_preserving_step`, and how it predicts the potential to change.

    ``known``: that change, detached, if the same step was taken before; it is not solved for again.
    """
    if not cell.scheme.monotone:
        cell = replace(cell, scheme=FACE_SCHEMES["scharfetter-gummel"])
    h = dt.reshape(-1, *(1 for _ in c.shape[1:]))
    phi = cell.potential(c)
    change = _predicted_change(cell, c, h, phi, known)
    faces = cell.faces(c, phi + change)
    new = c
    for axis, face in enumerate(faces):
        new = _step_along(cell, axis, face, new, h)
    # The solves lose mass to round-off times the stiffness; one factor gives it back.
    mass, mass_before = cell.dielectric.total(new), cell.dielectric.total(c)
    kept = torch.where(mass > 0, mass_before / torch.where(mass > 0, mass, 1.0), 1.0)
    if not all(cell.closed):
        free = torch.ones_like(kept[:, 0])
        columns = zip(kept.unbind(1), cell.closed, strict=True)
        kept = torch.stack([one if closed else free for one, closed in columns], 1)
    new = new * kept.reshape(*kept.shape, *(1 for _ in c.shape[2:]))
    new = new if cell.reactions is None else cell.reactions.step(new, dt)
    return new, change.detach()


def _step_along(cell: Electrolyte, axis: int, face: Faces, c: Tensor, h: Tensor) -> Tensor:
    """One implicit step of each species along the lines of one axis."""
    grid, ions = cell.dielectric.grid, cell.lines[axis]
    periodic = grid.boundaries[axis] == "periodic"
    volumes = along(cell.dielectric.volumes, grid, axis)
    out, into = (h * ions.transmissivity * weight for weight in (face.ahead, face.back))
    diagonal = volumes + out[..., 1:] + into[..., :-1]
    load = volumes * along(c, grid, axis) - h * ions.imposed.diff(dim=-1)
    if not periodic:
        ends = torch.stack([out[..., 0], into[..., -1]], -1) * ions.reservoir
        load = load + on_edges(ends, load.shape[-1])
    flat = [
        matrix.reshape(-1, matrix.shape[-1])
        for matrix in torch.broadcast_tensors(-out[..., :-1], diagonal, -into[..., 1:], load)
    ]
    return back(solve_tridiagonal(*flat, periodic=periodic).reshape(load.shape), grid, axis)


def _predicted_change(
    cell: Electrolyte, c: Tensor, h: Tensor, phi: Tensor, known: Tensor | None
) -> Tensor:
    """How the potential changes in a step in which the charge follows the field that it makes."""
    medium, faces = cell.dielectric, cell.faces(c, phi)
    conductances, currents = [], []
    for electric, slope, flux in zip(
        medium.lines, cell.flux_slopes(faces), cell.fluxes(faces), strict=True
    ):
        extra = -(h * cell.valence.square() * slope).sum(1)
        if not electric.periodic:  # a wall's potential follows its edge cell unless held
            extra = with_ends(extra[..., 1:-1], edge_columns(extra) * electric.pull)
        conductances.append(electric.conductance + extra)
        currents.append((h * cell.valence * flux).sum(1))
    return medium.solve(tuple(conductances), -medium.leaving(currents), known=known)
