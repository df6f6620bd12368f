"""Newton's method of `coupled_newton` for cells of one axis between walls, compiled by Numba.

One sample after the other, so a sample's answer is the same bit for bit whatever else is in the
batch. The equations are those of :class:`Electrolyte`, whose tensors :class:`Cell` holds as arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pnpfusion.solvers.kernels.block_thomas import solve_line
from pnpfusion.solvers.kernels.decorators import Array, inlined, inner, kernel

#: Of the faces, by their places in this list.
SCHEMES = ["scharfetter-gummel", "central", "harmonic"]
SCHARFETTER_GUMMEL, CENTRAL, HARMONIC = range(3)


class Cell(NamedTuple):
    """An `Electrolyte` of one axis; 1 or B samples first. R reactions of S species, N cells.

    A few arrays with numbered rows, not one for each quantity: a call with thirty arrays takes
    Numba many seconds to compile.
    """

    scheme: int  #: of the faces, among SCHEMES
    floating: bool  #: whether no wall fixes the potential
    numbers: Array  #: crowding (0: none), grounding, valence of each species; (B|1, 2+S)
    cells: Array  #: volumes, fixed charge, k_f and k_b of each reaction; (B|1, 2+2R, N)
    ends: Array
    """Of both walls: potential, surface charge, pull, rise, reservoir and held of each species;
    (B|1, 4+2S, 2)"""
    electric: Array
    """Conductance of faces, (B|1, 1, N+1); apart from the next since it varies with samples where
    that does not"""
    faces: Array  #: transmissivity and imposed of each species; (B|1, 2S, N+1)
    counts: NDArray[np.int64]  #: of species before and after each reaction, (2, R, S)


CROWDING, GROUNDING, VALENCE = range(3)
VOLUME, FIXED_CHARGE, FORWARD = range(3)
ELECTRODE, SURFACE_CHARGE, PULL, WALL_RISE, RESERVOIR = range(5)
(CONDUCTANCE,) = range(1)
(PASSING,) = range(1)


class Room(NamedTuple):
    """Where one sample's iteration puts its intermediate results."""

    cells: Array  #: inverse pivots of Poisson's equation, potential; (2, N)
    edges: Array  #: rise of the potential across faces, ln(1 - crowding) beside them; (2, N+2)
    faces: Array
    """Flux, and the derivatives of h flux by the concentration before the face, after it (less than
    zero, without the sign), and by u; (4, S, N+1)"""
    beside: Array  #: concentrations with those behind the walls at both ends, (S, N+2)
    sources: Array  #: what reactions make, (S, N)
    blocks: Array  #: lower, diagonal, upper, and room for elimination, (4, N, 1+S, 1+S)
    wrong: Array  #: the residual, then the correction, (N, 1+S)


INVERSE, PHI = range(2)
RISE, CRUSH = range(2)
FLUX, AHEAD, BACK, PUSH = range(4)
LOWER, DIAGONAL, UPPER, RIGHT = range(4)


@inner
def one_sample(cells: Cell, sample: int) -> Cell:
    """The arrays of one sample, without their first axis."""
    return Cell(
        cells.scheme,
        cells.floating,
        cells.numbers[sample if len(cells.numbers) > 1 else 0],
        cells.cells[sample if len(cells.cells) > 1 else 0],
        cells.ends[sample if len(cells.ends) > 1 else 0],
        cells.electric[sample if len(cells.electric) > 1 else 0],
        cells.faces[sample if len(cells.faces) > 1 else 0],
        cells.counts,
    )


@inner
def make_room(species: int, n: int, like: Array) -> Room:
    """Room for one sample at a time, of the dtype of ``like``."""
    dtype, m = like.dtype, 1 + species
    return Room(
        np.empty((2, n), dtype),
        np.empty((2, n + 2), dtype),
        np.empty((4, species, n + 1), dtype),
        np.empty((species, n + 2), dtype),
        np.empty((species, n), dtype),
        np.zeros((4, n, m, m), dtype),
        np.empty((n, m), dtype),
    )


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


@inner
def _product(c: Array, i: int, powers: Array, by: int) -> float:
    """The product of c_s ** powers_s in cell i, or its derivative by the species ``by`` >= 0."""
    total = 1.0
    for s in range(len(c)):
        count = powers[s]
        if s == by:
            total *= count
            count -= 1
        for _ in range(count):
            total *= c[s, i]
    return total


