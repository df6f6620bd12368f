"""Block-tridiagonal systems, a sample in each lane, cell after cell."""

from __future__ import annotations

import triton.language as tl

from pnpfusion.solvers.kernels.gpu.blocks import read_row, same, solved, times, write_row
from pnpfusion.solvers.kernels.gpu.decorators import jit


@jit
def read_block(pointer, cell, stride, lane, inside, M: tl.constexpr):
    """The block of a cell, a tuple of rows."""
    block = ()
    for row in tl.static_range(M):
        block = block + (read_row(pointer, cell * M * M + row * M, stride, lane, inside, M),)
    return block


@jit
def substitute(right, x, n, stride, lane, inside, M: tl.constexpr):
    """The unknowns from the last cell to the first, in the place of the eliminated loads."""
    ahead = read_row(x, (n - 1) * M, stride, lane, inside, M)
    for back in range(1, n):
        i = n - 1 - back
        load = read_row(x, i * M, stride, lane, inside, M)
        block = read_block(right, i, stride, lane, inside, M)
        here = ()
        for row in tl.static_range(M):
            value = load[row]
            for k in tl.static_range(M):
                value -= block[row][k] * ahead[k]
            here = here + (value,)
        ahead = here
        write_row(x, i * M, stride, lane, inside, ahead)


@jit
def block_thomas(
    lower, diagonal, upper, rhs, right, x, n, batch, matrices, M: tl.constexpr, LANES: tl.constexpr
):
    """Block elimination with partial pivoting inside each block.

    Args:
        lower: blocks ``(N, M, M, B or 1)``, as are ``diagonal`` and ``upper``.
        diagonal: see ``lower``.
        upper: see ``lower``.
        rhs: ``(N, M, B)``.
        right: room, ``(N, M, M, B)``.
        x: where the answer goes, like ``rhs``; not finite where a block is singular.
        n: N.
        batch: B.
        matrices: B, or 1 where all samples share a matrix.
        M: rows of a block.
        LANES: samples of a program.
    """
    lane = tl.cast(tl.program_id(0), tl.int64) * LANES + tl.arange(0, LANES)
    inside = lane < batch
    own = tl.where(matrices == 1, 0, lane)
    zero = tl.zeros((LANES,), x.dtype.element_ty)
    eliminated = same(same(zero, M + 1), M)  # of the cell before: [A^-1 U | A^-1 b]
    for i in range(n):
        low = read_block(lower, i, matrices, own, inside, M)
        centre = read_block(diagonal, i, matrices, own, inside, M)
        up = read_block(upper, i, matrices, own, inside, M)
        load = read_row(rhs, i * M, batch, lane, inside, M)
        rows = ()
        for row in tl.static_range(M):
            coupling = times(low[row], eliminated)
            left = ()
            for k in tl.static_range(M):
                left = left + (tl.where(i > 0, centre[row][k] - coupling[k], centre[row][k]),)
            value = tl.where(i > 0, load[row] - coupling[M], load[row])
            rows = rows + (left + up[row] + (value,),)
        eliminated = solved(rows)
        for row in tl.static_range(M):
            here = eliminated[row]
            kept = ()
            for k in tl.static_range(M):
                kept = kept + (here[k],)
            write_row(right, i * M * M + row * M, batch, lane, inside, kept)
            write_row(x, i * M + row, batch, lane, inside, (here[M],))
    substitute(right, x, n, batch, lane, inside, M)
