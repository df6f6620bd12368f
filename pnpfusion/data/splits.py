"""Which samples to learn from, to choose by and to judge by."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pnpfusion.data.feature_set import Features


def stratified(target: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The rows that stay and those held out, about ``share`` of each class, drawn at random.

    Of a class of two samples or more at least one is held out and one stays; the only one of a
    class stays.

    Args:
        target: classes, int64, (n,).
        share: how much to hold out, within (0, 1).
        generator: where the randomness comes from.

    Returns:
        Rows that stay and rows held out, int64, in ascending order.

    Raises:
        ValueError: a share outside (0, 1), a target of no classes, or nothing to hold out.
    """
    _check(target, share)
    held = []
    for rows in _by_class(target):
        n = len(rows)
        count = min(max(round(share * n), 1), n - 1)
        held.append(rows[torch.randperm(n, generator=generator)[:count]])
    return _apart(len(target), torch.cat(held))


def folds_of_blocks(target: Tensor, k: int) -> list[tuple[Tensor, Tensor]]:
    """Rows to learn from and rows to judge by, k times: fold i judges by block i of every class.

    The rows of each class, in their order, are cut into k contiguous blocks. Where neighbours in
    time are alike, as in recordings cut into windows, this tells more than random folds, in which
    each sample judged has a neighbour that was learnt from.

    Args:
        target: classes, int64, (n,).
        k: how many folds.

    Returns:
        For each fold, rows to learn from and rows to judge by, int64, in ascending order.

    Raises:
        ValueError: k < 2, a target of no classes, or a class of fewer than k samples.
    """
    _check(target, 0.5)
    if k < 2:
        raise ValueError(f"`k` must be >= 2, got {k}.")
    groups = _by_class(target)
    if (least := min(map(len, groups))) < k:
        raise ValueError(f"`k` = {k} folds need {k} samples of each class, but one has {least}.")
    blocks = [rows.tensor_split(k) for rows in groups]
    return [_apart(len(target), torch.cat([parts[i] for parts in blocks])) for i in range(k)]


def holdout(
    features: Features, valid: float = 0.2, test: float = 0.0, *, generator: torch.Generator
) -> Features:
    """The same with splits: some rows for validation and for test drawn from those for training.

    A split that is there stays as it is; where there are none, all rows are for training at first.
    Classes are drawn from evenly (:func:`stratified`), other samples at random.

    Args:
        features: the set.
        valid: which share of the samples that are at hand for training to validate by, within
            [0, 1); 0 for none.
        test: likewise to test by. It is drawn first, and both are shares of the same number.
        generator: where the randomness comes from.

    Raises:
        ValueError: shares outside [0, 1) or of more than everything, splits without "train", or too
            few samples.
    """
    numbers = all(isinstance(share, int | float) for share in (valid, test))
    if not (numbers and 0 <= valid < 1 and 0 <= test < 1 and valid + test < 1):
        raise ValueError(
            f"`valid` and `test` must be shares within [0, 1) that leave something, got {valid!r} "
            f"and {test!r}."
        )
    splits = dict(features.splits)
    if splits and "train" not in splits:
        raise ValueError(f"{features.name!r} has splits {list(splits)}, but none called 'train'.")
    rows = splits.get("train", torch.arange(len(features)))
    remaining = 1.0
    for name, share in (("test", test), ("valid", valid)):
        if share and name not in splits:
            rows, splits[name] = _draw(features, rows, share / remaining, generator)
            remaining -= share
    splits["train"] = rows
    order = ("train", "valid", "test")
    return replace(features, splits={name: splits[name] for name in order if name in splits})


def _draw(
    features: Features, rows: Tensor, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Of these rows: those that stay and those held out."""
    if features.task == "classes" and features.target is not None:
        stay, held = stratified(features.target[rows], share, generator)
    else:
        if len(rows) < 2:
            raise ValueError(f"{features.name!r} has too few samples to hold one out.")
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        stay, held = _apart(len(rows), torch.randperm(len(rows), generator=generator)[:count])
    return rows[stay], rows[held]


def _check(target: Tensor, share: float) -> None:
    if target.dtype != torch.int64 or target.ndim != 1 or not len(target):
        raise ValueError(
            f"`target` must be int64 classes, (n,), got {target.dtype} {tuple(target.shape)}."
        )
    if not 0 < share < 1:
        raise ValueError(f"`share` must be within (0, 1), got {share}.")
    if int(target.bincount().max()) < 2:
        raise ValueError("`target` has no class of two samples, so none can be held out.")


def _by_class(target: Tensor) -> list[Tensor]:
    return [(target == label).nonzero()[:, 0] for label in target.unique()]


def _apart(n: int, held: Tensor) -> tuple[Tensor, Tensor]:
    """The other rows of n, and these, both in ascending order."""
    mask = torch.zeros(n, dtype=torch.bool)
    mask[held] = True
    return (~mask).nonzero()[:, 0], mask.nonzero()[:, 0]
