r"""Newton's method for one implicit step at Chebyshev points, with the dense Jacobian."""

from __future__ import annotations

import torch
from torch import Tensor

from pnpfusion.solvers.chebyshev_electrolyte import ChebyshevElectrolyte
from pnpfusion.solvers.implicit_solve import ImplicitSolve, is_followed, once_differentiable_only


def solve_implicit(
    cell: ChebyshevElectrolyte,
    base: Tensor,
    step: Tensor,
    guess: Tensor,
    scale: Tensor,
    *,
    max_iterations: int = 12,
) -> ImplicitSolve:
    r"""Solves :math:`c - h\,\partial_t c(c) = b`; cost O((S n)³) per sample and iteration.

    Samples that have converged are frozen while the others go on. The gradient is the implicit
    function theorem's, one solve with the transposed matrix; first derivatives only.

    Args:
        cell: the cell.
        base: b, shape ``(B, S, n)``.
        step: h, shape ``(B,)``.
        guess: where to begin, shape ``(B, S, n)``.
        scale: what the next correction must be below in the mean square, shape ``(B, S, n)``.
        max_iterations: when to give up.

    Returns:
        The concentrations, which samples converged, and the iterations of each.
    """
    h = step[:, None, None]
    with torch.no_grad():
        c = guess
        iterations = torch.zeros(len(base), dtype=torch.long, device=base.device)
        converged = torch.zeros_like(iterations, dtype=torch.bool)
        going, before = ~converged, torch.zeros_like(step)
        for _ in range(max_iterations):
            delta = _solve(_matrix(cell, c, step), c - h * cell.rate(c) - base)
            size = (delta / scale).square().mean((1, 2)).sqrt()
            # What the next correction will be, if each shrinks as the last one did.
            left = size * torch.where(before > size, size / before, 1.0)
            before = size
            c = torch.where((going & size.isfinite())[:, None, None], c - delta, c)
            iterations += going
            converged |= going & (left <= 1)
            going &= size.isfinite() & ~converged
            if not going.any():
                break
    if torch.is_grad_enabled():
        residual = c - h * cell.rate(c) - base
        if is_followed(residual):
            with torch.no_grad():
                matrix = _matrix(cell, c, step)
            c = once_differentiable_only(c - _solve(matrix, residual))
    return ImplicitSolve(c, converged, iterations)


def _matrix(cell: ChebyshevElectrolyte, c: Tensor, step: Tensor) -> Tensor:
    """The derivative of the residual, ``(B, S n, S n)``."""
    size = c[0].numel()
    jacobian = cell.jacobian(c).reshape(-1, size, size)
    return torch.eye(size).to(c) - step[:, None, None] * jacobian


def _solve(matrix: Tensor, residual: Tensor) -> Tensor:
    """Sample by sample on the CPU, where LAPACK in batches fails with several threads.

    A singular matrix gives infinities, which the iteration reports.
    """
    right = residual.flatten(1).unsqueeze(-1)
    if matrix.device.type == "cpu":
        pairs = zip(matrix, right, strict=True)
        solved = torch.stack([torch.linalg.solve_ex(m, r)[0] for m, r in pairs])
    else:
        solved = torch.linalg.solve_ex(matrix, right)[0]
    return solved.reshape(residual.shape)
