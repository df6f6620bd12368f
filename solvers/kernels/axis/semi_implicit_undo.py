"""One semi-implicit step of a block, backwards.

Each function undoes one of `semi_implicit_step`. What BY_Y holds of a kind Y is the derivative of
the loss by Y.
"""

from __future__ import annotations

from pnpfusion.solvers.kernels.axis.semi_implicit_block import (
    AFTER,
    AHEAD,
    AHEAD_LATER,
    BENT,
    BY_AFTER,
    BY_C,
    BY_CONDUCTANCE,
    BY_CURRENT,
    BY_ELECTRODE,
    BY_EXTRA,
    BY_FIXED,
    BY_IMPOSED,
    BY_LOAD,
    BY_PASSING,
    BY_PULL,
    BY_RISE,
    BY_STEP,
    BY_SURFACE_CHARGE,
    BY_U,
    BY_VALENCE,
    BY_WALL_RISE,
    ELECTRODE,
    EXTRA,
    FLUX,
    INTO,
    KEPT,
    KNOWN,
    LATER,
    MASS,
    NEW,
    NOW,
    OUT,
    PASSING,
    PIVOT,
    PULL,
    RISE,
    SHARE,
    SLOPE,
    STEP,
    VALENCE,
    Block,
    C,
    Facts,
    G,
    X,
    Y,
)
from pnpfusion.solvers.kernels.axis.semi_implicit_net import solve_net
from pnpfusion.solvers.kernels.bernoulli import bernoulli_bend, bernoulli_slope
from pnpfusion.solvers.kernels.decorators import Array, inner


@inner
def undo_step(block: Block, facts: Facts) -> None:
    """BY_C after a step becomes that before it; :func:`take_step` was the last that ran."""
    ions, line, nets, lanes = block.ions, block.line, block.nets, block.lanes
    rows, width = facts.rows, facts.width
    f = line.dtype.type
    for s in range(len(ions)):
        _unmove(block, facts, s)
    for i in rows:
        for lane in range(width):
            nets[NOW, i, KNOWN + lane] = nets[NOW, i, X + lane]
            nets[LATER, i, KNOWN + lane] = nets[LATER, i, X + lane]
            nets[LATER, i, X + lane] = f(0)
    _unrise(block, facts, LATER)
    for i in rows:
        for lane in range(width):
            nets[NOW, i, X + lane] = nets[LATER, i, X + lane]
            nets[LATER, i, KNOWN + lane] -= nets[NOW, i, KNOWN + lane]
    solve_net(block, facts, LATER)
    _unconduct(block, facts)
    for s in range(len(ions)):
        _unadd(ions, line, nets, lanes, facts, s)
    _unrise(block, facts, NOW)
    solve_net(block, facts, NOW)
    _uncharge(block, facts)


@inner
def _unmove(block: Block, facts: Facts, s: int) -> None:
    """From BY_C of the state after the step to that of the state before, as far as Y tells."""
    ions, masses, lanes = block.ions, block.masses, block.lanes
    rows, width, closed = facts.rows, facts.width, facts.closed[s]
    n = ions.shape[1] - 2
    f = ions.dtype.type
    for lane in range(width):
        masses[s, SHARE + lane] = f(0)
    for i in rows[1:-1]:
        for lane in range(width):
            masses[s, SHARE + lane] += ions[s, i, BY_C + lane] * ions[s, i, Y + lane]
    for lane in range(width):
        mass = masses[s, MASS + lane]
        share = masses[s, SHARE + lane] / mass
        masses[s, SHARE + lane] = share if closed and mass > f(0) else f(0)
    for i in rows[1:-1]:
        v = facts.volumes[i - 1]
        for lane in range(width):
            shared = v * masses[s, SHARE + lane]
            by_y = masses[s, KEPT + lane] * (ions[s, i, BY_C + lane] - shared)
            ions[s, i, BY_LOAD + lane] = by_y
            ions[s, i, BY_C + lane] = shared
    for lane in range(width):
        ions[s, 1, BY_LOAD + lane] *= ions[s, 1, PIVOT + lane]
    for i in rows[2:-1]:
        for lane in range(width):
            before = ions[s, i - 1, INTO + lane] * ions[s, i - 1, BY_LOAD + lane]
            load = ions[s, i, BY_LOAD + lane] + before
            ions[s, i, BY_LOAD + lane] = ions[s, i, PIVOT + lane] * load
    for i in rows[-3:0:-1]:
        for lane in range(width):
            share = ions[s, i, OUT + lane] * ions[s, i, PIVOT + lane]
            ions[s, i, BY_LOAD + lane] += share * ions[s, i + 1, BY_LOAD + lane]
    for i in rows[1:-1]:
        v = facts.volumes[i - 1]
        for lane in range(width):
            ions[s, i, BY_C + lane] += v * ions[s, i, BY_LOAD + lane]
    for lane in range(width):
        ions[s, 0, BY_C + lane] += ions[s, 0, OUT + lane] * ions[s, 1, BY_LOAD + lane]
    for lane in range(width):
        ions[s, n + 1, BY_C + lane] += ions[s, n, INTO + lane] * ions[s, n, BY_LOAD + lane]
    _unweigh(ions, block.nets, lanes, facts, s)
    _unscale(ions, block.line, block.nets, facts, s, LATER)


