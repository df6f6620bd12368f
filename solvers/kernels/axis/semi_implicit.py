"""Semi-implicit runs of cells of one axis between walls, compiled by Numba.

The steps are those of `asymptotic_preserving_step` with Scharfetter-Gummel faces. LANES samples go
side by side through loops that LLVM vectorises; none sees another, so a sample's answer is the same
bit for bit whatever else is in the batch.
"""

from __future__ import annotations

import numpy as np

from pnpfusion.solvers.kernels.axis.semi_implicit_block import (
    ALIVE,
    BEFORE,
    FLUX,
    LANES,
    LOWEST,
    NEW,
    NOW,
    STEP,
    TOTAL,
    Block,
    C,
    Facts,
    Given,
    load_block,
    make_block,
    read,
    write,
)
from pnpfusion.solvers.kernels.axis.semi_implicit_net import factor
from pnpfusion.solvers.kernels.axis.semi_implicit_step import find_fluxes, find_potential, take_step
from pnpfusion.solvers.kernels.decorators import Array, Whole, inner, kernel


@kernel
def semi_implicit_1d(
    given: Given,
    facts: Facts,
    u: Array,
    steps: Array,
    judged: bool,
    saves: Whole,
    lowest: Array,
    states: Array,
    lowest_saved: Array,
    slope: Array,
    taken: Whole,
    history: Array,
) -> None:
    """K steps of every sample; one that is not finite or not positive ends its sample before it.

    Args:
        given: the cells.
        facts: about them.
        u: where samples begin, and in the end where they are, ``(B, S, N)``.
        steps: their sizes, ``(K, B)``.
        judged: whether a bad step ends its sample; else it stands.
        saves: into which of R rows each step's state goes, or -1, ``(K,)``.
        lowest: the smallest concentration since the last saved time; changed, ``(B,)``.
        states: what is saved, ``(R, B, S, N)``.
        lowest_saved: the smallest concentration since the saved time before, ``(R, B)``.
        slope: du/dt in the end, ``(B, S, N)``; of length 0: not asked for.
        taken: how many steps each sample took, ``(B,)``.
        history: states before each step, ``(K, B / LANES, S, N, LANES)``; of length 0: not kept.
    """
    batch, species, n = u.shape
    block = make_block(species, n, u)
    ions, lanes = block.ions, block.lanes
    f = u.dtype.type
    for first in range(0, batch, LANES):
        count = min(LANES, batch - first)
        load_block(given, facts, first, block)
        factor(block.nets, NOW, lanes, facts)
        read(u, first, ions, C)
        for lane in range(LANES):
            lanes[ALIVE + lane] = f(1)
            lanes[LOWEST + lane] = lowest[min(first + lane, batch - 1)]
        for lane in range(count):
            taken[first + lane] = 0
        for k in range(len(steps)):
            if len(history):
                for s in range(species):
                    for i in facts.rows[1:-1]:
                        for lane in range(facts.width):
                            history[k, first // LANES, s, i - 1, lane] = ions[s, i, C + lane]
            for lane in range(LANES):
                lanes[STEP + lane] = steps[k, min(first + lane, batch - 1)]
            take_step(block, facts)
            _accept(ions, lanes, facts, judged)
            going = False
            for lane in range(count):
                if lanes[ALIVE + lane] > f(0):
                    going = True
                    taken[first + lane] = k + 1
                    if saves[k] >= 0:
                        lowest_saved[saves[k], first + lane] = lanes[LOWEST + lane]
                        lanes[LOWEST + lane] = f(np.inf)
            if saves[k] >= 0:
                write(ions, C, first, count, states[saves[k]])
            if not going:
                break
        for lane in range(count):
            lowest[first + lane] = lanes[LOWEST + lane]
        write(ions, C, first, count, u)
        if len(slope):
            _write_slope(block, facts, first, count, slope)


@inner
def _accept(ions: Array, lanes: Array, facts: Facts, judged: bool) -> None:
    """Put NEW into C; if ``judged``, where it is finite and positive, or zero where a zero was."""
    rows, width = facts.rows, facts.width
    f = ions.dtype.type
    for lane in range(width):
        lanes[TOTAL + lane] = f(np.inf)
        lanes[BEFORE + lane] = f(np.inf)
    for s in range(len(ions)):
        for i in rows[1:-1]:
            for lane in range(width):
                new, lowest = ions[s, i, NEW + lane], lanes[TOTAL + lane]
                new = new if new < f(np.inf) else f(-1)  # NaN too
                lanes[TOTAL + lane] = new if new < lowest else lowest
                old, lowest = ions[s, i, C + lane], lanes[BEFORE + lane]
                lanes[BEFORE + lane] = old if old < lowest else lowest
    for lane in range(width):
        new, lowest = lanes[TOTAL + lane], lanes[LOWEST + lane]
        good = new > f(0) or (new == f(0) and lanes[BEFORE + lane] == f(0))
        if judged and not good:
            lanes[ALIVE + lane] = f(0)
        if lanes[ALIVE + lane] > f(0) and new < lowest:
            lanes[LOWEST + lane] = new
    for s in range(len(ions)):
        for i in rows[1:-1]:
            for lane in range(width):
                new, old = ions[s, i, NEW + lane], ions[s, i, C + lane]
                ions[s, i, C + lane] = new if lanes[ALIVE + lane] > f(0) else old


@inner
def _write_slope(block: Block, facts: Facts, first: int, count: int, slope: Array) -> None:
    """The rate of what is in C."""
    ions, nets = block.ions, block.nets
    find_potential(block, facts)
    for s in range(len(ions)):
        find_fluxes(ions, nets, facts, s)
        for lane in range(count):
            for i in range(slope.shape[2]):
                through = ions[s, i + 1, FLUX + lane] - ions[s, i, FLUX + lane]
                slope[first + lane, s, i] = -through / facts.volumes[i]
