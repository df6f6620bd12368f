r"""Newton's method for one implicit step of concentrations and potential together.

Unknowns :math:`(\phi, c_1, \dots, c_S)` of each cell make one block of the system, with the exact
Jacobian: its columns sum to zero over the cells of each species, so the mass that an iterate has
does not depend on how far the iteration, or the linear solve inside, has converged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pnpfusion.solvers.arrays import as_array
from pnpfusion.solvers.compiled.cell import compiled_cell, is_compiled
from pnpfusion.solvers.device.cell import is_known
from pnpfusion.solvers.device.newton import iterate_on_device
from pnpfusion.solvers.implicit_solve import ImplicitSolve, is_followed
from pnpfusion.solvers.ion_lines import Faces
from pnpfusion.solvers.lines import along, edge_columns
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.stencil import Stencil

Iterated = tuple[Tensor, Tensor, Tensor, Tensor]

MAX_ITERATIONS = 12
LINEAR_TOLERANCE = 1e-3  # of the linear solves on more than one axis, before the last


def solve_implicit(
    cell: Electrolyte,
    base: Tensor,
    step: Tensor,
    guess: Tensor,
    scale: Tensor,
    *,
    max_iterations: int = MAX_ITERATIONS,
) -> ImplicitSolve:
    r"""Solves :math:`c - h\,\partial_t c(c) = b` together with Poisson's equation.

    Samples that have converged are frozen while the others go on. The gradient is the implicit
    function theorem's, one solve with the transposed matrix; first derivatives only.

    Args:
        cell: the cell.
        base: b, shape ``(B, S, *grid.shape)``.
        step: h, shape ``(B,)``.
        guess: where to begin, like ``base``.
        scale: what the next correction must be below in the mean square, like ``base``.
        max_iterations: when to give up.

    Returns:
        The concentrations, which samples converged, and the iterations of each.
    """
    on_device = iterate_on_device if is_known(cell, base) else _iterate
    iterate = _iterate_compiled if is_compiled(cell, base) else on_device
    with torch.no_grad():
        c, phi, converged, iterations = iterate(cell, base, step, guess, scale, max_iterations)
    if torch.is_grad_enabled():
        c = _attach_gradient(cell, c, phi, base, step)
    return ImplicitSolve(c, converged, iterations)


def _iterate_compiled(
    cell: Electrolyte, base: Tensor, step: Tensor, guess: Tensor, scale: Tensor, most: int
) -> Iterated:
    """:func:`_iterate` without a Python step per iteration, one sample after the other."""
    from pnpfusion.solvers.kernels.axis.newton import newton_1d

    c = guess.clone(memory_format=torch.contiguous_format)
    phi, iterations = torch.empty_like(c[:, 0]), torch.zeros(len(base), dtype=torch.long)
    converged, failed = torch.zeros(2, len(base), dtype=torch.bool)
    newton_1d(
        compiled_cell(cell),
        as_array(base),
        as_array(step),
        as_array(c),
        as_array(phi),
        as_array(scale),
        most,
        as_array(converged),
        as_array(iterations),
        as_array(failed),
    )
    if failed.any():  # LAPACK may solve what elimination in blocks does not
        again = _iterate(cell, base, step, guess, scale, most)
        c, phi, converged, iterations = (
            torch.where(failed.reshape(-1, *(1 for _ in new.shape[1:])), new, old)
            for new, old in zip(again, (c, phi, converged, iterations), strict=True)
        )
    return c, phi, converged, iterations


def _iterate(
    cell: Electrolyte, base: Tensor, step: Tensor, guess: Tensor, scale: Tensor, most: int
) -> Iterated:
    """Newton's method: the last iterate, its potential, what converged, and the iterations."""
    c, phi = guess, cell.potential(guess)
    iterations = torch.zeros(len(base), dtype=torch.long, device=base.device)
    converged = torch.zeros_like(iterations, dtype=torch.bool)
    going, before = ~converged, torch.zeros_like(step)
    for _ in range(most):
        faces = cell.faces(c, phi)
        correction = jacobian(cell, faces, c, step).solve(
            residual(cell, faces, c, phi, base, step), LINEAR_TOLERANCE
        )
        delta = correction[..., 1:].movedim(-1, 1)
        size = (delta / scale).square().flatten(1).mean(1).sqrt()
        # What the next correction will be, if each shrinks as the last one did.
        left = size * torch.where(before > size, size / before, 1.0)
        before = size
        share = _share_that_fits(cell, c, delta)
        moving = (going & size.isfinite()).reshape(-1, *(1 for _ in c.shape[1:]))
        c = torch.where(moving, c - share.unsqueeze(1) * delta, c)
        phi = torch.where(moving[:, 0], phi - share * correction[..., 0], phi)
        iterations += going
        converged |= going & (left <= 1) & (share.flatten(1).amin(1) == 1)
        going &= size.isfinite() & ~converged
        if not going.any():
            break
    return c, phi, converged, iterations


def _share_that_fits(cell: Electrolyte, c: Tensor, delta: Tensor) -> Tensor:
    """How much of a correction leaves the crowded cells of a sample some room; (B, *1)."""
    ones = c.new_ones((len(c), *(1 for _ in c.shape[2:])))
    room = cell.room(c)
    if room is None:
        return ones
    taken = (-delta).sum(1)
    ratio = torch.where(taken > 0, 0.9 * room / taken, torch.inf)
    return ratio.flatten(1).amin(1).clamp_max(1).reshape(ones.shape)


def _attach_gradient(
    cell: Electrolyte, c: Tensor, phi: Tensor, base: Tensor, step: Tensor
) -> Tensor:
    """One more Newton step with the matrix held fixed: its derivative is the implicit one."""
    faces = cell.faces(c, phi)
    wrong = residual(cell, faces, c, phi, base, step)
    if not is_followed(wrong):
        return c
    with torch.no_grad():
        matrix = jacobian(cell, faces, c, step)
    return c - matrix.solve(wrong)[..., 1:].movedim(-1, 1)