@inner
def _unweigh(ions: Array, nets: Array, lanes: Array, facts: Facts, s: int) -> None:
    """What the faces in the potential of LATER take from BY_LOAD."""
    f = ions.dtype.type
    for i in facts.rows[:-1]:
        for lane in range(facts.width):
            ions[s, i, NEW + lane] = ions[s, i + 1, Y + lane]  # no more needed as it was
            rise = ions[s, i + 1, BY_LOAD + lane] - ions[s, i, BY_LOAD + lane]
            ions[s, i, BY_STEP + lane] = lanes[STEP + lane] * rise
    for i in facts.rows[:-1]:
        for lane in range(facts.width):
            z, passing = ions[s, i, VALENCE + lane], ions[s, i, PASSING + lane]
            a = ions[s, i, AHEAD_LATER + lane]
            u = z * nets[LATER, i, RISE + lane]
            slope = bernoulli_slope(u, a, f)
            before, after = ions[s, i, Y + lane], ions[s, i, NEW + lane]
            step = ions[s, i, BY_STEP + lane]
            ions[s, i, BY_U + lane] = step * passing * (slope * before - (slope + f(1)) * after)
            ions[s, i, BY_PASSING + lane] += step * (a * before - (a + u) * after)
            ions[s, i, BY_IMPOSED + lane] += step


@inner
def _unscale(ions: Array, line: Array, nets: Array, facts: Facts, s: int, net: int) -> None:
    """What the rise of a species' energy takes from BY_U."""
    for i in facts.rows[:-1]:
        for lane in range(facts.width):
            by_u = ions[s, i, BY_U + lane]
            ions[s, i, BY_VALENCE + lane] += by_u * nets[net, i, RISE + lane]
            line[i, BY_RISE + lane] += by_u * ions[s, i, VALENCE + lane]


@inner
def _unrise(block: Block, facts: Facts, net: int) -> None:
    """Add what BY_RISE says of the potential, which is in KNOWN, to X; BY_RISE starts again."""
    line, nets, ends = block.line, block.nets, block.ends
    n, rows, width = len(line) - 2, facts.rows, facts.width
    f = line.dtype.type
    for wall in range(2):
        face, i, sign = (0, 1, f(1)) if wall == 0 else (n, n, f(-1))
        for lane in range(width):
            by_rise = sign * line[face, BY_RISE + lane]
            above = nets[net, i, KNOWN + lane] - ends[wall, ELECTRODE + lane]
            ends[wall, BY_WALL_RISE + lane] -= by_rise
            ends[wall, BY_PULL + lane] += by_rise * above
            ends[wall, BY_ELECTRODE + lane] -= by_rise * ends[wall, PULL + lane]
        for lane in range(width):
            line[face, BY_RISE + lane] *= ends[wall, PULL + lane]
    for i in rows[1:-1]:
        for lane in range(width):
            nets[net, i, X + lane] += line[i - 1, BY_RISE + lane] - line[i, BY_RISE + lane]
    for i in rows[:-1]:
        for lane in range(width):
            line[i, BY_RISE + lane] = f(0)


