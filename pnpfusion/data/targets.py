"""What is asked of samples and what they are for, from arrays: one rule for all files of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnpfusion.data.feature_set import Features
from pnpfusion.data.labels import LABEL_NAMES, classes
from pnpfusion.data.reading import features

#: What samples may be for; an array of numbers counts them from 0.
SPLITS = ("train", "valid", "test")
PRESENT = "present."  #: before a modality's name: the array that says which samples have it
#: Arrays that name samples; they are left unread.
IDENTIFIERS = ("id", "ids", "patient", "sample", "subject")


def from_arrays(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    dtype: torch.dtype,
    *,
    name: str = "",
    class_names: Sequence[str] = (),
    feature_names: Mapping[str, tuple[str, ...]] | None = None,
    terms: str = "",
    source: str = "",
) -> Features:
    """The features of a file of named arrays; :func:`~pnpfusion.data.from_npz` tells the rule.

    Args:
        path: the file, for messages.
        arrays: by name.
        dtype: of the modalities and of numbers.
        name: of the set; that of the file if not given.
        class_names: unless the arrays hold them.
        feature_names: as in :class:`Features`.
        terms: as in :class:`Features`.
        source: as in :class:`Features`; the file if not given.

    Raises:
        ValueError: as :func:`~pnpfusion.data.from_npz`.
    """
    asked = [name for name in arrays if name.lower() in LABEL_NAMES]
    if len(asked) > 1:
        raise ValueError(f"{path} has more than one array of labels, {asked}; keep one.")
    settled = (*asked, "class_names", "split", "is_test", *IDENTIFIERS)
    modalities = {
        name: features(f"{path}: {name!r}", values, dtype)
        for name, values in arrays.items()
        if name not in settled and not name.startswith(PRESENT)
    }
    if not modalities:
        raise ValueError(f"{path} has no modality; wanted one 2-D array for each.")
    names = tuple(class_names)
    if "class_names" in arrays:
        names = tuple(_texts(f"{path}: 'class_names'", arrays["class_names"]))
    target = None
    if asked:
        target, names = _target(f"{path}: ", asked[0], arrays[asked[0]], names, dtype)
    elif names:
        raise ValueError(
            f"{path} has class_names but no labels; add an array of one of {list(LABEL_NAMES)}."
        )
    try:
        return Features(
            name or path.stem,
            modalities,
            present=_present(path, arrays, modalities),
            target=target,
            class_names=names,
            splits=_splits(path, arrays),
            feature_names=feature_names or {},
            terms=terms,
            source=source or str(path),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def splits_of(
    values: Sequence[str], what: str, rows: Sequence[int] | None = None
) -> dict[str, Tensor]:
    """The samples for training, validation and test, from one of these words for each.

    Args:
        values: ``train``, ``valid`` or ``test`` for each sample.
        what: where they stand, for the message.
        rows: what to call the rows there; None counts from 0.

    Raises:
        ValueError: another word.
    """
    for row, value in enumerate(values):
        if value not in SPLITS:
            place = f"row {row}" if rows is None else f"line {rows[row]}"
            raise ValueError(f"{what}, {place}: got {value!r}, wanted one of {list(SPLITS)}.")
    found = {split: [i for i, value in enumerate(values) if value == split] for split in SPLITS}
    return {split: torch.tensor(chosen) for split, chosen in found.items() if chosen}


def _present(
    path: Path, arrays: Mapping[str, NDArray[Any]], modalities: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Which samples have a modality, of those of which an array says so."""
    found = {}
    for name, values in arrays.items():
        if name.startswith(PRESENT):
            modality = name.removeprefix(PRESENT)
            if modality not in modalities or values.dtype.kind != "b":
                raise ValueError(
                    f"{path}: {name!r} must be bool, and named for one of {[*modalities]}, got "
                    f"{values.dtype}."
                )
            found[modality] = torch.from_numpy(values.copy())
    return found


def _target(
    where: str, name: str, values: NDArray[Any], names: tuple[str, ...], dtype: torch.dtype
) -> tuple[Tensor, tuple[str, ...]]:
    what = f"{where}{name!r}"
    if values.dtype.kind == "b" and values.ndim == 2:
        return torch.from_numpy(values.copy()), names
    if values.dtype.kind == "f" and name.lower() == "target" and values.ndim in (1, 2):
        kind = np.float32 if dtype == torch.float32 else np.float64
        return torch.from_numpy(np.array(values, dtype=kind, order="C")), names
    if values.ndim != 1 or values.dtype.kind not in "biufUS":
        raise ValueError(
            f"{where}labels {name!r} must be (samples,) whole numbers or text for classes, "
            f"(samples, K) bool for labels, or floats called target for numbers, got {values.dtype}"
            f" {values.shape}."
        )
    if not names:
        return classes(_texts(what, values), what)
    if values.dtype.kind in "US":
        number = {known: i for i, known in enumerate(names)}
        texts = _texts(what, values)
        if unknown := [text for text in texts if text not in number]:
            raise ValueError(f"{what} holds {unknown[0]!r}, which is none of {list(names)}.")
        return torch.tensor([number[text] for text in texts]), names
    if values.dtype.kind not in "iu":
        raise ValueError(
            f"{what} must hold whole numbers or text where class_names are given, got "
            f"{values.dtype}."
        )
    return torch.from_numpy(values.astype(np.int64)), names


def _splits(path: Path, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    if "split" in arrays and "is_test" in arrays:
        raise ValueError(f"{path} has split and is_test; keep one.")
    if "is_test" in arrays:
        held = arrays["is_test"]
        if held.dtype.kind != "b" or held.ndim != 1:
            raise ValueError(f"{path}: 'is_test' must be (samples,) bool, got {held.dtype}.")
        values = ["test" if flag else "train" for flag in held]
        return splits_of(_as_many(path, "is_test", values, arrays), f"{path}: 'is_test'")
    if "split" not in arrays:
        return {}
    given = arrays["split"]
    if given.dtype.kind in "iu" and given.ndim == 1:
        values = [SPLITS[i] if 0 <= i < len(SPLITS) else str(i) for i in given.tolist()]
    else:
        values = _texts(f"{path}: 'split'", given)
    return splits_of(_as_many(path, "split", values, arrays), f"{path}: 'split'")


def _as_many(
    path: Path, name: str, values: list[str], arrays: Mapping[str, NDArray[Any]]
) -> list[str]:
    """The values, if there is one for each row of the first modality."""
    rows = next(len(a) for a in arrays.values() if a.ndim > 1)
    if len(values) != rows:
        raise ValueError(
            f"{path}: {name!r} must have one entry for each of {rows} samples, got {len(values)}."
        )
    return values


def _texts(what: str, values: NDArray[Any]) -> list[str]:
    if values.ndim != 1:
        raise ValueError(f"{what} must be (n,) of text or numbers, got {values.shape}.")
    if values.dtype.kind == "S":
        try:
            return [value.decode().strip() for value in values.tolist()]
        except UnicodeDecodeError as error:
            raise ValueError(f"{what} is no UTF-8 text: {error}.") from None
    return [str(value).strip() for value in values]
