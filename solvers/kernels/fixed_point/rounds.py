"""What rounds of iterations on rows of numbers have in common, by Numba."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.decorators import Array, Truth, Whole, inner_sums


class Best(NamedTuple):
    """The best iterate of each of B states of n numbers so far."""

    u: Array  #: (B, n)
    f: Array  #: (B, n)
    size: Array  #: its residual against the tolerance's size, (B,)
    rate: Array  #: RMS of f, (B,)
    ratio: Array  #: RMS of f over that of u + f, (B,)
    evaluations: Whole  #: of f so far, (B,)
    converged: Truth  #: (B,)


class Past(NamedTuple):
    """The last iterate of each of B states, and m pairs of vectors that a method makes."""

    u: Array  #: (B, n)
    f: Array  #: (B, n)
    one: Array  #: of each pair, (B, m, n)
    other: Array  #: (B, m, n)
    products: Array  #: of all `other` with each other, (B, m, m), where a method wants them
    pairs: Whole  #: how many there were; -1 without a last iterate, (B,)
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
def scale(values: Array, by: np.floating, into: Array) -> None:
    """``values`` times ``by``; zeros where that is 0."""
    for i in range(len(values)):
        into[i] = values[i] * by if by != 0 else 0


@inner_sums
def put(values: Array, into: Array) -> None:
    """Copy."""
    for i in range(len(values)):
        into[i] = values[i]


@inner_sums
def judge(
    rule: Rule, b: int, u: Array, f: Array, best: Best, past: Past, history: Array
) -> tuple[bool, Array, Array]:
    """Whether state ``b`` goes on from the iterate ``u``, or from where it is sent back to."""
    real = u.dtype.type
    of_f, of_sum = squares(u, f)
    rate, scale = real(np.sqrt(of_f / len(u))), real(np.sqrt(of_sum / len(u)))
    size = rate / max(real(scale + rule.floor), real(rule.tiny))
    ratio = rate / max(scale, real(rule.tiny))
    history[b] = ratio
    best.evaluations[b] += 1
    lost = rule.restarts and not size <= rule.growth * best.size[b]
    if size < best.size[b]:
        put(u, best.u[b])
        put(f, best.f[b])
        best.size[b], best.rate[b], best.ratio[b] = size, rate, ratio
    best.converged[b] = size <= rule.relative
    over = best.evaluations[b] >= rule.most
    going = not (best.converged[b] or over) and np.isfinite(best.size[b])
    if going and lost:
        forget(past, b)
        return going, best.u[b], best.f[b]
    return going, u, f


@inner_sums
def forget(past: Past, b: int) -> None:
    """Start again, with half the steps."""
    past.pairs[b] = -1
    past.damping[b] /= 2


@inner_sums
def remember(past: Past, b: int, u: Array, f: Array) -> None:
    """Make this the last iterate."""
    if past.pairs[b] < 0:
        past.pairs[b] = 0
    put(u, past.u[b])
    put(f, past.f[b])
