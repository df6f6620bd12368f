r"""Newton's method for one implicit step of concentrations and potential together.

Unknowns :math:`(\phi, c_1, \dots, c_S)` per cell make one block-tridiagonal system per iteration,
with the exact Jacobian: its columns sum to zero over the cells of each species, so the mass that an
iterate has does not depend on how far the iteration has converged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pnpfusion.solvers.banded import solve_block_tridiagonal
from pnpfusion.solvers.dense_newton import once_differentiable_only
from pnpfusion.solvers.implicit_solve import ImplicitSolve
from pnpfusion.solvers.nernst_planck import Electrolyte, Faces

Blocks = tuple[Tensor, Tensor, Tensor]


def solve_implicit(
    cell: Electrolyte,
    base: Tensor,
    step: Tensor,
    guess: Tensor,
    scale: Tensor,
    *,
    max_iterations: int = 12,
) -> ImplicitSolve:
    r"""Solves :math:`c - h\,\partial_t c(c) = b` together with Poisson's equation.

    Samples that have converged are frozen while the others go on. The gradient is the implicit
    function theorem's, one solve with the transposed matrix; first derivatives only.

    Args:
        cell: the cell.
        base: b, shape ``(B, S, N)``.
        step: h, shape ``(B,)``.
        guess: where to begin, shape ``(B, S, N)``.
        scale: what the next correction must be below in the mean square, shape ``(B, S, N)``.
        max_iterations: when to give up.

    Returns:
        The concentrations, which samples converged, and the iterations of each.
    """
    with torch.no_grad():
        c, phi = guess, cell.potential(guess)
        iterations = torch.zeros(len(base), dtype=torch.long, device=base.device)
        converged = torch.zeros_like(iterations, dtype=torch.bool)
        going, before = ~converged, torch.zeros_like(step)
        for _ in range(max_iterations):
            faces = cell.faces(c, phi)
            correction = solve_block_tridiagonal(
                *_jacobian(cell, faces, step),
                _residual(cell, faces, c, phi, base, step),
                periodic=cell.dielectric.periodic,
            )
            delta = correction[..., 1:].mT
            size = (delta / scale).square().mean((1, 2)).sqrt()
            # What the next correction will be, if each shrinks as the last one did.
            left = size * torch.where(before > size, size / before, 1.0)
            before = size
            moving = (going & size.isfinite())[:, None, None]
            c = torch.where(moving, c - delta, c)
            phi = torch.where(moving[:, 0], phi - correction[..., 0], phi)
            iterations += going
            converged |= going & (left <= 1)
            going &= size.isfinite() & ~converged
            if not going.any():
                break
    if torch.is_grad_enabled():
        c = _attach_gradient(cell, c, phi, base, step)
    return ImplicitSolve(c, converged, iterations)


def _attach_gradient(
    cell: Electrolyte, c: Tensor, phi: Tensor, base: Tensor, step: Tensor
) -> Tensor:
    """One more Newton step with the matrix held fixed: its derivative is the implicit one."""
    faces = cell.faces(c, phi)
    residual = _residual(cell, faces, c, phi, base, step)
    if not residual.requires_grad:
        return c
    with torch.no_grad():
        matrix = _jacobian(cell, faces, step)
    correction = solve_block_tridiagonal(*matrix, residual, periodic=cell.dielectric.periodic)
    return once_differentiable_only(c - correction[..., 1:].mT)


def _residual(
    cell: Electrolyte, faces: Faces, c: Tensor, phi: Tensor, base: Tensor, step: Tensor
) -> Tensor:
    """What is wrong with (phi, c): Gauss' law and the balance of each species, (B, N, 1+S)."""
    widths = cell.dielectric.widths
    gauss = cell.dielectric.displacement(phi).diff(dim=-1) - widths * cell.charge(c)
    leaving = cell.fluxes(faces).diff(dim=-1)
    balance = widths * (c - base) + step[:, None, None] * leaving
    return torch.cat([gauss.unsqueeze(1), balance], 1).mT


def _jacobian(cell: Electrolyte, faces: Faces, step: Tensor) -> Blocks:
    """Derivatives of :func:`_residual` by the cell before, the same cell and the cell after."""
    medium, h = cell.dielectric, step[:, None, None]
    out = h * cell.transmissivity * faces.ahead  # of what stands before each face
    into = h * cell.transmissivity * faces.back  # of what stands after it
    by_potential = h * cell.valence * cell.flux_slopes(faces)  # of the potential after it
    if not medium.periodic:  # a wall's potential follows its edge cell unless an electrode holds it
        by_potential[..., [0, -1]] *= medium.pull.unsqueeze(1)

    batch, species, n = by_potential.shape[0], by_potential.shape[1], len(medium.widths)
    shape = (batch, n, 1 + species, 1 + species)
    lower, diagonal, upper = (out.new_zeros(shape) for _ in range(3))
    conductance = medium.conductance
    lower[..., 0, 0] = -conductance[:, :-1]
    upper[..., 0, 0] = -conductance[:, 1:]
    diagonal[..., 0, 0] = conductance[:, :-1] + conductance[:, 1:]
    if medium.floating:
        diagonal[:, 0, 0, 0] += medium.grounding
    diagonal[..., 0, 1:] = -(medium.widths * cell.valence).mT
    lower[..., 1:, 0] = by_potential[..., :-1].mT
    upper[..., 1:, 0] = by_potential[..., 1:].mT
    diagonal[..., 1:, 0] = -(by_potential[..., :-1] + by_potential[..., 1:]).mT
    lower[..., 1:, 1:].diagonal(dim1=-2, dim2=-1).copy_(-out[..., :-1].mT)
    upper[..., 1:, 1:].diagonal(dim1=-2, dim2=-1).copy_(-into[..., 1:].mT)
    own = medium.widths + out[..., 1:] + into[..., :-1]
    diagonal[..., 1:, 1:].diagonal(dim1=-2, dim2=-1).copy_(own.mT)
    return lower, diagonal, upper
