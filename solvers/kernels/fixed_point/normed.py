r"""Group norms between two products, forward and back, on rows of numbers, by Numba.

A block is :math:`N_3(\mathrm{ReLU}(N_2(W_2 h + c_2 + x) + z))` with
:math:`h = \mathrm{ReLU}(N_1(W_1 z + c_1))`. Products are made elsewhere; here is what lies
between, each group of a row read once from memory. Of a norm its unit values, before gain and
shift, are kept, and the factor that made them so.

No loop both sums up and stores: where arrays lie close together such a loop may not be vectorised,
and sums in another order would make the bits of an answer depend on where memory was found.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.decorators import Array, inner_sums, kernel


class Norm(NamedTuple):
    """A group norm of n numbers."""

    gain: Array  #: (n,)
    shift: Array  #: (n,)
    groups: int
    eps: float


class Unit(NamedTuple):
    """What a norm made of R rows; of no rows where nothing is to be kept."""

    values: Array  #: of mean 0 and mean square 1 in each group, (R, n)
    factor: Array  #: that made them so, (R, groups)


@inner_sums
def _total(values: Array) -> np.floating:
    total = values.dtype.type(0)
    for i in range(len(values)):
        total += values[i]
    return total


@inner_sums
def _sum(a: Array, b: Array, into: Array) -> None:
    for i in range(len(a)):
        into[i] = a[i] + b[i]


@inner_sums
def _factor(values: Array, mean: np.floating, eps: float) -> np.floating:
    """The inverse of the standard deviation."""
    real = values.dtype.type
    squares = real(0)
    for i in range(len(values)):
        squares += (values[i] - mean) * (values[i] - mean)
    inverse: np.floating = real(1) / np.sqrt(squares / real(len(values)) + real(eps))
    return inverse


@inner_sums
def _to_unit(values: Array, mean: np.floating, factor: np.floating, into: Array) -> None:
    for i in range(len(values)):
        into[i] = (values[i] - mean) * factor


@inner_sums
def _relu_of_two(a: Array, b: Array, into: Array) -> None:
    """The ReLU of a + b."""
    zero = a.dtype.type(0)
    for i in range(len(a)):
        value = a[i] + b[i]
        value = zero if value <= zero else value  # not a number stays so
        into[i] = value


@inner_sums
def _relu(
    values: Array, mean: np.floating, factor: np.floating, gain: Array, shift: Array, into: Array
) -> None:
    """The ReLU of a norm."""
    zero = values.dtype.type(0)
    for i in range(len(values)):
        value = gain[i] * ((values[i] - mean) * factor) + shift[i]
        value = zero if value <= zero else value  # not a number stays so
        into[i] = value


@inner_sums
def _relu_of_sum(
    values: Array,
    mean: np.floating,
    factor: np.floating,
    gain: Array,
    shift: Array,
    z: Array,
    into: Array,
) -> None:
    """The ReLU of a norm and z."""
    zero = values.dtype.type(0)
    for i in range(len(values)):
        value = gain[i] * ((values[i] - mean) * factor) + shift[i] + z[i]
        value = zero if value <= zero else value  # not a number stays so
        into[i] = value


@inner_sums
def _change(
    values: Array,
    mean: np.floating,
    factor: np.floating,
    gain: Array,
    shift: Array,
    z: Array,
    into: Array,
) -> None:
    """A norm less z."""
    for i in range(len(values)):
        into[i] = gain[i] * ((values[i] - mean) * factor) + shift[i] - z[i]


@inner_sums
def _where_positive(values: Array, signs: Array, into: Array) -> None:
    zero = values.dtype.type(0)
    for i in range(len(values)):
        into[i] = values[i] if signs[i] > zero else zero


@inner_sums
def _back(by: Array, gain: Array, unit: Array, factor: np.floating, into: Array) -> None:
    """From the derivative by a norm's values to that by what it was given."""
    real = by.dtype.type
    mean = along = real(0)
    for i in range(len(by)):
        by_unit = by[i] * gain[i]
        mean += by_unit
        along += by_unit * unit[i]
    mean, along = mean / real(len(by)), along / real(len(by))
    for i in range(len(by)):
        into[i] = factor * (by[i] * gain[i] - mean - unit[i] * along)


@kernel
def first_norm(a: Array, norm: Norm, h: Array, kept: Unit) -> None:
    """ReLU of the norm of ``a`` ``(R, n)``, into ``h``."""
    size = a.shape[1] // norm.groups
    for r in range(len(a)):
        for g in range(norm.groups):
            low, high = g * size, (g + 1) * size
            own = a[r, low:high]
            mean = _total(own) / a.dtype.type(size)
            factor = _factor(own, mean, norm.eps)
            gain, shift = norm.gain[low:high], norm.shift[low:high]
            if len(kept.factor):
                kept.factor[r, g] = factor
                _to_unit(own, mean, factor, kept.values[r, low:high])
            _relu(own, mean, factor, gain, shift, h[r, low:high])


