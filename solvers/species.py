"""What is given species by species, spread over a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pnpfusion.solvers.field import Parameter, spread


def per_species(
    what: str,
    names: Sequence[str],
    values: Sequence[Parameter],
    shape: tuple[int, ...],
    batch: tuple[int, ...],
    like: Tensor,
    *,
    may_vary: bool = False,
) -> Tensor:
    """One row per species, ``(B or 1, S, *shape or 1)``; see :func:`spread`.

    Args:
        what: the values are, for messages.
        names: of the species.
        values: one per species.
        shape: the cells.
        batch: the batch axes of the state.
        like: a tensor whose dtype and device the result takes.
        may_vary: whether a value may be a :class:`Field`.
    """
    rows = [
        spread(f"{what} of {name!r}", value, shape, batch, like, may_vary=may_vary)
        for name, value in zip(names, values, strict=True)
    ]
    return torch.stack(torch.broadcast_tensors(*rows), 1)
