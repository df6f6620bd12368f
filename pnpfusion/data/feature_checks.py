"""What must be true of the parts of a set of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pnpfusion.data.task import outputs_of, task_of
from pnpfusion.solvers.arguments import check_floats
from pnpfusion.solvers.faq import Faq


def check_modality(modality: str, values: Tensor) -> None:
    """See that these are the features of some samples, (n, d) or (n, tokens, d).

    Raises:
        ValueError: they are not.
    """
    name = f"modalities[{modality!r}]"
    check_floats(name, values)
    what = f"`{name}`"
    if values.ndim not in (2, 3) or 0 in values.shape[1:]:
        raise ValueError(
            f"{what} must be (samples, features) or (samples, tokens, features) with at least "
            f"one feature, got {tuple(values.shape)}; leave an empty modality out"
            f" {Faq.WRONG_SHAPE}."
        )
    if not len(values):
        raise ValueError(f"{what} has no rows; at least one sample is needed.")


def masked(modality: str, values: Tensor, flags: Tensor | None) -> Tensor:
    """The values, 0 in samples that lack the modality.

    Raises:
        ValueError: flags that are not bool, one for each sample.
    """
    if flags is None:
        return values
    if not isinstance(flags, Tensor) or flags.dtype != torch.bool or flags.shape != (len(values),):
        got = f"{flags.dtype} {tuple(flags.shape)}" if isinstance(flags, Tensor) else type(flags)
        raise ValueError(f"`present[{modality!r}]` must be bool ({len(values)},), got {got}.")
    return values if flags.all() else values.where(flags.reshape(-1, *[1] * (values.ndim - 1)), 0)


def check_finite(modality: str, values: Tensor, columns: Sequence[str]) -> None:
    """See that all features are finite; ``columns`` are their names, as far as they have some.

    Raises:
        ValueError: one is not; it says where.
    """
    if len(wrong := (~values.isfinite()).nonzero()):
        row, *_, column = place = wrong[0].tolist()
        name = f" ({columns[column]})" if column < len(columns) else ""
        raise ValueError(
            f"`modalities[{modality!r}]` must be finite, got {float(values[tuple(place)])} in row "
            f"{row}, column {column}{name}; impute it, drop the row, or say by `present` that "
            f"it is absent {Faq.BAD_NUMBERS}."
        )


def check_target(target: Tensor, class_names: Sequence[str], samples: int) -> None:
    """See that a target tells classes, labels or numbers of so many samples.

    Raises:
        ValueError: it does not, or its names do not fit.
    """
    kinds = (torch.int64, torch.bool, torch.float32, torch.float64)
    if not isinstance(target, Tensor) or target.dtype not in kinds:
        got = getattr(target, "dtype", type(target).__name__)
        raise ValueError(
            f"`target` must be an int64 tensor of classes, a bool one of labels, or a float "
            f"one of numbers, got {got}."
        )
    task, names = task_of(target), len(class_names)
    axes = {"classes": (1,), "labels": (2,), "numbers": (1, 2)}[task]
    if target.ndim not in axes or len(target) != samples or 0 in target.shape:
        one = f"({samples},)" if axes == (1,) else f"({samples}, K)"
        raise ValueError(
            f"`target` of {task} must be {one}, one row per sample, got {tuple(target.shape)}."
        )
    if task == "classes":
        low, high = int(target.min()), int(target.max())
        if low < 0 or high >= names:
            raise ValueError(
                f"`target` must count from 0 to {names - 1}, one for each of `class_names`, "
                f"got {low} to {high}."
            )
    elif names and names != outputs_of(target, class_names):
        raise ValueError(
            f"`class_names` must name each column of `target`, {tuple(target.shape)}, got {names}."
        )
    if task == "numbers" and not target.isfinite().all():
        row = int((~target.isfinite()).nonzero()[0, 0])
        raise ValueError(f"`target` must be finite, but row {row} is not; drop that sample.")


def check_splits(name: str, splits: Mapping[str, Tensor], samples: int) -> None:
    """See that splits of the set of this name are rows of it, no row in two of them.

    Raises:
        ValueError: they are not.
    """
    for split, rows in splits.items():
        what = f"`splits[{split!r}]`"
        if not isinstance(rows, Tensor) or rows.dtype != torch.int64 or rows.ndim != 1:
            raise ValueError(f"{what} must be an int64 tensor (m,) of rows.")
        if not len(rows):
            raise ValueError(f"{what} has no rows; leave it out.")
        if int(rows.min()) < 0 or int(rows.max()) >= samples:
            raise ValueError(
                f"{what} must name rows 0 to {samples - 1}, got {int(rows.min())} to "
                f"{int(rows.max())}."
            )
    together = torch.cat([torch.zeros(0, dtype=torch.long), *splits.values()])
    counts = together.bincount(minlength=1)
    if int(counts.max()) > 1:
        raise ValueError(
            f"`splits` of {name!r} must not share samples, but row {int(counts.argmax())} is in "
            f"{int(counts.max())} places; a sample that is judged must not be learnt from."
        )
