"""Block-tridiagonal systems, one sample after the other, compiled by Numba."""

from __future__ import annotations

import numpy as np

from pnpfusion.solvers.kernels.decorators import Array, inlined, inner, kernel


@kernel
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
    right = np.empty((n, m, m), rhs.dtype)
    for sample in range(batch):
        own = sample if len(diagonal) > 1 else 0
        for i in range(n):
            for row in range(m):
                x[sample, i, row] = rhs[sample, i, row]
        solve_line(lower[own], diagonal[own], upper[own], x[sample], right)


@inlined
def solve_line(lower: Array, diagonal: Array, upper: Array, x: Array, right: Array) -> None:
    """One sample of :func:`block_thomas`.

    Args:
        lower: ``(N, m, m)``.
        diagonal: ``(N, m, m)``.
        upper: ``(N, m, m)``.
        x: b_i before, the answer after, ``(N, m)``.
        right: room for D_i^-1 U_i of the eliminated system, ``(N, m, m)``.
    """
    if x.shape[1] == 3:
        _solve_blocks_of_three(lower, diagonal, upper, x, right)
    else:
        _solve_blocks(lower, diagonal, upper, x, right)


@inner
def _solve_blocks(lower: Array, diagonal: Array, upper: Array, x: Array, right: Array) -> None:
    n, m = x.shape
    pivot = np.empty((m, m), x.dtype)
    for i in range(n):
        for row in range(m):
            for column in range(m):
                value = diagonal[i, row, column]
                if i > 0:
                    for k in range(m):
                        value -= lower[i, row, k] * right[i - 1, k, column]
                pivot[row, column] = value
                right[i, row, column] = upper[i, row, column]
            value = x[i, row]
            if i > 0:
                for k in range(m):
                    value -= lower[i, row, k] * x[i - 1, k]
            x[i, row] = value
        for k in range(m):
            best = k
            for row in range(k + 1, m):
                if abs(pivot[row, k]) > abs(pivot[best, k]):
                    best = row
            if best != k:
                for column in range(m):
                    pivot[k, column], pivot[best, column] = pivot[best, column], pivot[k, column]
                    right[i, k, column], right[i, best, column] = (
                        right[i, best, column],
                        right[i, k, column],
                    )
                x[i, k], x[i, best] = x[i, best], x[i, k]
            for row in range(k + 1, m):
                factor = pivot[row, k] / pivot[k, k]
                if factor != 0:
                    for column in range(k + 1, m):
                        pivot[row, column] -= factor * pivot[k, column]
                    for column in range(m):
                        right[i, row, column] -= factor * right[i, k, column]
                    x[i, row] -= factor * x[i, k]
        for k in range(m - 1, -1, -1):
            for column in range(m):
                value = right[i, k, column]
                for later in range(k + 1, m):
                    value -= pivot[k, later] * right[i, later, column]
                right[i, k, column] = value / pivot[k, k]
            value = x[i, k]
            for later in range(k + 1, m):
                value -= pivot[k, later] * x[i, later]
            x[i, k] = value / pivot[k, k]
    for i in range(n - 2, -1, -1):
        for row in range(m):
            for k in range(m):
                x[i, row] -= right[i, row, k] * x[i + 1, k]


