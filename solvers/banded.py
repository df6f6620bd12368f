r"""Direct solves of batched tridiagonal and block-tridiagonal systems, on a line or a ring.

On the CPU a compiled elimination takes one sample after the other, where Numba is installed; else
the batch is chained into one banded system for LAPACK, with no coupling between samples. On other
devices kernels (`device/banded.py`) or odd-even reduction in torch never leave the device. Only
LAPACK pivots between blocks; it also takes over where the compiled elimination meets a singular
block. A ring is folded into a line of pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pnpfusion.solvers.arrays import as_array
from pnpfusion.solvers.backend import backend
from pnpfusion.solvers.device.banded import solve_on_device

System = tuple[Tensor, Tensor, Tensor, Tensor]
Solver = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def solve_tridiagonal(
    lower: Tensor, diagonal: Tensor, upper: Tensor, rhs: Tensor, *, periodic: bool = False
) -> Tensor:
    r"""The solution of :math:`l_i x_{i-1} + d_i x_i + u_i x_{i+1} = b_i`, in O(N).

    :func:`solve_block_tridiagonal` with blocks of one number; what is said there holds here.

    Args:
        lower: :math:`l_i`, shape ``(B or 1, N)``; entry 0 counts only if ``periodic``.
        diagonal: :math:`d_i`, shape ``(B or 1, N)``.
        upper: :math:`u_i`, shape ``(B or 1, N)``; the last entry counts only if ``periodic``.
        rhs: :math:`b_i`, shape ``(B, N)``.
        periodic: whether cell 0 and cell N - 1 are neighbours.

    Returns:
        x, shape ``(B, N)``.
    """
    lower, diagonal, upper = (entry[..., None, None] for entry in (lower, diagonal, upper))
    x = solve_block_tridiagonal(lower, diagonal, upper, rhs[..., None], periodic=periodic)
    return x[..., 0]


def solve_block_tridiagonal(
    lower: Tensor, diagonal: Tensor, upper: Tensor, rhs: Tensor, *, periodic: bool = False
) -> Tensor:
    r"""The solution of :math:`L_i x_{i-1} + D_i x_i + U_i x_{i+1} = b_i` with m by m blocks.

    Cost :math:`O(N m^3)`; the transposed solve is its backward, so it is differentiable to any
    order in all four arguments.

    Args:
        lower: :math:`L_i`, shape ``(B or 1, N, m, m)``; the first one counts only if ``periodic``.
        diagonal: :math:`D_i`, shape ``(B or 1, N, m, m)``.
        upper: :math:`U_i`, shape ``(B or 1, N, m, m)``; the last one counts only if ``periodic``.
        rhs: :math:`b_i`, shape ``(B, N, m)``.
        periodic: whether cell 0 and cell N - 1 are neighbours.

    Returns:
        x, shape ``(B, N, m)``; NaN for a sample whose matrix is singular or not finite, which
        leaves the other samples as they are.
    """
    n = rhs.shape[-2]
    batch = max(matrix.shape[0] for matrix in (lower, diagonal, upper))
    lower, diagonal, upper = (m.expand(batch, *m.shape[1:]) for m in (lower, diagonal, upper))
    if not periodic or n == 1:
        if periodic:
            diagonal = diagonal + lower + upper
        return _solve_line(lower, diagonal, upper, rhs)
    folded = _fold_ring(lower, diagonal, upper, rhs)
    pairs = _solve_line(*folded).unflatten(-1, (2, -1))
    return torch.cat([pairs[:, :, 0], pairs[:, : n // 2, 1].flip(1)], 1)


def _solve_line(lower: Tensor, diagonal: Tensor, upper: Tensor, rhs: Tensor) -> Tensor:
    """:func:`solve_block_tridiagonal` without a ring, all matrices of one batch size."""
    x: Tensor = _BlockTridiagonal.apply(lower, diagonal, upper, rhs)  # type: ignore[no-untyped-call]
    return x


class _BlockTridiagonal(torch.autograd.Function):
    @staticmethod
    def forward(lower: Tensor, diagonal: Tensor, upper: Tensor, rhs: Tensor) -> Tensor:
        return _solver(rhs)(lower, diagonal, upper, rhs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:3], output)
        ctx.save_for_forward(*inputs[:3], output)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        *matrix, x = ctx.saved_tensors
        change = torch.zeros_like(x) if tangents[3] is None else tangents[3]
        for block, beside in zip(tangents, (_shifted(x, 1), x, _shifted(x, -1)), strict=False):
            if block is not None:
                change = change - (block @ beside.unsqueeze(-1)).squeeze(-1)
        lower, diagonal, upper = matrix
        return _solve_line(lower, diagonal, upper, change)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        lower, diagonal, upper, x = ctx.saved_tensors
        adjoint = _solve_line(*_transposed(lower, diagonal, upper), grad)

        def outer(rows: Tensor, columns: Tensor) -> Tensor:
            product = -rows.unsqueeze(-1) * columns.unsqueeze(-2)
            return product.sum(0, keepdim=True) if diagonal.shape[0] == 1 else product

        wanted = ctx.needs_input_grad
        return (
            outer(adjoint, _shifted(x, 1)) if wanted[0] else None,
            outer(adjoint, x) if wanted[1] else None,
            outer(adjoint, _shifted(x, -1)) if wanted[2] else None,
            adjoint if wanted[3] else None,
        )


def _shifted(values: Tensor, by: int) -> Tensor:
    """``values`` moved along the cells by +1 or -1, zero where nothing moves in."""
    edge = torch.zeros_like(values[:, :1])
    return torch.cat([edge, values[:, :-1]] if by == 1 else [values[:, 1:], edge], 1)


def _transposed(lower: Tensor, diagonal: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _shifted(upper, 1).mT, diagonal.mT, _shifted(lower, -1).mT


def _fold_ring(lower: Tensor, diagonal: Tensor, upper: Tensor, rhs: Tensor) -> System:
    """The ring as a line of pairs (cell k, cell N - 1 - k), blocks of twice the size.

    An odd ring's last pair is its middle cell and a stand-in that solves 1 x = 0.
    """
    batch, n, m, _ = diagonal.shape
    half, pairs = n // 2, (n + 1) // 2
    down, centre, up = (rhs.new_zeros(batch, pairs, 2, m, 2, m) for _ in range(3))
    load = rhs.new_zeros(rhs.shape[0], pairs, 2, m)
    load[:, :, 0], load[:, :half, 1] = rhs[:, :pairs], rhs[:, pairs:].flip(1)
    centre[:, :, 0, :, 0] = diagonal[:, :pairs]
    centre[:, :half, 1, :, 1] = diagonal[:, pairs:].flip(1)
    up[:, :-1, 0, :, 0], down[:, 1:, 0, :, 0] = upper[:, : pairs - 1], lower[:, 1:pairs]
    turn = half - (1 - n % 2)  # pairs before the one in which the two halves of the ring meet
    up[:, : half - 1, 1, :, 1] = lower[:, n - half + 1 :].flip(1)
    down[:, 1:half, 1, :, 1] = upper[:, n - half : -1].flip(1)
    centre[:, 0, 0, :, 1] += lower[:, 0]
    centre[:, 0, 1, :, 0] += upper[:, -1]
    if n % 2:
        centre[:, -1, 1, :, 1] = torch.eye(m, dtype=rhs.dtype, device=rhs.device)
        up[:, turn - 1, 1, :, 0] = lower[:, half + 1]
        down[:, turn, 0, :, 1] = upper[:, half]
    else:
        centre[:, turn, 0, :, 1] += upper[:, half - 1]
        centre[:, turn, 1, :, 0] += lower[:, half]
    size = (2 * m, 2 * m)
    down, centre, up = (matrix.reshape(batch, pairs, *size) for matrix in (down, centre, up))
    return down, centre, up, load.flatten(2)


def _solver(rhs: Tensor) -> Solver:
    """The way to solve on this device with what is installed."""
    choice = backend(rhs)
    if choice == "triton":
        return _solve_by_kernel
    if rhs.device.type != "cpu":
        return _solve_by_reduction
    return _solve_compiled if choice == "numba" else _solve_lapack


def _solve_by_kernel(lower: Tensor, diagonal: Tensor, upper: Tensor, rhs: Tensor) -> Tensor:
    """By Triton, and in torch for blocks that are too large for it."""
    x = solve_on_device(lower, diagonal, upper, rhs)
    return _solve_by_reduction(lower, diagonal, upper, rhs) if x is None else x


def _solve_compiled(lower: Tensor, diagonal: Tensor, upper: Tensor, rhs: Tensor) -> Tensor:
    """Block elimination by Numba, and by LAPACK for samples in which it meets a singular block."""
    from pnpfusion.solvers.kernels.block_thomas import block_thomas

    x = torch.empty_like(rhs, memory_format=torch.contiguous_format)
    block_thomas(*map(as_array, (lower, diagonal, upper, rhs, x)))
    failed = ~x.isfinite().flatten(1).all(1)
    if failed.any():
        of = failed if len(diagonal) > 1 else slice(None)
        x[failed] = _solve_lapack(lower[of], diagonal[of], upper[of], rhs[failed])
    return x


def _solve_lapack(lower: Tensor, diagonal: Tensor, upper: Tensor, rhs: Tensor) -> Tensor:
    """Banded LU with partial pivoting, all samples chained; one factorisation if they share it."""
    from scipy.linalg import lapack  # heavy to import, needed only here

    blocks = [matrix.detach().numpy() for matrix in (lower, diagonal, upper)]
    batch, n, m, _ = blocks[1].shape
    reach = 2 * m - 1  # nonzero diagonals on either side
    band = np.zeros((batch, n, m, 3 * reach + 1), blocks[1].dtype)
    for offset, block in zip((-1, 0, 1), blocks, strict=True):
        into, of = (
            slice(max(offset, 0), n + min(offset, 0)),
            slice(max(-offset, 0), n - max(offset, 0)),
        )
        for column in range(m):
            start = 2 * reach - column - offset * m
            band[:, into, column, start : start + m] = block[:, of, :, column]
    spoiled = np.logical_not(np.isfinite(band).all((1, 2, 3)))
    loads = rhs.detach().numpy().reshape(rhs.shape[0], n * m)
    unloaded = np.logical_not(np.isfinite(loads).all(1))
    loads = np.where(unloaded[:, None], 0, loads)
    loads = loads.T if batch == 1 else loads.reshape(-1, 1)
    routines: Any = lapack.get_lapack_funcs(("gbtrf", "gbtrs"), (band,))
    factor, solve = routines
    while True:
        band[spoiled] = 0
        band[spoiled, :, :, 2 * reach] = 1
        columns = band.reshape(batch * n * m, -1).T
        lu, pivots, info = factor(columns, kl=reach, ku=reach)
        if info <= 0:
            break
        spoiled[(info - 1) // (n * m)] = True
    x, _ = solve(lu, reach, reach, loads, pivots)
    x = (x.T if batch == 1 else x).reshape(rhs.shape)
    x[np.broadcast_to(spoiled, (rhs.shape[0],)) | unloaded] = np.nan
    return torch.from_numpy(np.ascontiguousarray(x))


def _solve_by_reduction(lower: Tensor, diagonal: Tensor, upper: Tensor, rhs: Tensor) -> Tensor:
    """Odd-even reduction: every second cell is eliminated, log2(N) times, then put back."""
    n = rhs.shape[1]
    if n == 1:
        single: Tensor = torch.linalg.solve_ex(diagonal, rhs.unsqueeze(-1))[0]
        return single.squeeze(-1)
    if rhs.shape[0] != diagonal.shape[0]:
        lower, diagonal, upper = (
            matrix.expand(rhs.shape[0], *matrix.shape[1:]) for matrix in (lower, diagonal, upper)
        )
    m, odd = rhs.shape[-1], slice(1, None, 2)
    joint = torch.cat([lower[:, odd], upper[:, odd], rhs[:, odd, :, None]], -1)
    solved = torch.linalg.solve_ex(diagonal[:, odd], joint)[0]
    if n % 2:  # the last even cell has no neighbour after it
        solved = torch.cat([solved, torch.zeros_like(solved[:, :1])], 1)
    after = solved  # of even cell 2 k: odd cell 2 k + 1
    before = _shifted(solved, 1)  # and odd cell 2 k - 1
    low, up = lower[:, ::2], upper[:, ::2]
    down = low @ before
    ahead = up @ after
    coarse = _solve_by_reduction(
        -down[..., :m],
        diagonal[:, ::2] - down[..., m : 2 * m] - ahead[..., :m],
        -ahead[..., m : 2 * m],
        rhs[:, ::2] - down[..., -1] - ahead[..., -1],
    )
    following = _shifted(coarse, -1)[:, : n // 2]
    left, right = solved[:, : n // 2, :, :m], solved[:, : n // 2, :, m : 2 * m]
    between = solved[:, : n // 2, :, -1] - (
        left @ coarse[:, : n // 2, :, None] + right @ following[..., None]
    ).squeeze(-1)
    x = torch.empty_like(rhs)
    x[:, ::2], x[:, odd] = coarse, between
    return x
