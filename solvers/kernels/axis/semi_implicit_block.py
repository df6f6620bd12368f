"""Samples side by side, LANES in a block, and room for a semi-implicit step of theirs.

Cells stand in rows 1 to N, the walls in rows 0 and N + 1; face i is between rows i and i + 1. What
belongs to a row is in one array, kind after kind, LANES numbers of each: a loop over few arrays
needs few checks of whether they overlap, and LLVM gives up where it needs many.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.decorators import Array, Truth, Whole, inner

LANES = 64


def _kinds(count: int) -> range:
    """Where each of ``count`` kinds of numbers begins in a row."""
    return range(0, count * LANES, LANES)


#: Of a species in a row: what is given, what a step finds, and what its gradient does.
VALENCE, PASSING, IMPOSED, C, AFTER, AHEAD, SLOPE, FLUX, BENT = _kinds(9)
AHEAD_LATER, OUT, INTO, PIVOT, Y, NEW = _kinds(15)[9:]
BY_C, BY_LOAD, BY_STEP, BY_U, BY_AFTER, BY_VALENCE, BY_PASSING, BY_IMPOSED = _kinds(23)[15:]
#: Of a row: fixed charge, what the step's currents bring and conduct, and gradients.
FIXED, CURRENT, EXTRA = _kinds(3)
BY_RISE, BY_CURRENT, BY_EXTRA, BY_CONDUCTANCE, BY_FIXED = _kinds(8)[3:]
#: Of a row of a net: conductance, inverse pivot, potential, its rise, and room for the gradient.
G, INVERSE, X, RISE, KNOWN = _kinds(5)
#: The nets: of Poisson's equation, and of the one in which the charge follows the field.
NOW, LATER = 0, 1
#: Of a wall.
ELECTRODE, SURFACE_CHARGE, PULL, WALL_RISE = _kinds(4)
BY_ELECTRODE, BY_SURFACE_CHARGE, BY_PULL, BY_WALL_RISE = _kinds(8)[4:]
#: Of a species: the factor that gives back the mass, the mass before that, and a sum.
KEPT, MASS, SHARE = _kinds(3)
#: Of a sample: its step, what grounds a floating cell, a sum, whether it goes on, and the least.
STEP, GROUND, TOTAL, ALIVE, LOWEST, BEFORE = _kinds(6)


class Given(NamedTuple):
    """An `Electrolyte` of one axis; 1 or B samples first, then rows, then 1 or all columns."""

    conductance: Array  #: (B|1, 1, N+1)
    electrode: Array  #: (B|1, 1, 2), as the next three
    surface_charge: Array
    pull: Array
    rise: Array
    fixed_charge: Array  #: (B|1, 1, N|1)
    valence: Array  #: (B|1, S, 1)
    transmissivity: Array  #: (B|1, S, N+1)
    imposed: Array  #: (B|1, S, N+1)
    reservoir: Array  #: (B|1, S, 2)


class Facts(NamedTuple):
    """What is the same for all samples and no derivative is taken by."""

    volumes: Array  #: of the cells, (N,)
    closed: Truth  #: which species cannot leave, (S,)
    floating: bool  #: whether no wall fixes the potential
    rows: Whole
    """0, 1 ... N + 1, for loops over rows: where LLVM knows how the number of a row grows, it asks
    whether any rows of a loop overlap, not only those at hand, and does not vectorise."""

    width: int
    """Of the LANES those that samples fill, up to whole registers; for loops whose length the
    compiler must not know: it would unroll them."""


class Block(NamedTuple):
    """LANES samples side by side, and room for a step of theirs."""

    ions: Array  #: (S, N+2, 23 * LANES)
    line: Array  #: (N+2, 8 * LANES)
    nets: Array  #: (2, N+2, 5 * LANES)
    ends: Array  #: (2, 8 * LANES)
    masses: Array  #: (S, 3 LANES)
    lanes: Array  #: (6 LANES,)


@inner
def make_block(species: int, n: int, like: Array) -> Block:
    """Room for LANES samples of S species in N cells, of the dtype of ``like``."""
    dtype = like.dtype
    return Block(
        np.zeros((species, n + 2, 23 * LANES), dtype),
        np.zeros((n + 2, 8 * LANES), dtype),
        np.zeros((2, n + 2, 5 * LANES), dtype),
        np.zeros((2, 8 * LANES), dtype),
        np.zeros((species, 3 * LANES), dtype),
        np.zeros(6 * LANES, dtype),
    )


@inner
def load_block(given: Given, facts: Facts, first: int, block: Block) -> None:
    """The parameters of LANES samples from ``first`` on; the last one again where none are left."""
    ions, line, nets, ends = block.ions, block.line, block.nets, block.ends
    n = len(line) - 2
    _take(given.conductance, 0, n + 1, first, nets[NOW], G)
    _take(given.fixed_charge, 0, n, first, line[1:], FIXED)
    _take(given.electrode, 0, 2, first, ends, ELECTRODE)
    _take(given.surface_charge, 0, 2, first, ends, SURFACE_CHARGE)
    _take(given.pull, 0, 2, first, ends, PULL)
    _take(given.rise, 0, 2, first, ends, WALL_RISE)
    for s in range(len(ions)):
        _take(given.valence, s, n + 2, first, ions[s], VALENCE)
        _take(given.transmissivity, s, n + 1, first, ions[s], PASSING)
        _take(given.imposed, s, n + 1, first, ions[s], IMPOSED)
        for at in (C, Y):  # the walls' rows, every N + 1st
            _take(given.reservoir, s, 2, first, ions[s, :: n + 1], at)
    f = line.dtype.type
    for lane in range(facts.width):
        block.lanes[GROUND + lane] = f(0)
    if facts.floating:  # see `solve_elliptic`
        for lane in range(LANES):
            mean = f(0)
            for face in range(n + 1):
                mean += nets[NOW, face, G + lane] / f(n + 1)
            block.lanes[GROUND + lane] = mean if mean > f(0) else f(1)


@inner
def _take(values: Array, row: int, columns: int, first: int, into: Array, at: int) -> None:
    """Put a row of a parameter of LANES samples from ``first`` on into the kind ``at``."""
    for lane in range(LANES):
        sample = min(first + lane, len(values) - 1)
        for j in range(columns):
            into[j, at + lane] = values[sample, row, j if values.shape[2] > 1 else 0]


@inner
def read(u: Array, first: int, ions: Array, at: int) -> None:
    """Put states ``(B, S, N)`` of LANES samples into the cells."""
    for lane in range(LANES):
        sample = min(first + lane, len(u) - 1)
        for s in range(u.shape[1]):
            for i in range(u.shape[2]):
                ions[s, i + 1, at + lane] = u[sample, s, i]


@inner
def write(ions: Array, at: int, first: int, count: int, u: Array) -> None:
    """The inverse of :func:`read`, for ``count`` samples."""
    for lane in range(count):
        for s in range(u.shape[1]):
            for i in range(u.shape[2]):
                u[first + lane, s, i] = ions[s, i + 1, at + lane]
