"""The numbers that a stepper is made with."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Protocol

from torch import Tensor

from pnpfusion.solvers.arguments import check_positive, check_whole


class Limited(Protocol):
    """A stepper that takes only so many steps."""

    @property
    def max_steps(self) -> int:
        """How many at most."""


def settle(stepper: Limited, names: Sequence[str]) -> None:
    """See that the numbers of a stepper's fields are such, and keep them as Python's.

    NumPy's will do, and tensors of one number that have no gradient. ``dt`` may be infinite: one
    step from each saved time to the next. ``max_steps`` may be a float, such as 1e5, or infinite.

    Args:
        stepper: made this moment; its fields are replaced.
        names: of the fields that hold sizes > 0 or None.

    Raises:
        ValueError: one is not > 0 or, but for ``dt``, not finite, or ``max_steps`` is not whole.
    """
    for name in names:
        size = _number(getattr(stepper, name))
        if size is not None and not (name == "dt" and size == math.inf):
            check_positive(name, size)
        object.__setattr__(stepper, name, size)
    most = _number(stepper.max_steps)
    if isinstance(most, float) and (most == math.inf or most.is_integer()):
        most = sys.maxsize if most == math.inf else int(most)
    check_whole("max_steps", most)
    object.__setattr__(stepper, "max_steps", most)


def _number(value: object) -> object:
    """A number as Python's own; anything else as it is."""
    if isinstance(value, Tensor) and value.numel() == 1 and not value.requires_grad:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)
