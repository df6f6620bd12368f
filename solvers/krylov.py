"""Krylov subspace methods on a batch of systems, each sample by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pnpfusion.solvers.backend import backend

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
    size = whole
    active, left_over = size > goal, max_iterations
    cycle = _compiled_cycle if backend(rhs) == "numba" and rhs.numel() else _cycle
    while bool(active.any()) and left_over > 0:
        safe = torch.where(size > 0, size, 1.0)
        first = residual / safe[:, None]
        most = min(restart, max(left_over - 1, 1))
        step, products, told = cycle(operator, precondition, first, rhs, size, active, goal, most)
        iterations += products
        x = x + torch.where(active[:, None], step, 0).reshape(rhs.shape)
        if not verify and not bool((active & (told > goal)).any()):
            size = torch.where(active, told, size)
            break
        residual = flat - operator(x).reshape(batch, -1)
        iterations += active
        left_over = max_iterations - int(iterations.max())
        before, size = size, residual.norm(dim=1)
        active = active & (size > goal) & (size < 0.95 * before)  # what stalls is round-off
    return x, iterations, size / torch.where(whole > 0, whole, 1.0)


def _cycle(
    operator: Operator,
    precondition: Operator,
    first: Tensor,
    like: Tensor,
    size: Tensor,
    active: Tensor,
    goal: Tensor,
    most: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """One cycle from the residual ``size * first``, (B, n), of the systems that are ``active``.

    Returns the step in x, (B, n), products of each system with A, and the norm of what is left.
    """
    batch, left = len(first), size
    going = active
    products = torch.zeros(batch, dtype=torch.long, device=first.device)
    basis, directions = [first], []
    hessenberg = first.new_zeros(batch, most + 1, most)
    load = first.new_zeros(batch, most + 1)
    load[:, 0] = size
    weights = first.new_zeros(batch, most)  # a sample that is done keeps what it has
    for k in range(most):
        direction = precondition(basis[k].reshape(like.shape))
        directions.append(direction.reshape(batch, -1))
        image = operator(direction).reshape(batch, -1)
        stacked = torch.stack(basis, 1)
        for _ in range(2):  # twice is enough
            overlap = torch.einsum("bkn,bn->bk", stacked, image)
            image = image - torch.einsum("bkn,bk->bn", stacked, overlap)
            hessenberg[:, : k + 1, k] += overlap
        length = image.norm(dim=1)
        hessenberg[:, k + 1, k] = length
        basis.append(image / torch.where(length > 0, length, 1.0)[:, None])
        products += going
        closest, by_now = _least_squares(hessenberg[:, : k + 2, : k + 1], load[:, : k + 2])
        weights[:, : k + 1] = torch.where(going[:, None], closest, weights[:, : k + 1])
        left = torch.where(going, by_now, left)
        going = going & (by_now > goal)
        if not going.any():
            break
    step = torch.einsum("bkn,bk->bn", torch.stack(directions, 1), weights[:, : len(directions)])
    return step, products, left


def _least_squares(matrix: Tensor, load: Tensor) -> tuple[Tensor, Tensor]:
    """The weights that make ``matrix @ weights`` closest to ``load``, and what is left."""
    q, r = torch.linalg.qr(matrix)
    r = r + torch.diag_embed((r.diagonal(dim1=-2, dim2=-1) == 0).to(r))
    weights = torch.linalg.solve_triangular(r, q.mT @ load.unsqueeze(-1), upper=True)
    left = load - (matrix @ weights).squeeze(-1)
    return weights.squeeze(-1), left.norm(dim=1)


def _compiled_cycle(
    operator: Operator,
    precondition: Operator,
    first: Tensor,
    like: Tensor,
    size: Tensor,
    active: Tensor,
    goal: Tensor,
    most: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`_cycle` with all that is neither A nor P in one kernel an iteration."""
    from pnpfusion.solvers.kernels.fixed_point.arnoldi import Basis, arnoldi_step, least_squares

    batch, n = first.shape
    vectors = first.new_empty(most + 1, batch, n)
    vectors[0] = first
    load = np.zeros((batch, most + 1))
    load[:, 0] = size.numpy()
    basis = Basis(
        vectors.numpy(),
        np.zeros((batch, most, most)),
        np.zeros((batch, most, 2)),
        load,
        np.zeros(batch, np.int64),
    )
    going, left = active.numpy().copy(), size.numpy().astype(np.float64)
    enough = goal.numpy().astype(np.float64)
    directions: list[Tensor] = []
    for k in range(most):
        directions.append(precondition(vectors[k].reshape(like.shape)))
        image = operator(directions[k]).detach().reshape(batch, n).to(first.dtype)
        own = image.clone(memory_format=torch.contiguous_format).numpy()
        if not arnoldi_step(basis, k, own, going, enough, left):
            break
    weights = torch.empty(batch, len(directions), dtype=torch.float64)
    least_squares(basis, weights.numpy())
    step = torch.zeros_like(first)
    for weight, direction in zip(weights.to(first.dtype).unbind(1), directions, strict=True):
        step = torch.addcmul(step, weight[:, None], direction.reshape(batch, n))
    return step, torch.from_numpy(basis.columns), torch.from_numpy(left).to(first.dtype)
