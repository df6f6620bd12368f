"""Block-tridiagonal systems, one sample after the other, compiled by Numba."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.floating]


@njit(cache=True, error_model="numpy")
def block_thomas(lower: Array, diagonal: Array, upper: Array, rhs: Array, x: Array) -> None:
    """Block elimination with partial pivoting inside each block, O(N m^3) per sample.

    A sample's answer is the same bit for bit whatever else is in the batch.

    Args:
        lower: blocks L_i, ``(B or 1, N, m, m)``.
        diagonal: blocks D_i, ``(B or 1, N, m, m)``.
        upper: blocks U_i, ``(B or 1, N, m, m)``.
        rhs: b_i, ``(B, N, m)``.
        x: where the answer goes, ``(B, N, m)``; not finite where a block is singular.
    """
    batch, n, m = rhs.shape
    pivot = np.empty((m, m), rhs.dtype)
    right = np.empty((n, m, m), rhs.dtype)  # D_i^-1 U_i of the eliminated system
    for sample in range(batch):
        own = sample if len(diagonal) > 1 else 0
        for i in range(n):
            for row in range(m):
                for column in range(m):
                    value = diagonal[own, i, row, column]
                    if i > 0:
                        for k in range(m):
                            value -= lower[own, i, row, k] * right[i - 1, k, column]
                    pivot[row, column] = value
                    right[i, row, column] = upper[own, i, row, column]
                value = rhs[sample, i, row]
                if i > 0:
                    for k in range(m):
                        value -= lower[own, i, row, k] * x[sample, i - 1, k]
                x[sample, i, row] = value
            for k in range(m):
                best = k
                for row in range(k + 1, m):
                    if abs(pivot[row, k]) > abs(pivot[best, k]):
                        best = row
                if best != k:
                    for column in range(m):
                        pivot[k, column], pivot[best, column] = (
                            pivot[best, column],
                            pivot[k, column],
                        )
                        right[i, k, column], right[i, best, column] = (
                            right[i, best, column],
                            right[i, k, column],
                        )
                    x[sample, i, k], x[sample, i, best] = x[sample, i, best], x[sample, i, k]
                for row in range(k + 1, m):
                    factor = pivot[row, k] / pivot[k, k]
                    if factor != 0:
                        for column in range(k + 1, m):
                            pivot[row, column] -= factor * pivot[k, column]
                        for column in range(m):
                            right[i, row, column] -= factor * right[i, k, column]
                        x[sample, i, row] -= factor * x[sample, i, k]
            for k in range(m - 1, -1, -1):
                for column in range(m):
                    value = right[i, k, column]
                    for later in range(k + 1, m):
                        value -= pivot[k, later] * right[i, later, column]
                    right[i, k, column] = value / pivot[k, k]
                value = x[sample, i, k]
                for later in range(k + 1, m):
                    value -= pivot[k, later] * x[sample, i, later]
                x[sample, i, k] = value / pivot[k, k]
        for i in range(n - 2, -1, -1):
            for row in range(m):
                for k in range(m):
                    x[sample, i, row] -= right[i, row, k] * x[sample, i + 1, k]
