"""One round of Anderson's method, or of Picard's, on rows of numbers, by Numba."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pnpfusion.solvers.kernels.decorators import Array, inner_sums, kernel


class Best(NamedTuple):
    """The best iterate of each of B states of n numbers so far."""

    u: Array  #: (B, n)
    f: Array  #: (B, n)
    size: Array  #: its residual against the tolerance's size, (B,)
    rate: Array  #: RMS of f, (B,)
    ratio: Array  #: RMS of f over that of u + f, (B,)
    evaluations: NDArray[np.int64]  #: of f so far, (B,)
    converged: NDArray[np.bool_]  #: (B,)


class Past(NamedTuple):
    """The last iterate of each state, and m changes from one to the next."""

    u: Array  #: (B, n)
    f: Array  #: (B, n)
    change: Array  #: of f, (B, m, n)
    mix: Array  #: of u + damping f, (B, m, n)
    gram: Array  #: products of the changes of f, (B, m, m)
    changes: NDArray[np.int64]  #: how many there were; -1 without a last iterate, (B,)
    damping: Array  #: (B,)


class Rule(NamedTuple):
    """What does not change from round to round."""

    relative: float  #: the tolerance
    floor: float  #: the least size that a residual is compared with
    tiny: float  #: so that nothing is divided by zero
    growth: float  #: a residual this many times the best one sends a row back there
    most: int  #: evaluations
    ridge: float
    restarts: bool  #: whether a row that is sent back forgets and takes half the steps


@inner_sums
def dot(a: Array, b: Array) -> np.floating:
    """The product of two vectors."""
    total = a.dtype.type(0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@inner_sums
def squares(u: Array, f: Array) -> tuple[np.floating, np.floating]:
    """The sums of the squares of f and of u + f."""
    of_f = of_sum = u.dtype.type(0)
    for i in range(len(u)):
        both = u[i] + f[i]
        of_f += f[i] * f[i]
        of_sum += both * both
    return of_f, of_sum


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
    """Remember the way from the last iterate to this one."""
    slot = past.changes[b] % past.change.shape[1]
    change, mix, beta = past.change[b, slot], past.mix[b, slot], past.damping[b]
    last_u, last_f = past.u[b], past.f[b]
    for i in range(len(u)):
        by_f = f[i] - last_f[i]
        change[i] = by_f
        mix[i] = u[i] - last_u[i] + beta * by_f
    past.changes[b] += 1
    for j in range(min(past.changes[b], past.change.shape[1])):
        product = dot(change, past.change[b, j])
        past.gram[b, slot, j] = past.gram[b, j, slot] = product


@inner_sums
def step(u: Array, f: Array, beta: np.floating, into: Array) -> None:
    """A damped step."""
    for i in range(len(u)):
        into[i] = u[i] + beta * f[i]


@inner_sums
def subtract(mix: Array, weight: np.floating, into: Array) -> None:
    """Take ``weight`` times ``mix`` off."""
    for i in range(len(mix)):
        into[i] -= weight * mix[i]


@inner_sums
def put(values: Array, into: Array) -> None:
    """Copy."""
    for i in range(len(values)):
        into[i] = values[i]


@kernel
def anderson_round(
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
    count, n = u.shape
    real = u.dtype.type
    memory = past.change.shape[1]
    load, weights = np.empty(memory), np.empty(memory)
    for r in range(count):
        b, own_u, own_f = rows[r], u[r], f[r]
        of_f, of_sum = squares(own_u, own_f)
        rate, scale = real(np.sqrt(of_f / n)), real(np.sqrt(of_sum / n))
        size = rate / max(real(scale + rule.floor), real(rule.tiny))
        ratio = rate / max(scale, real(rule.tiny))
        history[b] = ratio
        best.evaluations[b] += 1
        lost = rule.restarts and not size <= rule.growth * best.size[b]
        if size < best.size[b]:
            put(own_u, best.u[b])
            put(own_f, best.f[b])
            best.size[b], best.rate[b], best.ratio[b] = size, rate, ratio
        best.converged[b] = size <= rule.relative
        over = best.evaluations[b] >= rule.most
        going[r] = not (best.converged[b] or over) and np.isfinite(best.size[b])
        if not going[r]:
            continue
        if lost:
            own_u, own_f = best.u[b], best.f[b]
            past.changes[b] = -1
            past.damping[b] /= 2
        if memory:
            if past.changes[b] >= 0:
                add_change(past, b, own_u, own_f)
            else:
                past.changes[b] = 0
            put(own_u, past.u[b])
            put(own_f, past.f[b])
        step(own_u, own_f, past.damping[b], after[r])
        used = min(past.changes[b], memory)
        for j in range(used):
            load[j] = dot(past.change[b, j], own_f)
        if used > 0 and weigh(past.gram[b], load, rule.ridge, used, weights):
            for j in range(used):
                subtract(past.mix[b, j], real(weights[j]), after[r])
        going[r] = np.isfinite(dot(after[r], after[r]))
