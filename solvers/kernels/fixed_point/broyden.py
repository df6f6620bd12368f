"""One round of Broyden's method on rows of numbers, by Numba."""

from __future__ import annotations

import numpy as np

from pnpfusion.solvers.kernels.decorators import Array, Truth, Whole, inner_sums, kernel
from pnpfusion.solvers.kernels.fixed_point.rounds import (
    Best,
    Past,
    Rule,
    dot,
    judge,
    put,
    scale,
    step,
)


@inner_sums
def add(mix: Array, weight: np.floating, into: Array) -> None:
    """Add ``weight`` times ``mix``."""
    for i in range(len(mix)):
        into[i] += weight * mix[i]


@inner_sums
def missed(s: Array, f: Array, last_f: Array, beta: np.floating, into: Array) -> None:
    """What the first inverse Jacobian, -beta, leaves of the step s for the change of f."""
    for i in range(len(s)):
        into[i] = s[i] + beta * (f[i] - last_f[i])


@inner_sums
def against(s: Array, z: Array) -> tuple[np.floating, np.floating]:
    """The product of s with s - z, and below what that is as good as 0."""
    of_s = of_both = of_rest = s.dtype.type(0)
    for i in range(len(s)):
        rest = s[i] - z[i]
        of_s += s[i] * s[i]
        of_both += s[i] * rest
        of_rest += rest * rest
    return of_both, s.dtype.type(1e-8) * np.sqrt(of_s) * np.sqrt(of_rest)


@inner_sums
def divide(values: Array, by: np.floating, into: Array) -> None:
    """``values`` over ``by``."""
    for i in range(len(values)):
        into[i] = values[i] / by


@kernel
def broyden_round(
    rule: Rule,
    rows: Whole,
    u: Array,
    f: Array,
    best: Best,
    past: Past,
    history: Array,
    after: Array,
    going: Truth,
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
    z, room = np.empty(u.shape[1], u.dtype), np.empty(u.shape[1], u.dtype)
    for r in range(len(u)):
        b = rows[r]
        going[r], own_u, own_f = judge(rule, b, u[r], f[r], best, past, history)
        if not going[r]:
            continue
        gains, steps, beta = past.one[b], past.other[b], past.damping[b]
        emptied = past.pairs[b] == memory
        used = 0 if emptied else past.pairs[b]
        scale(own_f, beta, z)
        for j in range(used):
            add(gains[j], dot(steps[j], z), z)
        if used >= 0:
            last, left = steps[used], z  # z is what the factors leave, as the last step was theirs
            if emptied:
                missed(last, own_f, past.f[b], beta, room)
                left = room
            below, least = against(last, left)
            if abs(below) > least:
                divide(left, below, gains[used])
                add(gains[used], dot(last, z), z)
                used += 1
        step(own_u, z, real(1), after[r])
        past.pairs[b] = max(used, 0)
        put(z, steps[past.pairs[b] % memory])
        if used == memory:
            put(own_f, past.f[b])
        going[r] = np.isfinite(dot(after[r], after[r]))
