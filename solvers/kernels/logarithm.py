"""The logarithm in arithmetic alone, so that loops over it run in wide registers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic, overload


def log(x: Any) -> Any:
    """Like math.log to a few units of the last place, for normal numbers > 0 and below infinity."""
    return math.log(x)


@overload(log)
def _log(x: Any) -> Callable[[Any], Any]:
    r""":math:`n \ln 2 + 2\,\mathrm{artanh}\,s`, :math:`s = (m - 1)/(m + 1)` of what is left."""
    single = x == types.float32
    real: Any = np.float32 if single else np.float64
    order = 4 if single else 10  # s^2 is below 0.0295
    parts = (
        (0.693359375, -2.12194440e-4) if single else (0.693147180369123816, 1.90821492927058770e-10)
    )
    high, low = (real(part) for part in parts)
    one, zero = real(1), real(0)
    terms = tuple(real(2 / (2 * k + 1)) for k in range(order, -1, -1))

    def value(x: Any) -> Any:
        n: Any = _exponent(x)  # type: ignore[call-arg]
        m: Any = _mantissa(x)
        s = (m - one) / (m + one)
        square, series = s * s, zero
        for term in terms:
            series = series * square + term
        return n * high + (n * low + s * series)

    return value


def log1p(y: Any) -> Any:
    """Like math.log1p to a few units of the last place, for y >= 0 and below infinity."""
    return math.log1p(y)


@overload(log1p)
def _log1p(y: Any) -> Callable[[Any], Any]:
    one: Any = np.float32(1) if y == types.float32 else np.float64(1)

    def value(y: Any) -> Any:
        whole = one + y
        return log(whole) + (y - (whole - one)) / whole  # what rounding the sum has left

    return value


def asinh(y: Any) -> Any:
    """Like math.asinh to some units of the precision, for abs(y) below a quarter of the range."""
    return math.asinh(y)


@overload(asinh)
def _asinh(y: Any) -> Callable[[Any], Any]:
    one: Any = np.float32(1) if y == types.float32 else np.float64(1)

    def value(y: Any) -> Any:
        size = abs(y)
        found = log(size + math.sqrt(one + size * size))
        return -found if y < 0 else found

    return value


def _parts(context: Any, builder: Any, kind: Any, x: Any) -> tuple[Any, Any, Any]:
    """The bits of x, n as a whole number and the place of the exponent: x = m 2^n, m near 1."""
    bits, places, half = (
        (32, 23, 0x3F3504F3) if kind == types.float32 else (64, 52, 0x3FE6A09E667F3BCD)
    )
    whole = context.get_value_type(types.Integer.from_bitwidth(bits))
    digits = builder.bitcast(x, whole)
    n = builder.ashr(builder.sub(digits, whole(half)), whole(places))
    return digits, n, whole(places)


@intrinsic
def _exponent(typing: Any, x: Any) -> Any:
    """The power of two n for which x / 2^n is between the roots of 1/2 and 2."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, n, _ = _parts(context, builder, x, arguments[0])
        return builder.sitofp(n, context.get_value_type(x))

    return x(x), generate


@intrinsic
def _mantissa(typing: Any, x: Any) -> Any:
    """The rest, x / 2^n with n its :func:`_exponent`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        digits, n, places = _parts(context, builder, x, arguments[0])
        left = builder.sub(digits, builder.shl(n, places))
        return builder.bitcast(left, context.get_value_type(x))

    return x(x), generate
