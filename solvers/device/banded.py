"""Block-tridiagonal solves on a graphics card, in one launch and without the host."""

from __future__ import annotations

import torch
from torch import Tensor

#: Rows of the largest blocks that kernels are compiled for; longer ones take minutes to compile.
LARGEST_BLOCK = {"thomas": 4, "reduction": 3}
#: Cells of the longest line that one program holds in registers.
LONGEST_LINE = 1024
#: Threads of a multiprocessor when each keeps a block of three in registers.
THREADS = 512


def reduces(batch: int, cells: int, device: torch.device) -> bool:
    r"""Whether parallel cyclic reduction is the quicker way; else elimination, a sample a lane.

    By counting. Elimination takes 2 N dependent steps, for as many samples at once as the card has
    threads, W. Reduction takes :math:`\log_2 N + 1` rounds, each of some four times the work of a
    step, for W / N samples at once. So it wins while :math:`2 B (\log_2 N + 1) < W`.
    """
    threads = THREADS
    if device.type == "cuda":
        threads *= torch.cuda.get_device_properties(device).multi_processor_count
    rounds = (cells - 1).bit_length() + 1
    return cells <= LONGEST_LINE and 2 * batch * rounds < threads


def solve_on_device(lower: Tensor, diagonal: Tensor, upper: Tensor, rhs: Tensor) -> Tensor | None:
    """The solution, NaN for samples whose matrix has a singular pivot; None for larger blocks.

    Shapes as in :func:`pnpfusion.solvers.banded.solve_block_tridiagonal`, all matrices of one batch
    size. Rows are exchanged within blocks, not between them.
    """
    batch, n, m = rhs.shape
    if m <= LARGEST_BLOCK["reduction"] and reduces(batch, n, rhs.device):
        x = by_reduction(lower, diagonal, upper, rhs)
    elif m <= LARGEST_BLOCK["thomas"]:
        x = by_elimination(lower, diagonal, upper, rhs)
    else:
        return None
    finite = x.isfinite().flatten(1).all(1)
    return torch.where(finite[:, None, None], x, torch.nan)


def by_elimination(lower: Tensor, diagonal: Tensor, upper: Tensor, rhs: Tensor) -> Tensor:
    """Block elimination with a sample in each lane; see `kernels/gpu/block_thomas.py`."""
    from pnpfusion.solvers.kernels.gpu.block_thomas import block_thomas
    from pnpfusion.solvers.kernels.gpu.decorators import LANES, programs

    parts = [one.detach().movedim(0, -1).contiguous() for one in (lower, diagonal, upper, rhs)]
    n, m, batch = parts[3].shape
    x, right = torch.empty_like(parts[3]), rhs.new_empty(n, m, m, batch)
    block_thomas[programs(batch)](*parts, right, x, n, batch, len(diagonal), m, LANES, num_warps=1)
    return x.movedim(-1, 0).contiguous()


def by_reduction(lower: Tensor, diagonal: Tensor, upper: Tensor, rhs: Tensor) -> Tensor:
    """Cyclic reduction with a sample in each program; see `kernels/gpu/block_reduction.py`."""
    from pnpfusion.solvers.kernels.gpu.block_reduction import block_reduction

    parts = [one.detach().contiguous() for one in (lower, diagonal, upper, rhs)]
    batch, n, m = rhs.shape
    x, rounds = torch.empty_like(parts[3]), (n - 1).bit_length()
    cells = 1 << rounds
    block_reduction[(batch,)](
        *parts, x, n, rounds, len(diagonal), m, cells, num_warps=max(1, min(16, cells // 32))
    )
    return x
