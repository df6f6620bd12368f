"""The exponential function in arithmetic alone, so that loops over it run in wide registers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic, overload


def exp(x: Any) -> Any:
    """Like math.exp to a unit or two of the last place; 0 below the normal numbers."""
    return math.exp(x)


@overload(exp)
def _exp(x: Any) -> Callable[[Any], Any]:
    r"""2^n times the series of the rest; adding ``shift`` rounds, and leaves n in the last bits."""
    # ln 2 in two parts, the first with zeros at its end, so that n times it is exact.
    single = x == types.float32
    real: Any = np.float32 if single else np.float64
    places, bias, order = (23, 127, 7) if single else (52, 1023, 13)
    parts = (
        (0.693359375, -2.12194440e-4) if single else (0.693147180369123816, 1.90821492927058770e-10)
    )
    shift, per = real(1.5 * 2**places + bias), real(1 / math.log(2))
    high, low = (real(part) for part in parts)
    least, most = real((1 - bias) * math.log(2)), real((bias + 0.4) * math.log(2))
    zero, infinite = real(0), real(math.inf)
    terms = tuple(real(1 / math.factorial(k)) for k in range(order, -1, -1))

    def value(x: Any) -> Any:
        shifted = x * per + shift
        n = shifted - shift
        rest = (x - n * high) - n * low
        series = zero
        for term in terms:
            series = series * rest + term
        found = series * _power(shifted)  # type: ignore[call-arg]
        found = zero if x < least else found
        return infinite if x > most else found

    return value


@intrinsic
def _power(typing: Any, shifted: Any) -> Any:
    """The number whose exponent has the last bits of ``shifted``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(shifted)
        bits, places = (32, 23) if shifted == types.float32 else (64, 52)
        whole = context.get_value_type(types.Integer.from_bitwidth(bits))
        digits = builder.shl(builder.bitcast(arguments[0], whole), whole(places))
        return builder.bitcast(digits, kind)

    return shifted(shifted), generate
