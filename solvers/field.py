"""Parameters that may be a number, one number per sample, or a field over the grid."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.faq import Faq


@dataclass(frozen=True, eq=False)
class Field:
    """Values that vary in space, one per cell (for walls: one per cell face of the wall).

    Wrapping says what a bare tensor cannot: a tensor of shape (64,) is 64 samples, a
    ``Field`` of shape (64,) is 64 cells.

    Raises:
        ValueError: values that are no tensor.
    """

    values: Tensor  #: shape (*batch, *grid.shape), batch optional

    def __post_init__(self) -> None:
        if not isinstance(self.values, Tensor):
            raise ValueError(f"`values` of a Field must be a torch.Tensor, got {self.values!r}.")


#: What a parameter of a law may be: shape () or (*batch,) is uniform in space.
Parameter = float | Tensor | Field

#: What a condition at a wall may be: a function takes the time, one number per sample.
Drive = Parameter | Callable[[Tensor], Parameter]


def spread(
    name: str,
    value: Parameter,
    shape: tuple[int, ...],
    batch: tuple[int, ...],
    like: Tensor,
    *,
    may_vary: bool = True,
) -> Tensor:
    """``value`` with its batch axes made one, to multiply fields of ``(B, *shape)``.

    Args:
        name: what the value is, for messages.
        value: a number, a tensor of shape ``()`` or ``(*batch,)``, or a :class:`Field`.
        shape: the cells that a :class:`Field` must cover: a grid's shape, or a wall's.
        batch: the batch axes of the state.
        like: a tensor whose dtype and device the result takes.
        may_vary: whether the value may be a :class:`Field`.

    Returns:
        Shape ``(B or 1, *shape)`` for a Field, else ``(B or 1, 1, ...)``, with ``B = prod(batch)``;
        carries the gradient.

    Raises:
        ValueError: the shape fits neither the batch nor the cells, or a value is not finite.
    """
    is_field = isinstance(value, Field)
    given = value.values if isinstance(value, Field) else value
    if is_field and not may_vary:
        raise ValueError(f"`{name}` must be a number or one number per sample, got a Field.")
    if isinstance(given, str | bool | complex) or callable(given) or given is None:
        raise ValueError(f"`{name}` must be a number, a tensor or a Field, got {given!r}.")
    if isinstance(given, int | float) and abs(given) <= torch.finfo(like.dtype).max:
        # A Python number goes straight to the dtype of the run, never through single precision.
        return like.new_full((1,) * (1 + len(shape)), given)
    values = given if isinstance(given, Tensor) else torch.tensor(given, dtype=like.dtype)
    if values.is_complex() or values.dtype == torch.bool:
        raise ValueError(f"`{name}` must hold real numbers, got {values.dtype}.")
    values = values.to(like)
    _check_finite(name, values.detach())
    space = shape if is_field else (1,) * len(shape)
    lead = tuple(values.shape)
    if is_field:
        split = values.ndim - len(shape)
        if split < 0 or tuple(values.shape[split:]) != shape:
            raise ValueError(
                f"`{name}` is a Field and must end in the shape {shape}, got {lead}; that is the "
                f"grid's shape, or the wall's for what holds at a wall {Faq.WRONG_SHAPE}."
            )
        lead = lead[:split]
    if lead in ((), (1,) * len(lead)):
        values = values.reshape(1, *space)
    else:
        try:
            values = values.expand((*batch, *(space if is_field else ())))
        except RuntimeError:
            hint = (
                "; a value per cell must be wrapped in pnpfusion.Field"
                if lead == shape and not is_field
                else "; expand the state so that it has one sample per value"
            )
            raise ValueError(
                f"`{name}` must be one number or have the batch shape {batch}, got {lead}{hint}"
                f" {Faq.WRONG_SHAPE}."
            ) from None
        values = values.reshape(math.prod(batch), *space)
    return values


def check_above_zero(name: str, values: Tensor, hint: str = "") -> None:
    """Raise ValueError unless all of ``values`` are > 0; ``hint`` follows the message."""
    least = values.detach()
    if not (least > 0).all():
        raise ValueError(f"`{name}` must be > 0, got {float(least.min()):g}{hint}.")


def is_finite(values: Tensor) -> bool:
    """Whether all of ``values`` are finite; one pass over them where they are."""
    return math.isfinite(values.sum()) or bool(values.isfinite().all())


def _check_finite(name: str, values: Tensor) -> None:
    if not is_finite(values):
        raise ValueError(f"`{name}` must be finite, got NaN or infinity {Faq.BAD_NUMBERS}.")


def at_time(name: str, value: Drive, t: Tensor | None) -> Parameter:
    """``value``, or where it is a function its value at ``t``, of shape ``(*batch,)`` or ``()``.

    Raises:
        ValueError: the value is a function and there is no time.
    """
    if not callable(value):
        return value
    if t is None:
        raise ValueError(
            f"`{name}` is a function of time, so the time must be given: `t=...`, a number or one "
            f"per sample."
        )
    try:
        return value(t)
    except TypeError as error:
        raise ValueError(
            f"`{name}` must be a number, a tensor, a Field or a function of the time t; to call it "
            f"with t failed: {error}."
        ) from error
