"""What a law is driven by."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from pnpfusion.solvers.field import Field

#: What a law is driven by: nothing, a tensor, or tensors by name.
Input = Tensor | Mapping[str, Tensor | Field | float] | None


def rows_of(x: Input, batch: tuple[int, ...], which: Tensor) -> Input:
    """Rows ``which`` of a tensor ``(*batch, ...)``, or of each tensor of a mapping, batch flat."""
    if isinstance(x, Tensor):
        return x.reshape(-1, *x.shape[len(batch) :])[which]
    if x is None:
        return None
    return {
        name: values.reshape(-1, *values.shape[len(batch) :])[which]
        for name, values in x.items()
        if isinstance(values, Tensor)
    }
