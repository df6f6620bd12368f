"""Block-tridiagonal systems that are solved often, and block stencils, compiled by Numba."""

from __future__ import annotations

import numpy as np

from pnpfusion.solvers.kernels.decorators import Array, Whole, inner, kernel


@kernel
def factor_lines(lower: Array, diagonal: Array, upper: Array, inverse: Array, right: Array) -> None:
    """Eliminate the blocks of each line, from the first to the last.

    Args:
        lower: blocks L_i, ``(B, N, m, m)``.
        diagonal: blocks D_i, ``(B, N, m, m)``.
        upper: blocks U_i, ``(B, N, m, m)``.
        inverse: where the inverses of E_i = D_i - L_i R_(i-1) go, ``(B, N, m, m)``.
        right: where R_i = E_i^-1 U_i go, ``(B, N, m, m)``.
    """
    batch, n, m, _ = diagonal.shape
    block = np.empty((m, m), diagonal.dtype)
    for sample in range(batch):
        for i in range(n):
            for row in range(m):
                for column in range(m):
                    value = diagonal[sample, i, row, column]
                    if i > 0:
                        for k in range(m):
                            value -= lower[sample, i, row, k] * right[sample, i - 1, k, column]
                    block[row, column] = value
            _invert(block, inverse[sample, i])
            for row in range(m):
                for column in range(m):
                    value = 0.0
                    for k in range(m):
                        value += inverse[sample, i, row, k] * upper[sample, i, k, column]
                    right[sample, i, row, column] = value


@inner
def _invert(block: Array, inverse: Array) -> None:
    """The inverse of ``block``, which is overwritten; not finite where it is singular."""
    m = len(block)
    for row in range(m):
        for column in range(m):
            inverse[row, column] = 1.0 if row == column else 0.0
    for pivot in range(m):
        best = pivot
        for row in range(pivot + 1, m):
            if abs(block[row, pivot]) > abs(block[best, pivot]):
                best = row
        if best != pivot:
            for column in range(m):
                block[pivot, column], block[best, column] = (
                    block[best, column],
                    block[pivot, column],
                )
                inverse[pivot, column], inverse[best, column] = (
                    inverse[best, column],
                    inverse[pivot, column],
                )
        scale = 1 / block[pivot, pivot]
        for column in range(m):
            block[pivot, column] *= scale
            inverse[pivot, column] *= scale
        for row in range(m):
            if row != pivot:
                factor = block[row, pivot]
                for column in range(m):
                    block[row, column] -= factor * block[pivot, column]
                    inverse[row, column] -= factor * inverse[pivot, column]


@kernel
def solve_lines(lower: Array, inverse: Array, right: Array, x: Array) -> None:
    """Put the solution in the place of the load ``x`` ``(B, N, m)``; see :func:`factor_lines`."""
    batch, n, m = x.shape
    load = np.empty(m, x.dtype)
    for sample in range(batch):
        for i in range(n):
            for row in range(m):
                value = x[sample, i, row]
                if i > 0:
                    for k in range(m):
                        value -= lower[sample, i, row, k] * x[sample, i - 1, k]
                load[row] = value
            for row in range(m):
                value = 0.0
                for k in range(m):
                    value += inverse[sample, i, row, k] * load[k]
                x[sample, i, row] = value
        for i in range(n - 2, -1, -1):
            for row in range(m):
                value = x[sample, i, row]
                for k in range(m):
                    value -= right[sample, i, row, k] * x[sample, i + 1, k]
                x[sample, i, row] = value


@kernel
def apply_stencil(
    diagonal: Array,
    lower: tuple[Array, ...],
    upper: tuple[Array, ...],
    shape: Whole,
    x: Array,
    y: Array,
) -> None:
    """Put a block stencil times ``x`` ``(B, cells, m)`` into ``y``.

    Args:
        diagonal: ``(B, cells, m, m)``.
        lower: per axis, what couples a cell with the one before it, like ``diagonal``.
        upper: per axis, with the one after it.
        shape: cells per axis; the first and the last are neighbours.
        x: the vector.
        y: where the product goes.
    """
    batch, cells, m = x.shape
    for sample in range(batch):
        for cell in range(cells):
            for row in range(m):
                value = 0.0
                for k in range(m):
                    value += diagonal[sample, cell, row, k] * x[sample, cell, k]
                y[sample, cell, row] = value
        stride = cells
        for axis in range(len(lower)):
            n, low, up = shape[axis], lower[axis], upper[axis]
            stride //= n
            for cell in range(cells):
                at = (cell // stride) % n
                before = cell - stride if at > 0 else cell + (n - 1) * stride
                after = cell + stride if at < n - 1 else cell - (n - 1) * stride
                for row in range(m):
                    value = y[sample, cell, row]
                    for k in range(m):
                        value += low[sample, cell, row, k] * x[sample, before, k]
                        value += up[sample, cell, row, k] * x[sample, after, k]
                    y[sample, cell, row] = value
