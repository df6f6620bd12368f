"""The derivatives of salts at rest: one solve per sample with the Hessian there."""

from __future__ import annotations

import numpy as np

from pnpfusion.solvers.kernels.axis.salt_room import Salt, make_room, set_channel
from pnpfusion.solvers.kernels.axis.side_by_side import width_of
from pnpfusion.solvers.kernels.decorators import Array, Truth, kernel
from pnpfusion.solvers.kernels.exponential import exp


@kernel
def salt_1d_backward(
    salt: Salt,
    read: Array,
    converged: Truth,
    by_read: Array,
    charge: Array,
    permittivity: Array,
    concentration: Array,
    potential: Array,
) -> None:
    """Derivatives by the parameters from those by what is read, through one solve per sample.

    The last four arrays take them, of the shapes of the parameters; zero for unsolved samples.
    """
    batch, _, channels, n = read.shape
    dtype = read.dtype
    width = width_of(batch, n)
    room = make_room(n, width, read)
    phi, x, inverse, slope = room.phi, room.step, room.inverse, room.slope
    e, total, last, excess = room.e, room.total, room.last, room.value
    by_concentration, by_permittivity = np.empty(width, dtype), np.empty(width, dtype)
    one, two, volume = dtype.type(1), dtype.type(2), dtype.type(1) / dtype.type(n)
    for k in range(len(permittivity)):
        permittivity[k] = concentration[k] = potential[k] = 0
    for channel in range(channels):
        set_channel(salt, channel, room)
        k = channel % len(salt.permittivity)
        g, outside, screen = room.faces, salt.concentration[k], room.outside[0]
        for first in range(0, batch, width):
            taken = min(width, batch - first)  # others stay, and are not counted
            for w in range(taken):
                sound = converged[first + w, channel]
                for i in range(n):
                    phi[i + 1, w] = read[first + w, 0, channel, i] if sound else 0
                    slope[i + 1, w] = by_read[first + w, 0, channel, i] if sound else 0
                    x[i + 1, w] = by_read[first + w, 1, channel, i] if sound else 0
            for w in range(width):
                last[w] = 0
                by_concentration[w] = 0
                by_permittivity[w] = 0
            for i in range(1, n + 1):
                before = g[i - 1]
                both, squared = before + g[i], before * before
                for w in range(width):
                    e[w] = exp(phi[i, w])
                for w in range(width):
                    less = one / e[w]
                    total[w] = e[w] + less
                    e[w] -= less
                for w in range(width):  # by ln(1 + excess)
                    excess[w] = x[i, w] / (one + outside * (total[w] - two))
                for w in range(width):
                    by_concentration[w] += excess[w] * (total[w] - two)
                for w in range(width):
                    slope[i, w] += excess[w] * outside * e[w]
                for w in range(width):
                    found = one / (both + screen * total[w] - squared * last[w])
                    inverse[i, w], last[w] = found, found
                for w in range(width):
                    room.load[i, w] = e[w]
            for w in range(width):
                last[w] = 0
            for i in range(1, n + 1):
                before = g[i - 1]
                for w in range(width):
                    found = (slope[i, w] + before * last[w]) * inverse[i, w]
                    x[i, w], last[w] = found, found
            for w in range(width):
                last[w] = 0
            for down in range(n):
                i = n - down
                after = g[i]
                for w in range(width):
                    found = x[i, w] + after * inverse[i, w] * last[w]
                    x[i, w], last[w] = found, found
                for w in range(width):
                    by_concentration[w] -= volume * x[i, w] * room.load[i, w]
            for w in range(width):
                phi[n + 1, w] = salt.potential[k]
            for i in range(n + 1):
                unit = g[i] / salt.permittivity[k]
                for w in range(width):
                    rise = phi[i + 1, w] - phi[i, w]
                    by_permittivity[w] -= unit * (x[i + 1, w] - x[i, w]) * rise
            for w in range(taken):
                for i in range(n):
                    charge[first + w, channel, i] = volume * x[i + 1, w]
                potential[k] += g[n] * x[n, w]
                concentration[k] += by_concentration[w]
                permittivity[k] += by_permittivity[w]