@kernel
def last_norms(
    b: Array,
    x: Array,
    z: Array,
    residual: bool,
    second: Norm,
    third: Norm,
    f: Array,
    on: Array,
    kept: tuple[Unit, Unit],
) -> None:
    """The rest of a block from the second product on, less z.

    Args:
        b: the product, (R, n).
        x: what is added to it, (R, n).
        z: the state, (R, n).
        residual: whether the state is added before the ReLU.
        second: the norm after the sum.
        third: the norm after the ReLU.
        f: takes the new state less the old one, (R, n).
        on: takes what the ReLU gives, (R, n); of no rows where nothing is to be kept.
        kept: take what the norms make of their rows.
    """
    size = b.shape[1] // second.groups
    width = b.dtype.type(size)
    own, room = np.empty(size, b.dtype), np.empty(size, b.dtype)
    for r in range(len(b)):
        for g in range(second.groups):
            low, high = g * size, (g + 1) * size
            state = z[r, low:high]
            _sum(b[r, low:high], x[r, low:high], own)
            mean = _total(own) / width
            factor = _factor(own, mean, second.eps)
            gain, shift = second.gain[low:high], second.shift[low:high]
            relu = on[r, low:high] if len(on) else room
            if residual:
                _relu_of_sum(own, mean, factor, gain, shift, state, relu)
            else:
                _relu(own, mean, factor, gain, shift, relu)
            last_mean = _total(relu) / width
            last_factor = _factor(relu, last_mean, third.eps)
            gain, shift = third.gain[low:high], third.shift[low:high]
            _change(relu, last_mean, last_factor, gain, shift, state, f[r, low:high])
            if len(on):
                _to_unit(own, mean, factor, kept[0].values[r, low:high])
                _to_unit(relu, last_mean, last_factor, kept[1].values[r, low:high])
                kept[0].factor[r, g], kept[1].factor[r, g] = factor, last_factor


@kernel
def back_last_norms(
    by_f: Array,
    second: Norm,
    third: Norm,
    on: Array,
    kept: tuple[Unit, Unit],
    by_inner: Array,
    by_b: Array,
) -> None:
    """Undo :func:`last_norms`, but for the z that is taken off.

    Args:
        by_f: the derivative by f, (R, n).
        second: as there, like the next three.
        third: likewise.
        on: likewise.
        kept: likewise.
        by_inner: takes that by the sum in the ReLU, (R, n).
        by_b: takes that by b, which is also that by x, (R, n).
    """
    size = by_f.shape[1] // second.groups
    room = np.empty(size, by_f.dtype)
    for r in range(len(by_f)):
        for g in range(second.groups):
            low, high = g * size, (g + 1) * size
            unit, factor = kept[1].values[r, low:high], kept[1].factor[r, g]
            _back(by_f[r, low:high], third.gain[low:high], unit, factor, room)
            inner = by_inner[r, low:high]
            _where_positive(room, on[r, low:high], inner)
            unit, factor = kept[0].values[r, low:high], kept[0].factor[r, g]
            _back(inner, second.gain[low:high], unit, factor, by_b[r, low:high])


@kernel
def back_first_norm(
    by_h: Array, norm: Norm, h: Array, kept: Unit, by_norm: Array, by_a: Array
) -> None:
    """Undo :func:`first_norm`: the derivatives by the norm's values and by ``a``, (R, n) each."""
    size = by_h.shape[1] // norm.groups
    for r in range(len(by_h)):
        for g in range(norm.groups):
            low, high = g * size, (g + 1) * size
            own = by_norm[r, low:high]
            _where_positive(by_h[r, low:high], h[r, low:high], own)
            unit, factor = kept.values[r, low:high], kept.factor[r, g]
            _back(own, norm.gain[low:high], unit, factor, by_a[r, low:high])


@kernel
def norm_of_relu(a: Array, x: Array, z: Array, norm: Norm, f: Array, on: Array, kept: Unit) -> None:
    """The norm of the ReLU of a + x, less z: the end of a block that is :math:`N(ReLU(a + x))`.

    Args:
        a: (R, n), like the next two.
        x: what is added to it.
        z: the state.
        norm: the norm.
        f: takes the new state less the old one, (R, n).
        on: takes what the ReLU gives, (R, n); of no rows where nothing is to be kept.
        kept: takes what the norm makes of it.
    """
    size = a.shape[1] // norm.groups
    room = np.empty(size, a.dtype)
    for r in range(len(a)):
        for g in range(norm.groups):
            low, high = g * size, (g + 1) * size
            relu = on[r, low:high] if len(on) else room
            _relu_of_two(a[r, low:high], x[r, low:high], relu)
            mean = _total(relu) / a.dtype.type(size)
            factor = _factor(relu, mean, norm.eps)
            gain, shift = norm.gain[low:high], norm.shift[low:high]
            _change(relu, mean, factor, gain, shift, z[r, low:high], f[r, low:high])
            if len(on):
                _to_unit(relu, mean, factor, kept.values[r, low:high])
                kept.factor[r, g] = factor


@kernel
def back_norm_of_relu(by_f: Array, norm: Norm, on: Array, kept: Unit, by_a: Array) -> None:
    """Undo :func:`norm_of_relu`, but for the z that is taken off: the derivative by ``a``."""
    size = by_f.shape[1] // norm.groups
    room = np.empty(size, by_f.dtype)
    for r in range(len(by_f)):
        for g in range(norm.groups):
            low, high = g * size, (g + 1) * size
            unit, factor = kept.values[r, low:high], kept.factor[r, g]
            _back(by_f[r, low:high], norm.gain[low:high], unit, factor, room)
            _where_positive(room, on[r, low:high], by_a[r, low:high])
