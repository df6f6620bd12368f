"""The potential of a cell's charges, and the fluxes under it with their slopes."""

from __future__ import annotations

import numpy as np

from pnpfusion.solvers.kernels.axis.cell import (
    CENTRAL,
    CONDUCTANCE,
    CROWDING,
    ELECTRODE,
    FIXED_CHARGE,
    GROUNDING,
    HARMONIC,
    PASSING,
    PULL,
    RESERVOIR,
    SURFACE_CHARGE,
    VALENCE,
    VOLUME,
    WALL_RISE,
    Cell,
)
from pnpfusion.solvers.kernels.axis.room import (
    AHEAD,
    BACK,
    CRUSH,
    FLUX,
    INVERSE,
    PHI,
    PUSH,
    RISE,
    Room,
)
from pnpfusion.solvers.kernels.decorators import Array, inner


@inner
def ground(cell: Cell, room: Room) -> None:
    """Eliminate Poisson's equation of one sample; :func:`find_potential` only substitutes."""
    g, inverse = cell.electric[CONDUCTANCE], room.cells[INVERSE]
    for i in range(len(inverse)):
        pivot = g[i] + g[i + 1]
        if i > 0:
            pivot -= g[i] * g[i] * inverse[i - 1]
        elif cell.floating:
            pivot += cell.numbers[GROUNDING]
        inverse[i] = 1 / pivot


@inner
def find_potential(cell: Cell, c: Array, room: Room) -> None:
    """Put the potential of ``c`` ``(S, N)`` into ``room``; see `Dielectric.potential`."""
    phi, inverse, volumes = room.cells[PHI], room.cells[INVERSE], cell.cells[VOLUME]
    n, g, ends = len(phi), cell.electric[CONDUCTANCE], cell.ends
    for i in range(n):
        phi[i] = cell.cells[FIXED_CHARGE, i]
    for s in range(len(c)):
        for i in range(n):
            phi[i] += cell.numbers[VALENCE + s] * c[s, i]
    for i in range(n):
        phi[i] *= volumes[i]
    phi[0] += g[0] * ends[ELECTRODE, 0] + ends[SURFACE_CHARGE, 0]
    phi[n - 1] += g[n] * ends[ELECTRODE, 1] + ends[SURFACE_CHARGE, 1]
    if cell.floating:
        load = volume = 0.0
        for i in range(n):
            load += phi[i]
            volume += volumes[i]
        for i in range(n):
            phi[i] -= volumes[i] * (load / volume)
    for i in range(1, n):
        phi[i] += g[i] * inverse[i - 1] * phi[i - 1]
    phi[n - 1] *= inverse[n - 1]
    for i in range(n - 2, -1, -1):
        phi[i] = (phi[i] + g[i + 1] * phi[i + 1]) * inverse[i]
    if cell.floating:
        total = volume = 0.0
        for i in range(n):
            total += volumes[i] * phi[i]
            volume += volumes[i]
        for i in range(n):
            phi[i] -= total / volume


@inner
def _weights(scheme: int, u: float) -> tuple[float, float, float, float]:
    """a(u), b(u), a'(u), b'(u) of `FACE_SCHEMES`."""
    if scheme == CENTRAL:
        return 1 - 0.5 * u, 1 + 0.5 * u, -0.5, 0.5
    if scheme == HARMONIC:
        e = np.exp(-abs(u))
        high, low = 2 / (1 + e), 2 * e / (1 + e)
        ahead, back = (low, high) if u > 0 else (high, low)
        return ahead, back, -0.5 * ahead * back, 0.5 * ahead * back
    if abs(u) < 1e-2:
        squared = u * u
        even = 1 + squared * (1 / 12 - squared * (1 / 720 - squared / 30240))
        slope = -0.5 + u * (1 / 6 - squared * (1 / 180 - squared / 5040))
        return even - 0.5 * u, even + 0.5 * u, slope, slope + 1
    w = abs(u)
    tail = np.exp(-w) * w / -np.expm1(-w)
    ahead, back = tail + max(-u, 0.0), tail + max(u, 0.0)
    slope = ahead * (1 - back) / u
    return ahead, back, slope, slope + 1


@inner
def find_fluxes(cell: Cell, c: Array, h: float, room: Room) -> None:
    """Fill ``room`` with the fluxes of ``c`` ``(S, N)`` under its potential, and their slopes."""
    species, n = c.shape
    phi, rise, crush, ends = room.cells[PHI], room.edges[RISE], room.edges[CRUSH], cell.ends
    for i in range(1, n):
        rise[i] = phi[i] - phi[i - 1]
    rise[0] = -(ends[PULL, 0] * (ends[ELECTRODE, 0] - phi[0]) + ends[WALL_RISE, 0])
    rise[n] = ends[PULL, 1] * (ends[ELECTRODE, 1] - phi[n - 1]) + ends[WALL_RISE, 1]
    crowding = cell.numbers[CROWDING]
    for s in range(species):
        beside = room.beside[s]
        for i in range(n):
            beside[i + 1] = c[s, i]
        for end, at in ((0, 0), (1, n + 1)):
            held = ends[RESERVOIR + species + s, end] > 0  # else nothing passes; crowds as inside
            beside[at] = ends[RESERVOIR + s, end] if held else c[s, max(0, at - 2)]
    if crowding > 0:
        for i in range(n + 2):
            total = 0.0
            for s in range(species):
                total += room.beside[s, i]
            crush[i] = np.log1p(-crowding * total)
    for s in range(species):
        z, beside = cell.numbers[VALENCE + s], room.beside[s]
        passing, imposed = cell.faces[PASSING + s], cell.faces[PASSING + species + s]
        flux, ahead, back, push = (
            room.faces[FLUX, s],
            room.faces[AHEAD, s],
            room.faces[BACK, s],
            room.faces[PUSH, s],
        )
        for i in range(n + 1):
            u = z * rise[i]
            if crowding > 0:
                u -= crush[i + 1] - crush[i]
            ahead[i], back[i], push[i], flux[i] = _weights(cell.scheme, u)  # the slopes go last
        for i in range(n + 1):
            a, b, before, after = ahead[i], back[i], beside[i], beside[i + 1]
            ahead[i], back[i] = h * passing[i] * a, h * passing[i] * b
            push[i] = h * passing[i] * (push[i] * before - flux[i] * after)
            flux[i] = passing[i] * (a * before - b * after) + imposed[i]
