"""Fluxes through the faces of a line in lanes, and their slopes, in the three face schemes."""

from __future__ import annotations

from typing import Any

from pnpfusion.solvers.kernels.axis.cell import CENTRAL, HARMONIC
from pnpfusion.solvers.kernels.decorators import Array, inlined
from pnpfusion.solvers.kernels.lanes.line import FACE_PULL, LET_THROUGH, OFFSET, G, place
from pnpfusion.solvers.kernels.lanes.straight_code import Lanes, Numbers, Records, written

#: Rows of a species in a record of faces: flux, and its slopes by what is before, after, and phi.
FLUX, AHEAD, BACK, TURN = range(4)


def central(u: Lanes) -> tuple[Any, Any, Any, Any]:
    """a(u), b(u) and their slopes."""
    return 1 - 0.5 * u, 1 + 0.5 * u, -0.5, 0.5


def _exponential(w: Lanes) -> tuple[Lanes, Lanes]:
    """e^-w - 1 and 1 - e^-w for w >= 0; the first is -1 beyond 708."""
    x = -w.where_less(708.0, w, 708.0)
    t = x * 1.4426950408889634 + 6755399441055744.0
    k = t - 6755399441055744.0
    r = (x - k * 0.6931471803691238) - k * 1.9082149292705877e-10
    p = r * (1 / 6227020800) + 1 / 479001600
    for factor in (39916800, 3628800, 362880, 40320, 5040, 720, 120, 24, 6, 2):
        p = p * r + 1 / factor
    p = p * r * r + r
    two = t.power_of_two_from_bits()
    return two * p + two, (1 - two) - two * p


def bernoulli(u: Lanes) -> tuple[Any, Any, Any, Any]:
    """B(u), B(-u) and their slopes, in the forms of `axis.newton`."""
    w = abs(u)
    power, lost = _exponential(w)
    tail = w.where_less(1e-30, 1.0, w * power / lost)
    tail = w.where_less(708.0, tail, 0.0)
    ahead = tail + (-u).where_less(0.0, 0.0, -u)
    back = tail + u.where_less(0.0, 0.0, u)
    squared = u * u
    series = u * (1 / 6 - squared * (1 / 180 - squared * (1 / 5040))) - 0.5
    slope = w.where_less(1e-2, series, ahead * (1 - back) / w.where_less(1e-2, 1.0, u))
    return ahead, back, slope, slope + 1


def harmonic(u: Lanes) -> tuple[Any, Any, Any, Any]:
    """The same of harmonic weights."""
    power, _ = _exponential(abs(u))
    power = abs(u).where_less(708.0, power, 0.0)
    high = 2 / (1 + power)
    low = power * high
    ahead, back = (-u).where_less(0.0, low, high), (-u).where_less(0.0, high, low)
    half = 0.5 * ahead * back
    return ahead, back, -half, half


def _write_faces(weights: Any) -> Any:
    def write(
        kinds: int,
        cells: Records,
        u: Records,
        valence: Numbers,
        faces: Records,
        at: Any,
        own: Any,
        slot: Any,
    ) -> None:
        """The fluxes of ``u`` through the face after a record, and their slopes."""
        species, cell, into = kinds, cells.at(own), faces.at(slot)
        before, after = u.at(at), u.at(at, 1)
        into[4 * species] = cell[G] * (before[species] - after[species])
        pull = cell[FACE_PULL]
        rise = pull * (after[species] - before[species]) + cell[OFFSET]
        for s in range(species):
            z, passing = valence[s], cell[LET_THROUGH + s]
            a, b, a_slope, b_slope = weights(z * rise)
            out, back = passing * a, passing * b
            into[4 * s + FLUX] = out * before[s] - back * after[s] + cell[LET_THROUGH + species + s]
            into[4 * s + AHEAD], into[4 * s + BACK] = out, back
            push = a_slope * before[s] - b_slope * after[s]
            into[4 * s + TURN] = passing * push * (z * pull)

    return written(write)


_faces_central = _write_faces(central)
_faces_bernoulli = _write_faces(bernoulli)
_faces_harmonic = _write_faces(harmonic)


@inlined
def find_faces(
    kinds: Any,
    scheme: int,
    cells: Array,
    skip: int,
    valence: Array,
    u: Array,
    faces: Array,
    first: int,
    last: int,
) -> None:
    """Fill ``faces`` with those after the places from ``first`` to ``last``."""
    if scheme == CENTRAL:
        for at in range(first, last + 1):
            _faces_central(kinds, cells, u, valence, faces, at, place(at, skip), at - first)
    elif scheme == HARMONIC:
        for at in range(first, last + 1):
            _faces_harmonic(kinds, cells, u, valence, faces, at, place(at, skip), at - first)
    else:
        for at in range(first, last + 1):
            _faces_bernoulli(kinds, cells, u, valence, faces, at, place(at, skip), at - first)
