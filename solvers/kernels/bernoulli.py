"""The weights of Scharfetter-Gummel faces and their slopes, in a form that loops vectorise.

Library exponentials keep LLVM from vectorising a loop, so this one is a polynomial. ``f`` is the
type of the numbers: a bare constant would turn single precision into double.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pnpfusion.solvers.kernels.decorators import inlined

Number = type[np.floating]


def _power_of_two_from_bits(_typing: Any, t: Any) -> Any:
    """2^k of the number k + 1.5 * 2^m, whose last bits are k; m is the length of the mantissa."""
    double = t == types.float64

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        whole = ir.IntType(64 if double else 32)
        bits = builder.bitcast(arguments[0], whole)
        bits = builder.add(bits, ir.Constant(whole, 1023 if double else 127))
        bits = builder.shl(bits, ir.Constant(whole, 52 if double else 23))
        return builder.bitcast(bits, arguments[0].type)

    return t(t), code


_power_of_two: Any = intrinsic(_power_of_two_from_bits)


@inlined
def bernoulli_ahead(u: Any, f: Number) -> Any:
    """B(u) to round-off, see :func:`pnpfusion.solvers.fluxes.bernoulli`; B(-u) is B(u) + u.

    With w = abs(u) = r - k ln 2 and p = e^r - 1 by Taylor's series, e^-w is 2^k (p + 1).
    """
    w = abs(u)
    if f(1) + f(1e-10) == f(1):  # single precision
        x = -(f(87) if w > f(87) else w)
        t = x * f(1.4426950408889634) + f(12582912.0)
        k = t - f(12582912.0)
        r = (x - k * f(0.693359375)) + k * f(2.12194440e-4)
        p = f(1 / 5040)
    else:
        x = -(f(708) if w > f(708) else w)
        t = x * f(1.4426950408889634) + f(6755399441055744.0)
        k = t - f(6755399441055744.0)
        r = (x - k * f(0.6931471803691238)) - k * f(1.9082149292705877e-10)
        p = f(1 / 6227020800)
        p = p * r + f(1 / 479001600)
        p = p * r + f(1 / 39916800)
        p = p * r + f(1 / 3628800)
        p = p * r + f(1 / 362880)
        p = p * r + f(1 / 40320)
        p = p * r + f(1 / 5040)
    p = p * r + f(1 / 720)
    p = p * r + f(1 / 120)
    p = p * r + f(1 / 24)
    p = p * r + f(1 / 6)
    p = p * r + f(1 / 2)
    p = p * r * r + r
    two = _power_of_two(t)
    lost = (f(1) - two) - two * p  # 1 - e^-w
    tail = f(1) if w < f(1e-30) else w * (two * p + two) / lost
    tail = f(0) if w > -x else tail
    return tail if u > f(0) else tail - u


@inlined
def bernoulli_slope(u: Any, ahead: Any, f: Number) -> Any:
    """B'(u), given B(u); that of B(-u) is B'(u) + 1."""
    small = abs(u) < (f(0.25) if f(1) + f(1e-10) == f(1) else f(1e-2))
    squared = u * u
    series = f(-0.5) + u * (f(1 / 6) - squared * (f(1 / 180) - squared * f(1 / 5040)))
    return series if small else ahead * (f(1) - (ahead + u)) / u


@inlined
def bernoulli_bend(u: Any, ahead: Any, slope: Any, f: Number) -> Any:
    """B''(u), given B(u) and B'(u)."""
    small = abs(u) < (f(0.25) if f(1) + f(1e-10) == f(1) else f(1e-2))
    squared = u * u
    series = f(1 / 6) - squared * (f(1 / 60) - squared * f(1 / 1008))
    return series if small else -(slope * (f(2) * ahead + u) + ahead) / u
