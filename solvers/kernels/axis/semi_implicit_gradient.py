"""The gradient of the runs of `semi_implicit`: the same steps once more, last one first."""

from __future__ import annotations

import numpy as np

from pnpfusion.solvers.kernels.axis.semi_implicit_block import (
    BY_C,
    BY_CONDUCTANCE,
    BY_ELECTRODE,
    BY_FIXED,
    BY_IMPOSED,
    BY_PASSING,
    BY_PULL,
    BY_RISE,
    BY_SURFACE_CHARGE,
    BY_VALENCE,
    BY_WALL_RISE,
    LANES,
    NOW,
    STEP,
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
from pnpfusion.solvers.kernels.axis.semi_implicit_step import take_step
from pnpfusion.solvers.kernels.axis.semi_implicit_undo import undo_step
from pnpfusion.solvers.kernels.decorators import Array, Whole, inner, kernel


@kernel
def semi_implicit_1d_gradient(
    given: Given,
    facts: Facts,
    steps: Array,
    saves: Whole,
    taken: Whole,
    history: Array,
    by_end: Array,
    by_states: Array,
    by_start: Array,
    by: Given,
) -> None:
    """What a loss says of the start and the parameters of a run, from what it says of its states.

    Args:
        given: the cells, as in :func:`semi_implicit_1d`, like the next five.
        facts: about them.
        steps: ``(K, B)``.
        saves: ``(K,)``.
        taken: ``(B,)``.
        history: as it was left, of length K.
        by_end: of where samples ended, ``(B, S, N)``.
        by_states: of what was saved, ``(R, B, S, N)``.
        by_start: where that of the start goes, ``(B, S, N)``.
        by: zeros, to which that of each parameter is added.
    """
    batch, species, n = by_start.shape
    block = make_block(species, n, by_start)
    ions, line, ends, lanes = block.ions, block.line, block.ends, block.lanes
    f = by_start.dtype.type
    for first in range(0, batch, LANES):
        count = min(LANES, batch - first)
        ions[:, :, BY_C:], line[:, BY_RISE:], ends[:, BY_ELECTRODE:] = f(0), f(0), f(0)
        load_block(given, facts, first, block)
        factor(block.nets, NOW, lanes, facts)
        read(by_end, first, ions, BY_C)
        most = np.max(taken[first : first + count])
        for k in range(most - 1, -1, -1):
            for lane in range(count):
                going = k < taken[first + lane]
                lanes[STEP + lane] = steps[k, first + lane] if going else f(0)
                if going and saves[k] >= 0:
                    for s in range(species):
                        for i in range(n):
                            by_saved = by_states[saves[k], first + lane, s, i]
                            ions[s, i + 1, BY_C + lane] += by_saved
            for s in range(species):
                for i in facts.rows[1:-1]:
                    for lane in range(facts.width):
                        ions[s, i, C + lane] = history[k, first // LANES, s, i - 1, lane]
            take_step(block, facts)
            undo_step(block, facts)
        write(ions, BY_C, first, count, by_start)
        _give_block(block, first, count, by)


@inner
def _give_block(block: Block, first: int, count: int, by: Given) -> None:
    """Add the gradients of a block to those of the parameters."""
    ions, line, ends = block.ions, block.line, block.ends
    n = len(line) - 2
    _give(line, BY_CONDUCTANCE, first, count, by.conductance, 0, n + 1)
    _give(line[1:], BY_FIXED, first, count, by.fixed_charge, 0, n)
    _give(ends, BY_ELECTRODE, first, count, by.electrode, 0, 2)
    _give(ends, BY_SURFACE_CHARGE, first, count, by.surface_charge, 0, 2)
    _give(ends, BY_PULL, first, count, by.pull, 0, 2)
    _give(ends, BY_WALL_RISE, first, count, by.rise, 0, 2)
    for s in range(len(ions)):
        _give(ions[s], BY_VALENCE, first, count, by.valence, s, n + 1)
        _give(ions[s], BY_PASSING, first, count, by.transmissivity, s, n + 1)
        _give(ions[s], BY_IMPOSED, first, count, by.imposed, s, n + 1)
        _give(ions[s, :: n + 1], BY_C, first, count, by.reservoir, s, 2)


@inner
def _give(
    of: Array, at: int, first: int, count: int, values: Array, row: int, columns: int
) -> None:
    """Add the kind ``at`` to a row of a gradient; what is one for many gets the sum."""
    for lane in range(count):
        sample = first + lane if len(values) > 1 else 0
        for j in range(columns):
            values[sample, row, j if values.shape[2] > 1 else 0] += of[j, at + lane]
