"""Features from NumPy's archive of named arrays."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import torch

from pnpfusion.data.feature_set import Features
from pnpfusion.data.reading import MOST_PACKED, a_file, fits, npy
from pnpfusion.data.targets import from_arrays
from pnpfusion.solvers.faq import Faq


def from_npz(path: str | Path, *, dtype: torch.dtype = torch.float64) -> Features:
    """Features from an ``.npz`` file: one array per modality, named for it.

    An array called labels, label, class, target or y says what is asked of a sample:

    ==================================  =============================================
    whole numbers or text, (samples,)   classes; floats too, unless it is ``target``
    bool, (samples, K)                  which of K labels a sample has
    floats called ``target``            numbers, (samples,) or (samples, K)
    ==================================  =============================================

    ``class_names`` (text, (K,)) names classes 0, 1, ..., labels or columns. ``split`` says what
    each sample is for: ``train``, ``valid`` or ``test``, or 0, 1, 2; or ``is_test``, bool.
    ``present.NAME``, bool (samples,), says which samples have the modality NAME; what stands in the
    others is not looked at. Arrays called id, ids, patient, sample or subject are left unread.
    Pickled objects are refused, since reading one can run code.

    Args:
        path: the file, as :func:`numpy.savez` writes it.
        dtype: of features and numbers, ``torch.float64`` or ``torch.float32``.

    Returns:
        The features in the order of the file, (samples, features) or (samples, tokens, features);
        classes that have no names in sorted order.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: no archive, pickled objects, no modality, arrays of a wrong shape or kind,
            numbers of rows that differ, entries that are not finite, or an array that is cut short
            or larger than this machine's memory.
    """
    path = a_file(path)
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
            fits(str(path), total, MOST_PACKED * path.stat().st_size)
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                what = f"{path}: array {name!r}"
                if name == member.filename:
                    raise ValueError(f"{path}: {name!r} is no array; write it with numpy.savez.")
                fits(what, member.file_size, MOST_PACKED * member.compress_size)
                try:
                    with archive.open(member) as stream:
                        arrays[name] = npy(what, stream, member.file_size)
                except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
                    raise ValueError(
                        f"{what} cannot be read ({error}); write the file again."
                    ) from None
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise ValueError(
            f"{path} is no .npz archive; write one with numpy.savez(path, audio=..., motion=...) "
            f"({error}) {Faq.DAMAGED_FILE}."
        ) from None
    return from_arrays(path, arrays, dtype)
