"""What a run leaves behind it for its gradient."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.decorators import Array, Whole, inner


class Trail(NamedTuple):
    """The accepted steps of B samples, with room for K of each; R stages, W steps kept whole.

    The stages of the first W steps are kept; of the steps after them, the state that every L-th
    one began from. A state is (S, N), or its records where lines are in lanes.
    """

    taken: Whole  #: accepted steps, (B,)
    t: Array  #: when each step begins, (B, K)
    end: Array  #: and ends, (B, K)
    dt: Array  #: (B, K)
    next: Whole  #: the next saved time before each step, and after the last, (B, K+1)
    stages: Array  #: (B, W, R, *state)
    states: Array  #: states and slopes, (B, ceil((K-W)/L), 2, *state)
    apart: int  #: L


def make_trail(
    batch: int, steps: int, whole: int, apart: int, stages: int, state: tuple[int, ...]
) -> Trail:
    """An empty one."""
    few = -(-(steps - whole) // apart)
    t, end, dt = np.empty((3, batch, steps))
    return Trail(
        taken=np.zeros(batch, np.int64),
        t=t,
        end=end,
        dt=dt,
        next=np.empty((batch, steps + 1), np.int64),
        stages=np.empty((batch, whole, stages, *state)),
        states=np.empty((batch, few, 2, *state)),
        apart=apart,
    )


@inner
def shares(time: float, trail: Trail, sample: int, k: int) -> tuple[float, float, float]:
    """What a state saved by step ``k`` changes by its first state, first slope and last slope.

    By its last state it changes by what is left of 1.
    """
    if time == trail.end[sample, k]:
        return 0.0, 0.0, 0.0
    h = trail.dt[sample, k]
    x = (time - trail.t[sample, k]) / h
    first = (1 - x) - x * (x - 1) * (1 - 2 * x)
    return first, x * (x - 1) * (x - 1) * h, x * (x - 1) * x * h


@inner
def is_zero(values: Array) -> bool:
    """Whether nothing in ``values`` ``(S, N)`` counts."""
    for s in range(values.shape[0]):
        for i in range(values.shape[1]):
            if values[s, i] != 0:
                return False
    return True


@inner
def is_asked(
    trail: Trail, sample: int, where: Whole, by_values: Array, by_u: Array, by_slope: Array
) -> bool:
    """Whether anything of a sample counts. Others may hold anything."""
    if not (is_zero(by_u) and is_zero(by_slope)):
        return True
    asked = False
    for at in range(trail.next[sample, 0], trail.next[sample, trail.taken[sample]]):
        asked = asked or not is_zero(by_values[where[at, sample]])
    return asked
