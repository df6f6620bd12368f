"""One step of Arnoldi's process on a batch of vectors, and the least squares of GMRES, by Numba."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.decorators import Array, Truth, Whole, kernel
from pnpfusion.solvers.kernels.fixed_point.rounds import dot, scale, subtract


class Basis(NamedTuple):
    """An orthonormal basis for each of B systems of n equations, of at most m + 1 vectors."""

    vectors: Array  #: (m+1, B, n)
    triangle: Array  #: R of the Hessenberg matrix, (B, m, m), float64 like all that follows
    turns: Array  #: the cosine and sine that make each of its columns one, (B, m, 2)
    load: Array  #: right side of the least squares, turned likewise, (B, m+1)
    columns: Whole  #: of each sample so far, (B,)


@kernel
def arnoldi_step(
    basis: Basis, k: int, image: Array, going: Truth, goal: Array, left: Array
) -> bool:
    """Make the image of vector ``k`` orthogonal to all before it: vector k + 1.

    Args:
        basis: longer by one here, for the systems that are going on.
        k: the column of the Hessenberg matrix.
        image: (B, n); overwritten.
        going: which systems go on, (B,); updated here.
        goal: the norm of a residual at which they end, (B,).
        left: takes the norms of their residuals, (B,).

    Returns:
        Whether any goes on.
    """
    real = image.dtype.type
    column = np.empty(k + 2)
    anybody = False
    for b in range(len(image)):
        own = image[b]
        if not going[b]:
            scale(own, real(0), basis.vectors[k + 1, b])
            continue
        for j in range(k + 1):
            column[j] = 0
        for _ in range(2):  # twice is enough
            for j in range(k + 1):
                overlap = dot(own, basis.vectors[j, b])
                subtract(basis.vectors[j, b], overlap, own)
                column[j] += overlap
        length = np.sqrt(np.float64(dot(own, own)))
        scale(own, real(1 / length if length > 0 else 1.0), basis.vectors[k + 1, b])
        column[k + 1] = length
        turns, load = basis.turns[b], basis.load[b]
        for j in range(k):
            upper, lower = column[j], column[j + 1]
            column[j] = turns[j, 0] * upper + turns[j, 1] * lower
            column[j + 1] = turns[j, 0] * lower - turns[j, 1] * upper
        size = np.hypot(column[k], length)
        turns[k, 0] = column[k] / size if size > 0 else 0.0
        turns[k, 1] = length / size if size > 0 else 1.0  # then the column is of no use
        column[k] = size
        for j in range(k + 1):
            basis.triangle[b, j, k] = column[j]
        load[k + 1] = -turns[k, 1] * load[k]
        load[k] *= turns[k, 0]
        basis.columns[b] = k + 1
        left[b] = abs(load[k + 1])
        going[b] = left[b] > goal[b] and length > 0
        anybody |= going[b]
    return anybody


@kernel
def least_squares(basis: Basis, weights: Array) -> None:
    """The weights of the basis vectors that leave the least, (B, m); 0 beyond a system's own."""
    for b in range(len(weights)):
        used = basis.columns[b]
        triangle = basis.triangle[b]
        for j in range(weights.shape[1]):
            weights[b, j] = 0
        for left in range(used):
            i = used - 1 - left
            value = basis.load[b, i]
            for j in range(i + 1, used):
                value -= triangle[i, j] * weights[b, j]
            pivot = triangle[i, i]
            weights[b, i] = value / pivot if pivot != 0 else 0.0
