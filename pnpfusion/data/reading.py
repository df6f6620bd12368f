"""What all readers ask of a file before they believe it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pnpfusion.solvers.faq import Faq

#: No byte of a deflated or zipped file stands for more than this many.
MOST_PACKED = 1100
#: What comes of a header of nonsense, which NumPy reads as a Python literal.
UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    SyntaxError,
    TokenError,
    OverflowError,
    RecursionError,
    MemoryError,
)


def a_file(path: str | Path) -> Path:
    """The path, if a file is there.

    Raises:
        FileNotFoundError: none is.
    """
    return _there(Path(path), Path.is_file, "file")


def a_folder(path: str | Path) -> Path:
    """The path, if a folder is there.

    Raises:
        FileNotFoundError: none is.
    """
    return _there(Path(path), Path.is_dir, "folder")


def fits(what: str, declared: int, stored: int) -> None:
    """Nothing, if ``declared`` bytes can be in ``stored`` ones and in this machine's memory.

    Raises:
        ValueError: they cannot.
    """
    if declared > stored:
        raise ValueError(
            f"{what} is said to hold {declared} bytes, but {stored} are there; it was cut short or "
            f"is broken, get it again {Faq.DAMAGED_FILE}."
        )
    if declared > (memory := _memory()):
        raise ValueError(
            f"{what} holds {declared / 2**30:.1f} GiB, more than this machine's memory of "
            f"{memory / 2**30:.1f} GiB; write a part of it to a file of its own"
            f" {Faq.OUT_OF_MEMORY}."
        )


def npy(what: str, stream: IO[bytes], size: int) -> NDArray[Any]:
    """The array of an ``.npy`` stream of ``size`` bytes, whose header is checked before it is read.

    Raises:
        ValueError: no such array, one of Python objects, or one that is cut short.
    """
    shape, fortran, dtype = _header(what, stream)
    length = math.prod(shape) * dtype.itemsize
    fits(what, length, size - stream.tell())
    data = stream.read(length)
    if len(data) < length or stream.read(1):  # the end must be reached: there sums are checked
        raise ValueError(f"{what} is longer or shorter than its header says; write it again.")
    values: NDArray[Any] = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return values


def npy_file(path: Path) -> NDArray[Any]:
    """The array of an ``.npy`` file, mapped and not yet read.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: no such array, one of Python objects, or one that is cut short.
    """
    with a_file(path).open("rb") as stream:
        shape, _, dtype = _header(str(path), stream)
        left = path.stat().st_size - stream.tell()
    fits(str(path), math.prod(shape) * dtype.itemsize, left)
    values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return values


def features(what: str, values: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
    """A modality: (samples, features) or (samples, tokens, features) of real numbers.

    Raises:
        ValueError: other numbers of axes, or no real numbers.
    """
    if values.dtype.kind not in "fiu":
        raise ValueError(f"{what} must hold real numbers, got dtype {values.dtype}.")
    if values.ndim not in (2, 3):
        raise ValueError(
            f"{what} must be (samples, features), got {values.shape}, or (samples, tokens, "
            f"features); arrays of classes are called label, of numbers target."
        )
    width = torch.empty((), dtype=dtype).element_size()
    fits(what, values.size * width, values.size * width)
    kind = np.float32 if dtype == torch.float32 else np.float64
    return torch.from_numpy(np.array(values, dtype=kind, order="C"))


def numbers_table(path: Path) -> NDArray[np.float64]:
    """The numbers of comma-separated text without a header, (lines, columns).

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: no text, nothing in it, lines of different length, or an entry that is no finite
            number.
    """
    try:
        with a_file(path).open(encoding="utf-8-sig") as stream:
            lines = [line for line in stream if line.strip()]
        if not lines:
            raise ValueError("it is empty")
        values = np.loadtxt(lines, delimiter=",", comments=None, ndmin=2, dtype=np.float64)
    except ValueError as error:
        raise ValueError(
            f"{path} must hold numbers with commas between them, no header, and as many on each "
            f"line: {error}."
        ) from None
    for row, column in np.argwhere(~np.isfinite(values)):
        raise ValueError(
            f"{path}, row {row}, column {column}: got {values[row, column]}, wanted a finite "
            f"number; fill it in, or drop the sample from all files {Faq.BAD_NUMBERS}."
        )
    return values


def _there(path: Path, is_one: Callable[[Path], bool], kind: str) -> Path:
    if not is_one(path):
        raise FileNotFoundError(
            f"{path} is not there or no {kind}; check the path {Faq.DATA_NOT_FOUND}."
        )
    return path


def _header(what: str, stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read(stream)
    except UNREADABLE as error:
        raise ValueError(
            f"{what} cannot be read as an array ({error}); write it again with numpy.save."
        ) from None
    if dtype.hasobject:
        raise ValueError(
            f"{what} holds pickled objects, which can run code when read; save numbers or text."
        )
    if any(n < 0 for n in shape) or dtype.itemsize == 0:
        raise ValueError(f"{what} is of shape {shape} and dtype {dtype}; write it again.")
    return shape, fortran, dtype


def _memory() -> int:
    """Of this machine, in bytes; endless where it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**63
