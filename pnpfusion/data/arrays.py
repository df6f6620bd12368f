"""Features from NumPy's archive of named arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pnpfusion.data.feature_set import Features
from pnpfusion.data.labels import LABEL_NAMES, classes


def from_npz(path: str | Path) -> Features:
    """Features from an ``.npz`` file: one 2-D array per modality, named for it.

    A 1-D array called labels, label, class, target or y holds the classes, as numbers or text.
    Pickled objects are refused, since reading one can run code.

    Args:
        path: the file, as :func:`numpy.savez` writes it.

    Returns:
        The features as float64, in the order of the file; classes in sorted order.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: no archive, pickled objects, no modality, arrays of a wrong shape or kind,
            numbers of rows that differ, or entries that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there or no file; check the path.")
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} is no .npz archive; write one with numpy.savez(path, audio=..., motion=...)."
        )
    modalities: dict[str, torch.Tensor] = {}
    labels: torch.Tensor | None = None
    class_names: tuple[str, ...] = ()
    with np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
            values = _read(path, archive, name)
            if name.lower() in LABEL_NAMES:
                if labels is not None:
                    raise ValueError(f"{path} has more than one array of labels; keep one.")
                if values.ndim != 1:
                    raise ValueError(
                        f"{path}: labels {name!r} must be (samples,), got {values.shape}."
                    )
                texts = [str(value).strip() for value in values]
                labels, class_names = classes(texts, f"{path}: {name!r}")
            else:
                modalities[name] = _features(path, name, values)
    if not modalities:
        raise ValueError(f"{path} has no modality; wanted one 2-D array for each.")
    try:
        return Features(
            path.stem, modalities, target=labels, class_names=class_names, source=str(path)
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _read(path: Path, archive: Any, name: str) -> NDArray[Any]:
    try:
        values = archive[name]
    except (ValueError, zipfile.BadZipFile, OSError, EOFError) as error:
        why = (
            "holds pickled objects, which can run code when read; save numbers or text"
            if "pickle" in str(error)
            else f"cannot be read ({error}); write the file again"
        )
        raise ValueError(f"{path}: array {name!r} {why}.") from None
    if not isinstance(values, np.ndarray):
        raise ValueError(f"{path}: {name!r} is no array; write it with numpy.savez.")
    return values


def _features(path: Path, name: str, values: NDArray[Any]) -> torch.Tensor:
    if values.dtype.kind not in "fiu":
        raise ValueError(f"{path}: {name!r} must hold real numbers, got dtype {values.dtype}.")
    if values.ndim != 2:
        raise ValueError(
            f"{path}: {name!r} must be (samples, features), got {values.shape}; "
            f"arrays of classes are called one of {list(LABEL_NAMES)}."
        )
    return torch.from_numpy(values.astype(np.float64))
