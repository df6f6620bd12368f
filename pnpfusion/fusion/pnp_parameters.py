"""Learned physical quantities that cannot leave their ranges."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Range:
    """Where a quantity may be; ``low`` > 0 is a range of orders of magnitude, ``-high`` a span."""

    low: float  #: > 0, or -high
    high: float

    def value(self, raw: Tensor) -> Tensor:
        r"""From any real number into the range; 0 becomes its middle.

        .. math:: l\,(h/l)^{1/(1 + e^{-r})} \quad\text{or}\quad h \tanh r.
        """
        if self.low < 0:
            return self.high * torch.tanh(raw)
        span = math.log(self.high / self.low)
        return (self.low * torch.exp(span * torch.sigmoid(raw))).clamp(self.low, self.high)

    def raw(self, value: Tensor) -> Tensor:
        """The inverse of :meth:`value`, for values inside the range."""
        if self.low < 0:
            return torch.atanh(value / self.high)
        return torch.logit((value / self.low).log() / math.log(self.high / self.low))


class Bounded(nn.Module):
    """A learned quantity, always inside its range."""

    def __init__(self, name: str, start: Tensor, allowed: Range) -> None:
        super().__init__()
        self.name, self.allowed = name, allowed
        self.raw = nn.Parameter(torch.zeros_like(start))
        self.assign(start)

    @property
    def values(self) -> Tensor:
        """In the quantity's unit, of the shape it began with; carries the gradient."""
        return self.allowed.value(self.raw)

    def assign(self, values: Tensor | float) -> None:
        """Set the values.

        Raises:
            ValueError: a value on or beyond the ends of the range, or of another shape.
        """
        low, high = self.allowed.low, self.allowed.high
        given = torch.as_tensor(values, dtype=torch.float64)
        if not ((given > low) & (given < high)).all():
            worst = float(given.flatten()[(given - (low + high) / 2).abs().argmax()])
            raise ValueError(f"`{self.name}` must be between {low:g} and {high:g}, got {worst:g}.")
        if given.ndim and given.shape != self.raw.shape:
            raise ValueError(
                f"`{self.name}` must be a number or of shape {tuple(self.raw.shape)}, got "
                f"{tuple(given.shape)}."
            )
        with torch.no_grad():
            self.raw.copy_(self.allowed.raw(given).expand(self.raw.shape))

    def extra_repr(self) -> str:
        """The name and the range, for ``print(layer)``."""
        return f"{self.name}, {self.allowed.low:g} to {self.allowed.high:g}"


def debye_lengths(
    fixed: float | None, low: float, high: float, channels: int, allowed: Range
) -> Bounded:
    """Debye lengths, (channels,), spread from ``low`` to ``high``; or all fixed, and not learned.

    Raises:
        ValueError: a fixed one that is out of its range.
    """
    found = Bounded("debye_length", spread_of_scales(low, high, channels), allowed)
    if fixed is not None:
        if isinstance(fixed, bool) or not isinstance(fixed, int | float):
            raise ValueError(f"`debye_length` must be a number or None, got {fixed!r}.")
        found.assign(float(fixed))
        found.requires_grad_(False)
    return found


def spread_of_scales(low: float, high: float, count: int) -> Tensor:
    """``count`` values from ``low`` to ``high``, each the same factor above the last."""
    return torch.linspace(math.log(low), math.log(high), count).exp()
