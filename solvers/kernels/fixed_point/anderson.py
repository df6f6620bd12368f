"""One round of Anderson's method, or of Picard's, on rows of numbers, by Numba."""

from __future__ import annotations

import numpy as np

from pnpfusion.solvers.kernels.decorators import Array, Truth, Whole, inner_sums, kernel
from pnpfusion.solvers.kernels.fixed_point.rounds import (
    Best,
    Past,
    Rule,
    dot,
    judge,
    remember,
    step,
    subtract,
)


@inner_sums
def weigh(gram: Array, load: Array, ridge: float, used: int, weights: Array) -> bool:
    """The weights of the changes, by Cholesky's factors; False where there are none.

    Changes are scaled to length 1, then ``ridge`` is added to their products with themselves.
    """
    factor, length = np.empty((used, used)), np.empty(used)
    for i in range(used):
        length[i] = np.sqrt(gram[i, i]) if gram[i, i] > 0 else 1.0
    for i in range(used):
        for j in range(i + 1):
            value = np.float64(gram[i, j]) / (length[i] * length[j])
            if i == j:
                value += ridge
            for k in range(j):
                value -= factor[i, k] * factor[j, k]
            if i > j:
                factor[i, j] = value / factor[j, j]
            elif value > 0:
                factor[i, i] = np.sqrt(value)
            else:
                return False
        value = load[i] / length[i]
        for k in range(i):
            value -= factor[i, k] * weights[k]
        weights[i] = value / factor[i, i]
    for left in range(used):
        i = used - 1 - left
        value = weights[i]
        for k in range(i + 1, used):
            value -= factor[k, i] * weights[k]
        weights[i] = value / factor[i, i]
    for i in range(used):
        weights[i] /= length[i]
        if not np.isfinite(weights[i]):
            return False
    return True


@inner_sums
def add_change(past: Past, b: int, u: Array, f: Array) -> None:
    """Pair the change of f from the last iterate with that of u + damping f."""
    slot = past.pairs[b] % past.one.shape[1]
    change, mix, beta = past.other[b, slot], past.one[b, slot], past.damping[b]
    last_u, last_f = past.u[b], past.f[b]
    for i in range(len(u)):
        by_f = f[i] - last_f[i]
        change[i] = by_f
        mix[i] = u[i] - last_u[i] + beta * by_f
    past.pairs[b] += 1
    for j in range(min(past.pairs[b], past.one.shape[1])):
        product = dot(change, past.other[b, j])
        past.products[b, slot, j] = past.products[b, j, slot] = product


@kernel
def anderson_round(
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
    load, weights = np.empty(memory), np.empty(memory)
    for r in range(len(u)):
        b = rows[r]
        going[r], own_u, own_f = judge(rule, b, u[r], f[r], best, past, history)
        if not going[r]:
            continue
        if memory:
            if past.pairs[b] >= 0:
                add_change(past, b, own_u, own_f)
            remember(past, b, own_u, own_f)
        step(own_u, own_f, past.damping[b], after[r])
        used = min(past.pairs[b], memory)
        for j in range(used):
            load[j] = dot(past.other[b, j], own_f)
        if used > 0 and weigh(past.products[b], load, rule.ridge, used, weights):
            for j in range(used):
                subtract(past.one[b, j], real(weights[j]), after[r])
        going[r] = np.isfinite(dot(after[r], after[r]))
