"""One table of numbers, as scikit-learn has it, cut into modalities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Which columns each modality has: a slice, numbers or names; or how many, in their order.
Columns = Mapping[str, Any] | None
WHOLE = "features"  #: what the modality is called that has all columns


def read_table(X: Any) -> tuple[NDArray[Any], tuple[str, ...]]:
    """A copy of the numbers (n, d), float32 or float64, and what the columns are called, if known.

    Raises:
        TypeError: a sparse matrix, or entries that are no numbers.
        ValueError: another shape, or nothing in it.
    """
    if hasattr(X, "tocsr"):
        raise TypeError("`X` must not be sparse; give X.toarray().")
    names = tuple(getattr(X, "columns", ()))
    values = np.asarray(X.detach().cpu() if isinstance(X, Tensor) else X)
    if values.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: `X` must be real, got {values.dtype}.")
    if values.ndim != 2:
        raise ValueError(
            f"`X` must be (samples, features), got {values.shape}. Reshape your data: "
            f"X.reshape(1, -1) is one sample, X.reshape(-1, 1) has one feature."
        )
    for axis, what in enumerate(("sample", "feature")):
        if not values.shape[axis]:
            raise ValueError(
                f"`X` has 0 {what}(s) (shape={values.shape}) while a minimum of 1 is required."
            )
    kind = np.float32 if values.dtype == np.float32 else np.float64
    try:
        numbers = values.astype(kind)
    except (TypeError, ValueError) as error:
        raise type(error)(f"`X` must hold numbers, got {values.dtype}: {error}.") from None
    return numbers, names if all(isinstance(name, str) for name in names) else ()


def is_parts(X: Any) -> bool:
    """Whether it is a dict of tables, one for each modality."""
    return isinstance(X, Mapping) and not hasattr(X, "tocsr")  # a sparse matrix may be a dict


def joined(X: Mapping[str, Any], columns: Mapping[str, list[int]], width: int) -> NDArray[Any]:
    """One table (n, ``width``) of a dict of tables, each in its columns; NaN for what is None.

    Raises:
        TypeError: see :func:`read_table`.
        ValueError: other names, widths that differ, or numbers of rows that do; see also there.
    """
    if {*X} != {*columns}:
        raise ValueError(f"`X` must have the modalities {[*columns]}, got {[*X]}.")
    tables = {name: read_table(part)[0] for name, part in X.items() if part is not None}
    rows = {name: len(table) for name, table in tables.items()}
    if len({*rows.values()}) != 1:
        raise ValueError(
            f"`X` as a dict must hold arrays of equal numbers of rows, got {rows or [*X]}; row i "
            f"of every modality is the same sample, and NaN where it lacks one."
        )
    whole = np.full((max(rows.values()), width), np.nan)
    for name, table in tables.items():
        if table.shape[1] != len(columns[name]):
            raise ValueError(
                f"`X[{name!r}]` must have {len(columns[name])} features, got {table.shape[1]}."
            )
        whole[:, columns[name]] = table
    return whole


def columns_of(modalities: Columns, names: tuple[str, ...], width: int) -> dict[str, list[int]]:
    """The columns of each modality, by number.

    Raises:
        ValueError: a column that is not there or stands twice, or widths of another sum.
    """
    if modalities is None:
        return {WHOLE: [*range(width)]}
    if not isinstance(modalities, Mapping) or not modalities:
        raise ValueError(
            f"`modalities` must map names to columns, such as {{'audio': slice(0, 36), 'motion': "
            f"slice(36, 52)}}, or to widths, got {modalities!r}."
        )
    widths = [
        isinstance(told, Integral) and not isinstance(told, bool) for told in modalities.values()
    ]
    if all(widths):
        return _in_order({name: int(told) for name, told in modalities.items()}, width)
    if any(widths):
        raise ValueError(f"`modalities` must be all widths or all columns, got {modalities!r}.")
    found = {str(name): _numbers(name, told, names, width) for name, told in modalities.items()}
    owner: dict[int, str] = {}
    for name, columns in found.items():
        for column in columns:
            if column in owner:
                raise ValueError(
                    f"`modalities` must not share columns, but column {column} is in "
                    f"{owner[column]!r} and {name!r}."
                )
            owner[column] = name
    return found


def _in_order(widths: Mapping[str, int], width: int) -> dict[str, list[int]]:
    if min(widths.values()) < 1 or sum(widths.values()) != width:
        raise ValueError(
            f"`modalities` must be widths >= 1 that add up to the {width} columns of `X`, got "
            f"{dict(widths)}."
        )
    ends = np.cumsum([*widths.values()]).tolist()
    return {name: [*range(end - widths[name], end)] for name, end in zip(widths, ends, strict=True)}


def _numbers(modality: str, told: Any, names: tuple[str, ...], width: int) -> list[int]:
    what = f"`modalities[{modality!r}]`"
    if isinstance(told, slice):
        if told.stop is not None and told.stop > width:
            raise ValueError(f"{what} ends at {told.stop}, but `X` has {width} columns.")
        found = [*range(*told.indices(width))]
    elif isinstance(told, Iterable) and not isinstance(told, str):
        found = [_number(what, column, names, width) for column in told]
    else:
        raise ValueError(f"{what} must be a slice, or a list of columns, got {told!r}.")
    if not found:
        raise ValueError(f"{what} has no columns; leave it out.")
    return found


def _number(what: str, column: Any, names: tuple[str, ...], width: int) -> int:
    if isinstance(column, str):
        if column not in names:
            has = f"columns {[*names]}" if names else "columns without names (no DataFrame)"
            raise ValueError(f"{what} names the column {column!r}, but `X` has {has:.200}.")
        return names.index(column)
    number = int(column) if isinstance(column, Integral) and not isinstance(column, bool) else -1
    if not 0 <= number < width:
        raise ValueError(
            f"{what} must hold columns from 0 to {width - 1}, or their names, got {column!r}."
        )
    return number


def cut(
    table: NDArray[Any], columns: Mapping[str, list[int]]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The features of each modality, (n, d), and which samples have it, bool (n,).

    A sample whose entries of a modality are all NaN lacks it; they are 0 then.

    Raises:
        ValueError: NaN in a part of a modality, or a sample without any.
    """
    features, present = {}, {}
    for name, numbers in columns.items():
        values = torch.from_numpy(table[:, numbers])
        absent = values.isnan()
        whole = absent.all(1)
        if len(partly := (absent.any(1) & ~whole).nonzero()):
            row = int(partly[0])
            raise ValueError(
                f"row {row} of `X` has NaN in {int(absent[row].sum())} of the {len(numbers)} "
                f"columns of {name!r}. A modality that is all NaN is missing; else impute it."
            )
        features[name], present[name] = torch.where(absent, 0, values), ~whole
    if len(bare := (~torch.stack([*present.values()]).any(0)).nonzero()):
        raise ValueError(
            f"row {int(bare[0])} of `X` is NaN in all of {[*columns]}; a sample needs a modality: "
            f"drop it."
        )
    return features, present
