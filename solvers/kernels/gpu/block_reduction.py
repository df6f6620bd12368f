"""Block-tridiagonal systems, a sample in each program, all cells at once."""

from __future__ import annotations

import triton.language as tl

from pnpfusion.solvers.kernels.gpu.blocks import solved, times
from pnpfusion.solvers.kernels.gpu.decorators import jit


@jit
def _beside(rows, at, known):
    """The rows of the cells ``at``; zero where there is none."""
    result = ()
    for row in tl.static_range(len(rows)):
        moved = ()
        for k in tl.static_range(len(rows[0])):
            moved = moved + (tl.where(known, tl.gather(rows[row][k], at, 0), 0.0),)
        result = result + (moved,)
    return result


@jit
def block_reduction(
    lower, diagonal, upper, rhs, x, n, rounds, matrices, M: tl.constexpr, CELLS: tl.constexpr
):
    """Parallel cyclic reduction, pivoting inside each block.

    Each round eliminates both neighbours of every cell by their own equations, so that its
    neighbours are twice as far away.

    Args:
        lower: blocks ``(B or 1, N, M, M)``, as are ``diagonal`` and ``upper``.
        diagonal: see ``lower``.
        upper: see ``lower``.
        rhs: ``(B, N, M)``.
        x: where the answer goes, like ``rhs``; not finite where a block is singular.
        n: N.
        rounds: with 2^rounds >= N.
        matrices: B, or 1 where all samples share a matrix.
        M: rows of a block.
        CELLS: N or more, a power of two.
    """
    sample = tl.cast(tl.program_id(0), tl.int64)
    own = tl.where(matrices == 1, 0, sample)
    cell = tl.arange(0, CELLS)
    inside = cell < n
    rows = ()
    for row in tl.static_range(M):
        before, here, after = (), (), ()
        for k in tl.static_range(M):
            at = own * n * M * M + cell * M * M + row * M + k
            before = before + (tl.load(lower + at, mask=inside & (cell > 0), other=0),)
            here = here + (tl.load(diagonal + at, mask=inside, other=1.0 if row == k else 0.0),)
            after = after + (tl.load(upper + at, mask=inside & (cell < n - 1), other=0),)
        load = tl.load(rhs + sample * n * M + cell * M + row, mask=inside, other=0)
        rows = rows + (here + before + after + (load,),)
    reach = 1
    for _ in range(rounds):
        equations = solved(rows)  # x + [L | U] x' = b, and the same of the cells beside:
        behind = _beside(equations, tl.maximum(cell - reach, 0), cell >= reach)
        ahead = _beside(equations, tl.minimum(cell + reach, CELLS - 1), cell + reach < CELLS)
        reach *= 2
        rows = ()
        for row in tl.static_range(M):
            low, up = (), ()
            for k in tl.static_range(M):
                low = low + (equations[row][k],)
                up = up + (equations[row][M + k],)
            by_low, by_up = times(low, behind), times(up, ahead)
            here, before, after = (), (), ()
            for k in tl.static_range(M):
                one = 1.0 if row == k else 0.0
                here = here + (one - by_low[M + k] - by_up[k],)
                before = before + (-by_low[k],)
                after = after + (-by_up[M + k],)
            load = equations[row][2 * M] - by_low[2 * M] - by_up[2 * M]
            rows = rows + (here + before + after + (load,),)
    alone = ()
    for row in tl.static_range(M):
        here = ()
        for k in tl.static_range(M):
            here = here + (rows[row][k],)
        alone = alone + (here + (rows[row][3 * M],),)
    answer = solved(alone)
    for row in tl.static_range(M):
        tl.store(x + sample * n * M + cell * M + row, answer[row][0], mask=inside)
