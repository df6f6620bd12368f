r"""A symmetric salt at rest between a reservoir and an electrode, by Numba.

.. math:: -\varepsilon\phi'' + 2 c_0 \sinh\phi = q, \qquad \phi(0) = 0, \; \phi(1) = V,

on N equal cells. Samples of one channel, which share all but q, lie side by side in the last axis
of most arrays here, so that loops over them run in the processor's wide registers. Each has its own
line search and its own end, and no number of one enters another's. A loop writes one or two arrays
only, and reads no other row of them: else LLVM does not see that it may.
"""

from __future__ import annotations

import numpy as np

from pnpfusion.solvers.kernels.axis.salt_room import (
    Room,
    Salt,
    make_room,
    set_channel,
)
from pnpfusion.solvers.kernels.axis.side_by_side import width_of
from pnpfusion.solvers.kernels.decorators import Array, Truth, Whole, inner, kernel
from pnpfusion.solvers.kernels.exponential import exp
from pnpfusion.solvers.kernels.logarithm import asinh, log1p


@kernel
def salt_1d(
    salt: Salt,
    charge: Array,
    tolerance: float,
    largest_step: float,
    most: int,
    read: Array,
    converged: Truth,
    iterations: Whole,
) -> None:
    """Where each sample rests.

    Args:
        salt: the parameters.
        charge: q, (B, C, N).
        tolerance: of the last step, in kT/e.
        largest_step: of the potential in one iteration.
        most: iterations.
        read: takes the potential and the logarithm of 1 and the excess of ions, (B, 2, C, N).
        converged: takes which samples came to an end, (B, C).
        iterations: takes how many they needed, (B, C).
    """
    batch, channels, n = charge.shape
    dtype = charge.dtype
    width = width_of(batch, n)
    room = make_room(n, width, charge)
    phi, load, e, value = room.phi, room.load, room.e, room.value
    before, size = np.empty(width, dtype), np.empty(width, dtype)
    downhill, share = np.empty(width, dtype), np.empty(width, dtype)
    going = np.empty(width, np.bool_)
    one, little, enough = dtype.type(1), dtype.type(1e-3), dtype.type(1e-4)
    slack = dtype.type(max(1e-12, 16 * float(np.finfo(dtype).eps)))
    longest, goal, half = dtype.type(largest_step), dtype.type(tolerance), dtype.type(0.5)
    volume = one / dtype.type(n)
    for channel in range(channels):
        set_channel(salt, channel, room)
        k = channel % len(salt.permittivity)
        at_wall, outside = room.faces[n] * salt.potential[k], salt.concentration[k]
        for start in range(0, batch, width):
            first = min(start, batch - width)  # the last ones take some again, to the same end
            for w in range(width):
                for i in range(n):
                    load[i + 1, w] = volume * charge[first + w, channel, i]
                load[n, w] += at_wall
                going[w] = True
                converged[first + w, channel] = False
                iterations[first + w, channel] = 0
            begin(room)
            descend(room, phi)
            for w in range(width):
                before[w] = value[w]
            for _ in range(most):
                ascend(room, size, downhill)
                left = False
                for w in range(width):
                    whole = one if size[w] <= longest else longest / size[w]
                    moves = going[w] and np.isfinite(size[w])
                    share[w] = whole if moves else 0
                    if going[w]:
                        iterations[first + w, channel] += 1
                        converged[first + w, channel] = size[w] <= goal
                    going[w] = moves and not size[w] <= goal
                    left |= going[w]
                for _ in range(40 if left else 0):
                    move(room, share)
                    descend(room, room.trial)
                    good = True
                    for w in range(width):
                        wanted = before[w] - enough * share[w] * downhill[w]
                        wanted += slack * abs(before[w])
                        if share[w] > 0 and not (value[w] <= wanted or size[w] < little):
                            share[w] *= half
                            good = False
                    if good:
                        break
                if not left:
                    move(room, share)
                accept(room)
                for w in range(width):
                    before[w] = value[w]
                if not left:
                    break
            for i in range(n):
                for w in range(width):
                    e[w] = exp(phi[i + 1, w])
                for w in range(width):
                    value[w] = log1p(outside * ((e[w] - one) * ((e[w] - one) / e[w])))
                for w in range(width):
                    read[first + w, 0, channel, i] = phi[i + 1, w]
                    read[first + w, 1, channel, i] = value[w]


