"""Parameters that may be a number, one number per sample, or a field over the grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.grid import Grid


@dataclass(frozen=True, eq=False)
class Field:
    """Values that vary in space, one per cell.

    Wrapping says what a bare tensor cannot: a tensor of shape (64,) is 64 samples, a
    ``Field`` of shape (64,) is 64 cells.
    """

    values: Tensor  #: shape (*batch, *grid.shape), batch optional


#: What a parameter of a law may be: shape () or (*batch,) is uniform in space.
Parameter = float | Tensor | Field


def spread(
    name: str,
    value: Parameter,
    grid: Grid,
    batch: tuple[int, ...],
    like: Tensor,
    *,
    may_vary: bool = True,
) -> Tensor:
    """``value`` with its batch axes made one, to multiply a state of ``(B, *grid.shape)``.

    Args:
        name: what the value is, for messages.
        value: a number, a tensor of shape ``()`` or ``(*batch,)``, or a :class:`Field`.
        grid: the box.
        batch: the batch axes of the state.
        like: a tensor whose dtype and device the result takes.
        may_vary: whether the value may be a :class:`Field`.

    Returns:
        Shape ``(B or 1, N_1 or 1, ...)`` with ``B = prod(batch)``; carries the gradient.

    Raises:
        ValueError: the shape fits neither the batch nor the grid, or a value is not finite.
    """
    is_field = isinstance(value, Field)
    given = value.values if isinstance(value, Field) else value
    if isinstance(value, Field) and not may_vary:
        raise ValueError(f"`{name}` must be a number or one number per sample, got a Field.")
    if isinstance(given, str) or callable(given) or given is None:
        raise ValueError(f"`{name}` must be a number, a tensor or a Field, got {given!r}.")
    # A Python number goes straight to the dtype of the run, never through single precision.
    values = given if isinstance(given, Tensor) else torch.tensor(given, dtype=like.dtype)
    if values.is_complex() or values.dtype == torch.bool:
        raise ValueError(f"`{name}` must hold real numbers, got {values.dtype}.")
    values = values.to(like)
    space = grid.shape if is_field else (1,) * grid.ndim
    if is_field:
        if tuple(values.shape[-grid.ndim :]) != grid.shape:
            raise ValueError(
                f"`{name}` is a Field and must end in the grid's shape {grid.shape}, "
                f"got {tuple(values.shape)}."
            )
        lead = tuple(values.shape[: -grid.ndim])
    else:
        lead = tuple(values.shape)
    if lead in ((), (1,) * len(lead)):
        values = values.reshape(1, *space)
    else:
        try:
            values = values.expand((*batch, *(space if is_field else ())))
        except RuntimeError:
            hint = (
                "; a value per cell must be wrapped in pnpfusion.Field"
                if lead == grid.shape and not is_field
                else "; expand the state so that it has one sample per value"
            )
            raise ValueError(
                f"`{name}` must be one number or have the batch shape {batch}, got {lead}{hint}."
            ) from None
        values = values.reshape(math.prod(batch), *space)
    if not torch.isfinite(values.detach()).all():
        raise ValueError(f"`{name}` must be finite, got NaN or infinity.")
    return values
