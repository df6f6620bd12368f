"""What goes through the faces of a cell, and its slopes; the numbers are those of `fluxes`."""

from __future__ import annotations

import triton.language as tl

from pnpfusion.solvers.kernels.gpu.decorators import jit

#: See `SCHEME_NUMBERS`.
SCHARFETTER_GUMMEL = tl.constexpr(0)
CENTRAL = tl.constexpr(1)


@jit
def exponential(w):
    """``e^-w`` and ``1 - e^-w`` of w >= 0, each to round-off.

    With w = k ln 2 - r and p = e^r - 1 by Taylor's series, e^-w is 2^-k (p + 1).
    """
    if w.dtype == tl.float64:
        x = -tl.where(w > 708.0, 708.0, w)
        t = x * 1.4426950408889634 + 6755399441055744.0
        k = t - 6755399441055744.0
        r = (x - k * 0.6931471803691238) - k * 1.9082149292705877e-10
        p = r * (1 / 6227020800) + 1 / 479001600
        p = p * r + 1 / 39916800
        p = p * r + 1 / 3628800
        p = p * r + 1 / 362880
        p = p * r + 1 / 40320
        p = p * r + 1 / 5040
        bits = (t.to(tl.int64, bitcast=True) + 1023) << 52
        two = bits.to(tl.float64, bitcast=True)
    else:
        x = -tl.where(w > 87.0, 87.0, w)
        t = x * 1.4426950408889634 + 12582912.0
        k = t - 12582912.0
        r = (x - k * 0.693359375) + k * 2.12194440e-4
        p = r * 0.0 + 1 / 5040
        bits = (t.to(tl.int32, bitcast=True) + 127) << 23
        two = bits.to(tl.float32, bitcast=True)
    p = p * r + 1 / 720
    p = p * r + 1 / 120
    p = p * r + 1 / 24
    p = p * r + 1 / 6
    p = p * r + 1 / 2
    p = p * r * r + r
    return tl.where(w > -x, 0.0, two * p + two), (1 - two) - two * p


@jit
def weights(u, SCHEME: tl.constexpr):
    """a(u), b(u), a'(u), b'(u) of `FACE_SCHEMES`."""
    if SCHEME == CENTRAL:
        return 1 - 0.5 * u, 1 + 0.5 * u, u * 0 - 0.5, u * 0 + 0.5
    w = tl.abs(u)
    power, rest = exponential(w)
    if SCHEME == SCHARFETTER_GUMMEL:
        share = tl.where(w < 1e-30, 1.0, w * power / tl.where(w < 1e-30, 1.0, rest))
        ahead, back = share + tl.where(u < 0, w, 0.0), share + tl.where(u > 0, w, 0.0)
        near = w < (1e-2 if u.dtype == tl.float64 else 0.25)
        squared = u * u
        series = u * (1 / 6 - squared * (1 / 180 - squared * (1 / 5040))) - 0.5
        slope = tl.where(near, series, ahead * (1 - back) / tl.where(near, 1.0, u))
        return ahead, back, slope, slope + 1
    high, low = 2 / (1 + power), 2 * power / (1 + power)
    ahead, back = tl.where(u > 0, low, high), tl.where(u > 0, high, low)
    return ahead, back, -0.5 * ahead * back, 0.5 * ahead * back


@jit
def through(z, passing, imposed, h, rise, before, after, SCHEME: tl.constexpr):
    """Of every species: flux, and of h flux the slopes by what is before, after (without sign), u.

    Args:
        z: valences; these and all that follow but ``h`` and ``rise`` are a number per species.
        passing: transmissivities of the face.
        imposed: what a wall prescribes.
        h: the step.
        rise: of the potential across the face.
        before: concentrations before the face.
        after: concentrations after it.
        SCHEME: how the face weighs them.
    """
    flux, ahead, back, push = (), (), (), ()
    for s in tl.static_range(len(z)):
        a, b, slope_a, slope_b = weights(z[s] * rise, SCHEME)
        flux = flux + (passing[s] * (a * before[s] - b * after[s]) + imposed[s],)
        share = h * passing[s]
        ahead = ahead + (share * a,)
        back = back + (share * b,)
        push = push + (share * (slope_a * before[s] - slope_b * after[s]),)
    return flux, ahead, back, push
