r"""Newton's method of `convex_equilibrium` for point ions on one axis between walls, by Numba.

Samples lie side by side in the last axis of most arrays here, so that loops over them run in the
processor's wide registers. Each sample has its own line search and its own end, and no number of
one enters another's: an answer is the same bit for bit whatever else is in the batch. A loop writes
one or two arrays only, and reads no other row of them: else LLVM does not see that it may.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pnpfusion.solvers.kernels.decorators import Array, inner, kernel
from pnpfusion.solvers.kernels.exponential import exp

AT_ONCE = 4096  #: cells of samples side by side: few enough for caches, in rows of some length
FEWEST = 32  #: samples side by side, if there are as many


class Problem(NamedTuple):
    """B samples of N cells, S species and K conserved totals; one row may stand for all samples."""

    volumes: Array  #: of the cells, (1, N)
    invariants: Array  #: (K, S)
    load: Array  #: (B|1, N)
    conductance: Array  #: (B|1, N+1)
    valence: Array  #: (B|1, S)
    constants: Array  #: (B|1, S)
    totals: Array  #: (B, K)


class Room(NamedTuple):
    """W samples side by side; what lies beyond the walls has a row of zeros."""

    load: Array  #: (N+2, W), like all that follow with N+2
    conductance: Array  #: of the face after each cell, (N+1, W)
    valence: Array  #: (S, W)
    constants: Array  #: (S, W)
    totals: Array  #: (K, W)
    c: Array  #: (S, N+2, W)
    charge: Array  #: of the ions in each cell, (N+2, W)
    screening: Array  #: and its derivative by -phi, (N+2, W)
    inverse: Array  #: pivots of the Hessian in phi, (N+2, W)
    border: Array  #: mixed second derivatives, (K, N+2, W)
    columns: Array  #: the inverse of the Hessian in phi times them, (K, N+2, W)
    schur: Array  #: factors of what is left of the Hessian for eta, (K, K, W)
    slope: Array  #: derivatives by phi, a right side, (N+2, W)
    slope_eta: Array  #: by eta, (K, W)
    step: Array  #: the inverse of the Hessian times them, (N+2, W)
    step_eta: Array  #: (K, W)


@inner
def make_room(problem: Problem, width: int) -> Room:
    """Room for ``width`` samples."""
    n, dtype = problem.volumes.shape[1], problem.volumes.dtype
    most, species = problem.invariants.shape
    return Room(
        np.zeros((n + 2, width), dtype),
        np.empty((n + 1, width), dtype),
        np.empty((species, width), dtype),
        np.empty((species, width), dtype),
        np.empty((most, width), dtype),
        np.zeros((species, n + 2, width), dtype),
        np.zeros((n + 2, width), dtype),
        np.zeros((n + 2, width), dtype),
        np.zeros((n + 2, width), dtype),
        np.zeros((most, n + 2, width), dtype),
        np.zeros((most, n + 2, width), dtype),
        np.empty((most, most, width), dtype),
        np.zeros((n + 2, width), dtype),
        np.empty((most, width), dtype),
        np.zeros((n + 2, width), dtype),
        np.empty((most, width), dtype),
    )


@inner
def gather(rows: Array, first: int, ghosts: int, into: Array) -> None:
    """Samples from ``first`` on side by side, below ``ghosts`` rows; one row stands for all."""
    for w in range(into.shape[1]):
        sample = first + w if len(rows) > 1 else 0
        for i in range(rows.shape[1]):
            into[ghosts + i, w] = rows[sample, i]


@inner
def scatter(rows: Array, first: int, ghosts: int, into: Array) -> None:
    """The inverse of :func:`gather`."""
    for w in range(rows.shape[1]):
        for i in range(into.shape[1]):
            into[first + w, i] = rows[ghosts + i, w]


@inner
def copy(rows: Array, into: Array) -> None:
    """Put ``rows`` into ``into``; `into[:] = rows` takes long to compile."""
    for i in range(len(rows)):
        for w in range(rows.shape[1]):
            into[i, w] = rows[i, w]


@inner
def clear(rows: Array) -> None:
    """Make ``rows`` zero."""
    for i in range(len(rows)):
        for w in range(rows.shape[1]):
            rows[i, w] = 0


@inner
def gather_problem(problem: Problem, first: int, room: Room) -> None:
    """The parameters of the samples from ``first`` on."""
    gather(problem.load, first, 1, room.load)
    gather(problem.conductance, first, 0, room.conductance)
    gather(problem.valence, first, 0, room.valence)
    gather(problem.constants, first, 0, room.constants)
    gather(problem.totals, first, 0, room.totals)


@inner
def guess(problem: Problem, totals: Array, eta: Array) -> None:
    """The free constants of an even spread of the totals into ``eta``."""
    k = problem.invariants
    most, species = k.shape
    zero, least = totals.dtype.type(0), totals.dtype.type(1e-30)
    volume = zero
    for i in range(problem.volumes.shape[1]):
        volume += problem.volumes[0, i]
    clear(eta)
    for w in range(eta.shape[1]):
        for s in range(species if most else 0):
            mean = zero
            for j in range(most):
                mean += k[j, s] * totals[j, w]
            mean = np.log(max(mean / volume, least))
            for j in range(most):
                eta[j, w] += k[j, s] * mean


@inner
def fill(problem: Problem, phi: Array, eta: Array, room: Room) -> None:
    """Put the concentrations at ``phi`` and ``eta`` into the room."""
    c, z, k = room.c, room.valence, problem.invariants
    species, rows, width = c.shape
    exponent = np.empty(width, c.dtype)
    for s in range(species):
        for w in range(width):
            exponent[w] = room.constants[s, w]
        for j in range(len(k)):
            for w in range(width):
                exponent[w] += k[j, s] * eta[j, w]
        for i in range(1, rows - 1):
            for w in range(width):
                c[s, i, w] = exp(exponent[w] - z[s, w] * phi[i, w])


@inner
def add_up(problem: Problem, room: Room) -> None:
    """The charge of the ions in each cell and its derivative, from the concentrations."""
    c, z, charge, screening = room.c, room.valence, room.charge, room.screening
    species, rows, width = c.shape
    for i in range(1, rows - 1):
        volume = problem.volumes[0, i - 1]
        for w in range(width):
            charge[i, w] = volume * z[0, w] * c[0, i, w]
            screening[i, w] = volume * z[0, w] * z[0, w] * c[0, i, w]
        for s in range(1, species):
            for w in range(width):
                charge[i, w] += volume * z[s, w] * c[s, i, w]
                screening[i, w] += volume * z[s, w] * z[s, w] * c[s, i, w]


@inner
def evaluate(problem: Problem, phi: Array, eta: Array, room: Room, found: Array) -> None:
    """The function D of each sample, with the concentrations that are in the room."""
    c, g, load = room.c, room.conductance, room.load
    species, rows, width = c.shape
    half = found.dtype.type(0.5)
    for w in range(width):
        found[w] = 0
    for i in range(rows - 1):
        for w in range(width):
            rise = phi[i + 1, w] - phi[i, w]
            found[w] += half * g[i, w] * rise * rise - phi[i, w] * load[i, w]
    for i in range(1, rows - 1):
        volume = problem.volumes[0, i - 1]
        for s in range(species):
            for w in range(width):
                found[w] += volume * c[s, i, w]
    for j in range(len(eta)):
        for w in range(width):
            found[w] -= eta[j, w] * room.totals[j, w]


@inner
def differentiate(problem: Problem, phi: Array, room: Room) -> None:
    """The derivatives of D by phi and eta into ``slope`` and ``slope_eta``."""
    c, g, load, charge = room.c, room.conductance, room.load, room.charge
    slope, slope_eta, k = room.slope, room.slope_eta, problem.invariants
    species, rows, width = c.shape
    for i in range(1, rows - 1):
        for w in range(width):
            before, after = phi[i, w] - phi[i - 1, w], phi[i + 1, w] - phi[i, w]
            bound = load[i, w] + charge[i, w]
            slope[i, w] = g[i - 1, w] * before - g[i, w] * after - bound
    for j in range(len(k)):
        for w in range(width):
            slope_eta[j, w] = -room.totals[j, w]
        for s in range(species):
            for i in range(1, rows - 1):
                share = k[j, s] * problem.volumes[0, i - 1]
                for w in range(width):
                    slope_eta[j, w] += share * c[s, i, w]


@inner
def factorise(problem: Problem, room: Room) -> None:
    """Prepare solves with the Hessian at the concentrations in the room."""
    g, screening, inverse = room.conductance, room.screening, room.inverse
    border, columns, schur = room.border, room.columns, room.schur
    c, z, k = room.c, room.valence, problem.invariants
    species, rows, width = c.shape
    one, last = inverse.dtype.type(1), np.zeros(width, inverse.dtype)
    for i in range(1, rows - 1):
        for w in range(width):
            pivot = g[i - 1, w] + g[i, w] + screening[i, w]
            found = one / (pivot - g[i - 1, w] * g[i - 1, w] * last[w])
            inverse[i, w], last[w] = found, found
    for j in range(len(k)):
        clear(border[j])
        for i in range(1, rows - 1):
            for s in range(species):
                share = k[j, s] * problem.volumes[0, i - 1]
                for w in range(width):
                    border[j, i, w] -= share * z[s, w] * c[s, i, w]
        substitute(room, border[j], columns[j])
    for a in range(len(k)):  # its lower half
        for b in range(a + 1):
            for w in range(width):
                schur[a, b, w] = 0
            for i in range(1, rows - 1):
                for s in range(species):
                    share = k[a, s] * k[b, s] * problem.volumes[0, i - 1]
                    if share != 0:
                        for w in range(width):
                            schur[a, b, w] += share * c[s, i, w]
                for w in range(width):
                    schur[a, b, w] -= border[a, i, w] * columns[b, i, w]
    for b in range(len(k)):  # as L D L': D on the diagonal, L below it
        for m in range(b):
            for a in range(b, len(k)):
                for w in range(width):
                    schur[a, b, w] -= schur[a, m, w] * schur[b, m, w] * schur[m, m, w]
        for a in range(b + 1, len(k)):
            for w in range(width):
                schur[a, b, w] /= schur[b, b, w]


@inner
def substitute(room: Room, right: Array, x: Array) -> None:
    """The inverse of the Hessian in phi times ``right``, into ``x``."""
    g, inverse = room.conductance, room.inverse
    rows, width = right.shape
    last = np.zeros(width, x.dtype)
    for i in range(1, rows - 1):
        for w in range(width):
            found = (right[i, w] + g[i - 1, w] * last[w]) * inverse[i, w]
            x[i, w], last[w] = found, found
    for left in range(rows - 3):  # counted upwards, for then LLVM knows that i is positive
        i = rows - 3 - left
        for w in range(width):
            found = x[i, w] + g[i, w] * inverse[i, w] * last[w]
            x[i, w], last[w] = found, found


@inner
def solve(room: Room) -> None:
    """The inverse of the Hessian times both slopes, into both steps."""
    border, columns, schur = room.border, room.columns, room.schur
    step, x = room.step, room.step_eta
    most, rows, width = border.shape
    substitute(room, room.slope, step)
    copy(room.slope_eta, x)
    for j in range(most):
        for i in range(1, rows - 1):
            for w in range(width):
                x[j, w] -= border[j, i, w] * step[i, w]
    for a in range(most):
        for b in range(a):
            for w in range(width):
                x[a, w] -= schur[a, b, w] * x[b, w]
    for a in range(most):
        for w in range(width):
            x[a, w] /= schur[a, a, w]
    for a in range(most - 1, -1, -1):
        for b in range(a + 1, most):
            for w in range(width):
                x[a, w] -= schur[b, a, w] * x[b, w]
    for j in range(most):
        for i in range(1, rows - 1):
            for w in range(width):
                step[i, w] -= columns[j, i, w] * x[j, w]


@inner
def measure(step: Array, slope: Array, size: Array, downhill: Array) -> None:
    """Raise ``size`` to the largest entry of a step (NaN if any is), add its product to another."""
    rows, width = step.shape
    for i in range(rows):
        for w in range(width):
            entry = abs(step[i, w])
            size[w] = (entry if entry > size[w] else size[w]) + (entry - entry)
            downhill[w] += slope[i, w] * step[i, w]


@inner
def move(start: Array, step: Array, share: Array, end: Array) -> None:
    """``start - share * step``, and ``start`` where no share is taken, whatever the step."""
    rows, width = start.shape
    for i in range(rows):
        for w in range(width):
            there = start[i, w] - share[w] * step[i, w]
            end[i, w] = there if share[w] > 0 else start[i, w]


@kernel
def rest_1d(
    problem: Problem,
    tolerance: float,
    largest_step: float,
    most: int,
    c: Array,
    phi: Array,
    converged: NDArray[np.bool_],
    iterations: NDArray[np.int64],
) -> None:
    """Where each sample rests, from no potential and an even spread of what is conserved.

    Args:
        problem: the parameters.
        tolerance: of the last step, in kT/e.
        largest_step: of the potential in one iteration.
        most: iterations.
        c: takes the concentrations, (B, S, N).
        phi: takes the potential, (B, N).
        converged: takes which samples came to an end, (B,).
        iterations: takes how many they needed, (B,).
    """
    batch, dtype = len(phi), phi.dtype
    width = min(batch, max(FEWEST, AT_ONCE // problem.volumes.shape[1]))
    room = make_room(problem, width)
    here, trial = np.zeros_like(room.step), np.zeros_like(room.step)
    eta, trial_eta = np.empty_like(room.step_eta), np.empty_like(room.step_eta)
    before, after, size = np.empty(width, dtype), np.empty(width, dtype), np.empty(width, dtype)
    downhill, share = np.empty(width, dtype), np.empty(width, dtype)
    going = np.empty(width, np.bool_)
    one, little, enough = dtype.type(1), dtype.type(1e-3), dtype.type(1e-4)
    slack = dtype.type(max(1e-12, 16 * float(np.finfo(dtype).eps)))
    longest, goal, half = dtype.type(largest_step), dtype.type(tolerance), dtype.type(0.5)
    for start in range(0, batch, width):
        first = min(start, batch - width)  # the last ones take some again, to the same end
        gather_problem(problem, first, room)
        guess(problem, room.totals, eta)
        clear(here)
        for w in range(width):
            going[w] = True
            converged[first + w] = False
            iterations[first + w] = 0
        fill(problem, here, eta, room)
        evaluate(problem, here, eta, room, before)
        for _ in range(most):
            add_up(problem, room)
            differentiate(problem, here, room)
            factorise(problem, room)
            solve(room)
            for w in range(width):
                size[w] = 0
                downhill[w] = 0
            measure(room.step, room.slope, size, downhill)
            measure(room.step_eta, room.slope_eta, size, downhill)
            for w in range(width):
                whole = one if size[w] <= longest else longest / size[w]
                share[w] = whole if going[w] and np.isfinite(size[w]) else 0
            for _ in range(40):
                move(here, room.step, share, trial)
                move(eta, room.step_eta, share, trial_eta)
                fill(problem, trial, trial_eta, room)
                evaluate(problem, trial, trial_eta, room, after)
                good = True
                for w in range(width):
                    wanted = before[w] - enough * share[w] * downhill[w] + slack * abs(before[w])
                    if share[w] > 0 and not (after[w] <= wanted or size[w] < little):
                        share[w] *= half
                        good = False
                if good:
                    break
            here, trial, eta, trial_eta = trial, here, trial_eta, eta
            before, after = after, before
            left = False
            for w in range(width):
                if going[w]:
                    iterations[first + w] += 1
                    converged[first + w] = size[w] <= goal
                    going[w] = share[w] > 0 and not converged[first + w]
                    left |= going[w]
            if not left:
                break
        for s in range(len(room.c)):
            scatter(room.c[s], first, 1, c[:, s])
        scatter(here, first, 1, phi)


@kernel
def rest_1d_backward(
    problem: Problem,
    c: Array,
    phi: Array,
    by_c: Array,
    by_phi: Array,
    load: Array,
    conductance: Array,
    valence: Array,
    constants: Array,
    totals: Array,
) -> None:
    """Derivatives by the parameters from those by the state, through one solve per sample.

    The last five arrays take them, each with a row per sample.
    """
    batch, species, n = c.shape
    width = min(batch, max(FEWEST, AT_ONCE // problem.volumes.shape[1]))
    room = make_room(problem, width)
    push = np.zeros_like(room.c)
    flow = np.empty_like(room.conductance)
    by_valence, by_constants = np.empty_like(room.valence), np.empty_like(room.valence)
    here, k, x, x_eta = np.zeros_like(room.step), problem.invariants, room.step, room.step_eta
    for start in range(0, batch, width):
        first = min(start, batch - width)
        gather_problem(problem, first, room)
        gather(phi, first, 1, here)
        gather(by_phi, first, 1, room.slope)
        for s in range(species):
            gather(c[:, s], first, 1, room.c[s])
            gather(by_c[:, s], first, 1, push[s])
        add_up(problem, room)
        factorise(problem, room)
        clear(room.slope_eta)
        for s in range(species):  # c = exp(constants + eta invariants - z phi)
            for i in range(1, n + 1):
                for w in range(width):
                    push[s, i, w] *= room.c[s, i, w]
                for w in range(width):
                    room.slope[i, w] -= room.valence[s, w] * push[s, i, w]
                for j in range(len(k)):
                    for w in range(width):
                        room.slope_eta[j, w] += k[j, s] * push[s, i, w]
        solve(room)
        for i in range(n + 1):
            for w in range(width):
                rise = here[i + 1, w] - here[i, w]
                flow[i, w] = -(x[i + 1, w] - x[i, w]) * rise
        clear(by_valence)
        clear(by_constants)
        for s in range(species):
            for i in range(1, n + 1):
                volume = problem.volumes[0, i - 1]
                for w in range(width):  # by the exponent of a concentration
                    moved = volume * room.valence[s, w] * x[i, w] * room.c[s, i, w]
                    push[s, i, w] += moved
                for j in range(len(k)):
                    share = k[j, s] * volume
                    for w in range(width):
                        push[s, i, w] -= share * x_eta[j, w] * room.c[s, i, w]
                for w in range(width):
                    by_constants[s, w] += push[s, i, w]
                for w in range(width):
                    own = volume * x[i, w] * room.c[s, i, w]
                    by_valence[s, w] += own - push[s, i, w] * here[i, w]
        scatter(x, first, 1, load)
        scatter(flow, first, 0, conductance)
        scatter(by_valence, first, 0, valence)
        scatter(by_constants, first, 0, constants)
        scatter(x_eta, first, 0, totals)
