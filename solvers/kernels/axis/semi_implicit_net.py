"""The nets of semi-implicit steps: which potential a load makes in conductances between cells."""

from __future__ import annotations

from pnpfusion.solvers.kernels.axis.semi_implicit_block import (
    ELECTRODE,
    GROUND,
    INVERSE,
    PULL,
    RISE,
    TOTAL,
    WALL_RISE,
    Block,
    Facts,
    G,
    X,
)
from pnpfusion.solvers.kernels.decorators import Array, inner


@inner
def factor(nets: Array, net: int, lanes: Array, facts: Facts) -> None:
    """Find the inverse pivots of a net, for :func:`solve_net`."""
    rows, width = facts.rows, facts.width
    f = nets.dtype.type
    for lane in range(width):
        both = nets[net, 0, G + lane] + nets[net, 1, G + lane]
        nets[net, 1, INVERSE + lane] = f(1) / (both + lanes[GROUND + lane])
    for i in rows[2:-1]:
        for lane in range(width):
            g = nets[net, i - 1, G + lane]
            left = g + nets[net, i, G + lane] - g * g * nets[net, i - 1, INVERSE + lane]
            nets[net, i, INVERSE + lane] = f(1) / left


@inner
def solve_net(block: Block, facts: Facts, net: int) -> None:
    """Turn the load in X into the potential that it makes, zero behind walls."""
    rows, width = facts.rows, facts.width
    nets = block.nets
    n = nets.shape[1] - 2
    f = nets.dtype.type
    if facts.floating:
        _neutralise(nets, net, block.lanes, facts, True)
    for lane in range(width):
        nets[net, 0, X + lane] = f(0)
        nets[net, n + 1, X + lane] = f(0)
    for i in rows[1:-1]:
        for lane in range(width):
            before = nets[net, i - 1, G + lane] * nets[net, i - 1, X + lane]
            load = nets[net, i, X + lane] + before
            nets[net, i, X + lane] = nets[net, i, INVERSE + lane] * load
    for i in rows[-3:0:-1]:
        for lane in range(width):
            share = nets[net, i, G + lane] * nets[net, i, INVERSE + lane]
            nets[net, i, X + lane] += share * nets[net, i + 1, X + lane]
    if facts.floating:
        _neutralise(nets, net, block.lanes, facts, False)


@inner
def _neutralise(nets: Array, net: int, lanes: Array, facts: Facts, is_load: bool) -> None:
    """Take the net charge off a load, or the mean off a potential."""
    rows, width = facts.rows, facts.width
    f = nets.dtype.type
    size = f(0)
    for lane in range(width):
        lanes[TOTAL + lane] = f(0)
    for i in rows[1:-1]:
        v = facts.volumes[i - 1]
        size += v
        share = f(1) if is_load else v
        for lane in range(width):
            lanes[TOTAL + lane] += share * nets[net, i, X + lane]
    for i in rows[1:-1]:
        share = (facts.volumes[i - 1] if is_load else f(1)) / size
        for lane in range(width):
            nets[net, i, X + lane] -= share * lanes[TOTAL + lane]


@inner
def find_rises(nets: Array, net: int, ends: Array, facts: Facts) -> None:
    """The rise of the potential across each face, with what the walls make of it."""
    rows, width = facts.rows, facts.width
    n = nets.shape[1] - 2
    for i in rows[1:-2]:
        for lane in range(width):
            nets[net, i, RISE + lane] = nets[net, i + 1, X + lane] - nets[net, i, X + lane]
    for lane in range(width):
        above = nets[net, 1, X + lane] - ends[0, ELECTRODE + lane]
        nets[net, 0, RISE + lane] = ends[0, PULL + lane] * above - ends[0, WALL_RISE + lane]
    for lane in range(width):
        below = ends[1, ELECTRODE + lane] - nets[net, n, X + lane]
        nets[net, n, RISE + lane] = ends[1, PULL + lane] * below + ends[1, WALL_RISE + lane]