@inner
def begin(room: Room) -> None:
    r"""A guess into ``phi``: the linear answer, its ions' charge :math:`2 c_0 \sinh\phi` kept."""
    g, load, phi, last = room.faces, room.load, room.phi, room.last
    rows, width = phi.shape
    one, bound = g.dtype.type(1), g.dtype.type(1e15)
    screening = room.outside[0] + room.outside[0]
    inverse = np.zeros_like(g)
    for w in range(width):
        last[w] = 0
    for i in range(1, rows - 1):
        before = g[i - 1]
        pivot = before + g[i] + screening
        if i > 1:
            pivot -= before * before * inverse[i - 1]
        inverse[i] = one / pivot
        scale = inverse[i]
        for w in range(width):
            found = (load[i, w] + before * last[w]) * scale
            phi[i, w], last[w] = found, found
    for w in range(width):
        last[w] = 0
    for left in range(rows - 2):  # counted upwards, for then LLVM knows that i is positive
        i = rows - 2 - left
        share = g[i] * inverse[i]
        for w in range(width):
            found = phi[i, w] + share * last[w]
            last[w] = found
            found = found if found < bound else bound
            phi[i, w] = asinh(found if found > -bound else -bound)


@inner
def descend(room: Room, phi: Array) -> None:
    """D at ``phi`` into ``value``, its ``slope``, and the first half of a Newton step."""
    g, load, e, total, last = room.faces, room.load, room.e, room.total, room.last
    slope, inverse, swept, value = room.slope, room.inverse, room.swept, room.value
    rows, width = phi.shape
    outside, one, half = room.outside[0], g.dtype.type(1), g.dtype.type(0.5)
    for w in range(width):
        last[w] = 0
        value[w] = 0
    for i in range(1, rows - 1):
        before, after = g[i - 1], g[i]
        both, squared, halved = before + after, before * before, half * before
        for w in range(width):
            e[w] = outside * exp(phi[i, w])  # anions
        for w in range(width):
            cations = outside * outside / e[w]
            total[w] = e[w] + cations
            e[w] -= cations
        for w in range(width):
            here = phi[i, w]
            flow = both * here - before * phi[i - 1, w] - after * phi[i + 1, w]
            slope[i, w] = flow - load[i, w] + e[w]
        for w in range(width):
            rise = phi[i, w] - phi[i - 1, w]
            value[w] += halved * rise * rise - phi[i, w] * load[i, w] + total[w]
        for w in range(width):
            found = one / (both + total[w] - squared * last[w])
            inverse[i, w], last[w] = found, found
    for w in range(width):
        value[w] += half * g[rows - 2] * phi[rows - 2, w] * phi[rows - 2, w]
        last[w] = 0
    for i in range(1, rows - 1):
        before = g[i - 1]
        for w in range(width):
            found = (slope[i, w] + before * last[w]) * inverse[i, w]
            swept[i, w], last[w] = found, found


@inner
def ascend(room: Room, size: Array, downhill: Array) -> None:
    """The other half, with the step's largest entry (NaN if any is) and its product with slope."""
    g, inverse, swept, slope, last = room.faces, room.inverse, room.swept, room.slope, room.last
    step, (rows, width) = room.step, room.step.shape
    for w in range(width):
        last[w] = 0
        size[w] = 0
        downhill[w] = 0
    for left in range(rows - 2):
        i = rows - 2 - left
        after = g[i]
        for w in range(width):
            found = swept[i, w] + after * inverse[i, w] * last[w]
            step[i, w], last[w] = found, found
        for w in range(width):
            entry = abs(last[w])
            size[w] = (entry if entry > size[w] else size[w]) + (entry - entry)
            downhill[w] += slope[i, w] * last[w]


@inner
def move(room: Room, share: Array) -> None:
    """``trial`` from ``phi``, which stays where no share is taken, whatever the step."""
    phi, step, trial = room.phi, room.step, room.trial
    rows, width = phi.shape
    for i in range(1, rows - 1):
        for w in range(width):
            there = phi[i, w] - share[w] * step[i, w]
            trial[i, w] = there if share[w] > 0 else phi[i, w]


@inner
def accept(room: Room) -> None:
    """Take ``trial`` as ``phi``."""
    phi, trial = room.phi, room.trial
    rows, width = phi.shape
    for i in range(1, rows - 1):
        for w in range(width):
            phi[i, w] = trial[i, w]
