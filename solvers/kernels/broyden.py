"""One round of Broyden's method on rows of numbers, by Numba."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pnpfusion.solvers.kernels.decorators import Array, inner_sums, kernel
from pnpfusion.solvers.kernels.rounds import (
    Best,
    Past,
    Rule,
    dot,
    forget,
    judge,
    put,
    remember,
    subtract,
)


@inner_sums
def apply(by: Array, to: Array, used: int, beta: np.floating, v: Array, into: Array) -> None:
    """The inverse Jacobian times ``v``, by b and to a; its transpose the other way round."""
    for i in range(len(v)):
        into[i] = -beta * v[i]
    for j in range(used):
        subtract(to[j], -dot(by[j], v), into)


@inner_sums
def difference(a: Array, b: Array, into: Array) -> None:
    """``a - b``."""
    for i in range(len(a)):
        into[i] = a[i] - b[i]


@inner_sums
def divide(values: Array, by: np.floating) -> None:
    """``values`` over ``by``."""
    for i in range(len(values)):
        values[i] /= by


@kernel
def broyden_round(
    rule: Rule,
    rows: NDArray[np.int64],
    u: Array,
    f: Array,
    best: Best,
    past: Past,
    history: Array,
    after: Array,
    going: NDArray[np.bool_],
) -> None:
    """Judge the iterates of some rows, and say where they go next.

    Args:
        rule: see there.
        rows: which of the B states they are, (R,).
        u: iterates, (R, n).
        f: there, (R, n).
        best: of all states; improved here.
        past: of all states; longer by one here.
        history: takes the relative residuals, (B,).
        after: takes the next iterates, (R, n).
        going: takes which rows have one, (R,).
    """
    real, memory = u.dtype.type, past.one.shape[1]
    room = np.empty((4, u.shape[1]), u.dtype)
    way, change, moved, by_way = room[0], room[1], room[2], room[3]
    for r in range(len(u)):
        b, own_u, own_f = rows[r], u[r], f[r]
        going[r], lost = judge(rule, b, own_u, own_f, best, history)
        if not going[r]:
            continue
        if lost:
            own_u, own_f = best.u[b], best.f[b]
            forget(past, b)
        one, other, beta = past.one[b], past.other[b], past.damping[b]
        if past.pairs[b] >= 0:
            slot, used = past.pairs[b] % memory, min(past.pairs[b], memory)
            difference(own_u, past.u[b], way)
            difference(own_f, past.f[b], change)
            one[slot] = 0  # the oldest pair makes room
            other[slot] = 0
            apply(other, one, used, beta, change, moved)
            difference(way, moved, moved)
            apply(one, other, used, beta, way, by_way)
            below = dot(by_way, change)
            if abs(below) > real(1e-8) * np.sqrt(dot(by_way, by_way) * dot(change, change)):
                divide(moved, below)
                put(moved, one[slot])
                put(by_way, other[slot])
            past.pairs[b] += 1
        remember(past, b, own_u, own_f)
        apply(other, one, min(past.pairs[b], memory), beta, own_f, moved)
        difference(own_u, moved, after[r])
        going[r] = np.isfinite(dot(after[r], after[r]))
