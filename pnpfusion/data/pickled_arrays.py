"""An unpickler that makes arrays of numbers and refuses whatever else a pickle asks for.

Only :mod:`pnpfusion.data.convert_multibench` imports this. No code of NumPy runs on what the pickle
says before it has been checked: arrays and their dtypes are rebuilt here.
"""

from __future__ import annotations

import math
import pickle
from reprlib import repr as short
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

KINDS = "biufSUO"  #: of dtypes; those of objects are passed over, and never made


class PickledDtype:
    """Stands for ``numpy.dtype`` while reading; its state says the order of bytes."""

    def __init__(self, code: Any, align: Any = False, copy: Any = False) -> None:
        if not isinstance(code, str) or code[:1] not in KINDS or not code[1:].isdigit():
            raise ValueError(f"it holds an array of dtype {short(code)}; wanted plain numbers.")
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
            raise ValueError(f"it holds a dtype of state {short(state)}; wanted plain numbers.")
        if any(part is not None for part in state[2:5]):
            raise ValueError("it holds an array of records; wanted plain numbers.")
        self.order = state[1]


class PickledArray:
    """Stands for ``numpy.ndarray`` while reading."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.dtype: PickledDtype | None = None
        self.fortran = False
        self.data: Any = b""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("it holds an array of a form that is not known.")
        self._set(*state[1:])

    def _set(self, shape: Any, dtype: Any, fortran: Any, data: Any) -> None:
        sizes = shape if isinstance(shape, tuple) else (shape,)
        if not all(isinstance(n, int) and n >= 0 for n in sizes):
            raise ValueError(f"it holds an array of shape {short(shape)}.")
        if not isinstance(dtype, PickledDtype):
            raise ValueError("it holds an array without a dtype.")
        self.shape, self.dtype, self.fortran, self.data = sizes, dtype, bool(fortran), data

    def numbers(self, what: str) -> NDArray[Any]:
        """The array.

        Raises:
            ValueError: not of numbers, or not as many as its shape says.
        """
        if self.dtype is None or self.dtype.code[0] not in "biuf":
            raise ValueError(f"{what} must hold numbers.")
        data = self.data.encode("latin1") if isinstance(self.data, str) else self.data
        try:
            dtype = np.dtype(self.dtype.order + self.dtype.code)
        except TypeError as error:
            raise ValueError(f"{what}: {error}.") from None
        if not isinstance(data, bytes | bytearray) or len(data) != math.prod(
            (*self.shape, dtype.itemsize)
        ):
            raise ValueError(f"{what} is of shape {self.shape}, but does not hold as many numbers.")
        values = np.frombuffer(data, dtype) if data else np.zeros(0, dtype)
        order = "F" if self.fortran else "C"
        return values.reshape(self.shape, order=order)  # type: ignore[call-overload, no-any-return]


class _Bounded:
    """A stream of which no more is asked for than there is."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._size = stream, size
        self.readline, self.readinto = stream.readline, stream.readinto  # type: ignore[attr-defined]

    def read(self, n: int) -> bytes:
        if n > self._size - self._stream.tell():
            raise EOFError(f"{n} bytes are said to follow, which are not there")
        return self._stream.read(n)


class ArraysOnly(pickle._Unpickler):
    """Knows what NumPy's arrays are pickled by, protocols 0 to 5; every other name is refused.

    It is Python's own, not C's, whose table of what it remembers is as long as a pickle says.

    Args:
        stream: of the pickle.
        size: how many bytes that has.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        super().__init__(_Bounded(stream, size), encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        """What to call instead of the function that a pickle names.

        Raises:
            ValueError: any name that arrays do not need.
        """
        known = KNOWN.get((module.replace("numpy._core.", "numpy.core."), name))
        if known is None:
            raise ValueError(
                f"it asks for {module}.{name}, which arrays do not need, and may run code by it; "
                f"nothing was read."
            )
        return known


def _reconstruct(kind: Any, shape: Any, code: Any) -> PickledArray:
    return PickledArray()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
    array = PickledArray()
    array._set(shape, dtype, order == "F", bytes(data))
    return array


def _scalar(dtype: Any, data: Any = b"") -> PickledArray:
    array = PickledArray()
    array._set((), dtype, False, data)
    return array


def _encode(text: Any, encoding: Any) -> bytes:
    """What Python 3 writes bytes by in old protocols."""
    if encoding != "latin1" or not isinstance(text, str):
        raise ValueError(f"it asks for the encoding {short(encoding)}; wanted latin1.")
    return text.encode("latin1")


KNOWN = {
    ("numpy", "ndarray"): PickledArray,
    ("numpy", "dtype"): PickledDtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
}
