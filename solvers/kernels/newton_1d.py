"""Newton's method of `coupled_newton` for cells of one axis between walls, compiled by Numba.

One sample after the other, so a sample's answer is the same bit for bit whatever else is in the
batch. The equations are those of :class:`Electrolyte`, whose tensors :class:`Cell` holds as arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pnpfusion.solvers.kernels.block_thomas import solve_line

Array = NDArray[np.floating]

SCHARFETTER_GUMMEL, CENTRAL, HARMONIC = range(3)


class Cell(NamedTuple):
    """An `Electrolyte` of one axis; 1 or B samples first. R reactions of S species, N cells."""

    scheme: int  #: of the faces: one of the constants above
    floating: bool  #: whether no wall fixes the potential
    volumes: Array  #: (1, N)
    valence: Array  #: (B|1, S)
    fixed_charge: Array  #: (B|1, N)
    conductance: Array  #: (B|1, N+1)
    electrode: Array  #: (B|1, 2)
    surface_charge: Array  #: (B|1, 2)
    pull: Array  #: (B|1, 2)
    rise: Array  #: (B|1, 2)
    grounding: Array  #: (B|1, 1)
    transmissivity: Array  #: (B|1, S, N+1)
    reservoir: Array  #: (B|1, S, 2)
    held: Array  #: (1, S, 2)
    imposed: Array  #: (B|1, S, N+1)
    crowding: Array  #: (B|1, 1); 0: none
    before: Array  #: (1, R, S)
    after: Array  #: (1, R, S)
    forward: Array  #: (B|1, R, N)
    backward: Array  #: (B|1, R, N)


class Room(NamedTuple):
    """Where one sample's iteration puts its intermediate results."""

    inverse: Array  #: of the pivots of Poisson's equation, (N,)
    phi: Array  #: (N,)
    rise: Array  #: of the potential across each face, (N+1,)
    crush: Array  #: ln(1 - crowding) beside each face, (N+2,)
    flux: Array  #: (S, N+1)
    ahead: Array  #: derivative of h flux by the concentration before a face, (S, N+1)
    back: Array  #: minus that by the concentration after it, (S, N+1)
    push: Array  #: that by u, (S, N+1)
    source: Array  #: of the reactions, (S, N)
    lower: Array  #: (N, 1+S, 1+S)
    diagonal: Array  #: (N, 1+S, 1+S)
    upper: Array  #: (N, 1+S, 1+S)
    right: Array  #: (N, 1+S, 1+S)
    wrong: Array  #: the residual, then the correction, (N, 1+S)


@njit(cache=True)
def _row(values: Array, sample: int) -> Array:
    return values[sample if len(values) > 1 else 0]


@njit(cache=True)
def one_sample(cells: Cell, sample: int) -> Cell:
    """The arrays of one sample, without their first axis."""
    return Cell(
        cells.scheme,
        cells.floating,
        _row(cells.volumes, sample),
        _row(cells.valence, sample),
        _row(cells.fixed_charge, sample),
        _row(cells.conductance, sample),
        _row(cells.electrode, sample),
        _row(cells.surface_charge, sample),
        _row(cells.pull, sample),
        _row(cells.rise, sample),
        _row(cells.grounding, sample),
        _row(cells.transmissivity, sample),
        _row(cells.reservoir, sample),
        _row(cells.held, sample),
        _row(cells.imposed, sample),
        _row(cells.crowding, sample),
        _row(cells.before, sample),
        _row(cells.after, sample),
        _row(cells.forward, sample),
        _row(cells.backward, sample),
    )


@njit(cache=True)
def make_room(species: int, n: int, like: Array) -> Room:
    """Room for one sample at a time, of the dtype of ``like``."""
    dtype, m = like.dtype, 1 + species
    return Room(
        np.empty(n, dtype),
        np.empty(n, dtype),
        np.empty(n + 1, dtype),
        np.empty(n + 2, dtype),
        np.empty((species, n + 1), dtype),
        np.empty((species, n + 1), dtype),
        np.empty((species, n + 1), dtype),
        np.empty((species, n + 1), dtype),
        np.empty((species, n), dtype),
        np.zeros((n, m, m), dtype),
        np.zeros((n, m, m), dtype),
        np.zeros((n, m, m), dtype),
        np.empty((n, m, m), dtype),
        np.empty((n, m), dtype),
    )


@njit(cache=True, error_model="numpy")
def ground(cell: Cell, room: Room) -> None:
    """Eliminate Poisson's equation of one sample; :func:`find_potential` only substitutes."""
    g, inverse = cell.conductance, room.inverse
    for i in range(len(inverse)):
        pivot = g[i] + g[i + 1]
        if i > 0:
            pivot -= g[i] * g[i] * inverse[i - 1]
        elif cell.floating:
            pivot += cell.grounding[0]
        inverse[i] = 1 / pivot


