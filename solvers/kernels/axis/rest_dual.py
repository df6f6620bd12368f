"""The dual of the free energy of W samples side by side, its derivatives, and Newton steps on it.

A loop writes one or two arrays only, and reads no other row of them: else LLVM does not see that it
may run in wide registers.
"""

from __future__ import annotations

import numpy as np

from pnpfusion.solvers.kernels.axis.rest_problem import Problem, Room, clear, copy
from pnpfusion.solvers.kernels.decorators import Array, inner
from pnpfusion.solvers.kernels.exponential import exp


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