@inner
def find_sources(cell: Cell, c: Array, room: Room) -> None:
    """Put what the reactions make of each species into ``room``."""
    before, after = cell.counts[0], cell.counts[1]
    reactions, sources = len(before), room.sources
    for s in range(len(c)):
        for i in range(c.shape[1]):
            sources[s, i] = 0
    for r in range(reactions):
        forward, backward = cell.cells[FORWARD + r], cell.cells[FORWARD + reactions + r]
        for i in range(c.shape[1]):
            rate = forward[i] * _product(c, i, before[r], -1)
            rate -= backward[i] * _product(c, i, after[r], -1)
            for s in range(len(c)):
                sources[s, i] += (after[r, s] - before[r, s]) * rate


@inlined
def _assemble(cell: Cell, c: Array, base: Array, h: float, room: Room) -> None:
    """The residual and its derivatives; see `coupled_newton.residual` and `.jacobian`."""
    species, n = c.shape
    g, volumes, ends = cell.electric[CONDUCTANCE], cell.cells[VOLUME], cell.ends
    phi, wrong = room.cells[PHI], room.wrong
    lower, diagonal, upper = room.blocks[LOWER], room.blocks[DIAGONAL], room.blocks[UPPER]
    for i in range(n):
        before = ends[ELECTRODE, 0] if i == 0 else phi[i - 1]
        after = ends[ELECTRODE, 1] if i == n - 1 else phi[i + 1]
        wrong[i, 0] = g[i + 1] * (phi[i] - after) - g[i] * (before - phi[i])
        wrong[i, 0] -= volumes[i] * cell.cells[FIXED_CHARGE, i]
        lower[i, 0, 0], upper[i, 0, 0] = -g[i], -g[i + 1]
        diagonal[i, 0, 0] = g[i] + g[i + 1]
    wrong[0, 0] -= ends[SURFACE_CHARGE, 0]
    wrong[n - 1, 0] -= ends[SURFACE_CHARGE, 1]
    if cell.floating:
        diagonal[0, 0, 0] += cell.numbers[GROUNDING]
    for s in range(species):
        z, row = cell.numbers[VALENCE + s], 1 + s
        flux, ahead, back, push = (
            room.faces[FLUX, s],
            room.faces[AHEAD, s],
            room.faces[BACK, s],
            room.faces[PUSH, s],
        )
        for i in range(n):
            v = volumes[i]
            wrong[i, 0] -= v * z * c[s, i]
            wrong[i, row] = v * (c[s, i] - base[s, i]) + h * (flux[i + 1] - flux[i])
            diagonal[i, 0, row] = -v * z
            # A wall's potential follows its edge cell unless held:
            turn = z * push[i] * (ends[PULL, 0] if i == 0 else 1.0)
            turn_after = z * push[i + 1] * (ends[PULL, 1] if i == n - 1 else 1.0)
            lower[i, row, 0], upper[i, row, 0] = turn, turn_after
            diagonal[i, row, 0] = -(turn + turn_after)
            lower[i, row, row], upper[i, row, row] = -ahead[i], -back[i + 1]
            for t in range(species):
                diagonal[i, row, 1 + t] = 0.0
            diagonal[i, row, row] = v + ahead[i + 1] + back[i]
    if cell.counts.shape[1]:
        _add_reactions(cell, c, h, room)
    if cell.numbers[CROWDING] > 0:
        _add_crowding(cell, c, room)


@inner
def _add_reactions(cell: Cell, c: Array, h: float, room: Room) -> None:
    species, n = c.shape
    volumes, before, after = cell.cells[VOLUME], cell.counts[0], cell.counts[1]
    reactions, diagonal = len(before), room.blocks[DIAGONAL]
    find_sources(cell, c, room)
    for s in range(species):
        for i in range(n):
            room.wrong[i, 1 + s] -= h * volumes[i] * room.sources[s, i]
    for r in range(reactions):
        forward, backward = cell.cells[FORWARD + r], cell.cells[FORWARD + reactions + r]
        for t in range(species):
            for i in range(n):
                slope = forward[i] * _product(c, i, before[r], t)
                slope -= backward[i] * _product(c, i, after[r], t)
                slope *= h * volumes[i]
                for s in range(species):
                    diagonal[i, 1 + s, 1 + t] -= slope * (after[r, s] - before[r, s])


