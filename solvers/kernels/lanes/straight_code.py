"""Eight numbers side by side in one wide register, for kernels that say so themselves.

LLVM does not vectorise a recurrence along a line, nor a loop whose body is hundreds of products.
Functions that are :func:`written` say their arithmetic once, in Python, for values that are either
:class:`Lanes` or exact zeros and ones; what compiles is straight code without loops or zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from inspect import Parameter, Signature, signature
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

WIDTH = 8
DOUBLE, WHOLE = ir.DoubleType(), ir.IntType(64)
VECTOR, WHOLES = ir.VectorType(DOUBLE, WIDTH), ir.VectorType(WHOLE, WIDTH)
FUSED = ("contract",)  # a product and a sum in one instruction


class Lanes:
    """Eight numbers of the code that is being written. Sums and products with 0 cost nothing."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def _other(self, other: Lanes | float) -> Any:
        if isinstance(other, Lanes):
            return other.value
        return ir.Constant(VECTOR, [float(other)] * WIDTH)

    def _made(self, name: str, first: Any, second: Any) -> Lanes:
        return Lanes(self.builder, getattr(self.builder, name)(first, second, flags=FUSED))

    def __add__(self, other: Lanes | float) -> Lanes:
        if not isinstance(other, Lanes) and other == 0:
            return self
        return self._made("fadd", self.value, self._other(other))

    __radd__ = __add__

    def __sub__(self, other: Lanes | float) -> Lanes:
        if not isinstance(other, Lanes) and other == 0:
            return self
        return self._made("fsub", self.value, self._other(other))

    def __rsub__(self, other: float) -> Lanes:
        return -self if other == 0 else self._made("fsub", self._other(other), self.value)

    def __mul__(self, other: Lanes | float) -> Any:
        if not isinstance(other, Lanes):
            if other == 0:
                return 0
            if other in (1, -1):
                return self if other == 1 else -self
        return self._made("fmul", self.value, self._other(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Lanes | float) -> Lanes:
        return self._made("fdiv", self.value, self._other(other))

    def __rtruediv__(self, other: float) -> Lanes:
        return self._made("fdiv", self._other(other), self.value)

    def __neg__(self) -> Lanes:
        return Lanes(self.builder, self.builder.fneg(self.value, flags=FUSED))

    def __abs__(self) -> Lanes:
        positive = ir.Constant(WHOLES, [2**63 - 1] * WIDTH)
        bits = self.builder.bitcast(self.value, WHOLES)
        return Lanes(self.builder, self.builder.bitcast(self.builder.and_(bits, positive), VECTOR))

    def where_less(self, other: Lanes | float, mine: Lanes | float, theirs: Lanes | float) -> Lanes:
        """``mine`` where this is less than ``other``, ``theirs`` elsewhere and at NaN."""
        less = self.builder.fcmp_ordered("<", self.value, self._other(other))
        return Lanes(
            self.builder, self.builder.select(less, self._other(mine), self._other(theirs))
        )

    def moved(self, by: int) -> Lanes:
        """Lane l holds what was in lane l - ``by``; 0 where there was none."""
        none = ir.Constant(VECTOR, [0.0] * WIDTH)
        source = [lane - by if 0 <= lane - by < WIDTH else WIDTH for lane in range(WIDTH)]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), source)
        return Lanes(self.builder, self.builder.shuffle_vector(self.value, none, mask))

    def power_of_two_from_bits(self) -> Lanes:
        """2^k of the number k + 1.5 * 2^52, whose last bits are k."""
        bits = self.builder.bitcast(self.value, WHOLES)
        bits = self.builder.add(bits, ir.Constant(WHOLES, [1023] * WIDTH))
        bits = self.builder.shl(bits, ir.Constant(WHOLES, [52] * WIDTH))
        return Lanes(self.builder, self.builder.bitcast(bits, VECTOR))


class Record:
    """Rows of eight numbers in memory."""

    def __init__(self, builder: Any, pointer: Any) -> None:
        self.builder, self.pointer = builder, pointer

    def __getitem__(self, row: int) -> Lanes:
        place = self.builder.gep(self.pointer, [WHOLE(row)])
        return Lanes(self.builder, self.builder.load(place, align=8))

    def __setitem__(self, row: int, value: Lanes | float) -> None:
        if not isinstance(value, Lanes):
            value = Lanes(self.builder, ir.Constant(VECTOR, [float(value)] * WIDTH))
        self.builder.store(value.value, self.builder.gep(self.pointer, [WHOLE(row)]), align=8)

    def rows(self, first: int, count: int) -> list[Lanes]:
        """Some rows, loaded."""
        return [self[row] for row in range(first, first + count)]

    def put(self, first: int, values: Sequence[Lanes | float]) -> None:
        """Store some rows."""
        for row, value in enumerate(values, first):
            self[row] = value


class Records:
    """An array ``(records, rows, 8)``."""

    def __init__(self, builder: Any, array: Any) -> None:
        self.builder, self.array = builder, array
        self.stride = builder.extract_value(array.strides, 0)

    def at(self, index: Any, offset: int = 0) -> Record:
        """The record at the whole number ``index``, or some after it."""
        place = self.builder.mul(self.builder.add(index, WHOLE(offset)), self.stride)
        bytes_ = self.builder.bitcast(self.array.data, ir.IntType(8).as_pointer())
        pointer = self.builder.gep(bytes_, [place])
        return Record(self.builder, self.builder.bitcast(pointer, VECTOR.as_pointer()))


class Numbers:
    """An array of one axis, each of its numbers in all lanes."""

    def __init__(self, builder: Any, array: Any) -> None:
        self.builder, self.array = builder, array

    def __getitem__(self, at: int) -> Lanes:
        number = self.builder.load(self.builder.gep(self.array.data, [WHOLE(at)]))
        return _everywhere(self.builder, number)


def _everywhere(builder: Any, number: Any) -> Lanes:
    places = ir.IntType(32)
    first = builder.insert_element(ir.Constant(VECTOR, [0.0] * WIDTH), number, places(0))
    mask = ir.Constant(ir.VectorType(places, WIDTH), [0] * WIDTH)
    return Lanes(builder, builder.shuffle_vector(first, first, mask))


def written(write: Callable[..., None]) -> Any:
    """A function for kernels from one that writes its code.

    Kernels call it with a tuple as long as there are species, which ``write`` gets as that number;
    with contiguous arrays, which it gets as :class:`Records` if they have three axes and as
    :class:`Numbers` if they have one; with real numbers (:class:`Lanes`) and whole ones.
    """

    def typing(_context: Any, *kinds: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            write(*map(partial(_operand, context, builder), signature.args, values))
            return context.get_dummy_value()

        return types.void(*kinds), code

    first = Parameter("_context", Parameter.POSITIONAL_OR_KEYWORD)
    vars(typing)["__signature__"] = Signature([first, *signature(write).parameters.values()])
    return intrinsic(update_wrapper(typing, write, updated=()))


def _operand(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.BaseTuple):
        return len(kind)
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value)
        return (Records if kind.ndim == 3 else Numbers)(builder, array)
    return _everywhere(builder, value) if isinstance(kind, types.Float) else value
