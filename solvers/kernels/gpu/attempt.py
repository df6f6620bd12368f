"""One ESDIRK step of every sample, and how it went, which may still be thrown away."""

from __future__ import annotations

import triton.language as tl

from pnpfusion.solvers.kernels.gpu.decorators import jit
from pnpfusion.solvers.kernels.gpu.newton import iterate

#: The first numbers of a method; its rows of (R+1) and the weights of the error follow.
ATOL = tl.constexpr(0)
RTOL = tl.constexpr(1)
NEWTON_SHARE = tl.constexpr(2)
SAFETY = tl.constexpr(3)
LARGEST_GROWTH = tl.constexpr(4)
SMALLEST_SHRINK = tl.constexpr(5)
SHRINK_AFTER_FAILURE = tl.constexpr(6)
ERROR_ORDER = tl.constexpr(7)
EPSILON = tl.constexpr(8)
TABLEAU = tl.constexpr(9)


@jit
def attempt(
    cell,
    method,
    u,
    room,
    dt,
    most,
    trying,
    z,
    at,
    R: tl.constexpr,
    FLOATING: tl.constexpr,
    SCHEME: tl.constexpr,
):
    """One step to ``stage``, its slope the last of ``slopes``; see `ESDIRK.attempt`.

    Returns:
        Whether all stages were solved, the iterations, and whether a linear solve failed.
    """
    n, batch, lane, inside = at
    slopes, base, stage, scale, phi, right, x = room
    size = len(z) * n
    whole = tl.cast(size, tl.int64) * batch
    dtype: tl.constexpr = u.dtype.element_ty
    share = tl.load(method + NEWTON_SHARE).to(dtype)
    atol, rtol = tl.load(method + ATOL).to(dtype), tl.load(method + RTOL).to(dtype)
    for i in range(size):
        place = tl.cast(i, tl.int64) * batch + lane
        value = tl.load(u + place, mask=inside, other=1)
        tl.store(stage + place, value, mask=inside)
        tl.store(scale + place, share * (atol + rtol * tl.abs(value)), mask=inside)
    iterations = tl.where(trying, 0, 0)
    solved, failed = iterations == 0, iterations > 0
    for row in range(R):
        weights = method + TABLEAU + row * (R + 1)
        own = dt * tl.load(weights + row + 1).to(dtype)
        lowest = dt * 0 + float("inf")
        for i in range(size):
            place = tl.cast(i, tl.int64) * batch + lane
            total, slope = dt * 0, dt * 0
            for j in range(row + 1):
                slope = tl.load(slopes + j * whole + place, mask=inside, other=0)
                total += tl.load(weights + j).to(dtype) * slope
            begin = tl.load(u + place, mask=inside, other=1) + dt * total
            tl.store(base + place, begin, mask=inside)
            lowest = lower(lowest, begin + own * slope)
        for i in range(size):  # the guess: ahead by the last slope where that is positive
            place = tl.cast(i, tl.int64) * batch + lane
            slope = tl.load(slopes + row * whole + place, mask=inside, other=0)
            ahead = tl.load(base + place, mask=inside, other=1) + own * slope
            tl.store(stage + place, ahead, mask=inside & (lowest > 0))
        converged, took, lost = iterate(
            cell,
            base,
            own,
            stage,
            phi,
            scale,
            (right, x),
            most,
            trying & (failed == 0),
            z,
            at,
            FLOATING,
            SCHEME,
        )
        iterations += took
        failed = failed | lost
        solved = solved & converged
        for i in range(size):
            place = tl.cast(i, tl.int64) * batch + lane
            change = tl.load(stage + place, mask=inside, other=0)
            change -= tl.load(base + place, mask=inside, other=0)
            tl.store(slopes + (row + 1) * whole + place, change / own, mask=inside)
    return solved, iterations, failed


@jit
def judge(method, u, room, dt, at, R: tl.constexpr, S: tl.constexpr):
    """A step's error over the error allowed, and the smallest values before and after it."""
    n, batch, lane, inside = at
    slopes, stage = room[0], room[2]
    size = S * n
    whole = tl.cast(size, tl.int64) * batch
    dtype: tl.constexpr = u.dtype.element_ty
    atol, rtol = tl.load(method + ATOL).to(dtype), tl.load(method + RTOL).to(dtype)
    weights = method + TABLEAU + R * (R + 1)
    total, before, after = dt * 0, dt * 0 + float("inf"), dt * 0 + float("inf")
    for i in range(size):
        place = tl.cast(i, tl.int64) * batch + lane
        error = dt * 0
        for j in range(R + 1):
            slope = tl.load(slopes + j * whole + place, mask=inside, other=0)
            error += tl.load(weights + j).to(dtype) * slope
        old = tl.load(u + place, mask=inside, other=1)
        new = tl.load(stage + place, mask=inside, other=1)
        larger = tl.where(tl.abs(old) > tl.abs(new), tl.abs(old), tl.abs(new))
        ratio = dt * error / (atol + rtol * larger)
        total += ratio * ratio
        before, after = lower(before, old), lower(after, new)
    return tl.sqrt(total / size), before, after


@jit
def lower(lowest, value):
    """The smaller of both, NaN if one is."""
    return tl.where((value < lowest) | (value != value), value, lowest)