@inner
def _add_crowding(cell: Cell, c: Array, room: Room) -> None:
    species, n = c.shape
    k = cell.numbers[CROWDING]
    held = cell.ends[RESERVOIR + species :]
    crowd = room.edges[CRUSH]
    # How much the room at a wall counts beside that of its edge cell; then the logarithms are done.
    at_first, at_last = np.exp(crowd[1] - crowd[0]), np.exp(crowd[n] - crowd[n + 1])
    lower, diagonal, upper = room.blocks[LOWER], room.blocks[DIAGONAL], room.blocks[UPPER]
    for i in range(n):
        total = 0.0
        for s in range(species):
            total += c[s, i]
        crowd[i] = k / (1 - k * total)
    for s in range(species):
        push = room.faces[PUSH, s]
        for t in range(species):
            for i in range(n):
                # Species that are not held at a wall follow their edge cell there:
                first = push[i] * (1 - (1 - held[t, 0]) * at_first if i == 0 else 1.0)
                last = push[i + 1] * (1 - (1 - held[t, 1]) * at_last if i == n - 1 else 1.0)
                diagonal[i, 1 + s, 1 + t] -= (first + last) * crowd[i]
                down = -room.faces[AHEAD, s, i] if s == t else 0.0
                up = -room.faces[BACK, s, i + 1] if s == t else 0.0
                if i > 0:
                    down += first * crowd[i - 1]
                if i < n - 1:
                    up += last * crowd[i + 1]
                lower[i, 1 + s, 1 + t], upper[i, 1 + s, 1 + t] = down, up


@inlined
def _share_that_fits(cell: Cell, c: Array, room: Room) -> float:
    """How much of a correction leaves the crowded cells some room."""
    share = 1.0
    if cell.numbers[CROWDING] > 0:
        for i in range(c.shape[1]):
            free, taken = 1 / cell.numbers[CROWDING], 0.0
            for s in range(len(c)):
                free -= c[s, i]
                taken -= room.wrong[i, 1 + s]
            if taken > 0:
                fits = 0.9 * free / taken
                if not fits >= share:  # NaN too
                    share = fits
    return share


@inlined
def iterate(
    cell: Cell, base: Array, h: float, c: Array, scale: Array, most: int, room: Room
) -> tuple[bool, int, bool]:
    """Newton's iteration of one sample, from what ``c`` holds, which ends as the last iterate.

    Needs :func:`ground` once before.

    Returns:
        Whether it converged, the iterations, and whether a linear solve failed.
    """
    species, n = c.shape
    phi, blocks = room.cells[PHI], room.blocks
    find_potential(cell, c, room)
    size_before = 0.0
    for iteration in range(1, most + 1):
        find_fluxes(cell, c, h, room)
        _assemble(cell, c, base, h, room)
        wrong = room.wrong
        solve_line(blocks[LOWER], blocks[DIAGONAL], blocks[UPPER], wrong, blocks[RIGHT])
        total = 0.0
        for s in range(species):
            for i in range(n):
                ratio = wrong[i, 1 + s] / scale[s, i]
                total += ratio * ratio
        size = np.sqrt(total / (species * n))
        if not np.isfinite(size):
            return False, iteration, True
        # What the next correction will be, if each shrinks as the last one did.
        left = size * (size / size_before if size_before > size else 1.0)
        size_before = size
        share = _share_that_fits(cell, c, room)
        for i in range(n):
            phi[i] -= share * wrong[i, 0]
        for s in range(species):
            for i in range(n):
                c[s, i] -= share * wrong[i, 1 + s]
        if left <= 1 and share == 1:
            return True, iteration, False
    return False, most, False


@kernel
def newton_1d(
    cells: Cell,
    base: Array,
    step: Array,
    c: Array,
    phi: Array,
    scale: Array,
    most: int,
    converged: NDArray[np.bool_],
    iterations: NDArray[np.int64],
    failed: NDArray[np.bool_],
) -> None:
    """The iteration of every sample.

    Args:
        cells: the cells.
        base: ``(B, S, N)``.
        step: h, ``(B,)``.
        c: the guess before, the last iterate after, ``(B, S, N)``.
        phi: where the potential of the last iterate goes, ``(B, N)``.
        scale: like ``base``.
        most: when to give up.
        converged: which samples converged, ``(B,)``.
        iterations: of each, ``(B,)``.
        failed: in which a linear solve met a singular block, or what is not finite, ``(B,)``.
    """
    batch, species, n = base.shape
    room = make_room(species, n, base)
    for sample in range(batch):
        cell = one_sample(cells, sample)
        ground(cell, room)
        converged[sample], iterations[sample], failed[sample] = iterate(
            cell, base[sample], step[sample], c[sample], scale[sample], most, room
        )
        for i in range(n):
            phi[sample, i] = room.cells[PHI, i]
