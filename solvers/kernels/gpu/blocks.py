"""Vectors and small dense blocks in registers: tuples of tensors, a number per lane in each."""

from __future__ import annotations

import triton.language as tl

from pnpfusion.solvers.kernels.gpu.decorators import jit


@jit
def read_row(pointer, first, stride, lane, inside, COUNT: tl.constexpr):
    """``COUNT`` numbers of every lane, ``stride`` apart from each other."""
    row = ()
    for j in tl.static_range(COUNT):
        at = (tl.cast(first, tl.int64) + j) * stride
        row = row + (tl.load(pointer + at + lane, mask=inside, other=0),)
    return row


@jit
def write_row(pointer, first, stride, lane, inside, row):
    """The inverse of :func:`read_row`."""
    for j in tl.static_range(len(row)):
        at = (tl.cast(first, tl.int64) + j) * stride
        tl.store(pointer + at + lane, row[j], mask=inside)


@jit
def same(value, COUNT: tl.constexpr):
    """A row of one value."""
    row = ()
    for _ in tl.static_range(COUNT):
        row = row + (value,)
    return row


@jit
def chosen(condition, row, other):
    """``row`` where the condition holds, else ``other``."""
    result = ()
    for j in tl.static_range(len(row)):
        result = result + (tl.where(condition, row[j], other[j]),)
    return result


@jit
def scaled(row, factor):
    """``factor * row``."""
    result = ()
    for j in tl.static_range(len(row)):
        result = result + (row[j] * factor,)
    return result


@jit
def without(row, factor, other):
    """``row - factor * other``."""
    result = ()
    for j in tl.static_range(len(row)):
        result = result + (row[j] - factor * other[j],)
    return result


@jit
def inner(row, columns, k: tl.constexpr):
    """The product of a row and column ``k`` of a matrix of as many rows."""
    total = row[0] * columns[0][k]
    for j in tl.static_range(1, len(row)):
        total += row[j] * columns[j][k]
    return total


@jit
def times(row, matrix):
    """A row times a matrix of as many rows."""
    result = ()
    for k in tl.static_range(len(matrix[0])):
        result = result + (inner(row, matrix, k),)
    return result


@jit
def tail(row):
    """``row`` without its first entry."""
    result = ()
    for j in tl.static_range(1, len(row)):
        result = result + (row[j],)
    return result


@jit
def solved(rows):
    """:math:`A^{-1} B` of M rows [A | B], by elimination with partial pivoting.

    Where A is singular the answer is not finite.
    """
    M: tl.constexpr = len(rows)
    pivots = ()
    for _ in tl.static_range(M):
        top, others = rows[0], ()
        for j in tl.static_range(1, len(rows)):
            larger = tl.abs(rows[j][0]) > tl.abs(top[0])
            others = others + (chosen(larger, top, rows[j]),)
            top = chosen(larger, rows[j], top)
        pivot = scaled(tail(top), 1 / top[0])
        rows = ()
        for j in tl.static_range(len(others)):
            rows = rows + (without(tail(others[j]), others[j][0], pivot),)
        pivots = pivots + (pivot,)
    answer = ()
    for back in tl.static_range(M):
        pivot = pivots[M - 1 - back]
        for _ in tl.static_range(back):
            pivot = tail(pivot)
        for j in tl.static_range(back):
            pivot = without(pivot, pivots[M - 1 - back][j], answer[j])
        answer = (pivot,) + answer
    return answer
