"""Features from a folder of comma-separated files, one for each view, as MOGONET's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch

from pnpfusion.data.feature_set import Features
from pnpfusion.data.labels import classes
from pnpfusion.data.reading import a_file, a_folder, numbers_table

OMICS = ("mRNA", "methylation", "miRNA")  #: what MOGONET's three views are


def from_mogonet(folder: str | Path, *, views: Sequence[str] | None = None) -> Features:
    """Features from ``1_tr.csv``, ``1_te.csv``, ``2_tr.csv``, ... with their labels and splits.

    Each file holds numbers with commas between them and no header; row i is the same sample in
    every view. ``labels_tr.csv`` and ``labels_te.csv`` hold a whole number a line,
    ``1_featname.csv``, where it is there, the name of a column a line. Nothing is rescaled: fit
    that on the split "train".

    Args:
        folder: where the files are.
        views: what to call views 1, 2, ...; by default ``mRNA``, ``methylation`` and ``miRNA``
            where there are three, as in MOGONET's own sets, else ``view1``, ``view2``, ...

    Returns:
        The features as float64, training samples first, with splits "train" and "test".

    Raises:
        FileNotFoundError: the folder or one of the files is not there.
        ValueError: broken files, or files that do not fit each other.
    """
    folder = a_folder(folder)
    numbers = sorted(
        int(found[1])
        for path in folder.iterdir()
        if (found := re.fullmatch(r"([1-9]\d?)_tr\.csv", path.name))
    )
    if numbers != list(range(1, len(numbers) + 1)) or not numbers:
        raise ValueError(
            f"{folder} must hold views 1_tr.csv, 2_tr.csv, ..., got numbers {numbers}; see the "
            f"format in docs/data.md."
        )
    if views is None:
        views = OMICS if len(numbers) == 3 else [f"view{i}" for i in numbers]
    if len(set(views)) != len(numbers):
        raise ValueError(f"`views` must be {len(numbers)} different names, got {list(views)}.")
    labels = {end: _labels(folder / f"labels_{end}.csv") for end in ("tr", "te")}
    counts = {end: len(values) for end, values in labels.items()}
    modalities, names = {}, {}
    for i, view in zip(numbers, views, strict=True):
        parts = {}
        for end in ("tr", "te"):
            path = folder / f"{i}_{end}.csv"
            parts[end] = numbers_table(path)
            if len(parts[end]) != counts[end]:
                raise ValueError(
                    f"{path} has {len(parts[end])} rows, but labels_{end}.csv has {counts[end]}; "
                    f"row i of every file is the same sample."
                )
        widths = [part.shape[1] for part in parts.values()]
        if len(set(widths)) > 1:
            raise ValueError(
                f"{folder}: {i}_tr.csv has {widths[0]} columns and {i}_te.csv has {widths[1]}; "
                f"both need the same features."
            )
        modalities[view] = torch.cat([torch.from_numpy(parts[end]) for end in ("tr", "te")])
        if (file := folder / f"{i}_featname.csv").is_file():
            names[view] = tuple(_lines(file))
            if len(names[view]) != widths[0]:
                raise ValueError(
                    f"{file} has {len(names[view])} names, but {i}_tr.csv has {widths[0]} columns."
                )
    target, class_names = classes(labels["tr"] + labels["te"], f"{folder}: labels")
    return Features(
        folder.resolve().name,
        modalities,
        target=target,
        class_names=class_names,
        splits={
            "train": torch.arange(counts["tr"]),
            "test": torch.arange(counts["tr"], len(target)),
        },
        feature_names=names,
        source=str(folder),
    )


def _labels(path: Path) -> list[str]:
    values = numbers_table(path)
    if values.shape[1] != 1:
        raise ValueError(f"{path} must hold one label a line, got {values.shape[1]} columns.")
    for row, value in enumerate(values[:, 0]):
        if value != round(value):
            raise ValueError(f"{path}, row {row}: got {value}, wanted a whole number for a class.")
    return [str(int(value)) for value in values[:, 0]]


def _lines(path: Path) -> list[str]:
    try:
        text = a_file(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text of one name a line: {error}.") from None
    return [line.strip() for line in text.splitlines() if line.strip()]
