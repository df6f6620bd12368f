"""How many samples of a cell go side by side through loops in wide registers."""

from __future__ import annotations

from pnpfusion.solvers.kernels.decorators import inner

AT_ONCE = 4096  #: cells of samples side by side: few enough for caches, in rows of some length
FEWEST = 32  #: samples side by side, if there are as many


@inner
def width_of(batch: int, n: int) -> int:
    """So many of ``batch`` samples of ``n`` cells."""
    return min(batch, max(FEWEST, AT_ONCE // n))
