"""Small matrices of :class:`Lanes`, or of plain zeros and ones, in code that is being written."""

from __future__ import annotations

from typing import Any

Matrix = list[list[Any]]


def product(a: Matrix, b: Matrix) -> Matrix:
    """The product a b."""
    return [
        [sum(x * y[j] for x, y in zip(row, b, strict=True)) for j in range(len(b[0]))] for row in a
    ]


def difference(a: Matrix, b: Matrix) -> Matrix:
    """The difference a - b."""
    return [[x - y for x, y in zip(*rows, strict=True)] for rows in zip(a, b, strict=True)]


def negative(a: Matrix) -> Matrix:
    """The opposite of a."""
    return [[0 - x for x in row] for row in a]


def column(values: list[Any]) -> Matrix:
    """A vector as a matrix."""
    return [[value] for value in values]


def shifted(a: Matrix, by: int) -> Matrix:
    """What other lanes hold, see :meth:`Lanes.moved`."""
    return [[x.moved(by) for x in row] for row in a]


def divided(a: Matrix, sides: list[Matrix]) -> list[Matrix]:
    """The a^-1 b of each b, by elimination without pivoting."""
    m = len(a)
    a, loads = [list(row) for row in a], [[x for b in sides for x in b[row]] for row in range(m)]
    inverse = []
    for k in range(m):
        inverse.append(1 / a[k][k])
        for row in range(k + 1, m):
            factor = a[row][k] * inverse[k]
            a[row] = [x - factor * y for x, y in zip(a[row], a[k], strict=True)]
            loads[row] = [x - factor * y for x, y in zip(loads[row], loads[k], strict=True)]
    for k in range(m - 1, -1, -1):
        for later in range(k + 1, m):
            pairs = zip(loads[k], loads[later], strict=True)
            loads[k] = [x - a[k][later] * y for x, y in pairs]
        loads[k] = [x * inverse[k] for x in loads[k]]
    found, first = [], 0
    for b in sides:
        found.append([row[first : first + len(b[0])] for row in loads])
        first += len(b[0])
    return found