@inner
def _solve_blocks_of_three(
    lower: Array, diagonal: Array, upper: Array, x: Array, right: Array
) -> None:
    """:func:`_solve_blocks` written out for two ions and a potential, so that it runs in registers.

    ``a`` is the block to eliminate, ``r`` what becomes of the block after it, ``y`` the load.
    """
    n = len(x)
    r00 = r01 = r02 = r10 = r11 = r12 = r20 = r21 = r22 = y0 = y1 = y2 = x.dtype.type(0)
    for i in range(n):
        d, u = diagonal[i], upper[i]
        a00, a01, a02 = d[0, 0], d[0, 1], d[0, 2]
        a10, a11, a12 = d[1, 0], d[1, 1], d[1, 2]
        a20, a21, a22 = d[2, 0], d[2, 1], d[2, 2]
        b0, b1, b2 = x[i, 0], x[i, 1], x[i, 2]
        if i > 0:
            w = lower[i]
            w00, w01, w02 = w[0, 0], w[0, 1], w[0, 2]
            w10, w11, w12 = w[1, 0], w[1, 1], w[1, 2]
            w20, w21, w22 = w[2, 0], w[2, 1], w[2, 2]
            a00 -= w00 * r00 + w01 * r10 + w02 * r20
            a01 -= w00 * r01 + w01 * r11 + w02 * r21
            a02 -= w00 * r02 + w01 * r12 + w02 * r22
            a10 -= w10 * r00 + w11 * r10 + w12 * r20
            a11 -= w10 * r01 + w11 * r11 + w12 * r21
            a12 -= w10 * r02 + w11 * r12 + w12 * r22
            a20 -= w20 * r00 + w21 * r10 + w22 * r20
            a21 -= w20 * r01 + w21 * r11 + w22 * r21
            a22 -= w20 * r02 + w21 * r12 + w22 * r22
            b0 -= w00 * y0 + w01 * y1 + w02 * y2
            b1 -= w10 * y0 + w11 * y1 + w12 * y2
            b2 -= w20 * y0 + w21 * y1 + w22 * y2
        r00, r01, r02 = u[0, 0], u[0, 1], u[0, 2]
        r10, r11, r12 = u[1, 0], u[1, 1], u[1, 2]
        r20, r21, r22 = u[2, 0], u[2, 1], u[2, 2]
        y0, y1, y2 = b0, b1, b2
        if abs(a10) > abs(a00) and abs(a10) >= abs(a20):
            a00, a01, a02, a10, a11, a12 = a10, a11, a12, a00, a01, a02
            r00, r01, r02, r10, r11, r12 = r10, r11, r12, r00, r01, r02
            y0, y1 = y1, y0
        elif abs(a20) > abs(a00):
            a00, a01, a02, a20, a21, a22 = a20, a21, a22, a00, a01, a02
            r00, r01, r02, r20, r21, r22 = r20, r21, r22, r00, r01, r02
            y0, y2 = y2, y0
        inverse_0 = 1 / a00
        f = a10 * inverse_0
        a11, a12 = a11 - f * a01, a12 - f * a02
        r10, r11, r12, y1 = r10 - f * r00, r11 - f * r01, r12 - f * r02, y1 - f * y0
        f = a20 * inverse_0
        a21, a22 = a21 - f * a01, a22 - f * a02
        r20, r21, r22, y2 = r20 - f * r00, r21 - f * r01, r22 - f * r02, y2 - f * y0
        if abs(a21) > abs(a11):
            a11, a12, a21, a22 = a21, a22, a11, a12
            r10, r11, r12, r20, r21, r22 = r20, r21, r22, r10, r11, r12
            y1, y2 = y2, y1
        inverse_1 = 1 / a11
        f = a21 * inverse_1
        inverse_2 = 1 / (a22 - f * a12)
        r20, r21, r22 = (
            (r20 - f * r10) * inverse_2,
            (r21 - f * r11) * inverse_2,
            (r22 - f * r12) * inverse_2,
        )
        y2 = (y2 - f * y1) * inverse_2
        r10, r11, r12 = (
            (r10 - a12 * r20) * inverse_1,
            (r11 - a12 * r21) * inverse_1,
            (r12 - a12 * r22) * inverse_1,
        )
        y1 = (y1 - a12 * y2) * inverse_1
        r00, r01, r02 = (
            (r00 - a01 * r10 - a02 * r20) * inverse_0,
            (r01 - a01 * r11 - a02 * r21) * inverse_0,
            (r02 - a01 * r12 - a02 * r22) * inverse_0,
        )
        y0 = (y0 - a01 * y1 - a02 * y2) * inverse_0
        into = right[i]
        into[0, 0], into[0, 1], into[0, 2] = r00, r01, r02
        into[1, 0], into[1, 1], into[1, 2] = r10, r11, r12
        into[2, 0], into[2, 1], into[2, 2] = r20, r21, r22
        x[i, 0], x[i, 1], x[i, 2] = y0, y1, y2
    for i in range(n - 2, -1, -1):
        of = right[i]
        y0, y1, y2 = (
            x[i, 0] - (of[0, 0] * y0 + of[0, 1] * y1 + of[0, 2] * y2),
            x[i, 1] - (of[1, 0] * y0 + of[1, 1] * y1 + of[1, 2] * y2),
            x[i, 2] - (of[2, 0] * y0 + of[2, 1] * y1 + of[2, 2] * y2),
        )
        x[i, 0], x[i, 1], x[i, 2] = y0, y1, y2
