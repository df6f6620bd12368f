"""Classes by name or number, as labels that count from 0."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

#: What a column or array of labels may be called, in lower case.
LABEL_NAMES = ("label", "labels", "class", "target", "y")


def classes(
    values: Sequence[str], what: str, rows: Sequence[int] | None = None
) -> tuple[Tensor, tuple[str, ...]]:
    """Labels ``(n,)`` int64 and the names they stand for, in sorted order (numbers by size).

    Args:
        values: the class of each sample; numbers are read as such, so ``3.0`` and ``3`` are one.
        what: where they stand, for the message.
        rows: what to call the rows there; None counts from 0.

    Raises:
        ValueError: an entry is empty or not finite.
    """
    for row, value in enumerate(values):
        if value.lower() in ("", "nan", "inf", "-inf"):
            place = f"row {row}" if rows is None else f"line {rows[row]}"
            raise ValueError(f"{what}, {place}: got {value!r}, wanted a class; drop that sample.")
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        names = sorted(set(values))
        number = {name: i for i, name in enumerate(names)}
        return torch.tensor([number[value] for value in values]), tuple(names)
    sizes = sorted(set(numbers))
    place_of = {size: i for i, size in enumerate(sizes)}
    return torch.tensor([place_of[n] for n in numbers]), tuple(
        str(int(size)) if size.is_integer() else str(size) for size in sizes
    )