@njit(cache=True, error_model="numpy")
def find_potential(cell: Cell, c: Array, room: Room) -> None:
    """Put the potential of ``c`` ``(S, N)`` into ``room.phi``; see `Dielectric.potential`."""
    phi, inverse, g, volumes = room.phi, room.inverse, cell.conductance, cell.volumes
    n, charge = len(phi), cell.surface_charge
    for i in range(n):
        phi[i] = cell.fixed_charge[i]
    for s in range(len(c)):
        for i in range(n):
            phi[i] += cell.valence[s] * c[s, i]
    for i in range(n):
        phi[i] *= volumes[i]
    phi[0] += g[0] * cell.electrode[0] + charge[0]
    phi[n - 1] += g[n] * cell.electrode[1] + charge[1]
    if cell.floating:
        share = phi.sum() / volumes.sum()
        for i in range(n):
            phi[i] -= volumes[i] * share
    for i in range(1, n):
        phi[i] += g[i] * inverse[i - 1] * phi[i - 1]
    phi[n - 1] *= inverse[n - 1]
    for i in range(n - 2, -1, -1):
        phi[i] = (phi[i] + g[i + 1] * phi[i + 1]) * inverse[i]
    if cell.floating:
        mean = (volumes * phi).sum() / volumes.sum()
        for i in range(n):
            phi[i] -= mean


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
def find_fluxes(cell: Cell, c: Array, h: float, room: Room) -> None:
    """Fill ``room`` with the fluxes of ``c`` ``(S, N)`` under ``room.phi``, and their slopes."""
    species, n = c.shape
    phi, rise, crush = room.phi, room.rise, room.crush
    for i in range(1, n):
        rise[i] = phi[i] - phi[i - 1]
    rise[0] = -(cell.pull[0] * (cell.electrode[0] - phi[0]) + cell.rise[0])
    rise[n] = cell.pull[1] * (cell.electrode[1] - phi[n - 1]) + cell.rise[1]
    crowding = cell.crowding[0]
    if crowding > 0:
        for i in range(n + 2):
            total = 0.0
            for s in range(species):
                if i == 0:
                    total += cell.reservoir[s, 0] if cell.held[s, 0] > 0 else c[s, 0]
                elif i == n + 1:
                    total += cell.reservoir[s, 1] if cell.held[s, 1] > 0 else c[s, n - 1]
                else:
                    total += c[s, i - 1]
            crush[i] = np.log1p(-crowding * total)
    for s in range(species):
        z, passing = cell.valence[s], cell.transmissivity[s]
        flux, ahead, back, push = room.flux[s], room.ahead[s], room.back[s], room.push[s]
        for i in range(n + 1):
            left = cell.reservoir[s, 0] if i == 0 else c[s, i - 1]
            right = cell.reservoir[s, 1] if i == n else c[s, i]
            u = z * rise[i]
            if crowding > 0:
                u -= crush[i + 1] - crush[i]
                if i == 0 and not cell.held[s, 0] > 0:
                    left = right
                if i == n and not cell.held[s, 1] > 0:
                    right = left
            a, b, a_slope, b_slope = _weights(cell.scheme, u)
            flux[i] = passing[i] * (a * left - b * right) + cell.imposed[s, i]
            ahead[i], back[i] = h * passing[i] * a, h * passing[i] * b
            push[i] = h * passing[i] * (a_slope * left - b_slope * right)


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
def find_sources(cell: Cell, c: Array, room: Room) -> None:
    """Put what the reactions make of each species into ``room.source``."""
    room.source[:] = 0
    for r in range(len(cell.before)):
        for i in range(c.shape[1]):
            rate = cell.forward[r, i] * _product(c, i, cell.before[r], -1)
            rate -= cell.backward[r, i] * _product(c, i, cell.after[r], -1)
            for s in range(len(c)):
                room.source[s, i] += (cell.after[r, s] - cell.before[r, s]) * rate


@njit(cache=True, error_model="numpy")
def find_rate(cell: Cell, c: Array, room: Room, rate: Array) -> None:
    """Put dc/dt of ``c`` ``(S, N)`` into ``rate``, the potential following the charge at once."""
    find_potential(cell, c, room)
    find_fluxes(cell, c, 0.0, room)
    find_sources(cell, c, room)
    for s in range(len(c)):
        for i in range(c.shape[1]):
            leaving = room.flux[s, i + 1] - room.flux[s, i]
            rate[s, i] = room.source[s, i] - leaving / cell.volumes[i]


