"""A symmetric salt in many channels, and room for samples of one of them side by side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.decorators import Array, inner


class Salt(NamedTuple):
    """K channels; a batch of several times K has them in turn."""

    permittivity: Array  #: (K,)
    concentration: Array  #: in the reservoir, (K,)
    potential: Array  #: V, (K,)


class Room(NamedTuple):
    """W samples of one channel; what lies beyond the walls has a row of zeros."""

    faces: Array  #: conductances of the face after each cell, (N+1,)
    outside: Array  #: the reservoir's concentration times the volume of a cell, (1,)
    load: Array  #: (N+2, W), like those down to the slope
    phi: Array
    trial: Array  #: phi after the next step
    inverse: Array  #: pivots of the Hessian
    swept: Array  #: half a solve
    step: Array  #: the whole
    slope: Array  #: derivatives of D by phi
    value: Array  #: of D, (W,)
    e: Array  #: anions in one row of cells, (W,), like the next ones
    total: Array  #: their sum
    last: Array  #: what a recurrence has come to


@inner
def make_room(n: int, width: int, like: Array) -> Room:
    """Room for ``width`` samples of ``n`` cells."""
    dtype = like.dtype
    return Room(
        np.empty(n + 1, dtype),
        np.empty(1, dtype),
        np.zeros((n + 2, width), dtype),
        np.zeros((n + 2, width), dtype),
        np.zeros((n + 2, width), dtype),
        np.zeros((n + 2, width), dtype),
        np.zeros((n + 2, width), dtype),
        np.zeros((n + 2, width), dtype),
        np.zeros((n + 2, width), dtype),
        np.empty(width, dtype),
        np.empty(width, dtype),
        np.empty(width, dtype),
        np.empty(width, dtype),
    )


@inner
def set_channel(salt: Salt, channel: int, room: Room) -> None:
    """Take the channel's parameters."""
    k = channel % len(salt.permittivity)
    g, one = room.faces, room.faces.dtype.type(1)
    n = len(g) - 1
    for i in range(n + 1):
        g[i] = salt.permittivity[k] * n
    g[0] += g[0]
    if n > 0:
        g[n] += g[n]
    room.outside[0] = salt.concentration[k] * (one / n)
