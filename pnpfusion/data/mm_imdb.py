"""Features from the HDF5 file of MM-IMDB: posters and plots of films, and their genres."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pnpfusion.data.feature_set import Features
from pnpfusion.data.reading import MOST_PACKED, a_file, fits
from pnpfusion.solvers.faq import Faq

FILMS = 25959
BOUNDS = (15552, 18160)  #: where validation begins, and where test does
ARRAYS = {"text": "features", "image": "vgg_features"}  #: in the file, by modality


def from_mm_imdb(path: str | Path, *, bounds: tuple[int, int] | None = None) -> Features:
    """MM-IMDB: word vectors of a plot and VGG features of a poster; which of 23 genres it has.

    Reads ``features``, ``vgg_features`` and ``genres`` of ``multimodal_imdb.hdf5`` with h5py; the
    images themselves are left unread.

    Args:
        path: the file.
        bounds: the first row of validation and the first of test; None is (15552, 18160), the
            published split of all 25959 films.

    Returns:
        float32 text (n, 300) and image (n, 4096), labels, and splits.

    Raises:
        FileNotFoundError: the file is not there.
        ImportError: h5py is not installed.
        ValueError: no HDF5 file, one that is cut short, arrays that are missing, elsewhere or of
            another shape, or another number of films where no ``bounds`` are given.
    """
    path = a_file(path)
    if importlib.util.find_spec("h5py") is None:
        raise ImportError(
            "HDF5 files are read with the package h5py, which is not installed; install it with: "
            f"pip install 'pnpfusion[data]' {Faq.MISSING_PACKAGE}",
            name="h5py",
        )
    import h5py

    try:
        with h5py.File(path, "r") as file:
            arrays = {
                name: _read(path, file, name, kinds)
                for name, kinds in (
                    (*((name, "f") for name in ARRAYS.values()), ("genres", "biuf"))
                )
            }
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(
            f"{path} is no whole file of MM-IMDB: {error}; get multimodal_imdb.hdf5 again."
        ) from None
    genres = arrays.pop("genres")
    if not np.isin(genres, (0, 1)).all():
        raise ValueError(f"{path}: 'genres' must hold 0 and 1 only.")
    n = len(genres)
    if bounds is None and n != FILMS:
        raise ValueError(
            f"{path} holds {n} films, and the published split is of {FILMS}; say where validation "
            f"and test begin by `bounds`."
        )
    valid, test = bounds or BOUNDS
    if not 0 < valid < test < n:
        raise ValueError(f"`bounds` must be 0 < valid < test < {n}, got {(valid, test)}.")
    try:
        return Features(
            "MM-IMDB",
            {name: torch.from_numpy(arrays[array]) for name, array in ARRAYS.items()},
            target=torch.from_numpy(genres.astype(bool)),
            splits={
                "train": torch.arange(valid),
                "valid": torch.arange(valid, test),
                "test": torch.arange(test, n),
            },
            source=str(path),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _read(path: Path, file: Any, name: str, kinds: str) -> NDArray[Any]:
    import h5py

    what = f"{path}: {name!r}"
    try:
        link = file.get(name, getlink=True)
        if link is None:
            raise KeyError(f"no array {name!r}, but {list(file)[:9]}")
        found = file[name] if isinstance(link, h5py.HardLink) else link
        if not isinstance(found, h5py.Dataset):
            raise TypeError("it must be an array in the file itself")
        if found.external or found.is_virtual:
            raise TypeError("it points to other files; wanted an array in the file itself")
        shape, dtype = found.shape, found.dtype
        stored = found.id.get_storage_size() * (MOST_PACKED if found.chunks else 1)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{what} cannot be read: {error}.") from None
    if len(shape) != 2 or dtype.kind not in kinds:
        raise ValueError(f"{what} must be (films, n) of numbers, got {dtype} {shape}.")
    fits(what, math.prod(shape) * dtype.itemsize, stored)
    values: NDArray[Any] = found[()]
    return values.astype(np.float32) if kinds == "f" else values