@inner
def _unconduct(block: Block, facts: Facts) -> None:
    """What the predicted change of the potential takes from X of LATER, which solves its net."""
    line, nets, ends = block.line, block.nets, block.ends
    n, width = len(line) - 2, facts.width
    for i in facts.rows[:-1]:
        for lane in range(width):
            rise = nets[LATER, i + 1, KNOWN + lane] - nets[LATER, i, KNOWN + lane]
            by_current = nets[LATER, i + 1, X + lane] - nets[LATER, i, X + lane]
            by_extra = -by_current * rise
            line[i, BY_CURRENT + lane] = by_current
            line[i, BY_EXTRA + lane] = by_extra
            line[i, BY_CONDUCTANCE + lane] += by_extra
    for wall in range(2):
        face = 0 if wall == 0 else n
        for lane in range(width):
            by_extra = line[face, BY_EXTRA + lane]
            ends[wall, BY_PULL + lane] += by_extra * line[face, EXTRA + lane]
            line[face, BY_EXTRA + lane] = by_extra * ends[wall, PULL + lane]


@inner
def _unadd(ions: Array, line: Array, nets: Array, lanes: Array, facts: Facts, s: int) -> None:
    """What the currents of a species take from BY_CURRENT and BY_EXTRA."""
    f = ions.dtype.type
    for i in facts.rows[:-1]:
        for lane in range(facts.width):
            z, passing = ions[s, i, VALENCE + lane], ions[s, i, PASSING + lane]
            by_current = lanes[STEP + lane] * line[i, BY_CURRENT + lane]
            by_extra = lanes[STEP + lane] * z * line[i, BY_EXTRA + lane]
            by_z = by_current * ions[s, i, FLUX + lane]
            ions[s, i, BY_VALENCE + lane] += by_z - f(2) * by_extra * ions[s, i, BENT + lane]
            ions[s, i, FLUX + lane] = z * by_current
            ions[s, i, BENT + lane] = -z * by_extra
    for i in facts.rows[:-1]:
        for lane in range(facts.width):
            by_flux, by_bent = ions[s, i, FLUX + lane], ions[s, i, BENT + lane]
            a, slope = ions[s, i, AHEAD + lane], ions[s, i, SLOPE + lane]
            u = ions[s, i, VALENCE + lane] * nets[NOW, i, RISE + lane]
            bend = bernoulli_bend(u, a, slope, f)
            before, after = ions[s, i, C + lane], ions[s, i, AFTER + lane]
            b, other = a + u, slope + f(1)
            bent = slope * before - other * after
            passing = ions[s, i, PASSING + lane]
            by_u = by_flux * bent + by_bent * bend * (before - after)
            ions[s, i, BY_U + lane] = passing * by_u
            ions[s, i, BY_PASSING + lane] += by_flux * (a * before - b * after) + by_bent * bent
            ions[s, i, BY_IMPOSED + lane] += by_flux
            ions[s, i, BY_C + lane] += passing * (by_flux * a + by_bent * slope)
            ions[s, i, BY_AFTER + lane] = passing * (by_flux * b + by_bent * other)
    for i in facts.rows[1:]:
        for lane in range(facts.width):
            ions[s, i, BY_C + lane] -= ions[s, i - 1, BY_AFTER + lane]
    _unscale(ions, line, nets, facts, s, NOW)


@inner
def _uncharge(block: Block, facts: Facts) -> None:
    """What Poisson's equation takes from X of NOW, which solves it."""
    ions, line, nets, ends = block.ions, block.line, block.nets, block.ends
    n, rows, width = len(line) - 2, facts.rows, facts.width
    for i in rows[:-1]:
        for lane in range(width):
            rise = nets[NOW, i + 1, KNOWN + lane] - nets[NOW, i, KNOWN + lane]
            fall = nets[NOW, i, X + lane] - nets[NOW, i + 1, X + lane]
            line[i, BY_CONDUCTANCE + lane] += fall * rise
    for i in rows[1:-1]:
        v = facts.volumes[i - 1]
        for lane in range(width):
            line[i, BY_FIXED + lane] += v * nets[NOW, i, X + lane]
        for s in range(len(ions)):
            for lane in range(width):
                by_charge = v * nets[NOW, i, X + lane]
                ions[s, i, BY_C + lane] += by_charge * ions[s, i, VALENCE + lane]
                ions[s, i, BY_VALENCE + lane] += by_charge * ions[s, i, C + lane]
    for wall in range(2):
        face, i = (0, 1) if wall == 0 else (n, n)
        for lane in range(width):
            by_load = nets[NOW, i, X + lane]
            line[face, BY_CONDUCTANCE + lane] += by_load * ends[wall, ELECTRODE + lane]
            ends[wall, BY_ELECTRODE + lane] += by_load * nets[NOW, face, G + lane]
            ends[wall, BY_SURFACE_CHARGE + lane] += by_load
