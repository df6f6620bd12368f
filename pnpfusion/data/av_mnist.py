"""Features from the arrays of AV-MNIST: written and spoken digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pnpfusion.data.feature_set import Features
from pnpfusion.data.reading import a_folder, fits, npy_file

TOP = 255.0  #: the largest value of a pixel
HELD_OUT = 12  #: of the training samples, the last 1/12 is for validation: 5000 of 60000


def from_av_mnist(folder: str | Path) -> Features:
    """AV-MNIST: images of digits, (n, 784), and spectrograms of speech, (n, 112, 112).

    Reads ``image/`` and ``audio/`` with ``train_data.npy`` and ``test_data.npy``, numbers from 0 to
    255, and ``train_labels.npy`` and ``test_labels.npy``. A row of a spectrogram is a token.

    Whether image i and spectrogram i show the same digit depends on who made the arrays: it cannot
    be seen from them, so verify it before you trust the set.

    Args:
        folder: where the files are.

    Returns:
        float32 within [0, 1]; the first 11/12 of the training samples (55000 of 60000) for
        training, the rest for validation, the others for test.

    Raises:
        FileNotFoundError: the folder or one of the files is not there.
        ValueError: broken files, other shapes, or numbers outside of 0 to 255.
    """
    folder = a_folder(folder)
    labels = {part: _labels(folder / f"{part}_labels.npy") for part in ("train", "test")}
    shapes = {"image": (784,), "audio": (112, 112)}
    files = {
        modality: {
            part: _checked(folder / modality / f"{part}_data.npy", shape, len(labels[part]))
            for part in labels
        }
        for modality, shape in shapes.items()
    }
    total = 4 * sum(values.size for parts in files.values() for values in parts.values())
    fits(str(folder), total, total)
    n, learnt = sum(map(len, labels.values())), len(labels["train"])
    first = learnt - learnt // HELD_OUT
    rows = {
        "train": torch.arange(first),
        "valid": torch.arange(first, learnt),
        "test": torch.arange(learnt, n),
    }
    return Features(
        "AV-MNIST",
        {
            modality: torch.cat([_scaled(folder / modality, values) for values in parts.values()])
            for modality, parts in files.items()
        },
        target=torch.cat([*labels.values()]),
        class_names=tuple("0123456789"),
        splits={name: chosen for name, chosen in rows.items() if len(chosen)},
        source=str(folder),
    )


def _labels(path: Path) -> torch.Tensor:
    values = npy_file(path)
    if values.ndim != 1 or values.dtype.kind not in "iuf" or not len(values):
        raise ValueError(f"{path} must hold digits, (n,), got {values.dtype} {values.shape}.")
    if not np.isin(values, range(10)).all():
        raise ValueError(f"{path} must hold digits 0 to 9, got others.")
    return torch.from_numpy(values.astype(np.int64))


def _checked(path: Path, shape: tuple[int, ...], n: int) -> NDArray[Any]:
    values = npy_file(path)
    if values.shape != (n, *shape) or values.dtype.kind not in "iuf":
        raise ValueError(
            f"{path} must hold real numbers {(n, *shape)}, one row for each label, got "
            f"{values.dtype} {values.shape}."
        )
    return values


def _scaled(folder: Path, values: NDArray[Any]) -> torch.Tensor:
    scaled = torch.from_numpy(np.array(values, dtype=np.float32, order="C"))
    if not (scaled.min() >= 0 and scaled.max() <= TOP):  # also what is not a number
        raise ValueError(f"{folder} must hold numbers from 0 to 255, got others.")
    return scaled.div_(TOP)
