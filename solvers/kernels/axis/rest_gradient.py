"""The derivatives of cells at rest: one solve with the Hessian there."""

from __future__ import annotations

import numpy as np

from pnpfusion.solvers.kernels.axis.rest_dual import add_up, factorise, solve
from pnpfusion.solvers.kernels.axis.rest_problem import (
    Problem,
    clear,
    gather,
    gather_problem,
    make_room,
    scatter,
)
from pnpfusion.solvers.kernels.axis.side_by_side import width_of
from pnpfusion.solvers.kernels.decorators import Array, kernel


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
    width = width_of(batch, problem.volumes.shape[1])
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
