"""Krylov subspace methods on a batch of systems, each sample by itself."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Operator = Callable[[Tensor], Tensor]


def gmres(
    operator: Operator,
    rhs: Tensor,
    precondition: Operator,
    tolerance: float,
    *,
    restart: int = 40,
    max_iterations: int = 400,
    verify: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Right-preconditioned restarted GMRES [SS86]: :math:`A P y = b`, :math:`x = P y`.

    Args:
        operator: A, from ``(B, *state)`` to the same shape, each sample by itself.
        rhs: b, ``(B, *state)``.
        precondition: P, an approximate inverse of A.
        tolerance: of the residual against b, in the norm of a sample.
        restart: basis vectors that are kept.
        max_iterations: products with A of each sample, when to give up.
        verify: whether the last residual is computed, one product more, or taken as the iteration
            gives it, which is right to round-off.

    Returns:
        x, ``(B, *state)``, as far as it came; the products of each sample with A, ``(B,)``; and its
        residual against b, ``(B,)``.
    """
    batch = len(rhs)
    flat = rhs.reshape(batch, -1)
    whole = flat.norm(dim=1)
    goal = max(tolerance, 20 * torch.finfo(rhs.dtype).eps) * whole
    x = torch.zeros_like(rhs)
    iterations = torch.zeros(batch, dtype=torch.long, device=rhs.device)
    residual = flat
    size = told = whole
    active, left_over = size > goal, max_iterations
    while bool(active.any()) and left_over > 0:
        going = active
        safe = torch.where(size > 0, size, 1.0)
        basis = flat.new_empty(batch, restart + 1, flat.shape[1])
        basis[:, 0] = residual / safe[:, None]
        hessenberg = flat.new_zeros(batch, restart + 1, restart)
        load = flat.new_zeros(batch, restart + 1)
        load[:, 0] = size
        weights = flat.new_zeros(batch, restart)  # a sample that is done keeps what it has
        for k in range(min(restart, max(left_over - 1, 1))):
            direction = precondition(basis[:, k].reshape(rhs.shape))
            image = operator(direction).reshape(batch, -1)
            known = basis[:, : k + 1]
            for _ in range(2):  # twice is enough
                overlap = known @ image.unsqueeze(-1)
                image = image - (overlap.mT @ known).squeeze(1)
                hessenberg[:, : k + 1, k] += overlap.squeeze(-1)
            length = image.norm(dim=1)
            hessenberg[:, k + 1, k] = length
            basis[:, k + 1] = image / torch.where(length > 0, length, 1.0)[:, None]
            iterations += going
            closest, left = _least_squares(hessenberg[:, : k + 2, : k + 1], load[:, : k + 2])
            weights[:, : k + 1] = torch.where(going[:, None], closest, weights[:, : k + 1])
            told = torch.where(going, left, told)
            going = going & (left > goal)
            if not going.any():
                break
        combined = (weights[:, None, : k + 1] @ basis[:, : k + 1]).reshape(rhs.shape)
        step = precondition(combined)
        x = x + torch.where(active.reshape(-1, *(1 for _ in rhs.shape[1:])), step, 0)
        if not verify and not bool((active & (told > goal)).any()):
            size = torch.where(active, told, size)
            break
        residual = flat - operator(x).reshape(batch, -1)
        iterations += active
        left_over = max_iterations - int(iterations.max())
        before, size = size, residual.norm(dim=1)
        active = active & (size > goal) & (size < 0.95 * before)  # what stalls is round-off
    return x, iterations, size / torch.where(whole > 0, whole, 1.0)


def _least_squares(matrix: Tensor, load: Tensor) -> tuple[Tensor, Tensor]:
    """The weights that make ``matrix @ weights`` closest to ``load``, and what is left."""
    q, r = torch.linalg.qr(matrix)
    r = r + torch.diag_embed((r.diagonal(dim1=-2, dim2=-1) == 0).to(r))
    weights = torch.linalg.solve_triangular(r, q.mT @ load.unsqueeze(-1), upper=True)
    left = load - (matrix @ weights).squeeze(-1)
    return weights.squeeze(-1), left.norm(dim=1)
