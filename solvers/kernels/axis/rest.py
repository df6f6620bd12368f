"""Newton's method of `convex_equilibrium` for point ions on one axis between walls, by Numba.

Samples lie side by side in the last axis of most arrays here, so that loops over them run in the
processor's wide registers. Each sample has its own line search and its own end, and no number of
one enters another's: an answer is the same bit for bit whatever else is in the batch.
"""

from __future__ import annotations

import numpy as np

from pnpfusion.solvers.kernels.axis.rest_dual import (
    add_up,
    differentiate,
    evaluate,
    factorise,
    fill,
    guess,
    solve,
)
from pnpfusion.solvers.kernels.axis.rest_problem import (
    Problem,
    clear,
    gather_problem,
    make_room,
    scatter,
)
from pnpfusion.solvers.kernels.axis.side_by_side import width_of
from pnpfusion.solvers.kernels.decorators import Array, Truth, Whole, inner, kernel


@kernel
def rest_1d(
    problem: Problem,
    tolerance: float,
    largest_step: float,
    most: int,
    c: Array,
    phi: Array,
    converged: Truth,
    iterations: Whole,
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
    width = width_of(batch, problem.volumes.shape[1])
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