@njit(cache=True, error_model="numpy")
def _assemble(cell: Cell, c: Array, base: Array, h: float, room: Room) -> None:
    """The residual and its derivatives; see `coupled_newton.residual` and `.jacobian`."""
    species, n = c.shape
    g, volumes, phi = cell.conductance, cell.volumes, room.phi
    lower, diagonal, upper, wrong = room.lower, room.diagonal, room.upper, room.wrong
    for i in range(n):
        before = cell.electrode[0] if i == 0 else phi[i - 1]
        after = cell.electrode[1] if i == n - 1 else phi[i + 1]
        wrong[i, 0] = g[i + 1] * (phi[i] - after) - g[i] * (before - phi[i])
        wrong[i, 0] -= volumes[i] * cell.fixed_charge[i]
        lower[i, 0, 0], upper[i, 0, 0] = -g[i], -g[i + 1]
        diagonal[i, 0, 0] = g[i] + g[i + 1]
    wrong[0, 0] -= cell.surface_charge[0]
    wrong[n - 1, 0] -= cell.surface_charge[1]
    if cell.floating:
        diagonal[0, 0, 0] += cell.grounding[0]
    for s in range(species):
        z, row = cell.valence[s], 1 + s
        flux, ahead, back, push = room.flux[s], room.ahead[s], room.back[s], room.push[s]
        for i in range(n):
            v = volumes[i]
            wrong[i, 0] -= v * z * c[s, i]
            wrong[i, row] = v * (c[s, i] - base[s, i]) + h * (flux[i + 1] - flux[i])
            diagonal[i, 0, row] = -v * z
            # A wall's potential follows its edge cell unless held:
            turn = z * push[i] * (cell.pull[0] if i == 0 else 1.0)
            turn_after = z * push[i + 1] * (cell.pull[1] if i == n - 1 else 1.0)
            lower[i, row, 0], upper[i, row, 0] = turn, turn_after
            diagonal[i, row, 0] = -(turn + turn_after)
            lower[i, row, row], upper[i, row, row] = -ahead[i], -back[i + 1]
            for t in range(species):
                diagonal[i, row, 1 + t] = 0.0
            diagonal[i, row, row] = v + ahead[i + 1] + back[i]
    if len(cell.before):
        _add_reactions(cell, c, h, room)
    if cell.crowding[0] > 0:
        _add_crowding(cell, c, room)


@njit(cache=True, error_model="numpy")
def _add_reactions(cell: Cell, c: Array, h: float, room: Room) -> None:
    species, n = c.shape
    find_sources(cell, c, room)
    for s in range(species):
        for i in range(n):
            room.wrong[i, 1 + s] -= h * cell.volumes[i] * room.source[s, i]
    for r in range(len(cell.before)):
        for t in range(species):
            for i in range(n):
                slope = cell.forward[r, i] * _product(c, i, cell.before[r], t)
                slope -= cell.backward[r, i] * _product(c, i, cell.after[r], t)
                slope *= h * cell.volumes[i]
                for s in range(species):
                    made = cell.after[r, s] - cell.before[r, s]
                    room.diagonal[i, 1 + s, 1 + t] -= slope * made


@njit(cache=True, error_model="numpy")
def _add_crowding(cell: Cell, c: Array, room: Room) -> None:
    species, n = c.shape
    k = cell.crowding[0]
    crowd = room.crush  # its logarithms have served
    for i in range(n):
        total = 0.0
        for s in range(species):
            total += c[s, i]
        crowd[i] = k / (1 - k * total)
    for s in range(species):
        push = room.push[s]
        for t in range(species):
            for i in range(n):
                # Species that are not held at a wall follow their edge cell there:
                first = push[i] * (cell.held[t, 0] if i == 0 else 1.0)
                last = push[i + 1] * (cell.held[t, 1] if i == n - 1 else 1.0)
                room.diagonal[i, 1 + s, 1 + t] -= (first + last) * crowd[i]
                lower = -room.ahead[s, i] if s == t else 0.0
                upper = -room.back[s, i + 1] if s == t else 0.0
                if i > 0:
                    lower += first * crowd[i - 1]
                if i < n - 1:
                    upper += last * crowd[i + 1]
                room.lower[i, 1 + s, 1 + t] = lower
                room.upper[i, 1 + s, 1 + t] = upper


@njit(cache=True, error_model="numpy")
def _share_that_fits(cell: Cell, c: Array, room: Room) -> float:
    """How much of a correction leaves the crowded cells some room."""
    share = 1.0
    if cell.crowding[0] > 0:
        for i in range(c.shape[1]):
            free, taken = 1 / cell.crowding[0], 0.0
            for s in range(len(c)):
                free -= c[s, i]
                taken -= room.wrong[i, 1 + s]
            if taken > 0:
                fits = 0.9 * free / taken
                if not fits >= share:  # NaN too
                    share = fits
    return share


@njit(cache=True, error_model="numpy")
def iterate(
    cell: Cell, base: Array, h: float, c: Array, scale: Array, most: int, room: Room
) -> tuple[bool, int, bool]:
    """Newton's iteration of one sample, from what ``c`` holds, which ends as the last iterate.

    Needs :func:`ground` once before.

    Returns:
        Whether it converged, the iterations, and whether a linear solve failed.
    """
    species, n = c.shape
    find_potential(cell, c, room)
    size_before = 0.0
    for iteration in range(1, most + 1):
        find_fluxes(cell, c, h, room)
        _assemble(cell, c, base, h, room)
        wrong = room.wrong
        solve_line(room.lower, room.diagonal, room.upper, wrong, room.right)
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
            room.phi[i] -= share * wrong[i, 0]
        for s in range(species):
            for i in range(n):
                c[s, i] -= share * wrong[i, 1 + s]
        if left <= 1 and share == 1:
            return True, iteration, False
    return False, most, False


@njit(cache=True, error_model="numpy")
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
        phi[sample] = room.phi
