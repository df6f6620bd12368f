"""Semi-implicit runs of cells of one axis between walls, compiled by Numba.

The steps are those of `asymptotic_preserving_step` with Scharfetter-Gummel faces. LANES samples go
side by side through loops that LLVM vectorises; none sees another, so a sample's answer is the same
bit for bit whatever else is in the batch.

Cells stand in rows 1 to N, the walls in rows 0 and N + 1; face i is between rows i and i + 1. What
belongs to a row is in one array, kind after kind, LANES numbers of each: a loop over few arrays
needs few checks of whether they overlap, and LLVM gives up where it needs many.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pnpfusion.solvers.kernels.bernoulli import bernoulli_ahead, bernoulli_slope
from pnpfusion.solvers.kernels.decorators import Array, inner, kernel

Whole = NDArray[np.int64]
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
    closed: NDArray[np.bool_]  #: which species cannot leave, (S,)
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
def _take(values: Array, row: int, columns: int, first: int, into: Array, at: int) -> None:
    """Put a row of a parameter of LANES samples from ``first`` on into the kind ``at``."""
    for lane in range(LANES):
        sample = min(first + lane, len(values) - 1)
        for j in range(columns):
            into[j, at + lane] = values[sample, row, j if values.shape[2] > 1 else 0]


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
    _factor(nets, NOW, block.lanes, facts)


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


@inner
def _factor(nets: Array, net: int, lanes: Array, facts: Facts) -> None:
    rows, width = facts.rows, facts.width
    f = nets.dtype.type
    for lane in range(width):
        both = nets[net, 0, G + lane] + nets[net, 1, G + lane]
        nets[net, 1, INVERSE + lane] = f(1) / (both + lanes[GROUND + lane])
    for i in rows[2:-1]:
        for lane in range(width):
            g = nets[net, i - 1, G + lane]
            left = g + nets[net, i, G + lane] - g * g * nets[net, i - 1, INVERSE + lane]
            nets[net, i, INVERSE + lane] = f(1) / left


@inner
def solve_net(block: Block, facts: Facts, net: int) -> None:
    """Turn the load in X into the potential that it makes, zero behind walls."""
    rows, width = facts.rows, facts.width
    nets = block.nets
    n = nets.shape[1] - 2
    f = nets.dtype.type
    if facts.floating:
        _neutralise(nets, net, block.lanes, facts, True)
    for lane in range(width):
        nets[net, 0, X + lane] = f(0)
        nets[net, n + 1, X + lane] = f(0)
    for i in rows[1:-1]:
        for lane in range(width):
            before = nets[net, i - 1, G + lane] * nets[net, i - 1, X + lane]
            load = nets[net, i, X + lane] + before
            nets[net, i, X + lane] = nets[net, i, INVERSE + lane] * load
    for i in rows[-3:0:-1]:
        for lane in range(width):
            share = nets[net, i, G + lane] * nets[net, i, INVERSE + lane]
            nets[net, i, X + lane] += share * nets[net, i + 1, X + lane]
    if facts.floating:
        _neutralise(nets, net, block.lanes, facts, False)


@inner
def _neutralise(nets: Array, net: int, lanes: Array, facts: Facts, is_load: bool) -> None:
    """Take the net charge off a load, or the mean off a potential."""
    rows, width = facts.rows, facts.width
    f = nets.dtype.type
    size = f(0)
    for lane in range(width):
        lanes[TOTAL + lane] = f(0)
    for i in rows[1:-1]:
        v = facts.volumes[i - 1]
        size += v
        share = f(1) if is_load else v
        for lane in range(width):
            lanes[TOTAL + lane] += share * nets[net, i, X + lane]
    for i in rows[1:-1]:
        share = (facts.volumes[i - 1] if is_load else f(1)) / size
        for lane in range(width):
            nets[net, i, X + lane] -= share * lanes[TOTAL + lane]


@inner
def _find_rises(nets: Array, net: int, ends: Array, facts: Facts) -> None:
    """The rise of the potential across each face, with what the walls make of it."""
    rows, width = facts.rows, facts.width
    n = nets.shape[1] - 2
    for i in rows[1:-2]:
        for lane in range(width):
            nets[net, i, RISE + lane] = nets[net, i + 1, X + lane] - nets[net, i, X + lane]
    for lane in range(width):
        above = nets[net, 1, X + lane] - ends[0, ELECTRODE + lane]
        nets[net, 0, RISE + lane] = ends[0, PULL + lane] * above - ends[0, WALL_RISE + lane]
    for lane in range(width):
        below = ends[1, ELECTRODE + lane] - nets[net, n, X + lane]
        nets[net, n, RISE + lane] = ends[1, PULL + lane] * below + ends[1, WALL_RISE + lane]


@inner
def _find_potential(block: Block, facts: Facts) -> None:
    """The potential that C makes, and its rises."""
    rows, width = facts.rows, facts.width
    ions, line, nets, ends = block.ions, block.line, block.nets, block.ends
    n = len(line) - 2
    for i in rows[1:-1]:
        for lane in range(width):
            nets[NOW, i, X + lane] = line[i, FIXED + lane]
        for s in range(len(ions)):
            for lane in range(width):
                nets[NOW, i, X + lane] += ions[s, i, VALENCE + lane] * ions[s, i, C + lane]
        v = facts.volumes[i - 1]
        for lane in range(width):
            nets[NOW, i, X + lane] *= v
    for wall in range(2):
        face, i = (0, 1) if wall == 0 else (n, n)
        for lane in range(width):
            load = nets[NOW, face, G + lane] * ends[wall, ELECTRODE + lane]
            nets[NOW, i, X + lane] += load + ends[wall, SURFACE_CHARGE + lane]
    solve_net(block, facts, NOW)
    _find_rises(nets, NOW, ends, facts)


@inner
def _find_fluxes(ions: Array, nets: Array, facts: Facts, s: int) -> None:
    """The fluxes of a species in C, and their derivative by the rise of its energy."""
    f = ions.dtype.type
    for i in facts.rows[:-1]:  # into its own row, to keep the other loop to one
        for lane in range(facts.width):
            ions[s, i, AFTER + lane] = ions[s, i + 1, C + lane]
    for i in facts.rows[:-1]:
        for lane in range(facts.width):
            u = ions[s, i, VALENCE + lane] * nets[NOW, i, RISE + lane]
            a = bernoulli_ahead(u, f)
            slope = bernoulli_slope(u, a, f)
            before, after = ions[s, i, C + lane], ions[s, i, AFTER + lane]
            passing = ions[s, i, PASSING + lane]
            flux = passing * (a * before - (a + u) * after)
            ions[s, i, AHEAD + lane] = a
            ions[s, i, SLOPE + lane] = slope
            ions[s, i, FLUX + lane] = flux + ions[s, i, IMPOSED + lane]
            ions[s, i, BENT + lane] = passing * (slope * before - (slope + f(1)) * after)


@inner
def _add_currents(ions: Array, line: Array, lanes: Array, facts: Facts, s: int) -> None:
    """What a species adds to the currents of a step and to what conducts."""
    for i in facts.rows[:-1]:
        for lane in range(facts.width):
            z = ions[s, i, VALENCE + lane]
            moved = lanes[STEP + lane] * z
            line[i, CURRENT + lane] += moved * ions[s, i, FLUX + lane]
            line[i, EXTRA + lane] -= moved * z * ions[s, i, BENT + lane]


@inner
def _move(ions: Array, nets: Array, lanes: Array, facts: Facts, s: int) -> None:
    """The implicit step of a species in the potential of LATER, into Y."""
    rows, width = facts.rows, facts.width
    n = ions.shape[1] - 2
    f = ions.dtype.type
    for i in rows[:-1]:
        for lane in range(width):
            u = ions[s, i, VALENCE + lane] * nets[LATER, i, RISE + lane]
            a = bernoulli_ahead(u, f)
            passing = lanes[STEP + lane] * ions[s, i, PASSING + lane]
            ions[s, i, AHEAD_LATER + lane] = a
            ions[s, i, OUT + lane] = passing * a
            ions[s, i, INTO + lane] = passing * (a + u)
    for i in rows[1:-1]:
        v = facts.volumes[i - 1]
        for lane in range(width):
            imposed = ions[s, i, IMPOSED + lane] - ions[s, i - 1, IMPOSED + lane]
            ions[s, i, Y + lane] = v * ions[s, i, C + lane] - lanes[STEP + lane] * imposed
            ions[s, i, PIVOT + lane] = v + ions[s, i, OUT + lane] + ions[s, i - 1, INTO + lane]
    for lane in range(width):
        ions[s, 1, Y + lane] += ions[s, 0, OUT + lane] * ions[s, 0, C + lane]
        ions[s, 1, PIVOT + lane] = f(1) / ions[s, 1, PIVOT + lane]
    for lane in range(width):
        ions[s, n, Y + lane] += ions[s, n, INTO + lane] * ions[s, n + 1, C + lane]
    for lane in range(width):
        ions[s, 1, Y + lane] *= ions[s, 1, PIVOT + lane]
    for i in rows[2:-1]:
        for lane in range(width):
            out = ions[s, i - 1, OUT + lane]
            back = out * ions[s, i - 1, INTO + lane] * ions[s, i - 1, PIVOT + lane]
            pivot = f(1) / (ions[s, i, PIVOT + lane] - back)
            ions[s, i, PIVOT + lane] = pivot
            ions[s, i, Y + lane] = pivot * (ions[s, i, Y + lane] + out * ions[s, i - 1, Y + lane])
    for i in rows[-3:0:-1]:
        for lane in range(width):
            share = ions[s, i, INTO + lane] * ions[s, i, PIVOT + lane]
            ions[s, i, Y + lane] += share * ions[s, i + 1, Y + lane]


@inner
def _give_back(ions: Array, masses: Array, facts: Facts, s: int) -> None:
    """Y times the factor that gives back what round-off took of the mass, into NEW."""
    rows, width = facts.rows, facts.width
    closed = facts.closed[s]
    f = ions.dtype.type
    for lane in range(width):
        masses[s, KEPT + lane] = f(0)
        masses[s, MASS + lane] = f(0)
    for i in rows[1:-1]:
        v = facts.volumes[i - 1]
        for lane in range(width):
            masses[s, KEPT + lane] += v * ions[s, i, C + lane]
            masses[s, MASS + lane] += v * ions[s, i, Y + lane]
    for lane in range(width):
        mass = masses[s, MASS + lane]
        kept = masses[s, KEPT + lane] / mass
        masses[s, KEPT + lane] = kept if closed and mass > f(0) else f(1)
    for i in rows[1:-1]:
        for lane in range(width):
            ions[s, i, NEW + lane] = masses[s, KEPT + lane] * ions[s, i, Y + lane]


@inner
def take_step(block: Block, facts: Facts) -> None:
    """One step from C to NEW, over the times in STEP."""
    rows, width = facts.rows, facts.width
    ions, line, nets, ends, lanes = block.ions, block.line, block.nets, block.ends, block.lanes
    n = len(line) - 2
    f = line.dtype.type
    _find_potential(block, facts)
    for i in rows[:-1]:
        for lane in range(width):
            line[i, CURRENT + lane] = f(0)
            line[i, EXTRA + lane] = f(0)
    for s in range(len(ions)):
        _find_fluxes(ions, nets, facts, s)
        _add_currents(ions, line, lanes, facts, s)
    for i in rows[:-1]:
        for lane in range(width):
            nets[LATER, i, G + lane] = nets[NOW, i, G + lane] + line[i, EXTRA + lane]
    for wall in range(2):  # a wall's potential follows its edge cell unless held
        face = 0 if wall == 0 else n
        for lane in range(width):
            extra = line[face, EXTRA + lane] * ends[wall, PULL + lane]
            nets[LATER, face, G + lane] = nets[NOW, face, G + lane] + extra
    for i in rows[1:-1]:
        for lane in range(width):
            nets[LATER, i, X + lane] = line[i - 1, CURRENT + lane] - line[i, CURRENT + lane]
    _factor(nets, LATER, lanes, facts)
    solve_net(block, facts, LATER)
    for i in rows[1:-1]:
        for lane in range(width):
            nets[LATER, i, X + lane] += nets[NOW, i, X + lane]
    _find_rises(nets, LATER, ends, facts)
    for s in range(len(ions)):
        _move(ions, nets, lanes, facts, s)
        _give_back(ions, block.masses, facts, s)


@inner
def _accept(ions: Array, lanes: Array, facts: Facts, judged: bool) -> None:
    """Put NEW into C; if ``judged``, where it is finite and positive, or zero where a zero was."""
    rows, width = facts.rows, facts.width
    f = ions.dtype.type
    for lane in range(width):
        lanes[TOTAL + lane] = f(np.inf)
        lanes[BEFORE + lane] = f(np.inf)
    for s in range(len(ions)):
        for i in rows[1:-1]:
            for lane in range(width):
                new, lowest = ions[s, i, NEW + lane], lanes[TOTAL + lane]
                new = new if new < f(np.inf) else f(-1)  # NaN too
                lanes[TOTAL + lane] = new if new < lowest else lowest
                old, lowest = ions[s, i, C + lane], lanes[BEFORE + lane]
                lanes[BEFORE + lane] = old if old < lowest else lowest
    for lane in range(width):
        new, lowest = lanes[TOTAL + lane], lanes[LOWEST + lane]
        good = new > f(0) or (new == f(0) and lanes[BEFORE + lane] == f(0))
        if judged and not good:
            lanes[ALIVE + lane] = f(0)
        if lanes[ALIVE + lane] > f(0) and new < lowest:
            lanes[LOWEST + lane] = new
    for s in range(len(ions)):
        for i in rows[1:-1]:
            for lane in range(width):
                new, old = ions[s, i, NEW + lane], ions[s, i, C + lane]
                ions[s, i, C + lane] = new if lanes[ALIVE + lane] > f(0) else old


@inner
def _write_slope(block: Block, facts: Facts, first: int, count: int, slope: Array) -> None:
    """The rate of what is in C."""
    ions, nets = block.ions, block.nets
    _find_potential(block, facts)
    for s in range(len(ions)):
        _find_fluxes(ions, nets, facts, s)
        for lane in range(count):
            for i in range(slope.shape[2]):
                through = ions[s, i + 1, FLUX + lane] - ions[s, i, FLUX + lane]
                slope[first + lane, s, i] = -through / facts.volumes[i]


@kernel
def semi_implicit_1d(
    given: Given,
    facts: Facts,
    u: Array,
    steps: Array,
    judged: bool,
    saves: Whole,
    lowest: Array,
    states: Array,
    lowest_saved: Array,
    slope: Array,
    taken: Whole,
    history: Array,
) -> None:
    """K steps of every sample; one that is not finite or not positive ends its sample before it.

    Args:
        given: the cells.
        facts: about them.
        u: where samples begin, and in the end where they are, ``(B, S, N)``.
        steps: their sizes, ``(K, B)``.
        judged: whether a bad step ends its sample; else it stands.
        saves: into which of R rows each step's state goes, or -1, ``(K,)``.
        lowest: the smallest concentration since the last saved time; changed, ``(B,)``.
        states: what is saved, ``(R, B, S, N)``.
        lowest_saved: the smallest concentration since the saved time before, ``(R, B)``.
        slope: du/dt in the end, ``(B, S, N)``; of length 0: not asked for.
        taken: how many steps each sample took, ``(B,)``.
        history: states before each step, ``(K, B / LANES, S, N, LANES)``; of length 0: not kept.
    """
    batch, species, n = u.shape
    block = make_block(species, n, u)
    ions, lanes = block.ions, block.lanes
    f = u.dtype.type
    for first in range(0, batch, LANES):
        count = min(LANES, batch - first)
        load_block(given, facts, first, block)
        read(u, first, ions, C)
        for lane in range(LANES):
            lanes[ALIVE + lane] = f(1)
            lanes[LOWEST + lane] = lowest[min(first + lane, batch - 1)]
        for lane in range(count):
            taken[first + lane] = 0
        for k in range(len(steps)):
            if len(history):
                for s in range(species):
                    for i in facts.rows[1:-1]:
                        for lane in range(facts.width):
                            history[k, first // LANES, s, i - 1, lane] = ions[s, i, C + lane]
            for lane in range(LANES):
                lanes[STEP + lane] = steps[k, min(first + lane, batch - 1)]
            take_step(block, facts)
            _accept(ions, lanes, facts, judged)
            going = False
            for lane in range(count):
                if lanes[ALIVE + lane] > f(0):
                    going = True
                    taken[first + lane] = k + 1
                    if saves[k] >= 0:
                        lowest_saved[saves[k], first + lane] = lanes[LOWEST + lane]
                        lanes[LOWEST + lane] = f(np.inf)
            if saves[k] >= 0:
                write(ions, C, first, count, states[saves[k]])
            if not going:
                break
        for lane in range(count):
            lowest[first + lane] = lanes[LOWEST + lane]
        write(ions, C, first, count, u)
        if len(slope):
            _write_slope(block, facts, first, count, slope)
