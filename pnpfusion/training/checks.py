"""What must be true of the entries of a record that may come from a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pnpfusion.spelling import did_you_mean


def known_fields(record: type, told: object, what: str) -> dict[str, Any]:
    """``told``, if it is an object whose names are all fields of the record.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(told, Mapping):
        raise ValueError(f"a {what} must be an object of names and values, got {told!r:.60}.")
    names = [one.name for one in fields(record)]
    for name in told:
        if name not in names:
            advice = did_you_mean(str(name), names, f"it has {names}.")
            raise ValueError(f"a {what} has no {name!r}; {advice}")
    return dict(told)


def check_number(
    name: str, value: object, low: float, high: float, *, open_below: bool = False
) -> None:
    """See that an entry is a finite number from ``low`` to ``high``, or above ``low``.

    Raises:
        ValueError: it is not.
    """
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not low <= value <= high or (open_below and value == low):  # type: ignore[operator]
        wanted = f"above {low}" if open_below else f">= {low}"
        wanted += "" if high == math.inf else f" and <= {high}"
        raise ValueError(f"`{name}` must be a finite number {wanted}, got {value!r}.")