def residual(
    cell: Electrolyte,
    faces: tuple[Faces, ...],
    c: Tensor,
    phi: Tensor,
    base: Tensor,
    step: Tensor,
) -> Tensor:
    """What is wrong with (phi, c): Gauss' law and each balance, (B, *grid.shape, 1+S)."""
    medium = cell.dielectric
    h = step.reshape(-1, *(1 for _ in c.shape[1:]))
    gauss = medium.leaving(medium.displacement(phi)) - medium.volumes * cell.charge(c)
    gain = medium.leaving(cell.fluxes(faces))
    if cell.reactions is not None:
        gain = gain - medium.volumes * cell.reactions.sources(c)
    balance = medium.volumes * (c - base) + h * gain
    return torch.cat([gauss.unsqueeze(1), balance], 1).movedim(1, -1)


def jacobian(
    cell: Electrolyte,
    faces: tuple[Faces, ...],
    c: Tensor,
    step: Tensor,
    *,
    steady: bool = False,
) -> Stencil:
    """Derivatives of :func:`residual` by the cell itself and its neighbours along each axis.

    ``steady`` leaves out the inertia, the term with ``base``.
    """
    medium, grid = cell.dielectric, cell.dielectric.grid
    species, m = c.shape[1], 1 + c.shape[1]
    h = step.reshape(-1, *(1 for _ in c.shape[1:]))
    shape = (len(c), *grid.shape, m, m)
    diagonal = c.new_zeros(shape)
    diagonal[..., 0, 1:] = -(medium.volumes * cell.valence).movedim(1, -1)
    own = diagonal[..., 1:, 1:].diagonal(dim1=-2, dim2=-1)
    if not steady:
        own += medium.volumes.unsqueeze(-1)
    if cell.reactions is not None:
        weight = (h[:, 0] * medium.volumes)[..., None, None]
        diagonal[..., 1:, 1:] -= weight * cell.reactions.slopes(c)
    if medium.floating:
        diagonal.flatten(1, grid.ndim)[:, 0, 0, 0] += medium.grounding
    nu, crowd = cell.crowding, None
    if nu is not None:
        crowd = nu / (1 - nu * c.sum(1))
    lowers, uppers = [], []
    slopes = cell.flux_slopes(faces)
    for axis, (electric, ions, face, slope) in enumerate(
        zip(medium.lines, cell.lines, faces, slopes, strict=True)
    ):
        lower, upper = (c.new_zeros(shape) for _ in range(2))
        lows, here, ups = (matrix.movedim(axis + 1, -3) for matrix in (lower, diagonal, upper))
        g = electric.conductance
        lows[..., 0, 0] -= g[..., :-1]
        ups[..., 0, 0] -= g[..., 1:]
        here[..., 0, 0] += g[..., :-1] + g[..., 1:]
        out = (h * ions.transmissivity * face.ahead).movedim(1, -1)  # of what is before each face
        into = (h * ions.transmissivity * face.back).movedim(1, -1)  # of what is after it
        lows[..., 1:, 1:].diagonal(dim1=-2, dim2=-1).sub_(out[..., :-1, :])
        ups[..., 1:, 1:].diagonal(dim1=-2, dim2=-1).sub_(into[..., 1:, :])
        here[..., 1:, 1:].diagonal(dim1=-2, dim2=-1).add_(out[..., 1:, :] + into[..., :-1, :])
        slope = h * slope
        turn = cell.valence * slope  # by the potential after each face
        if not electric.periodic:  # a wall's potential follows its edge cell unless held
            turn[..., [0, -1]] *= electric.pull.unsqueeze(1)
        turn = turn.movedim(1, -1)
        lows[..., 1:, 0] += turn[..., :-1, :]
        ups[..., 1:, 0] += turn[..., 1:, :]
        here[..., 1:, 0] -= turn[..., :-1, :] + turn[..., 1:, :]
        if nu is not None and crowd is not None:
            line = crowd.movedim(axis + 1, -1)[..., None, None]
            push = slope.movedim(1, -1).unsqueeze(-1)  # (B, *others, N+1, S, 1)
            free = torch.ones_like(push).expand(*push.shape[:-1], species)
            if not electric.periodic:  # the species that are not held follow their edge cell
                held = ions.held.movedim(1, -1).unsqueeze(-2)  # (1, *others, 2, 1, S)
                at_wall = torch.stack([face.before[..., 0], face.after[..., -1]], -1).sum(1)
                edge = 1 - nu * edge_columns(along(c.sum(1), grid, axis))
                ratio = (edge / (1 - nu * at_wall))[..., None, None]
                free = free.clone()
                free[..., [0, -1], :, :] = 1 - (1 - held) * ratio
            push = push * free
            if electric.periodic:
                lows[..., 1:, 1:] += push[..., :-1, :, :] * line.roll(1, -3)
                ups[..., 1:, 1:] += push[..., 1:, :, :] * line.roll(-1, -3)
            else:
                lows[..., 1:, 1:, 1:] += push[..., 1:-1, :, :] * line[..., :-1, :, :]
                ups[..., :-1, 1:, 1:] += push[..., 1:-1, :, :] * line[..., 1:, :, :]
            here[..., 1:, 1:] -= (push[..., :-1, :, :] + push[..., 1:, :, :]) * line
        if not electric.periodic:
            lows[..., 0, :, :] = 0
            ups[..., -1, :, :] = 0
        lowers.append(lower)
        uppers.append(upper)
    return Stencil(grid, diagonal, tuple(lowers), tuple(uppers))
