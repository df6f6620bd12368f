"""One semi-implicit step of a block: that of `asymptotic_preserving_step`."""

from __future__ import annotations

from pnpfusion.solvers.kernels.axis.semi_implicit_block import (
    AFTER,
    AHEAD,
    AHEAD_LATER,
    BENT,
    CURRENT,
    ELECTRODE,
    EXTRA,
    FIXED,
    FLUX,
    IMPOSED,
    INTO,
    KEPT,
    LATER,
    MASS,
    NEW,
    NOW,
    OUT,
    PASSING,
    PIVOT,
    PULL,
    RISE,
    SLOPE,
    STEP,
    SURFACE_CHARGE,
    VALENCE,
    Block,
    C,
    Facts,
    G,
    X,
    Y,
)
from pnpfusion.solvers.kernels.axis.semi_implicit_net import factor, find_rises, solve_net
from pnpfusion.solvers.kernels.bernoulli import bernoulli_ahead, bernoulli_slope
from pnpfusion.solvers.kernels.decorators import Array, inner


@inner
def take_step(block: Block, facts: Facts) -> None:
    """One step from C to NEW, over the times in STEP."""
    rows, width = facts.rows, facts.width
    ions, line, nets, ends, lanes = block.ions, block.line, block.nets, block.ends, block.lanes
    n = len(line) - 2
    f = line.dtype.type
    find_potential(block, facts)
    for i in rows[:-1]:
        for lane in range(width):
            line[i, CURRENT + lane] = f(0)
            line[i, EXTRA + lane] = f(0)
    for s in range(len(ions)):
        find_fluxes(ions, nets, facts, s)
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
    factor(nets, LATER, lanes, facts)
    solve_net(block, facts, LATER)
    for i in rows[1:-1]:
        for lane in range(width):
            nets[LATER, i, X + lane] += nets[NOW, i, X + lane]
    find_rises(nets, LATER, ends, facts)
    for s in range(len(ions)):
        _move(ions, nets, lanes, facts, s)
        _give_back(ions, block.masses, facts, s)


@inner
def find_potential(block: Block, facts: Facts) -> None:
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
    find_rises(nets, NOW, ends, facts)


@inner
def find_fluxes(ions: Array, nets: Array, facts: Facts, s: int) -> None:
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
